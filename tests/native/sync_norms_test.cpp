// sync_norms_test.cpp: batch normalizations whose statistics are those of all ranks, against one process that has the
// whole batch and goes by LibTorch's operators in float64.
#include "fused/states.h"
#include "fused_truth.h"
#include "ranks/parts_of_batch.h"
#include "resnet_nodes/error.h"

namespace resnet_nodes {
namespace {

using namespace truth;

// Rounding of a few hundred operations in float64, and in float32 as in the tests of fused functions.
constexpr double kWide = 1e-12, kNarrow = 1e-5;

class SyncNorms : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!on_cpu()) GTEST_SKIP() << "on the CPU alone";
  }
};

void expect_same_buffers(const OfRanks& found, const std::vector<Tensor>& expected, double allowed,
                         const std::string& what) {
  for (const std::vector<Tensor>& buffers : found.buffers) {
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(values(buffers[i]), values(found.buffers.front()[i])) << what << ", buffer " << i << ", another rank";
      expect_close(buffers[i], expected[i], allowed, 0, what + ", buffer " + std::to_string(i));
    }
  }
}

// A training step on the ranks against one of the whole batch in float64.
void expect_whole_batch(const Problem& problem, const StageOptions& options, const Split& split, double allowed,
                        const std::string& what) {
  const OfRanks found = on_ranks(problem, options, split);
  const Problem whole = float64(problem);
  StageOptions wide = options;
  wide.compute_type = ComputeType::same_as_state;
  const std::vector<Tensor> buffers = copies(whole.buffers);
  expect_same_outcome(found.joined(), pass(Stage(whole.functions, whole.depth, wide), whole, buffers), allowed, what);
  expect_same_buffers(found, buffers, allowed, what);
}

// Those that find each state as one process would, to rounding.
std::vector<StageOptions> exact_options(const std::string& solver) {
  std::vector<StageOptions> all;
  for (const ReconstructionPlan& plan : reconstruction_plans()) {
    StageOptions options = options_of(plan.kind, solver);
    options.step_size = 0.05;
    if (plan.kind == ReconstructionKind::adaptive) options.count = 40, options.tolerance = 1e-13;
    all.push_back(options);
  }
  return all;
}

std::vector<Split> splits() { return {{3, 2}, {1, 4}, {2, 2, 1}, {1, 1, 1, 2}}; }

std::string text(const Split& split) {
  std::string all = "split";
  for (const int64_t images : split) all.append(" ").append(std::to_string(images));
  return all;
}

TEST_F(SyncNorms, AreThoseOfTheWholeBatchWithAllMethodsAndSolvers) {
  uint64_t seed = 10;
  for (const std::string& solver : solver_names()) {
    for (const StageOptions& options : exact_options(solver)) {
      for (const Split& split : splits()) {
        const std::vector<FunctionSpec> functions(3, tiny_function(4));
        const Problem problem = make_problem(functions, 3, {5, 4, 3, 4}, ++seed);
        expect_whole_batch(
            problem, options, split, kWide,
            solver + ", plan " + std::to_string(static_cast<int>(options.reconstruction)) + ", " + text(split));
      }
    }
  }
}

TEST_F(SyncNorms, AreThoseOfTheWholeBatchForRandomProblems) {
  for (uint64_t seed = 100; seed < 130; ++seed) {
    Generator generator(seed);
    const auto draw = [&](int64_t from, int64_t to) {
      return from + static_cast<int64_t>(generator() % static_cast<uint64_t>(to - from + 1));
    };
    const int64_t channels = draw(1, 9), inner = draw(1, 6);
    Split split(static_cast<size_t>(draw(2, 4)));
    for (int64_t& images : split) images = draw(1, 4);
    const int64_t batch = std::accumulate(split.begin(), split.end(), int64_t{0});
    const FunctionSpec function{{batch_norm(channels, draw(0, 1) == 1, draw(0, 1) == 1), activation(LayerKind::gelu),
                                 conv(channels, inner, 1), batch_norm(inner, draw(0, 1) == 1, draw(0, 1) == 1),
                                 activation(LayerKind::tanh), conv(inner, channels),
                                 batch_norm(channels, true, draw(0, 1) == 1)}};
    // More than one value a channel, few enough that two ranks may have one.
    const Problem problem = make_problem({function}, 2, {batch, channels, draw(1, 5), draw(2, 5)}, seed);
    expect_whole_batch(problem, options_of(ReconstructionKind::backprop), split, kWide,
                       "seed " + std::to_string(seed) + ", " + text(split));
  }
}

