using ResNetNodes.Networks;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// A TinyResNet as the paper's code of figure 4 differentiates it: each step is a stage of its own, which reconstructs its input from its
/// own exact output. Errors do not accumulate from step to step, and the memory of all outputs is not saved. It has the network's modules,
/// and disposes them.
/// </summary>
internal sealed class ExactOutputs : nn.Module<Tensor, Tensor>
{
    private readonly TinyResNet network;
    private readonly ModuleList<ResidualStage> steps;

    /// <summary>Takes a network over.</summary>
    /// <param name="network">The network; its solver and step size are kept.</param>
    /// <param name="method">How each step reconstructs its input.</param>
    public ExactOutputs(TinyResNet network, Reconstruction method)
        : base(nameof(ExactOutputs))
    {
        this.network = network;
        var functions = network.Stage.Functions.Cast<nn.Module<Tensor, Tensor>>().ToList();
        var given = network.Stage.Options;
        var count = given.Solver.StepCount(functions.Count);
        // A step of Heun's takes its own function and the next one.
        var taken = functions.Count - count + 1;
        var options = given with { Reconstruction = method, StepSize = given.StepSize ?? 1.0 / functions.Count };
        steps = new([.. Enumerable.Range(0, count).Select(n => new ResidualStage(functions.GetRange(n, taken), options))]);
        RegisterComponents();
    }

    /// <summary>The last pass of each step.</summary>
    public IEnumerable<StageReport> Reports => steps.Select(step => step.LastReport!);

    /// <summary>Class scores, as the network's.</summary>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var parts = network.named_children().ToDictionary(part => part.name, part => part.module);
        Tensor Through(string part, Tensor x) => ((nn.Module<Tensor, Tensor>)parts[part]).call(x);
        var state = steps.Aggregate(Through("stem", input), (x, step) => step.call(x));
        return Through("head", Through("pool", state).flatten(1)).MoveToOuterDisposeScope();
    }
}
