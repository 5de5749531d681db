// recursion.h: what a walk goes through.
#pragma once

#include "walk/solver/runge_kutta.h"

namespace resnet_nodes {

/// `steps` steps of size h.
struct Recursion {
  const RungeKutta& solver;
  ResidualFunctions& functions;
  int64_t steps;
  double h;
};

}  // namespace resnet_nodes