TEST_F(SyncNorms, FusedChainsAreThoseOfTheWholeBatch) {
  struct Case {
    FunctionSpec function;
    Shape shape;
    Split split;
  };
  const std::vector<Case> cases{
      {tiny_function(8), {5, 8, 5, 6}, {3, 2}},          {tiny_function(16), {7, 16, 9, 4}, {1, 4, 2}},
      {tiny_function(16), {25, 16, 5, 6}, {15, 10}},     {bottleneck(32, 16), {9, 32, 6, 6}, {4, 5}},
      {bottleneck(32, 16), {60, 32, 1, 1}, {1, 40, 19}}, {tiny_function(144), {3, 144, 5, 4}, {1, 2}}};
  uint64_t seed = 200;
  for (const Case& one : cases) {
    for (const std::string& solver : {std::string("euler"), std::string("heun")}) {
      for (const ReconstructionKind kind :
           {ReconstructionKind::backprop, ReconstructionKind::checkpoint, ReconstructionKind::inverse,
            ReconstructionKind::corrected, ReconstructionKind::adaptive}) {
        const Problem problem = float32(make_problem(std::vector<FunctionSpec>(2, one.function), 2, one.shape, ++seed));
        const bool fused =
            Stage(problem.functions, 2, StageOptions()).function_path(0, problem.x).find("fused") != std::string::npos;
        ASSERT_EQ(fused, fusing_is_on());
        StageOptions options = options_of(kind, solver);
        options.step_size = 0.01;
        options.tolerance = 1e-5;
        const std::string what = "channels " + std::to_string(one.shape[1]) + ", " + solver + ", plan " +
                                 std::to_string(static_cast<int>(kind)) + ", " + text(one.split);
        const OfRanks found = on_ranks(problem, options, one.split);
        const Problem whole = float64(problem);
        const std::vector<Tensor> buffers = copies(whole.buffers);
        expect_same_outcome(found.joined(), pass(Stage(whole.functions, 2, options), whole, buffers), kNarrow, what);
        expect_same_buffers(found, buffers, kNarrow, what);
      }
    }
  }
}

TEST_F(SyncNorms, AreStableWhereRanksAndMeansAreFarApart) {
  Problem problem = make_problem({{{batch_norm(8), conv(8, 8), batch_norm(8)}}}, 1, {6, 8, 4, 4}, 5);
  auto* x = static_cast<double*>(problem.x.mutable_data_ptr());
  for (int64_t i = 0; i < problem.x.numel(); ++i) x[i] = 0.1 * x[i] + (i < problem.x.numel() / 2 ? 1000 : 1001);
  const StageOptions options = options_of(ReconstructionKind::backprop);
  // A value of 1000 has a rounding of 1000 u beside a deviation of 0.5.
  expect_whole_batch(problem, options, {3, 3}, 2000 * kWide, "float64");
  expect_whole_batch(float32(problem), options, {3, 3}, 2000 * 1.2e-7, "float32");
}

TEST_F(SyncNorms, TakeMixedPrecision) {
  StageOptions options = options_of(ReconstructionKind::backprop);
  options.compute_type = ComputeType::bfloat16;
  for (const FunctionSpec& function : {tiny_function(16), FunctionSpec{{batch_norm(16, false), conv(16, 16)}},
                                       FunctionSpec{{conv(16, 16), batch_norm(16, false, false), conv(16, 16, 1)}}}) {
    const Problem problem = float32(make_problem({function}, 1, {5, 16, 6, 6}, 31));
    // What one process gives, which rounds at the same places; a mask of a ReLU may flip.
    const OfRanks found = on_ranks(problem, options, {3, 2});
    const std::vector<Tensor> buffers = copies(problem.buffers);
    expect_same_outcome(found.joined(), pass(Stage(problem.functions, 1, options), problem, buffers), 2e-2, "bfloat16");
    expect_same_buffers(found, buffers, 1e-3, "bfloat16");
  }
  // States, parameters and statistics too: each is rounded to 1/256.
  Problem narrow = make_problem({tiny_function(4)}, 1, {5, 4, 3, 4}, 33);
  for (Tensor* tensor : {&narrow.x, &narrow.grad}) *tensor = torch::stable::to(*tensor, ScalarType::BFloat16);
  for (auto* list : {&narrow.parameters, &narrow.buffers}) {
    for (Tensor& tensor : *list) tensor = torch::stable::to(tensor, ScalarType::BFloat16);
  }
  expect_whole_batch(narrow, options_of(ReconstructionKind::backprop), {3, 2}, 3e-2, "bfloat16 alone");
}

