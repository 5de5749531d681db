using System.Globalization;
using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using ResNetNodes.Planning;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>How a part of a network goes through a training step within --memory (<see cref="PartPlan"/>).</summary>
internal sealed record PlanPartRow(string Network, string Part, string Method, long KeptBytes, long WorkingBytes, double Evaluations);

/// <summary>What a network's plan takes, and what plans of it could.</summary>
internal sealed record PlanRow(string Network, long BudgetBytes, long PlannedBytes, long LeastBytes, long MostBytes);

/// <summary>A plan with which a run starts, as config.json has it.</summary>
internal sealed record StartPlan(string Network, long Budget, long Bytes, long Least, long Most, IReadOnlyList<PlanPartRow> Parts)
{
    public static StartPlan Of(string network, MemoryPlan plan) => new(
        network, plan.Budget, plan.Bytes, plan.LeastBytes, plan.MostBytes,
        [.. plan.Parts.Select(part => new PlanPartRow(
            network, part.Name, part.Method, part.KeptBytes, part.WorkingBytes, part.Evaluations))]);
}

/// <summary>A budget of memory, and the plans of the networks that are trained within it.</summary>
internal sealed class MemoryGroup : OptionGroup
{
    private readonly List<StartPlan> plans = [];

    [Option("memory", MetaValue = "SIZE", HelpText =
        "What a training step may take beyond parameters, gradients and optimizer, as 500MiB or 2GiB: every part of the network goes "
        + "through it by the fastest method that fits.")]
    [Section("method")]
    public string? Text { get => Optional(); set => Set(value); }

    /// <summary>The budget; null where there is none.</summary>
    public long? Bytes => Text is { } text ? Read.Bytes("memory", text) : null;

    /// <summary>The plans that were made for this run, one a network.</summary>
    public IReadOnlyList<StartPlan> Plans => plans;

    /// <summary>Refuses what the plan decides, and what leaves it nothing to plan.</summary>
    public override void Start(Verb verb)
    {
        if (Peek(nameof(Text)) is not { } text)
        {
            return;
        }

        Read.Bytes("memory", text);
        const string chooses = "but with --memory the plan chooses what is stored; ";
        foreach (var name in (string[])["reconstruction", "reconstructions"])
        {
            if (Given(verb, name) is { } given
                && given.Split(',').FirstOrDefault(method => !Read.Reconstruction(name, method.Trim()).IsMemoryFree) is { } stored)
            {
                throw new UsageException($"--{name} is {stored.Trim()}, {chooses}leave it out, or take adaptive");
            }
        }

        if (Given(verb, "adjoint-from") is { } from)
        {
            throw new UsageException($"--adjoint-from is {Read.Shown(from)}, {chooses}leave it out");
        }

        if (Given(verb, "execution") == "callback")
        {
            throw new UsageException("--memory needs native layers; leave out --execution callback");
        }
    }

    /// <summary>Of methods to compare, those that a plan is made with; what is stored is for the plan to say.</summary>
    public IReadOnlyList<Reconstruction> Of(IReadOnlyList<Reconstruction> methods) =>
        Bytes is null ? methods : [.. methods.Where(method => method.IsMemoryFree)];

    /// <summary>Plans a network's training steps, before a run has a folder. Without a budget there is nothing to do.</summary>
    /// <param name="name">What the run calls the network.</param>
    /// <param name="network">The network, built within the budget; it is moved to the device.</param>
    /// <param name="load">What it is trained with.</param>
    /// <exception cref="UsageException">The budget is too small, or a part of the network has no native layers.</exception>
    public void Plan(string name, nn.Module<Tensor, Tensor> network, Workload load)
    {
        if (NetworkGroup.PlannerOf(network) is not { } planner)
        {
            return;
        }

        network.to(load.Device);
        plans.Add(StartPlan.Of(name, Prepare(planner, load)));
    }

    /// <summary>Shows the plans: once they are made, and the run has its folder.</summary>
    public void Show(Terminal terminal)
    {
        foreach (var plan in plans)
        {
            var lead = plans.Count > 1 ? $"plan of {plan.Network}" : "plan";
            terminal.Row(new PlanRow(plan.Network, plan.Budget, plan.Bytes, plan.Least, plan.Most));
            plan.Parts.ToList().ForEach(terminal.Row);

            terminal.Say(
                $"{lead}: {Mebibytes(plan.Bytes)} of {Mebibytes(plan.Budget)} MiB; least {Mebibytes(plan.Least)} MiB, "
                + $"all stored {Mebibytes(plan.Most)} MiB");
        }

        terminal.Table([.. plans.SelectMany(plan => plan.Parts)]);
    }

    /// <summary>The plan for a training step.</summary>
    /// <param name="planner">Of the network, which is on the load's device.</param>
    /// <param name="load">Images.</param>
    public static MemoryPlan Prepare(MemoryPlanner planner, Workload load)
    {
        const int channels = 3;
        try
        {
            // Of the shape alone.
            using var one = zeros(1, device: load.Device);
            using var images = one.expand(load.Images, channels, load.Pixels, load.Pixels);
            return planner.Prepare(images);
        }
        catch (ResNetNodesException exception)
        {
            throw new UsageException($"--memory: {exception.Message}");
        }
    }

    /// <summary>Bytes as people read them, rounded up.</summary>
    public static string Mebibytes(long bytes) =>
        (Math.Ceiling(bytes * 10.0 / (1 << 20)) / 10).ToString("0.#", CultureInfo.InvariantCulture);

    // What was given for an option that the verb has, by the command line, a preset or a configuration.
    private static string? Given(Verb verb, string name) =>
        verb.Options.FirstOrDefault(option => option.Name == name) is { } option && option.Text != option.Default ? option.Text : null;
}
