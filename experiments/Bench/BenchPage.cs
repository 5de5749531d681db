using System.Globalization;
using System.Text;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Training;

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
            "`step_seconds`: zero_grad, forward pass, loss, backward pass, SGD step; median of the rounds, lower and "
            + "upper quartile behind it. Methods take turns within a round, in an order drawn anew each time, on the same "
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
        var figures = results.Groups.Select(g => BenchFigure.Name(g.Key.Network, g.Key.Planes, g.Key.TrainSteps) + ".png");
        foreach (var file in figures.Concat([StepsFile, EpochsFile, BenchMachine.FileName]).Where(file => File.Exists(folder.File(file))))
        {
            AtomicFile.Write(Path.Combine(target, file), SealedJson.ReadOwn(folder.File(file)));
        }

        AtomicFile.Write(page, Text(results, data));
    }

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

    private static string Text(BenchResults results, string data)
    {
        var page = new StringBuilder(Beginning);
        page.Append(", every number measured in one run; raw data: ");
        page.Append(Inv($"[{data}]({data}). Time, memory and gradients of a training step in float32, next to TorchSharp's own.\n"));
        WriteMachine(page, results);
        var goals = BenchGoals.Of(results).ToList();
        if (goals.Count > 0)
        {
            page.Append("\n## Goals\n\n");
            Table(page, ["goal", "measured", ""], goals.Select(goal =>
                (string[])[goal.Claim, goal.Measured, goal.Holds == true ? "reached" : "**missed**"]));
        }

        foreach (var network in results.Rows.GroupBy(row => (row.Network, row.Planes, row.Batch)))
        {
            WriteNetwork(page, [.. network], data);
        }

        if (results.Epochs.Count > 0)
        {
            WriteEpochs(page, results.Epochs);
        }

        page.Append("\n## What the figures mean\n\n");
        Table(page, ["figure", "meaning"], Definitions.Select(d => (string[])[d.Figure, d.Meaning]));
        return page.ToString();
    }

    private static void WriteEpochs(StringBuilder page, IReadOnlyList<BenchEpoch> epochs)
    {
        page.Append("\n## A whole epoch of training\n\n`resnet-nodes train`, TinyResNet, 16 planes, batch 128, default reconstruction; ");
        page.Append("the second epoch. Shares of its seconds: the native engine's (stage), and training steps that include it and the ");
        page.Append("optimizer.\n\n");
        string[] head = ["data set", "depth", "seconds", "in the stage", "in the optimizer", "in training steps", "waiting for data"];
        Table(page, head, epochs.Select(e => (string[])
        [
            e.Dataset, Inv($"{e.Depth}"), Number(e.Seconds, "0.0"), Percent(e.StageShare), Percent(e.OptimizerShare),
            Percent(e.StepShare), Percent(e.WaitedShare),
        ]));
    }

    private static void WriteMachine(StringBuilder page, BenchResults results)
    {
        var machine = results.Machine;
        page.Append("\n## Measured on\n\n");
        string[][] lines =
        [
            ["date", machine.Date],
            ["processor", Inv($"{machine.Processor}, kernel path {machine.KernelPath}")],
            ["cores, LibTorch's threads", Inv($"{machine.Cores}, {machine.Threads}")],
            ["memory", Inv($"{machine.Memory} GiB")],
            ["system", machine.Os],
            ["peak of float32 matrix products", Inv($"{results.Peak.Gflops:0} GFLOP/s: {results.Peak.Product}")],
            [
                "versions",
                $"ResNet Nodes {machine.Version}, LibTorch {machine.Libtorch}, TorchSharp {machine.Torchsharp}, {machine.Dotnet}",
            ],
            ["commit", machine.Commit ?? "not known"],
            ["settings", machine.Settings.Length > 0 ? $"`{machine.Settings}`" : "none in the environment"],
            ["command", string.Join("<br>", machine.Commands.Select(command => $"`{command}`"))],
        ];
        Table(page, ["", ""], lines);
    }

    private static void WriteNetwork(StringBuilder page, List<BenchRow> rows, string data)
    {
        var first = rows[0];
        var name = first.Network switch
        {
            "tiny" => Inv($"TinyResNet, {first.Planes} planes"),
            "bottleneck" => Inv($"Bottleneck stage, {first.Planes} channels"),
            _ => Inv($"Linear–tanh–Linear, {first.Planes}–{BenchNetwork.Hidden}–{first.Planes}"),
        };
        page.Append(Inv($"\n## {name}, batch {first.Batch}\n"));
        foreach (var group in rows.GroupBy(row => row.TrainSteps))
        {
            var points = group.Where(row => row.Depth is not null).ToList();
            var depths = points.Select(p => p.Depth!.Value).Distinct().Order().ToList();
            page.Append(group.Key > 0 ? Inv($"\n### After {group.Key} training steps\n\n") : "\n### At initialization\n\n");
            var columns = depths.Select(d => Inv($"depth {d}"));
            string[] head = ["ratio to stock backprop", .. columns, "bytes per added layer", "exponent", "of the stage"];
            Table(page, head, points.GroupBy(p => p.Method).Select(own =>
            {
                var fit = group.FirstOrDefault(row => row.Depth is null && row.Method == own.Key);
                return (string[])
                [
                    $"`{own.Key}`", .. depths.Select(d => Number(own.FirstOrDefault(p => p.Depth == d)?.RatioToBackprop, "0.000")),
                    Number(fit?.BytesPerLayer, "N0"), Number(fit?.TimeExponent, "0.000"), Number(fit?.StageExponent, "0.000"),
                ];
            }));
            var figure = BenchFigure.Name(first.Network, first.Planes, group.Key);
            page.Append(Inv($"\n![Time and memory against depth]({data}/{figure}.png)\n\n"));
            Table(
                page,
                [
                    "depth", "method", "ratio", "time (ms)", "rounds", "evaluations", "GFLOP/s", "of peak", "overhead", "peak (MiB)",
                    "of it the step's (MiB)", "gradient error",
                ],
                points.Select(p => (string[])
                [
                    Inv($"{p.Depth}"), $"`{p.Method}`", Number(p.RatioToBackprop, "0.000"), Time(p), Inv($"{p.Rounds}"),
                    Number(p.EvaluationsPerLayer, "0.00"),
                    Number(p.NominalGflops, "0"), Percent(p.NominalShareOfPeak), Percent(p.OverheadShare),
                    Number(p.PeakBytes / Mebibyte, "N0"), Number(p.StepBytes / Mebibyte, "N1"),
                    Number(p.GradientError, "0.0e+0"),
                ]));
        }
    }

    private const double Mebibyte = 1 << 20;

    private static string Time(BenchRow row) =>
        Inv($"{row.StepSeconds * 1e3:0.0} ({row.StepSecondsQ25 * 1e3:0.0}–{row.StepSecondsQ75 * 1e3:0.0})");

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "–";

    private static string Percent(double? value) => value is null ? "–" : Number(value * 100, "0.0") + " %";

    private static string Inv(FormattableString text) => FormattableString.Invariant(text);

    private static void Table(StringBuilder page, string[] head, IEnumerable<string[]> rows)
    {
        page.Append("| ").AppendJoin(" | ", head).Append(" |\n|").Insert(page.Length, "---|", head.Length).Append('\n');
        foreach (var row in rows)
        {
            page.Append("| ").AppendJoin(" | ", row).Append(" |\n");
        }
    }
}
