// live_objects.h: counts what is alive, so that leak tests can see it.
#pragma once

#include <atomic>
#include <cstdint>

namespace resnet_nodes {

inline std::atomic<int64_t> live_object_count{0};

/// A member of every object that external code owns.
struct LiveObject {
  LiveObject() { ++live_object_count; }
  ~LiveObject() { --live_object_count; }
  LiveObject(const LiveObject&) = delete;
  LiveObject& operator=(const LiveObject&) = delete;
};

}  // namespace resnet_nodes
