#include "fused/conv_block.h"

#include "tensors/active_kernels.h"
#include "tensors/elementwise.h"
#include "tensors/layout.h"

namespace resnet_nodes {
namespace {

using torch::headeronly::ScalarType;

// Floats of one bordered image, of which a thread holds two: beyond, it leaves the second-level cache, and LibTorch's
// blocked convolutions are the faster.
constexpr int64_t kLargestImage = 1 << 16;
// Channels beyond which a convolution's weights leave it.
constexpr int64_t kMostChannels = 128;

bool is_dense_state(const Tensor& x) {
  const int64_t c = x.size(1), h = x.size(2), w = x.size(3);
  return x.stride(1) == 1 && (w == 1 || x.stride(3) == c) && (h == 1 || x.stride(2) == w * c) &&
         (x.size(0) == 1 || x.stride(0) == h * w * c);
}

Tensor dense(const Tensor& x) { return is_dense_state(x) ? x : state_layout(x); }

}  // namespace

bool is_conv_block(const std::vector<LayerSpec>& layers) {
  using enum LayerKind;
  constexpr LayerKind kKinds[] = {conv2d, batch_norm2d, relu, conv2d, batch_norm2d};
  if (layers.size() != 5) return false;
  const int64_t channels = layers[0].in_features;
  if (channels % 8 != 0 || channels > kMostChannels) return false;
  for (size_t i = 0; i < 5; ++i) {
    const LayerSpec& s = layers[i];
    if (s.kind != kKinds[i]) return false;
    if (s.kind == batch_norm2d && s.in_features != channels) return false;
    if (s.kind == conv2d && (s.in_features != channels || s.out_features != channels || s.kernel_height != 3 ||
                             s.kernel_width != 3 || s.padding_height != 1 || s.padding_width != 1 ||
                             s.dilation_height != 1 || s.dilation_width != 1 || s.groups != 1)) {
      return false;
    }
  }
  return true;
}

bool fuses_conv_block(const Tensor& x, int64_t channels) {
  if (!x.is_cpu() || x.scalar_type() != ScalarType::Float || x.dim() != 4 || x.size(1) != channels) return false;
  // A single value a channel has no statistics: the operators say so.
  if (x.size(0) * x.size(2) * x.size(3) < 2) return false;
  return bordered_size(image_shape(channels, x.size(2), x.size(3))) <= kLargestImage;
}

std::string conv_block_path_name(int64_t channels) {
  return "fused conv3x3, " + std::to_string(channels) + " channels, " + active_kernels().name;
}

ConvBlock::ConvBlock(ConvWorkspace& workspace, const ConvBlockCall& call, const Tensor& x)
    : workspace_(workspace), call_(call) {
  workspace_.prepare(image_shape(x.size(1), x.size(2), x.size(3)), x.size(0), active_kernels());
}

ConvBlock::Convolution ConvBlock::convolution(size_t index) const {
  const LayerCall& call = call_.convolution[index];
  float* bias = nullptr;
  if (call_.has_bias[index]) {
    bias = workspace_.bias(index);
    const Numbers numbers(call.parameters[1]);
    for (int64_t c = 0; c < workspace_.image().channels; ++c) bias[c] = numbers[c];
  }
  return {workspace_.packed(call_.key, index, false, call.parameters[0]), bias};
}

Tensor ConvBlock::forward(const Tensor& base_state, const Tensor& state, double a, FusedTape* tape) {
  if (!uses_batch(0) && !uses_batch(1)) return replay(base_state, state, a, tape);
  const Tensor x = dense(state), base = base_state.defined() ? dense(base_state) : Tensor();
  const ConvShape& image = workspace_.image();
  const ConvKernels& kernels = workspace_.kernels();
  const int64_t size = dense_size(image), channels = image.channels;
  const Tensor out = call_.states->like(x);
  if (tape != nullptr) tape->keep(x);
  float* inner = tape != nullptr ? target(tape->inner) : workspace_.inner();
  float* outer = tape != nullptr ? target(tape->outer) : workspace_.outer();
  const Convolution first = convolution(0), second = convolution(1);
  const auto moments = [&](int64_t i, const float* values) {
    float* sums = workspace_.image_sums(i);
    kernels.moments(sums, sums + channels, values, image);
  };
  workspace_.for_images([&](int64_t i, ConvWorkspace::Slot& slot) {
    kernels.border(slot.input.data(), data(x) + i * size, image);
    kernels.convolve(inner + i * size, slot.input.data(), first.weights, first.bias, nullptr, slot.scratch.data(),
                     image);
    moments(i, inner + i * size);
  });
  const Norm inner_norm = uses_batch(0) ? batch_norm(0) : saved_norm(0);
  workspace_.for_images([&](int64_t i, ConvWorkspace::Slot& slot) {
    kernels.affine_relu(slot.input.data(), inner + i * size, inner_norm.scale, inner_norm.shift, image);
    kernels.convolve(outer + i * size, slot.input.data(), second.weights, second.bias, nullptr, slot.scratch.data(),
                     image);
    moments(i, outer + i * size);
  });
  const Norm outer_norm = uses_batch(1) ? batch_norm(1) : saved_norm(1);
  const Norm step = scaled(outer_norm, a);
  workspace_.for_images([&](int64_t i, ConvWorkspace::Slot&) {
    kernels.affine(target(out) + i * size, base.defined() ? data(base) + i * size : nullptr, outer + i * size,
                   step.scale, step.shift, image);
  });
  return out;
}

// f at x with known statistics, an image at a time: nothing crosses images. finish(image, outer) takes what the second
// convolution gave.
template <typename Finish>
void ConvBlock::evaluate(const Tensor& x, const Norm& inner_norm, FusedTape* tape, const Finish& finish) {
  const ConvShape& image = workspace_.image();
  const ConvKernels& kernels = workspace_.kernels();
  const int64_t size = dense_size(image);
  if (tape != nullptr) tape->keep(x);
  const Convolution first = convolution(0), second = convolution(1);
  workspace_.for_images([&](int64_t i, ConvWorkspace::Slot& slot) {
    float* inner = tape != nullptr ? target(tape->inner) + i * size : slot.inner.data();
    float* outer = tape != nullptr ? target(tape->outer) + i * size : slot.outer.data();
    kernels.border(slot.input.data(), data(x) + i * size, image);
    kernels.convolve(inner, slot.input.data(), first.weights, first.bias, nullptr, slot.scratch.data(), image);
    kernels.affine_relu(slot.input.data(), inner, inner_norm.scale, inner_norm.shift, image);
    kernels.convolve(outer, slot.input.data(), second.weights, second.bias, nullptr, slot.scratch.data(), image);
    finish(i, outer);
  });
}

Tensor ConvBlock::replay(const Tensor& base_state, const Tensor& state, double a, FusedTape* tape) {
  const Tensor x = dense(state), base = base_state.defined() ? dense(base_state) : Tensor();
  const ConvShape& image = workspace_.image();
  const int64_t size = dense_size(image);
  const Tensor out = call_.states->like(x);
  const Norm inner_norm = saved_norm(0), step = scaled(saved_norm(1), a);
  evaluate(x, inner_norm, tape, [&](int64_t i, const float* outer) {
    workspace_.kernels().affine(target(out) + i * size, base.defined() ? data(base) + i * size : nullptr, outer,
                                step.scale, step.shift, image);
  });
  return out;
}

Corrected ConvBlock::correct(const Tensor& y_state, const Tensor& predicted_state, double a, bool keep_slope,
                             const Tensor& cotangent_state, FusedTape& tape) {
  const Tensor y = dense(y_state), predicted = dense(predicted_state), cotangent = dense(cotangent_state);
  const ConvShape& image = workspace_.image();
  const ConvKernels& kernels = workspace_.kernels();
  const int64_t size = dense_size(image);
  Corrected result{call_.states->like(y), keep_slope ? call_.states->like(y) : Tensor(), {}};
  const Norm inner_norm = saved_norm(0), outer_norm = saved_norm(1);
  std::vector<StepNorms> norms(static_cast<size_t>(workspace_.batch()));
  float* sums = tape.sums.resize(workspace_.batch() * 2 * image.channels);
  evaluate(predicted, inner_norm, &tape, [&](int64_t i, const float* outer) {
    norms[static_cast<size_t>(i)] = kernels.correct(
        target(result.state) + i * size, keep_slope ? target(result.slope) + i * size : nullptr, data(y) + i * size,
        data(predicted) + i * size, outer, outer_norm.scale, outer_norm.shift, a, image);
    float* of_image = sums + i * 2 * image.channels;
    kernels.product_sums(of_image, of_image + image.channels, data(cotangent) + i * size, outer, outer_norm.mean,
                         image);
  });
  tape.has_sums = true;
  result.norms = sum_of(norms);
  return result;
}

void ConvBlock::add_convolution_gradients(size_t index) {
  const GradientTarget& weight = call_.targets[4 * index];
  const GradientTarget& bias = call_.targets[4 * index + 1];
  if (weight.gradient.defined()) workspace_.weight_gradient(weight.gradient, weight.add);
  if (bias.gradient.defined()) workspace_.bias_gradient(bias.gradient, bias.add);
}

Tensor ConvBlock::vjp(const Tensor& base_state, const Tensor& cotangent_state, double a, FusedTape& tape) {
  const Tensor cotangent = dense(cotangent_state), base = base_state.defined() ? dense(base_state) : Tensor();
  const ConvShape& image = workspace_.image();
  const ConvKernels& kernels = workspace_.kernels();
  const int64_t size = dense_size(image), channels = image.channels;
  const Tensor out = call_.states->like(cotangent);
  const Norm inner_norm = saved_norm(0), outer_norm = saved_norm(1);
  const float *g = data(cotangent), *x = data(tape.x), *inner = data(tape.inner);
  float* outer = target(tape.outer);
  if (!tape.has_sums) {
    float* sums = tape.sums.resize(workspace_.batch() * 2 * channels);
    workspace_.for_images([&](int64_t i, ConvWorkspace::Slot&) {
      float* of_image = sums + i * 2 * channels;
      kernels.product_sums(of_image, of_image + channels, g + i * size, outer + i * size, outer_norm.mean, image);
    });
  }
  tape.has_sums = false;

  // Back through the second normalization and convolution and the ReLU; the gradient takes the place of `outer`.
  const bool outer_weight = wants(4), inner_weight = wants(0);
  const NormGradient outer_gradient = norm_gradient(1, outer_norm, a, tape.sums.data());
  const float* outer_weights = workspace_.packed(call_.key, 1, true, call_.convolution[1].parameters[0]);
  workspace_.for_images_with_sums(outer_weight, [&](int64_t i, int64_t part, ConvWorkspace::Slot& slot) {
    float *activation = slot.input.data(), *gradient = slot.gradient.data(), *middle = outer + i * size;
    kernels.norm_gradient(gradient, workspace_.bias_sums(part), g + i * size, middle, outer_norm.mean,
                          outer_gradient.by_g, outer_gradient.by_x, outer_gradient.constant, image);
    kernels.affine_relu(activation, inner + i * size, inner_norm.scale, inner_norm.shift, image);
    if (outer_weight)
      kernels.weight_gradient(slot.weight_sums.data(), activation, gradient, slot.scratch.data(), image);
    kernels.convolve(middle, gradient, outer_weights, nullptr, nullptr, slot.scratch.data(), image);
    kernels.mask(middle, activation, image);
    float* sums = workspace_.image_sums(i);
    kernels.product_sums(sums, sums + channels, middle, inner + i * size, inner_norm.mean, image);
  });
  add_convolution_gradients(1);

  const NormGradient inner_gradient = norm_gradient(0, inner_norm, 1.0, workspace_.image_sums(0));
  const float* inner_weights = workspace_.packed(call_.key, 0, true, call_.convolution[0].parameters[0]);
  workspace_.for_images_with_sums(inner_weight, [&](int64_t i, int64_t part, ConvWorkspace::Slot& slot) {
    float* gradient = slot.gradient.data();
    kernels.norm_gradient(gradient, workspace_.bias_sums(part), outer + i * size, inner + i * size, inner_norm.mean,
                          inner_gradient.by_g, inner_gradient.by_x, inner_gradient.constant, image);
    if (inner_weight) {
      kernels.border(slot.input.data(), x + i * size, image);
      kernels.weight_gradient(slot.weight_sums.data(), slot.input.data(), gradient, slot.scratch.data(), image);
    }
    kernels.convolve(target(out) + i * size, gradient, inner_weights, nullptr,
                     base.defined() ? data(base) + i * size : nullptr, slot.scratch.data(), image);
  });
  add_convolution_gradients(0);
  return out;
}

}  // namespace resnet_nodes