TEST_F(SyncNorms, FunctionsAloneGoInPartsOnSomeRanks) {
  for (const FunctionSpec& function : {first_block(8, 4, LayerKind::gelu), bottleneck(8, 4, LayerKind::tanh)}) {
    for (const Split& split : {Split{1, 4}, Split{3, 2}, Split{2, 2, 1}}) {
      for (const ReconstructionKind kind : {ReconstructionKind::checkpoint, ReconstructionKind::backprop}) {
        const Problem problem = make_problem_alone(function, {5, 8, 6, 6}, 41);
        StageOptions options = options_of(kind);
        options.residual = false;
        for (const int64_t tape_bytes : {int64_t{0}, int64_t{1}, int64_t{30000}}) {
          options.tape_bytes = tape_bytes;
          const std::string what = text(split) + ", plan " + std::to_string(static_cast<int>(kind)) + ", " +
                                   std::to_string(tape_bytes) + " bytes";
          expect_whole_batch(problem, options, split, kWide, what);
        }
      }
    }
  }
}

TEST_F(SyncNorms, TakeTiedFunctions) {
  for (const std::string& solver : {std::string("euler"), std::string("heun")}) {
    for (const StageOptions& options : exact_options(solver)) {
      expect_whole_batch(make_problem({tiny_function(4)}, 3, {5, 4, 3, 4}, 51), options, {3, 2}, kWide, solver);
    }
  }
}

// One sum for each training normalization there, and one on the way back, whatever the method: states that are found
// again ask for none.
TEST_F(SyncNorms, AskForOneSumEachWay) {
  const Problem wide = make_problem(std::vector<FunctionSpec>(3, tiny_function(8)), 3, {5, 8, 4, 4}, 61);
  for (const Problem& problem : {wide, float32(wide)}) {
    for (const StageOptions& options : exact_options("euler")) {
      EXPECT_EQ(on_ranks(problem, options, {2, 3}).sums, 2 * 6);
    }
    for (const StageOptions& options : exact_options("heun")) {
      EXPECT_EQ(on_ranks(problem, options, {2, 3}).sums, 2 * 8);
    }
    Problem frozen = problem;
    frozen.training = {1, 0, 0, 0, 0, 1};
    EXPECT_EQ(on_ranks(frozen, StageOptions(), {2, 3}).sums, 2 * 2);
    expect_whole_batch(frozen, options_of(ReconstructionKind::backprop), {2, 3}, &problem == &wide ? kWide : kNarrow,
                       "some frozen");
    frozen.training.assign(6, 0);
    EXPECT_EQ(on_ranks(frozen, StageOptions(), {2, 3}).sums, 0);
  }
}

// Each rank finds its own images' states; one may need more evaluations for them than another.
TEST_F(SyncNorms, RanksMayTakeDifferentNumbersOfEvaluations) {
  Problem problem = make_problem(std::vector<FunctionSpec>(6, tiny_function(4)), 6, {5, 4, 3, 4}, 65);
  auto* x = static_cast<double*>(problem.x.mutable_data_ptr());
  for (int64_t i = 0; i < problem.x.numel(); ++i) x[i] *= i < problem.x.numel() / 5 ? 100 : 0.1;
  StageOptions options = options_of(ReconstructionKind::adaptive);
  options.tolerance = 1e-8;
  options.step_size = 0.02;
  options.count = 40;
  StageOptions kept = options;
  kept.reconstruction = ReconstructionKind::backprop;
  kept.count = 0;
  const OfRanks found = on_ranks(problem, options, {1, 4});
  // Where figures arrive late, a pass takes what the one before has found.
  EXPECT_TRUE(delayed() || found.outcomes[0].report.evaluations != found.outcomes[1].report.evaluations);
  EXPECT_EQ(found.sums, 2 * 12);
  expect_same_outcome(found.joined(), run(problem, kept), 1e-6, "different numbers");
}

