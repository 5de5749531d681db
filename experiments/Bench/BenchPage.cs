using System.Text;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Runs;
using static ResNetNodes.Experiments.Bench.Markdown;

namespace ResNetNodes.Experiments.Bench;

/// <summary>The benchmark as a page in Markdown, with its raw data and figures in a folder beside it.</summary>
internal static class BenchPage
{
    public const string StepsFile = "bench.csv", EpochsFile = "epochs.csv";

    private const string Beginning = "# Benchmarks\n\nWritten by `resnet-nodes bench --page`";

    private static readonly IReadOnlyList<(string Figure, string Meaning)> Definitions =
    [
        ("ratio", $"`ratio_to_backprop`: median time of a step over that of `{BenchMethod.Reference}` in the same rounds."),
        ("time",
            "`step_seconds`: zero_grad, forward pass, loss, backward pass, SGD step; median of the rounds, the fastest and the "
            + "slowest behind it. Methods take turns within a round, in an order drawn anew each time, on the same "
            + "weights and data."),
        ("evaluations",
            "`evaluations_per_layer`: evaluations of residual functions in the backward pass, by layer; the forward pass "
            + "adds one, a vector-Jacobian product costs about two."),
        ("GFLOP/s",
            "`nominal_gflops`: multiplications and additions of convolutions and linear layers as their definition counts "
            + "them, evaluations on the way back included, over the time. Kernels that need fewer multiplications than "
            + "the definition may exceed the peak."),
        ("of peak",
            "`nominal_share_of_peak`: the same over the best of several matrix products, measured by the same process."),
        ("overhead",
            "`overhead_share`: what a stage alone, forward and backward, takes outside of the native engine, which is the "
            + "managed layer, the binding and autograd (median of 15), over the time of a step."),
        ("peak",
            "`peak_bytes`: resident memory of a process of its own that runs steps of the one method at fresh weights; "
            + "`step_bytes`: what of it is not there between steps."),
        ("bytes per added layer", "`bytes_per_layer`: slope of `step_bytes` over the depth, by least squares."),
        ("exponent",
            "`time_exponent`: p of `step_seconds` ~ depth^p, by least squares of the logarithms. What a step does at any "
            + "depth (stem, head, loss) lowers it."),
        ("of the stage",
            "`stage_exponent`: the same of `stage_seconds`, which a step spends inside of the native engine."),
        ("bfloat16",
            "`precision`: of the residual functions; states, parameters and gradients stay float32, and so does what is no stage."),
        ("trained",
            "`train_steps`: steps of backprop on the benchmark's own batch before the rounds, which change the weights "
            + "that all methods begin from."),
    ];

    /// <summary>Refuses what is no name of a page, or the file of someone else.</summary>
    public static void Check(string page)
    {
        if (!page.EndsWith(".md", StringComparison.Ordinal))
        {
            throw new UsageException($"--page is {page}, expected the name of a file that ends with .md");
        }

        if (Path.Exists(page) && !IsOurs(page))
        {
            throw new UsageException($"--page is {page}, which bench did not write and so does not overwrite; name another file");
        }
    }

