// tanh_problem.h: stages whose weights are smooth in depth, or are not.
#pragma once

#include "truth.h"

namespace resnet_nodes::truth {

inline constexpr int64_t kWidth = 16;
inline constexpr double kPi = 3.14159265358979323846;

/// f_n(x) = tanh(x W_n) B with W_n from a smooth curve or drawn anew for each n.
inline Problem tanh_problem(int64_t depth, bool smooth, double scale = 1.0) {
  Generator generator(7);
  const Shape square{kWidth, kWidth};
  const double unit = scale / std::sqrt(static_cast<double>(kWidth));
  const Tensor b = normal(square, generator, unit);
  const Tensor start = normal(square, generator, unit), sine = normal(square, generator, unit),
               cosine = normal(square, generator, unit);
  Problem problem{std::vector<FunctionSpec>(static_cast<size_t>(depth),
                                            FunctionSpec{{linear(kWidth, kWidth, false), activation(LayerKind::tanh),
                                                          linear(kWidth, kWidth, false)}}),
                  depth,
                  normal({32, kWidth}, generator),
                  normal({32, kWidth}, generator),
                  {},
                  {},
                  {}};
  for (int64_t n = 0; n < depth; ++n) {
    const double t = static_cast<double>(n) / static_cast<double>(depth);
    const Tensor curve = moved(moved(start, sine, std::sin(kPi * t)), cosine, std::cos(kPi * t));
    problem.parameters.push_back(smooth ? curve : normal(square, generator, unit));
    problem.parameters.push_back(b);
  }
  return problem;
}

}  // namespace resnet_nodes::truth
