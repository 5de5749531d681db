using ResNetNodes.Interop;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>
/// What the native library finds out about the process that it lives in; its random numbers: RandomNumbersTests, errors:
/// StageBackwardTests.
/// </summary>
public sealed class HostTests
{
    private static readonly List<string> Seen = [];

    [Fact]
    public void BackwardAccumulates_InAPlainBackwardAlone()
    {
        using var scope = NewDisposeScope();
        var (x, weight) = (ones(2).requires_grad_(true), ones(2).requires_grad_(true));
        Assert.Equal(["True"], During(() => (Through(x) * weight).sum().backward()));
        Assert.Equal(["True"], During(() => autograd.backward([(Through(x) * weight).sum()])));
        Assert.Equal(["False"], During(() => autograd.grad([(Through(x) * weight).sum()], [x])));
        Assert.Equal(["False"], During(() => autograd.grad([(Through(x) * weight).sum()], [x, weight])));
        Assert.Equal(["False"], During(() => autograd.backward([(Through(x) * weight).sum()], inputs: [x])));
        // Not needed for what is asked for.
        Assert.Equal([], During(() => autograd.grad([(Through(x) * weight).sum()], [weight])));
        Assert.True(Functions.BackwardAccumulates());
    }

    [Fact]
    public void BackwardAccumulates_IsThatOfTheInnermostPass()
    {
        using var scope = NewDisposeScope();
        var x = ones(2).requires_grad_(true);
        Action named = () => autograd.backward([Through(x).sum()], inputs: [x]);
        Action plain = () => Through(x).sum().backward();
        Assert.Equal(["True", "False", "True"], During(() => Through(x, named).sum().backward()));
        Assert.Equal(["False", "True", "False"], During(() => autograd.grad([Through(x, plain).sum()], [x])));
    }

    /// <summary>Two threads with passes of different kinds at a time.</summary>
    [Fact]
    public void BackwardAccumulates_IsThatOfTheThread() => TestThreads.Run(4, thread =>
    {
        for (var i = 0; i < 200; i++)
        {
            using var scope = NewDisposeScope();
            var x = ones(2).requires_grad_(true);
            var seen = new List<string>();
            var loss = Through(x, () => seen.Add($"{Functions.BackwardAccumulates()}")).sum();
            if (thread % 2 == 0)
            {
                loss.backward();
            }
            else
            {
                autograd.grad([loss], [x]);
            }

            Assert.Equal([$"{thread % 2 == 0}"], seen);
        }
    });

    [Fact]
    public void LeftErrors_AreThrownByTheCheckOfARunningCall()
    {
        using var scope = NewDisposeScope();
        var x = ones(2).requires_grad_(true);
        var left = false;
        var loss = Through(x, () => left = Functions.LeaveTorchsharpError("a text\nof two lines")).sum();
        Assert.Equal(
            "a text\nof two lines",
            Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => loss.backward()).Message);
        Assert.True(left);
    }

    private static Tensor Through(Tensor x, Action? meanwhile = null) => meanwhile is null ? Probe.apply(x) : Probe.apply(x, meanwhile);

    private static List<string> During(Action pass)
    {
        lock (Seen)
        {
            Seen.Clear();
            pass();
            return [.. Seen];
        }
    }

    /// <summary>The identity, which notes on its way back what kind of pass it is in: before and after something else.</summary>
    private sealed class Probe : autograd.SingleTensorFunction<Probe>
    {
        public override string Name => nameof(Probe);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            ctx.save_data("meanwhile", vars.ElementAtOrDefault(1));
            return ((Tensor)vars[0]).clone();
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            // One for each argument; an action has none.
            var meanwhile = (Action?)ctx.get_data("meanwhile");
            List<Tensor> result = meanwhile is null ? [grad_output.clone()] : [grad_output.clone(), null!];
            if (meanwhile is not null)
            {
                Note();
                using var recording = enable_grad();
                meanwhile();
            }

            Note();
            return result;
        }

        private static void Note()
        {
            lock (Seen)
            {
                Seen.Add($"{Functions.BackwardAccumulates()}");
            }
        }
    }
}
