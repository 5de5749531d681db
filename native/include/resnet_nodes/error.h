// error.h: the one exception that leaves the library.
#pragma once

#include <stdexcept>
#include <string>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

/// A failure that the caller can act on. The message is one line: the argument, what it was, what was expected.
class RESNET_NODES_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An external callback reported a failure. Whoever owns the callback knows the cause.
class RESNET_NODES_API CallbackError : public Error {
 public:
  using Error::Error;
};

}  // namespace resnet_nodes