TEST_F(SyncNorms, TakeFrozenParameters) {
  const Problem wide = make_problem(std::vector<FunctionSpec>(2, tiny_function(8)), 2, {5, 8, 4, 4}, 71);
  const StageOptions options = options_of(ReconstructionKind::backprop);
  for (const Problem& problem : {wide, float32(wide)}) {
    for (size_t only = 0; only < problem.parameters.size(); ++only) {
      std::vector<int32_t> wanted(problem.parameters.size(), 0);
      wanted[only] = 1;
      const OfRanks some = on_ranks(problem, options, {2, 3}, [&](int32_t, const Stage& stage, const Problem& part) {
        const auto context = stage.forward(part.x, part.parameters, part.buffers, part.training);
        const Tensor output = context->output();
        stage.backward(*context, part.grad, wanted, {});
        return Outcome{output, context->input_gradient(), context->parameter_gradients(), context->report()};
      });
      const OfRanks all = on_ranks(problem, options, {2, 3});
      for (size_t rank = 0; rank < 2; ++rank) {
        const Outcome &a = some.outcomes[rank], &b = all.outcomes[rank];
        EXPECT_EQ(values(a.input_gradient), values(b.input_gradient));
        EXPECT_EQ(values(a.gradients[only]), values(b.gradients[only]));
        for (size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(a.gradients[i].defined(), i == only);
      }
    }
  }
}

TEST_F(SyncNorms, MoveRunningStatisticsFromStepToStep) {
  const Problem wide = make_problem({tiny_function(8)}, 2, {5, 8, 4, 4}, 81);
  for (const Problem& problem : {wide, float32(wide)}) {
    const OfRanks found =
        on_ranks(problem, StageOptions(), {1, 4}, [](int32_t, const Stage& stage, const Problem& part) {
          for (int i = 0; i < 3; ++i) stage.evaluate(part.x, part.parameters, part.buffers, part.training);
          return pass(stage, part, part.buffers);
        });
    const Problem whole = float64(problem);
    const Stage stage(whole.functions, 2, StageOptions());
    for (int i = 0; i < 4; ++i) stage.evaluate(whole.x, whole.parameters, whole.buffers, whole.training);
    expect_same_buffers(found, whole.buffers, &problem == &wide ? kWide : kNarrow, "four steps");
  }
}

TEST_F(SyncNorms, TakeOneValueOfEachRank) {
  const Problem wide = make_problem({tiny_function(8)}, 2, {3, 8, 1, 1}, 91);
  const StageOptions options = options_of(ReconstructionKind::backprop);
  expect_whole_batch(wide, options, {1, 1, 1}, kWide, "float64");
  // Three values: where two are near, their statistics amplify rounding.
  expect_whole_batch(float32(wide), options, {1, 1, 1}, 10 * kNarrow, "by operators");
  expect_whole_batch(float32(wide), options, {2, 1}, 10 * kNarrow, "fused beside operators");
}

TEST_F(SyncNorms, OneRankIsNone) {
  const Problem problem = float32(make_problem({tiny_function(8)}, 2, {5, 8, 4, 4}, 95));
  const OfRanks found = on_ranks(problem, StageOptions(), {5});
  const std::vector<Tensor> buffers = copies(problem.buffers);
  const Outcome expected = pass(Stage(problem.functions, 2, StageOptions()), problem, buffers);
  EXPECT_EQ(values(found.outcomes[0].output), values(expected.output));
  EXPECT_EQ(values(found.outcomes[0].gradients), values(expected.gradients));
  EXPECT_EQ(values(found.buffers[0]), values(buffers));
  EXPECT_EQ(found.sums, 0);
}

TEST_F(SyncNorms, AWayBackGoesByWhatItsForwardPassWentBy) {
  const Problem problem = make_problem({tiny_function(4)}, 2, {5, 4, 3, 4}, 97);
  const OfRanks expected = on_ranks(problem, StageOptions(), {2, 3});
  const OfRanks found = on_ranks(problem, StageOptions(), {2, 3}, [](int32_t, const Stage& stage, const Problem& part) {
    const auto context = stage.forward(part.x, part.parameters, part.buffers, part.training);
    stage.synchronize(nullptr);
    const Tensor output = context->output();
    stage.backward(*context, part.grad, std::vector<int32_t>(part.parameters.size(), 1), {});
    return Outcome{output, context->input_gradient(), context->parameter_gradients(), context->report()};
  });
  for (size_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(values(found.outcomes[rank].input_gradient), values(expected.outcomes[rank].input_gradient));
    EXPECT_EQ(values(found.outcomes[rank].gradients), values(expected.outcomes[rank].gradients));
  }
}

TEST_F(SyncNorms, RefuseWhatTheyCantDo) {
  const Problem problem = make_problem({tiny_function(4)}, 1, {1, 4, 1, 1}, 99);
  StageOptions graphs;
  graphs.cuda_graphs = true;
  const Stage layers(problem.functions, 1, StageOptions()), recorded(problem.functions, 1, graphs),
      outside(1, StageOptions());
  EXPECT_TRUE(layers.can_synchronize());
  EXPECT_FALSE(recorded.can_synchronize());
  EXPECT_FALSE(outside.can_synchronize());
  ThreadRanks ranks(2);
  Communicator of_two(ranks.transport(0));
  expect_error([&] { recorded.synchronize(&of_two); }, "leave cuda_graphs off");
  expect_error([&] { outside.synchronize(&of_two); }, "it needs native layers");
  ThreadRanks alone(1);
  const Communicator of_one(alone.transport(0));
  outside.synchronize(&of_one);
  outside.synchronize(nullptr);
}

TEST_F(SyncNorms, RefuseASingleValueOnAllRanksTogether) {
  const Problem problem = make_problem({tiny_function(4)}, 1, {1, 4, 1, 1}, 99);
  ResNetNodesTransport transport = ThreadRanks(2).transport(0);
  transport.sum = [](void*, void*, int64_t, int32_t, void*) -> int64_t { return 0; };
  transport.wait = [](void*, int64_t, int64_t) -> int32_t { return 1; };
  const Communicator silent(transport);
  const Stage stage(problem.functions, 1, StageOptions());
  stage.synchronize(&silent);
  expect_error([&] { stage.evaluate(problem.x, problem.parameters, problem.buffers, problem.training); },
               "expected more than one for training statistics");
}

TEST_F(SyncNorms, TellWhyRanksHaveFailed) {
  const Problem problem = make_problem({tiny_function(4)}, 1, {2, 4, 3, 3}, 101);
  ResNetNodesTransport transport = ThreadRanks(2).transport(0);
  transport.sum = [](void*, void*, int64_t, int32_t, void*) -> int64_t { return 0; };
  transport.wait = [](void*, int64_t, int64_t) -> int32_t { return -1; };
  transport.failure = [](void*) { return "a cable is cut"; };
  const Communicator broken(transport);
  const Stage stage(problem.functions, 1, StageOptions());
  stage.synchronize(&broken);
  const std::vector<Tensor> buffers = copies(problem.buffers);
  expect_error([&] { stage.evaluate(problem.x, problem.parameters, buffers, problem.training); }, "a cable is cut");
  for (size_t i = 0; i < buffers.size(); ++i) EXPECT_EQ(values(buffers[i]), values(problem.buffers[i]));
}

TEST_F(SyncNorms, RefuseAPassBesideAnotherOrAfterTheEnd) {
  const Problem problem = make_problem({tiny_function(4)}, 2, {4, 4, 3, 3}, 103);
  const Stage stage(problem.functions, 2, StageOptions());
  const auto evaluate = [&] {
    return stage.evaluate(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  };
  ThreadRanks ranks(2);
  auto first = std::make_unique<Communicator>(ranks.transport(0));
  stage.synchronize(first.get());
  // The other rank's forward pass.
  const auto come = [&] {
    Communicator second(ranks.transport(1));
    const Stage its_own(problem.functions, 2, StageOptions());
    its_own.synchronize(&second);
    its_own.evaluate(problem.x, problem.parameters, copies(problem.buffers), problem.training);
  };
  std::thread other(come);
  const auto context = stage.forward(problem.x, problem.parameters, problem.buffers, problem.training);
  other.join();
  // This one waits for the other rank.
  const int64_t before = ranks.started(0);
  std::thread waiting(evaluate);
  while (ranks.started(0) == before) std::this_thread::yield();
  expect_error([&] { evaluate(); }, "another pass is under way on another thread");
  // One that asks for no sums goes on.
  stage.evaluate(problem.x, problem.parameters, problem.buffers, {0, 0});
  const std::vector<int32_t> wanted(problem.parameters.size(), 1);
  expect_error([&] { stage.backward(*context, problem.grad, wanted, {}); }, "another pass is under way");
  come();
  waiting.join();
  first.reset();
  expect_error([&] { evaluate(); }, "the communicator is closed");
  expect_error([&] { stage.backward(*context, problem.grad, wanted, {}); }, "the communicator is closed");
  stage.synchronize(nullptr);
  evaluate();
}

}  // namespace
}  // namespace resnet_nodes
