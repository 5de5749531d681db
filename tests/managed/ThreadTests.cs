using System.Reflection;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Every public method of a stage may be called from any thread at any time.</summary>
public sealed class ThreadTests
{
    private const int Threads = 4;

    public static TheoryData<StageExecution, string, bool> Products()
    {
        var data = new TheoryData<StageExecution, string, bool>();
        foreach (var method in new[] { "backprop", "checkpoint", "corrected:40", "adaptive:1e-12" })
        {
            data.Add(StageExecution.Layers, method, false);
            data.Add(StageExecution.Layers, method, true);
            data.Add(StageExecution.Callback, method, false);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void OneStageTrainedFromManyThreads_SumsTheirGradients(StageExecution execution, string method, bool inPlace)
    {
        using var scope = NewDisposeScope();
        foreach (var images in new[] { false, true })
        {
            var options = Truth.Options(method) with { Execution = execution, AccumulateGradientsInPlace = inPlace };
            var functions = Truth.Functions(3, () => images ? Truth.TinyFunction(8) : Truth.LinearFunction(6));
            using var stage = new ResidualStage(functions, options);
            var inputs = Enumerable.Range(0, Threads).Select(i => images ? Truth.Normal(i, 2, 8, 5, 5) : Truth.Normal(i, 4, 6)).ToList();
            foreach (var x in inputs)
            {
                stage.call(x).pow(2).sum().backward();
            }

            var truth = Truth.TakeGradients(stage.parameters());
            const int Passes = 10;
            TestThreads.Run(Threads, i =>
            {
                for (var pass = 0; pass < Passes; pass++)
                {
                    using var inner = NewDisposeScope();
                    stage.call(inputs[i]).pow(2).sum().backward();
                    _ = stage.LastReport;
                    _ = stage.Execution;
                }
            });
            foreach (var (found, expected) in Truth.TakeGradients(stage.parameters()).Zip(truth))
            {
                Assert.True((found - (Passes * expected)).norm().item<double>() < 1e-8 * (1 + expected.norm().item<double>()) * Passes);
            }

            foreach (var norm in stage.modules().OfType<BatchNorm2d>())
            {
                Assert.Equal(Threads * (1 + Passes), norm.num_batches_tracked!.item<long>());
            }
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void InputGradientsThroughOneFrozenStage_AreThoseOfOneThread(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(3, () => Truth.TinyFunction(8)), new StageOptions { Execution = execution });
        stage.eval();
        stage.parameters().ToList().ForEach(p => p.requires_grad_(false));
        var inputs = Enumerable.Range(0, Threads).Select(i => Truth.Normal(i, 2, 8, 5, 5)).ToList();
        Tensor Gradient(Tensor x)
        {
            var leaf = x.detach().requires_grad_(true);
            stage.call(leaf).pow(2).sum().backward();
            return leaf.grad!;
        }

        var truth = inputs.Select(Gradient).ToList();
        TestThreads.Run(Threads, i =>
        {
            for (var pass = 0; pass < 20; pass++)
            {
                using var inner = NewDisposeScope();
                Assert.Equal(0.0, (Gradient(inputs[i]) - truth[i]).abs().max().item<double>());
            }
        });
    }

    /// <summary>Stages of their own, and a module that stages share: the way back sees the forward pass's random numbers.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void StagesOfTheirOwn_ReplayTheirOwnRandomNumbers(bool sharesModule)
    {
        var common = new Noisy();
        TestThreads.Run(Threads, _ =>
        {
            var stage = ResidualStage.Shared(sharesModule ? common : new Noisy(), 2);
            for (var pass = 0; pass < 30; pass++)
            {
                using var inner = NewDisposeScope();
                Noisy.Drawn.Clear();
                var loss = stage.call(randn(16, 16).requires_grad_(true)).sum();
                var forward = Noisy.Drawn.ToHashSet();
                loss.backward();
                Assert.Equal(2, forward.Count);
                Assert.True(Noisy.Drawn.Count > 2);
                Assert.All(Noisy.Drawn, number => Assert.Contains(number, forward));
            }
        });
    }

    [Fact]
    public void AThreadThatOnlyDraws_SeesNothingOfStages()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(7);
        var expected = Enumerable.Range(0, 200).Select(_ => rand(100)).ToList();
        var function = new Noisy();
        using var stage = ResidualStage.Shared(function, 4);
        var x = randn(16, 16).requires_grad_(true);
        random.manual_seed(7);
        // A training call draws its seed; one that is already under way draws nothing more.
        var output = stage.call(x);
        var drawn = expected.Count;
        random.manual_seed(7);
        using var stop = new ManualResetEventSlim();
        var back = new Thread(() =>
        {
            using var inner = NewDisposeScope();
            output.sum().backward();
        });
        back.Start();
        for (var i = 0; i < drawn; i++)
        {
            Assert.Equal(0f, (rand(100) - expected[i]).abs().max().item<float>());
        }

        back.Join();
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void DisposeAndOptions_MayComeAtAnyTime(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        for (var time = 0; time < 5; time++)
        {
            var functions = Truth.Functions(3, () => Truth.LinearFunction(6));
            using var stage = new ResidualStage(functions, new StageOptions { Execution = execution });
            using var begun = new CountdownEvent(Threads);
            TestThreads.Run(Threads, i =>
            {
                begun.Signal();
                begun.Wait();
                try
                {
                    for (var pass = 0; pass < 20; pass++)
                    {
                        using var inner = NewDisposeScope();
                        if (i == 0)
                        {
                            var method = pass % 2 == 0 ? Reconstruction.Backprop : Reconstruction.Adaptive();
                            stage.Options = stage.Options with { Reconstruction = method };
                        }

                        if (i == 1 && pass == 15)
                        {
                            // The stage's own resources; its functions go on.
                            ((IDisposable)Engine(stage)).Dispose();
                        }

                        stage.call(ones(4, 6, ScalarType.Float64).requires_grad_(true)).sum().BackwardThroughStages();
                    }
                }
                catch (ObjectDisposedException)
                {
                    // Once it is disposed.
                }
            });
        }

        static object Engine(ResidualStage stage) =>
            typeof(ResidualStage).GetField("engine", BindingFlags.NonPublic | BindingFlags.Instance)!.GetValue(stage)!;
    }

    // Notes the first number that each evaluation on this thread draws.
    private sealed class Noisy() : nn.Module<Tensor, Tensor>(nameof(Noisy))
    {
        [ThreadStatic]
        private static List<float>? drawn;

        public static List<float> Drawn => drawn ??= [];

        public override Tensor forward(Tensor input)
        {
            using var noise = rand(input.shape);
            Drawn.Add(noise[0, 0].item<float>());
            return (input * noise).tanh();
        }
    }
}
