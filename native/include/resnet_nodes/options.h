// options.h: how a stage is integrated and differentiated, and the tables of solvers and reconstructions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "resnet_nodes/export.h"

namespace resnet_nodes {

/// One row of the table of solvers: an explicit Runge-Kutta method whose stages may evaluate neighbouring functions.
/// With s stages, step n is k_i = f_{n + functions[i]}(x_n + h sum_{j<i} a_ij k_j), x_{n+1} = x_n + h sum_i b_i k_i.
struct SolverPlan {
  std::string name;           ///< as users write it
  std::string summary;        ///< one line: the step
  int64_t order = 1;          ///< of the forward pass
  int64_t inverse_order = 1;  ///< order in h of the gradient's error of `inverse`, on weights that are smooth in depth
  std::vector<int64_t> functions;  ///< of each stage, from 0
  std::vector<double> a;           ///< the strictly lower triangle, row by row: a_21, a_31, a_32, ...
  std::vector<double> b;           ///< weights of the stages
};

/// The table of solvers. The first row is the default.
RESNET_NODES_API std::vector<SolverPlan> solver_plans();
/// Steps that `depth` functions make. Throws Error where the solver is unknown or needs more functions.
RESNET_NODES_API int64_t step_count(const std::string& solver, int64_t depth);
/// How often each of `depth` functions is evaluated in one forward pass. Throws Error like step_count.
RESNET_NODES_API std::vector<int64_t> use_counts(const std::string& solver, int64_t depth);

/// What residual functions are evaluated in.
enum class ComputeType {
  same_as_state,  ///< the dtype of x
  bfloat16,       ///< mixed precision; x and all parameters are float32
};

enum class ReconstructionKind { backprop, checkpoint, inverse, corrected, extrapolated, adaptive };

/// What a reconstruction takes as its argument, `name:argument`.
enum class PlanArgument { none, count, tolerance };

/// One row of the table of reconstructions: what users read of a method.
struct ReconstructionPlan {
  ReconstructionKind kind = ReconstructionKind::adaptive;
  std::string name;                            ///< as users write it
  std::string summary;                         ///< one line of help
  PlanArgument argument = PlanArgument::none;  ///< what may follow the name, behind a colon
  std::string argument_name;                   ///< in formulas and help; empty where there is no argument
  int64_t default_count = 0;  ///< what count = 0 stands for; checkpoint: 0, the square root of the depth
  int64_t least_count = 0;    ///< of `name:count`
  int64_t most_count = 0;     ///< 0: no limit
  int64_t order = 0;          ///< order in h of the gradient's error on smooth weights (Euler, default count); 0: exact
  bool order_grows = false;   ///< by 1 with each further count
  double evaluations = 0;     ///< evaluations a layer of a training step (Euler, default count)
  bool evaluations_grow = false;  ///< by 1 with each further count
  bool memory_free = true;        ///< whether memory stays flat in depth
};

/// The table, one row a kind.
RESNET_NODES_API std::vector<ReconstructionPlan> reconstruction_plans();

/// How a stage is integrated and differentiated. A value; the defaults are what most users want.
struct StageOptions {
  std::string solver = "euler";  ///< a name of the table of solvers
  ReconstructionKind reconstruction = ReconstructionKind::adaptive;
  /// checkpoint: steps between stored states; corrected: iterations; extrapolated: order (2 or 3); adaptive: iterations
  /// at most. 0 stands for the method's own default.
  int64_t count = 0;
  /// The last steps whose tapes the forward pass stores, whatever the reconstruction: exact, and nothing of them is
  /// evaluated again. At most all; backprop stores all.
  int64_t stored_steps = 0;
  /// adaptive: states that are kept or replayed at a time, that at which a gradient is taken among them; at least 2.
  /// With fewer, steps that can't be found are replayed more often. 0: 2 sqrt(N), at most 7.
  int64_t most_states = 0;
  double tolerance = 1e-3;  ///< adaptive: estimated error of a reconstructed state, relative to it
  double step_size = 0;     ///< h; 0 stands for 1/N
  bool keep_input = false;  ///< store x_0 and report |x~_0 - x_0| / |x_0| after backward
  /// Record forward and backward passes as CUDA graphs when input shape and parameter addresses repeat, and launch
  /// those instead: docs/cuda.md says when, and what memory that takes. Same results. Native layers and CUDA tensors
  /// only: an Error otherwise, and where an operator can't be recorded.
  bool cuda_graphs = false;
  /// bfloat16: f_n is evaluated and differentiated in it, with copies of the parameters of its convolutions and linear
  /// layers that live for one or two functions at a time. Parameters, states, statistics and gradients stay float32;
  /// products of one evaluation are rounded to bfloat16 before they are added up. Not with callbacks.
  ComputeType compute_type = ComputeType::same_as_state;
  /// Bytes of the tape that the product of one function works with, and of what it makes of it: where the whole batch's
  /// is larger it goes over some images after the other, at the cost of up to one more evaluation of some layers. Kept
  /// as far as what crosses images lets it be. 0: 8 MiB, or a quarter of the whole batch's tape where that is more; on
  /// an accelerator no bound.
  int64_t tape_bytes = 0;
  /// Whether steps add to the state. False: a function alone, x_1 = f_0(x_0), whose output may have any shape. With
  /// checkpoint its input is stored and it is evaluated again on the way back; with backprop its tape is stored. Depth
  /// 1 and no other reconstruction, no CUDA graphs.
  bool residual = true;
};

}  // namespace resnet_nodes
