using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>A network's modules: those of the peers' loops are the network's own.</summary>
/// <param name="owner">The network.</param>
/// <param name="sequence">What runs, in order: stages, and what stands before, between and behind them.</param>
internal sealed class BenchParts(nn.Module<Tensor, Tensor> owner, IReadOnlyList<nn.Module<Tensor, Tensor>> sequence) : IDisposable
{
    public nn.Module<Tensor, Tensor> Owner => owner;

    /// <summary>What runs, in order.</summary>
    public IReadOnlyList<nn.Module<Tensor, Tensor>> Sequence => sequence;

    /// <summary>The residual stages of it.</summary>
    public IReadOnlyList<ResidualStage> Stages { get; } = [.. sequence.OfType<ResidualStage>()];

    /// <summary>Whether the network is one stage with nothing around it.</summary>
    public bool IsStage => owner is ResidualStage;

    /// <summary>Cross-entropy of scores, or the mean square of what has no labels.</summary>
    public static Tensor Loss(Tensor output, Tensor? labels)
    {
        if (labels is not null)
        {
            return nn.functional.cross_entropy(output, labels);
        }

        using var squares = output.pow(2);
        return squares.mean();
    }

    /// <summary>The functions of a stage.</summary>
    public static IReadOnlyList<nn.Module<Tensor, Tensor>> Functions(ResidualStage stage) =>
        [.. stage.Functions.Cast<nn.Module<Tensor, Tensor>>()];

    public void Dispose() => owner.Dispose();
}

/// <summary>
/// Arithmetic of a network's forward pass as definitions count it: multiplications and additions of convolutions and linear layers.
/// </summary>
/// <param name="Parameters">Numbers that it learns.</param>
/// <param name="Parts">Of each part in order; of a stage, of one evaluation of a function, the mean of all.</param>
internal sealed record BenchWork(long Parameters, IReadOnlyList<double> Parts)
{
    /// <summary>
    /// Counts as one image or row goes through modules that nobody will use again: their layers are watched from now on.
    /// </summary>
    /// <param name="parts">The network; its parts store their tapes.</param>
    /// <param name="input">A batch.</param>
    public static BenchWork Of(BenchParts parts, Tensor input)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        parts.Owner.eval(); // one value is no variance
        var count = 0.0;
        foreach (var layer in parts.Owner.modules().OfType<nn.Module<Tensor, Tensor>>().Where(m => m is Conv2d or Linear))
        {
            var weights = layer.parameters().First(); // [outputs, ...]
            var each = 2.0 * weights.numel() / weights.shape[0];
            layer.register_forward_hook((_, _, output) =>
            {
                count += each * output.numel();
                return output;
            });
        }

        var one = input.slice(0, 0, 1, 1);
        var works = new List<double>();
        foreach (var part in parts.Sequence)
        {
            count = 0;
            var functions = part is ResidualStage stage ? BenchParts.Functions(stage) : [];
            foreach (var function in functions)
            {
                function.call(one);
            }

            one = functions.Count > 0 ? one : part.call(one);
            works.Add(count / Math.Max(functions.Count, 1) * input.shape[0]);
        }

        return new(parts.Owner.parameters().Sum(p => p.numel()), works);
    }

    /// <summary>The same of the forward pass with a solver.</summary>
    public double Forward(BenchParts parts, Solver solver) => Parts.Zip(parts.Sequence)
        .Sum(pair => pair.First * (pair.Second is ResidualStage stage ? Evaluations(stage, solver) : 1));

    /// <summary>The same of the last training step.</summary>
    /// <param name="parts">The network.</param>
    /// <param name="method">How it was differentiated.</param>
    public double Step(BenchParts parts, BenchMethod method) => Parts.Select((work, i) => parts.Sequence[i] switch
    {
        ResidualStage stage => work * ((3 * Evaluations(stage, method.Options.Solver)) + method.Reevaluations(stage)),
        // Weights' gradient and, but for the network's own input, that of what comes in.
        var part => work * ((i == 0 ? 2 : 3) + (method.Recomputes(part, isEnd: i == 0 || i == Parts.Count - 1) ? 1 : 0)),
    }).Sum();

    /// <summary>Evaluations of a stage's residual functions in the forward pass.</summary>
    public static int Evaluations(ResidualStage stage, Solver solver) => solver.StepCount(stage.Depth) * solver.EvaluationsPerStep;
}
