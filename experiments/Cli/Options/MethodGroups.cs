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

    public Solver Value => Parse(Text);

    public override string? Placeholder(string name) => name switch
    {
        "solvers" => string.Join('|', Solver.All),
        "summaries" => string.Join("; ", Solver.All.Select(solver => $"{solver}: {solver.Summary}")),
        _ => null,
    };

    public override void Start(Verb verb) => Parse(Peek(nameof(Text))!);

    private static Solver Parse(string text) => Read.Checked("solver", text, Solver.Parse);
}

/// <summary>Several solvers, one after the other.</summary>
internal sealed class SolversGroup : OptionGroup
{
    [Option("solvers", Default = "euler,heun", MetaValue = "{solvers}", HelpText = "Solvers to compare.")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<Solver> Values => Parse(Text);

    public override string? Placeholder(string name) => name == "solvers" ? string.Join(',', Solver.All) : null;

    public override void Start(Verb verb) => Parse(Peek(nameof(Text))!);

    private static IReadOnlyList<Solver> Parse(string text) =>
        Read.Several("solvers", text, part => Read.Checked("solvers", part, Solver.Parse));
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

    public override void Start(Verb verb) => Read.Reconstruction("reconstruction", Peek(nameof(Text))!);
}

/// <summary>Several reconstructions, one after the other.</summary>
internal sealed class ReconstructionsGroup : OptionGroup
{
    [Option('r', "reconstructions", Default = "adaptive,backprop", MetaValue = "METHOD,...", HelpText =
        "Methods to compare: {methods}.")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<Reconstruction> Values => Parse(Text);

    public override string? Placeholder(string name) => name == "methods" ? Reconstruction.Syntax : null;

    public override void Start(Verb verb) => Parse(Peek(nameof(Text))!);

    private static IReadOnlyList<Reconstruction> Parse(string text) =>
        Read.Several("reconstructions", text, part => Read.Reconstruction("reconstructions", part));
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
        "Precision of the residual functions, and of all parts of a network of four stages; "
        + "states, parameters and gradients stay float32.")]
    [Section("method")]
    public string Precision { get => Given(); set => Set(value); }

    /// <summary>The checked text.</summary>
    public string Name => Read.OneOf("precision", Precision, allowed);

    public ComputeType ComputeType => Name == "bfloat16" ? ComputeType.BFloat16 : ComputeType.SameAsState;

    public override string Chosen => $", functions in {Peek(nameof(Precision))}";

    public override string? Placeholder(string name) => name == "precisions" ? string.Join('|', allowed) : null;

    public override void Start(Verb verb) => Read.OneOf("precision", Peek(nameof(Precision))!, allowed);
}

/// <summary>How residual functions are evaluated.</summary>
internal sealed class ExecutionGroup : PrecisionGroup
{
    [Option("execution", Default = "auto", MetaValue = "auto|layers|callback", HelpText =
        "Evaluate residual functions as native layers, or call their modules.")]
    [Section("method")]
    public string Execution { get => Given(); set => Set(value); }

    [Option("cuda-graphs", HelpText =
        "Record the passes of native layers as CUDA graphs (--device cuda).")]
    [Section("method")]
    public bool? CudaGraphs { get => Switch(); set => Set(value); }

    public override void Start(Verb verb)
    {
        base.Start(verb);
        var execution = Parse(Peek(nameof(Execution))!);
        if (execution == StageExecution.Callback && Peek(nameof(Precision)) == "bfloat16")
        {
            throw new UsageException("--precision bfloat16 needs native layers; leave out --execution callback");
        }

        if (Peek(nameof(CudaGraphs)) != "true")
        {
            return;
        }

        if (execution == StageExecution.Callback)
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
    public StageOptions On(StageOptions stage) => stage with
    {
        Execution = Parse(Execution),
        ComputeType = ComputeType,
        CudaGraphs = CudaGraphs == true,
        AccumulateGradientsInPlace = true,
    };

    private static StageExecution Parse(string text) => Read.Choice<StageExecution>("execution", text);
}
