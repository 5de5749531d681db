#include "fused/memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace resnet_nodes {

void FloatBuffer::Free::operator()(float* data) const { std::free(data); }

float* FloatBuffer::resize(int64_t count) {
  if (count != count_) {
    const auto bytes = static_cast<size_t>(lines_of(count) * kLine) * sizeof(float);
    data_.reset();
    count_ = 0;
    auto* data = static_cast<float*>(std::aligned_alloc(kLine * sizeof(float), std::max<size_t>(bytes, 64)));
    if (data == nullptr) throw std::bad_alloc();
    std::memset(data, 0, bytes);
    data_.reset(data);
    count_ = count;
  }
  return data_.get();
}

}  // namespace resnet_nodes
