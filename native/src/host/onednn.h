// onednn.h: whether LibTorch may use oneDNN, its library of convolutions, on this processor.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

namespace resnet_nodes {

/// EAX, EBX, ECX and EDX of a leaf and subleaf.
using Cpuid = std::function<std::array<uint32_t, 4>(uint32_t leaf, uint32_t subleaf)>;

/// Whether oneDNN learns how large the caches are. It plans convolutions by them. Of AMD's processors it asks one leaf,
/// which virtual machines may leave empty, and then takes the caches to be of one byte: convolutions have wrong values,
/// or end the process.
bool tells_onednn_its_caches(const Cpuid& cpuid);

/// Throws Error where oneDNN would be wrong and this LibTorch can't go without it.
void require_right_convolutions();

}  // namespace resnet_nodes
