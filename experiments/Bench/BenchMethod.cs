using ResNetNodes.Experiments.Cli.Options;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>
/// A way to compute a network's loss and gradients: a stage's own, or what is written with TorchSharp alone.
/// </summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Options">Of the stage; the peers without one leave it unused.</param>
internal sealed record BenchMethod(string Name, StageOptions Options)
{
    public const string Reference = "torchsharp-backprop", ChannelsLast = "torchsharp-channels-last";
    private const string Checkpoint = "torchsharp-checkpoint", Callback = "callback-inverse";

    /// <summary>What is measured next to the library's native stages.</summary>
    public static readonly IReadOnlyList<string> Peers = [Reference, ChannelsLast, Checkpoint, Callback];

    /// <summary>
    /// What is measured where nothing else is asked for: the peers and every reconstruction, one of them twice.
    /// </summary>
    public static string Usual { get; } = string.Join(',', [.. Peers, .. Reconstruction.All.SelectMany(WithVariant)]);

    /// <summary>Whether the library's stage runs it.</summary>
    public bool HasStage => Name is not (Reference or ChannelsLast or Checkpoint);

    /// <summary>Whether it is the library's stage on native layers.</summary>
    public bool IsNative => !Peers.Contains(Name);

    public static BenchMethod Parse(string text, Solver solver)
    {
        var name = text.Trim();
        var options = new StageOptions { Solver = solver, AccumulateGradientsInPlace = true };
        if (Peers.Contains(name))
        {
            return new(name, options with
            {
                Reconstruction = Reconstruction.Inverse,
                Execution = StageExecution.Callback,
                AccumulateGradientsInPlace = false,
            });
        }

        if (name.StartsWith("torchsharp", StringComparison.Ordinal) || name.StartsWith("callback", StringComparison.Ordinal))
        {
            Read.OneOf("methods", name, Peers);
        }

        var reconstruction = Read.Reconstruction("methods", name);
        return new(reconstruction.ToString(), options with { Reconstruction = reconstruction, Execution = StageExecution.Layers });
    }

    private static IEnumerable<string> WithVariant(Reconstruction method) =>
        method == Reconstruction.Corrected() ? [method.ToString(), Reconstruction.Corrected(2).ToString()] : [method.ToString()];

    /// <summary>Whether the method means something for the network: what is written with TorchSharp alone computes in float32.</summary>
    public bool Fits(BenchNetwork network) =>
        (Name != ChannelsLast || network.HasChannels) && (IsNative || network.Precision == BenchNetwork.Float32);

    /// <summary>Evaluations of a stage's functions on the way back, in the last step.</summary>
    public double Reevaluations(ResidualStage stage) => HasStage ? stage.LastReport!.Evaluations
        // What runs segments again evaluates each function once more.
        : Name == Checkpoint ? BenchWork.Evaluations(stage, Options.Solver) : 0;

    /// <summary>Whether a part that is no stage is evaluated again on the way back.</summary>
    /// <param name="part">The part.</param>
    /// <param name="isEnd">Whether it is the network's first or last.</param>
    public bool Recomputes(nn.Module part, bool isEnd) =>
        HasStage ? part is Recomputed { Options.Stored: false } : Name == Checkpoint && !isEnd;

    /// <summary>Brings weights into the layout that the method computes in.</summary>
    public void Prepare(BenchParts parts)
    {
        if (Name == ChannelsLast)
        {
            foreach (var convolution in parts.Owner.modules().OfType<Conv2d>())
            {
                using var old = convolution.weight;
                using var laidOut = MemoryLayout.ChannelsLast(old);
                convolution.weight = nn.Parameter(laidOut.detach());
            }
        }
    }

    /// <summary>Loss and gradients; these are added to the parameters' own.</summary>
    public void Backward(BenchParts parts, Tensor input, Tensor? labels)
    {
        if (Name == Checkpoint)
        {
            BackwardBySegments(parts, input, labels);
            return;
        }

        using var scope = NewDisposeScope();
        BenchParts.Loss(Output(parts, input), labels).BackwardThroughStages();
    }

    /// <summary>The one stage's input: what comes before its stage gives, in the layout that our networks give to a stage.</summary>
    public static Tensor State(BenchParts parts, Tensor input)
    {
        using var state = parts.IsStage ? input.alias() : parts.Sequence[0].call(input);
        return state.dim() == 4 ? MemoryLayout.ChannelsLast(state) : state.alias();
    }

