// layers.h: what a residual function is made of. Values; the engine checks them when a stage is built.
#pragma once

#include <cstdint>
#include <vector>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

enum class LayerKind {
  conv2d,
  linear,
  batch_norm2d,
  relu,
  tanh,
  gelu,
  identity,
  subsample,          ///< every stride-th row and column
  max_pool2d,         ///< padding counts as minus infinity
  avg_pool2d,         ///< padding counts as zeros
  global_avg_pool2d,  ///< [B, C, H, W] -> [B, C, 1, 1]
  flatten,            ///< [B, ...] -> [B, D], row-major
  add,                ///< x plus the output of layer `other`
  rectify,            ///< max(x, -o) of the output o of layer `other`: o plus that is relu(x + o)
};

/// Places that a layer may take its input from, beside the numbers of earlier layers.
constexpr int64_t kFunctionInput = -1;
constexpr int64_t kLayerBefore = -2;

/// One layer. Fields that a kind has no use for are ignored.
/// Parameters, in this order: conv2d weight [out, in / groups, kh, kw], bias [out]; linear weight [out, in], bias
/// [out]; batch_norm2d weight [C], bias [C]. Buffers: batch_norm2d running_mean [C], running_var [C].
struct LayerSpec {
  LayerKind kind = LayerKind::identity;
  int64_t in_features = 0;    ///< channels or features that come in; batch_norm2d: C
  int64_t out_features = 0;   ///< channels or features that go out
  int64_t kernel_height = 1;  ///< of a window: conv2d, pools
  int64_t kernel_width = 1;
  int64_t stride_height = 1;
  int64_t stride_width = 1;
  int64_t padding_height = 0;
  int64_t padding_width = 0;
  int64_t dilation_height = 1;
  int64_t dilation_width = 1;
  int64_t groups = 1;
  bool bias = true;                 ///< conv2d, linear: has a bias
  bool affine = true;               ///< batch_norm2d: has a weight and a bias
  bool track_statistics = true;     ///< batch_norm2d: has running statistics
  double epsilon = 1e-5;            ///< batch_norm2d
  double momentum = 0.1;            ///< batch_norm2d: weight of the new batch in the running statistics
  bool tanh_approximation = false;  ///< gelu

  /// Where x comes from: the number of an earlier layer, kFunctionInput, or kLayerBefore.
  int64_t input = kLayerBefore;
  int64_t other = kFunctionInput;  ///< add, rectify: the second input's, likewise
};

/// A residual function f_n: layers applied one after the other, or joined by their `input`s; the last one's output is
/// the function's, and has the shape of its input unless the function stands alone (StageOptions::residual).
struct FunctionSpec {
  std::vector<LayerSpec> layers;
};

/// Number of parameter tensors of a function, in the order in which its layers list them.
RESNET_NODES_API int64_t parameter_count(const FunctionSpec& function);
/// Number of buffer tensors (running statistics) of a function.
RESNET_NODES_API int64_t buffer_count(const FunctionSpec& function);

}  // namespace resnet_nodes
