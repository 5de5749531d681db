using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using TorchSharp;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>The solver of a stage.</summary>
internal sealed class SolverGroup : OptionGroup
{
    [Option("solver", Default = "euler", MetaValue = "{solvers}", HelpText = "Solver of the stage; {summaries}.")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public Solver Value => Read.Checked("solver", Text, Solver.Parse);

    public override string? Placeholder(string name) => name switch
    {
        "solvers" => string.Join('|', Solver.All),
        "summaries" => string.Join("; ", Solver.All.Select(solver => $"{solver}: {solver.Summary}")),
        _ => null,
    };
}

/// <summary>Several solvers, one after the other.</summary>
internal sealed class SolversGroup : OptionGroup
{
    [Option("solvers", Default = "euler,heun", MetaValue = "{solvers}", HelpText = "Solvers to compare.")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<Solver> Values => Read.Several(Text, part => Read.Checked("solvers", part, Solver.Parse));

    public override string? Placeholder(string name) => name == "solvers" ? string.Join(',', Solver.All) : null;
}

/// <summary>The way in which a stage's states are found again.</summary>
internal sealed class ReconstructionGroup : OptionGroup
{
    [Option('r', "reconstruction", Default = "adaptive", MetaValue = "METHOD", HelpText =
        "How states are recovered on the way back: {methods}.")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public Reconstruction Value => Read.Reconstruction("reconstruction", Text);

    public override string? Placeholder(string name) => name == "methods" ? Reconstruction.Syntax : null;
}

/// <summary>Several reconstructions, one after the other.</summary>
internal sealed class ReconstructionsGroup : OptionGroup
{
    [Option('r', "reconstructions", Default = "adaptive,backprop", MetaValue = "METHOD,...", HelpText =
        "Methods to compare: {methods}.")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<Reconstruction> Values => Read.Several(Text, part => Read.Reconstruction("reconstructions", part));

    public override string? Placeholder(string name) => name == "methods" ? Reconstruction.Syntax : null;
}

/// <summary>What residual functions are evaluated in.</summary>
internal class PrecisionGroup : OptionGroup
{
    private readonly IReadOnlyList<string> allowed;

    public PrecisionGroup()
        : this("float32", "bfloat16")
    {
    }

    public PrecisionGroup(params IReadOnlyList<string> allowed) => this.allowed = allowed;

    [Option("precision", Default = "float32", MetaValue = "{precisions}", HelpText =
        "Precision of the residual functions; states, parameters and gradients stay float32.")]
    [Section("method")]
    public string Precision { get => Given(); set => Set(value); }

    /// <summary>The checked text.</summary>
    public string Name => Read.OneOf("precision", Precision, allowed);

    public ComputeType ComputeType => Name == "bfloat16" ? ComputeType.BFloat16 : ComputeType.SameAsState;

    public override string Chosen => $", functions in {Peek(nameof(Precision))}";

    public override string? Placeholder(string name) => name == "precisions" ? string.Join('|', allowed) : null;
}

/// <summary>How residual functions are evaluated.</summary>
internal sealed class ExecutionGroup : PrecisionGroup
{
    [Option("execution", Default = "auto", MetaValue = "auto|layers|callback", HelpText =
        "Evaluate residual functions as native layers, or call their modules.")]
    [Section("method")]
    public string Execution { get => Given(); set => Set(value); }

    [Option("cuda-graphs", HelpText =
        "Record the passes of native layers as CUDA graphs (--device cuda; not yet run on a GPU).")]
    [Section("method")]
    public bool? CudaGraphs { get => Switch(); set => Set(value); }

    public override void Start(Verb verb)
    {
        if (Peek(nameof(CudaGraphs)) != "true")
        {
            return;
        }

        if (Peek(nameof(Execution)) == "callback")
        {
            throw new UsageException("--cuda-graphs needs native layers; leave out --execution callback");
        }

        var device = verb.Group<DeviceGroup>()!.Peeked;
        if (device.type != DeviceType.CUDA)
        {
            throw new UsageException($"--cuda-graphs needs --device cuda, it is {device}");
        }
    }

    /// <summary>The options of a stage with these.</summary>
    public StageOptions On(StageOptions stage)
    {
        var result = stage with
        {
            Execution = Read.Choice<StageExecution>("execution", Execution),
            ComputeType = ComputeType,
            CudaGraphs = CudaGraphs == true,
            AccumulateGradientsInPlace = true,
        };
        return result is { Execution: StageExecution.Callback, ComputeType: ComputeType.BFloat16 }
            ? throw new UsageException("--precision bfloat16 needs native layers; leave out --execution callback")
            : result;
    }
}