    private Tensor Output(BenchParts parts, Tensor input)
    {
        if (HasStage && !parts.IsStage)
        {
            return parts.Owner.call(input);
        }

        // Not held while the gradient is computed: a network's forward lets go of it too.
        using var x = HasStage ? State(parts, input) : Name == ChannelsLast ? MemoryLayout.ChannelsLast(input) : input.alias();
        if (HasStage)
        {
            return parts.Owner.call(x);
        }

        var units = Units(parts);
        return Run(units, x, 0, units.Count);
    }

    // What a user writes: the parts one after the other, and a stage's steps.
    private List<Func<Tensor, Tensor>> Units(BenchParts parts) => [.. parts.Sequence.SelectMany(part =>
    {
        if (part is not ResidualStage stage)
        {
            return (Func<Tensor, Tensor>[])[(part is Recomputed recomputed ? recomputed.Module : part).call];
        }

        var functions = BenchParts.Functions(stage);
        return Enumerable.Range(0, Options.Solver.StepCount(stage.Depth))
            .Select(n => (Func<Tensor, Tensor>)(x => Step(functions, stage.Depth, n, x)));
    })];

    // In a loop, and what is no longer needed disposed.
    private static Tensor Run(List<Func<Tensor, Tensor>> units, Tensor x, int from, int to)
    {
        using var scope = NewDisposeScope();
        var state = x;
        for (var n = from; n < to; n++)
        {
            using var unit = NewDisposeScope();
            var next = units[n](state).MoveToOuterDisposeScope();
            if (n > from)
            {
                state.Dispose();
            }

            state = next;
        }

        return state.MoveToOuterDisposeScope();
    }

    // One step of the solver's tableau.
    private Tensor Step(IReadOnlyList<nn.Module<Tensor, Tensor>> functions, int depth, int n, Tensor x)
    {
        var h = 1.0 / depth;
        var solver = Options.Solver;
        var slopes = new List<Tensor>();
        foreach (var (stage, offset) in solver.FunctionOffsets.Index())
        {
            // Row i of the strictly lower triangle begins behind the i (i - 1) / 2 entries of those above it.
            var at = Sum(x, slopes, [.. solver.A.Skip(stage * (stage - 1) / 2).Take(stage)], h);
            slopes.Add(functions[Math.Min(n + offset, functions.Count - 1)].call(at));
        }

        return Sum(x, slopes, solver.B, h);
    }

    // x + h Σ wᵢ kᵢ; equal weights are summed first, as one writes it by hand.
    private static Tensor Sum(Tensor x, List<Tensor> slopes, IReadOnlyList<double> weights, double h)
    {
        var used = slopes.Zip(weights).Where(pair => pair.Second != 0).ToList();
        if (used.Count > 1 && used.All(pair => pair.Second == used[0].Second))
        {
            var sum = used.Skip(1).Aggregate(used[0].First, (total, pair) => total.add(pair.First));
            return x.add(sum, alpha: h * used[0].Second);
        }

        return used.Aggregate(x, (total, pair) => total.add(pair.First, alpha: h * pair.Second));
    }

    /// <summary>
    /// Gradient checkpointing in segments of √N steps and blocks: states between segments are kept, tapes are not; each segment runs
    /// again with a tape. What the network begins and ends with keeps its tape. (As with PyTorch's, running statistics of batch
    /// normalization so change twice.)
    /// </summary>
    private void BackwardBySegments(BenchParts parts, Tensor input, Tensor? labels)
    {
        using var scope = NewDisposeScope();
        var units = Units(parts);
        var (begin, end) = parts.IsStage ? (0, units.Count) : (1, units.Count - 1);
        var first = begin > 0 ? Run(units, input, 0, begin) : input;
        var length = (int)Math.Ceiling(Math.Sqrt(end - begin));
        var kept = new List<Tensor> { first.detach() };
        using (no_grad())
        {
            for (var from = begin; from < end; from += length)
            {
                kept.Add(Run(units, kept[^1], from, Math.Min(from + length, end)));
            }
        }

        var last = kept[^1].requires_grad_();
        BenchParts.Loss(end < units.Count ? Run(units, last, end, units.Count) : last, labels).backward();
        var gradient = last.grad!;
        for (var segment = kept.Count - 2; segment >= 0; segment--)
        {
            using var inner = NewDisposeScope();
            kept[segment + 1].Dispose();
            var start = kept[segment].requires_grad_();
            var from = begin + (segment * length);
            var result = Run(units, start, from, Math.Min(from + length, end));
            result.backward([gradient]);
            gradient.Dispose();
            gradient = start.grad!.MoveToOuterDisposeScope();
        }

        if (begin > 0)
        {
            first.backward([gradient]);
        }
    }
}
