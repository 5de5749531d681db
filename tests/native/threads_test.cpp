// threads_test.cpp: one stage from several threads at once. `./build.sh test tsan` runs these under ThreadSanitizer.
#include <atomic>
#include <thread>

#include "fused_truth.h"
#include "graph_truth.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/runtime.h"

namespace resnet_nodes {
namespace {

using namespace truth;

constexpr int kThreads = 4, kPasses = 12;

// What a thread throws fails the test, instead of ending the process.
void on_threads(const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&body, i] {
      try {
        body(i);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "thread " << i << ": " << error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

struct Load {
  const char* name;
  Problem problem;
  double allowed;  ///< 0 where the engine promises the same bits on any number of threads
};

// Fused functions are those of the CPU in float32. On a GPU the same go by operators, which promise no bits
// (expect_same): float64 tells rounding from a fault.
Load fused(const char* name, const Problem& problem) {
  return on_cpu() ? Load{name, float32(problem), 0} : Load{name, problem, 1e-11};
}

std::vector<Load> loads() {
  const auto functions = [](const FunctionSpec& function) { return std::vector<FunctionSpec>(3, function); };
  const FunctionSpec mlp{{linear(32, 8), activation(LayerKind::tanh), linear(8, 32)}};
  return {fused("fused convolutions", make_problem(functions(tiny_function(8)), 3, {4, 8, 5, 6}, 3)),
          fused("fused rows", make_problem(functions(mlp), 3, {40, 32}, 5)),
          {"operators", make_problem(functions(tiny_function(4)), 3, {3, 4, 5, 6}, 7), 1e-11}};
}

double off(const Outcome& found, const Outcome& expected) {
  const auto error = [](const std::vector<double>& a, const std::vector<double>& b) {
    return a == b ? 0 : relative_error(a, b);
  };
  return std::max({error(values(found.output), values(expected.output)),
                   error(values(found.input_gradient), values(expected.input_gradient)),
                   error(values(found.gradients), values(expected.gradients))});
}

// All threads train on the same batch with the same running statistics, which so are those of as many passes in a row,
// to the bit: an update that is lost or torn would show. Others evaluate with them at the same time.
TEST(Threads, TrainOneStage) {
  for (const Load& load : loads()) {
    for (const ReconstructionKind kind : {ReconstructionKind::backprop, ReconstructionKind::checkpoint,
                                          ReconstructionKind::corrected, ReconstructionKind::adaptive}) {
      const std::string what = std::string(load.name) + ", plan " + std::to_string(static_cast<int>(kind));
      const Problem& problem = load.problem;
      const Stage stage(problem.functions, problem.depth, options_of(kind));
      const std::vector<int32_t> frozen(problem.training.size(), 0);
      const std::vector<Tensor> in_a_row = copies(problem.buffers), shared = copies(problem.buffers);
      Outcome expected;
      for (int i = 0; i < kThreads * kPasses; ++i) expected = pass(stage, problem, in_a_row);
      const int64_t alive_before = live_objects();
      std::vector<double> most(kThreads);
      on_threads([&](int thread) {
        double& worst = most[static_cast<size_t>(thread)];
        for (int i = 0; i < kPasses; ++i) {
          worst = std::max(worst, off(pass(stage, problem, shared), expected));
          stage.evaluate(problem.x, problem.parameters, shared, frozen);
        }
      });
      for (const double worst : most) EXPECT_LE(worst, load.allowed) << what;
      if (load.allowed == 0) {
        EXPECT_EQ(values(shared), values(in_a_row)) << what;
      } else if (!shared.empty()) {
        EXPECT_LT(relative_error(values(shared), values(in_a_row)), load.allowed) << what;
      }
      EXPECT_EQ(live_objects(), alive_before);
    }
  }
}

// Frozen normalizations read what others change in the meantime. The way back has what the forward pass had: with other
// statistics, a tenth of the way to the batch's, the input would come back off by a hundred times more.
TEST(Threads, FreezeWhatOthersTrain) {
  const Problem problem = loads()[0].problem;
  StageOptions options = options_of(ReconstructionKind::corrected);
  options.count = 4;
  options.step_size = 0.01;
  options.keep_input = true;
  const Stage stage(problem.functions, problem.depth, options);
  const std::vector<Tensor> shared = copies(problem.buffers);
  std::atomic<int> wrong{0};
  on_threads([&](int thread) {
    Problem own = problem;
    if (thread % 2 == 0) std::fill(own.training.begin(), own.training.end(), 0);
    for (int i = 0; i < kPasses; ++i) {
      if (pass(stage, own, shared).report.reconstruction_error > 1e-5) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
}

// What adaptive learns from late figures, and passes as graphs, which only one thread has at a time.
class ThreadsWithGraphs : public Graphed {};

TEST_F(ThreadsWithGraphs, LearnAndRecord) {
  for (const bool graphs : {false, true}) {
    Problem problem = make_problem(std::vector<FunctionSpec>(3, tiny_function(4)), 3, {3, 4, 5, 6}, 7);
    StageOptions options;
    options.cuda_graphs = graphs;
    options.keep_input = true;
    options.step_size = 0.01;
    const Stage stage(problem.functions, problem.depth, options);
    StageOptions exact = options_of(ReconstructionKind::backprop);
    exact.step_size = options.step_size;
    const Outcome expected = run(problem, exact);
    std::atomic<int> wrong{0};
    on_threads([&](int) {
      for (int i = 0; i < kPasses; ++i) {
        const Outcome found = pass(stage, problem, copies(problem.buffers));
        // What is chosen depends on who came first; a correction alone is as good as h^2.
        wrong += off(found, expected) < 1e-3 && found.report.reconstruction_error < 1e-3 ? 0 : 1;
      }
    });
    EXPECT_EQ(wrong, 0);
  }
}

TEST(Threads, OneBackwardPassOfAContextWins) {
  const Problem problem = loads()[1].problem;
  const Stage stage(problem.functions, problem.depth, StageOptions());
  const std::vector<int32_t> wanted(problem.parameters.size(), 1);
  const Outcome expected = run(problem, StageOptions());
  for (int i = 0; i < kPasses; ++i) {
    const auto context = stage.forward(problem.x, problem.parameters, {}, {});
    std::atomic<int> won{0}, refused{0}, other{0};
    on_threads([&](int) {
      context->output();
      try {
        stage.backward(*context, problem.grad, wanted, {});
        ++won;
      } catch (const Error& error) {
        ++(std::string(error.what()).find("second backward pass") != std::string::npos ? refused : other);
      }
    });
    EXPECT_EQ(won, 1);
    EXPECT_EQ(refused, kThreads - 1);
    EXPECT_EQ(other, 0);
    expect_same(values(context->parameter_gradients()), values(expected.gradients), "of the winner");
  }
}

// Results are asked for while the backward pass runs, and let go of while they are read.
TEST(Threads, ReadWhatABackwardPassLeaves) {
  const Problem problem = loads()[0].problem;
  const Stage stage(problem.functions, problem.depth, StageOptions());
  const std::vector<int32_t> wanted(problem.parameters.size(), 1);
  for (int i = 0; i < kPasses; ++i) {
    const auto context = stage.forward(problem.x, problem.parameters, copies(problem.buffers), problem.training);
    std::atomic<int> read{0};
    std::atomic<bool> failed{false};
    on_threads([&](int thread) {
      if (thread == 0) {
        try {
          stage.backward(*context, problem.grad, wanted, {});
        } catch (...) {
          failed = true;  // the others would wait for ever
          throw;
        }
        context->keep_report_alone();
        return;
      }
      for (bool done = false; !done && !failed;) {
        try {
          context->output();
          context->report_is_ready();
          context->input_gradient();
          context->parameter_gradients();
          read += context->report().evaluations > 0 ? 1 : 0;
          done = true;
        } catch (const Error&) {  // not done yet
        }
      }
    });
    EXPECT_EQ(read, kThreads - 1);
  }
}

}  // namespace
}  // namespace resnet_nodes