    /// <summary>A page that can't be written should be known before the first hour of measuring.</summary>
    public static void MakeFolder(string page)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(page))!);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{page}: its folder can't be made: {exception.Message}", exception);
        }
    }

    /// <summary>Writes page, figures and raw data.</summary>
    /// <param name="page">The page's file.</param>
    /// <param name="folder">The run; its tables and figures are there already.</param>
    /// <param name="results">What it holds.</param>
    public static void Write(string page, RunFolder folder, BenchResults results)
    {
        var data = $"{Path.GetFileNameWithoutExtension(page)}/{results.Machine.Date}-{results.Machine.Name}";
        var target = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(page))!, data);
        Directory.CreateDirectory(target);
        var figures = results.Groups.Where(BenchFigure.Shows).Select(g => BenchFigure.Name(g.Key) + ".png");
        foreach (var file in figures.Concat([StepsFile, EpochsFile, BenchMachine.FileName]).Where(file => File.Exists(folder.File(file))))
        {
            AtomicFile.Write(Path.Combine(target, file), SealedJson.ReadOwn(folder.File(file)));
        }

        AtomicFile.Write(page, Text(page, results, data));
    }

    /// <summary>Writes the page's section on comparisons anew, from the data beside it; a page that is not there is begun.</summary>
    public static void Renew(string page)
    {
        var text = File.Exists(page) ? RegularFile.ReadAllText(page, SealedJson.MostBytes) : Beginning + ".\n";
        AtomicFile.Write(page, BenchReferencePage.Renewed(page, text));
    }

    /// <summary>What a machine is, as the rows of a table.</summary>
    public static IReadOnlyList<string[]> Hardware(BenchMachine machine, BenchPeak peak) =>
    [
        ["processor", Inv($"{machine.Chip}, kernel path {machine.KernelPath}")],
        ["caches of a core", machine.Caches ?? "not known"],
        ["cores, threads", Inv($"{machine.Cores}, {machine.Threads}")],
        ["peak of float32 matrix products", Inv($"{peak.Gflops:0} GFLOP/s: {peak.Product}")],
        ["memory", Inv($"{machine.Memory} GiB")],
        ["system", machine.Os],
    ];

    private static bool IsOurs(string page)
    {
        try
        {
            return RegularFile.ReadAllText(page, SealedJson.MostBytes).StartsWith(Beginning, StringComparison.Ordinal);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string Text(string page, BenchResults results, string data)
    {
        var text = new StringBuilder(Beginning);
        text.Append(", every number of a table measured in one run; raw data: ");
        text.Append(Inv($"[{data}]({data}/{StepsFile}). "));
        text.Append("Time, memory and gradients of a training step, next to TorchSharp's own and PyTorch's.\n\n");
        text.Append(BenchReferencePage.Section(page));
        WriteMachine(text, results);
        var goals = BenchGoals.Of(results).ToList();
        if (goals.Count > 0)
        {
            text.Append("\n## Goals against stock TorchSharp\n\n");
            Table(text, ["goal", "measured", ""], goals.Select(goal =>
                (string[])[goal.Claim, goal.Measured, BenchGoals.Verdict(goal)]));
        }

        foreach (var network in results.Groups.GroupBy(group => group.Key with { Precision = string.Empty, TrainSteps = 0 }))
        {
            BenchSections.Write(text, network.Key, network, data);
        }

        if (results.Epochs.Count > 0)
        {
            WriteEpochs(text, results.Epochs);
        }

        text.Append("\n## What the figures mean\n\n");
        Table(text, ["figure", "meaning"], Definitions.Select(d => (string[])[d.Figure, d.Meaning]));
        return text.ToString();
    }

    private static void WriteEpochs(StringBuilder page, IReadOnlyList<BenchEpoch> epochs)
    {
        page.Append("\n## A whole epoch of training\n\n`resnet-nodes train`, TinyResNet, 16 planes, batch 128, default reconstruction; ");
        page.Append("the second epoch. Shares of its seconds: the native engine's (stage), and training steps that include it and the ");
        page.Append("optimizer.\n\n");
        string[] head = ["data set", "depth", "seconds", "in the stage", "in the optimizer", "in training steps", "waiting for data"];
        Table(page, head, epochs.Select(e => (string[])
        [
            e.Dataset, Inv($"{e.Depth}"), Number(e.Seconds, "0.0"), Percent(e.StageShare),
            Percent(e.OptimizerShare), Percent(e.StepShare), Percent(e.WaitedShare),
        ]));
    }

    private static void WriteMachine(StringBuilder page, BenchResults results)
    {
        var machine = results.Machine;
        page.Append("\n## Measured on\n\n");
        Table(page, ["", ""],
        [
            ["date", machine.Date],
            .. Hardware(machine, results.Peak),
            [
                "versions",
                $"ResNet Nodes {machine.Version}, LibTorch {machine.Libtorch}, TorchSharp {machine.Torchsharp}, {machine.Dotnet}",
            ],
            ["commit", machine.Commit ?? "not known"],
            ["settings", machine.Settings.Length > 0 ? $"`{machine.Settings}`" : "none in the environment"],
            ["command", string.Join("<br>", machine.Commands.Select(command => $"`{command}`"))],
        ]);
    }
}
