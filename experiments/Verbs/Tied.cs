using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>An epoch of one run: size and method, then its metrics.</summary>
internal sealed record TiedRow(string Size, string Reconstruction, int Epoch, double TrainLoss, double TrainAccuracy, double TestLoss, double TestAccuracy, double? ReconstructionError, double Seconds);

/// <summary>Training with one function per stage.</summary>
[Verb("tied", HelpText = "Train networks with tied weights: one residual function per stage, applied n times.")]
[Page(
    "Figure 3a of arXiv 2205.14612: networks of four stages, auto:n, trained with the adjoint.",
    "resnet-nodes tied --preset small                                  (6 minutes on 2 cores)",
    "resnet-nodes tied --preset paper --data cifar-10-binary.tar.gz",
    "resnet-nodes tied --preset paper-imagenet --data ILSVRC")]
[JsonRows(typeof(TiedRow))]
[Defaults("network=tied")]
[Preset("smoke", "dataset=synthetic", "limit=100", "planes=2", "sizes=auto:2", "epochs=1", "batch=50")]
[Preset("small", "planes=4", "sizes=auto:4,auto:8", "limit=6000", "epochs=3", "batch=32", "zero-init=true")]
[Preset("paper", "dataset=cifar10", "sizes=auto:8", "reconstructions=inverse", "epochs=200")]
[Preset("paper-imagenet", "dataset=imagenet", "sizes=auto:8", "reconstructions=inverse", "batch=256", "epochs=102", "schedule=steps:30+60+90", "weight-decay=1e-4")]
internal sealed class Tied : ModelOptions
{
    [Option("sizes", Default = "auto:8", MetaValue = "SIZE,...", HelpText = "Sizes to train, as --size.")]
    [Section("model")]
    public string Sizes { get; set; } = "auto:8";

    [Option('r', "reconstructions", Default = "adaptive,backprop", MetaValue = "METHOD,...", HelpText = "Methods to train with.")]
    [Section("method")]
    public string Methods { get; set; } = "adaptive,backprop";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stages.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('e', "epochs", Default = "200", MetaValue = "N", HelpText = "Epochs in all.")]
    [Section("training")]
    public string Epochs { get; set; } = "200";

    [Option("schedule", Default = "cosine", MetaValue = "constant|cosine|thirds|steps:A+B", HelpText = "Learning rate over the epochs.")]
    [Section("training")]
    public string ScheduleName { get; set; } = "cosine";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        Read.OneOf("network", Network, "tied", "ode", "resnet");
        Unused("size", Size, "tied trains the sizes of --sizes");
        var sizes = Sizes.Split(',').Select(SizeOf).ToList();
        var methods = Read.Reconstructions("reconstructions", Methods);
        var solver = Read.Choice<Solver>("solver", SolverName);
        var options = Optimization() with
        {
            Epochs = Read.Whole("epochs", Epochs, 1),
            Schedule = Read.Checked("schedule", ScheduleName, Schedule.Parse),
        };
        var (train, images) = Batches(true, terminal, cancellation);
        var (test, _) = Batches(false, terminal, cancellation, TestBatch);
        var folder = RunFolder.Open(this);
        var rows = new List<TiedRow>();
        var series = new List<Series>();
        foreach (var (s, size) in sizes.Index())
        {
            foreach (var method in methods)
            {
                var stage = new StageOptions { Solver = solver, Reconstruction = method, ReportReconstructionError = true };
                using var model = Build(Network, 1, size, stage, images.Classes);
                var run = new TrainingRun(folder.Part($"{size}-{method}".Replace(':', '_')), terminal, $"{size}, {method}");
                var own = run.Go(model, options, train, test, null, cancellation).Select(m =>
                    new TiedRow(size.ToString(), method.ToString(), m.Epoch, m.TrainLoss, m.TrainAccuracy, m.TestLoss, m.TestAccuracy, m.ReconstructionError, m.Seconds)).ToList();
                own.ForEach(terminal.Row);
                rows.AddRange(own);
                series.Add(new Series($"{size}, {method}", [.. own.Select(r => (double)r.Epoch)], [.. own.Select(r => 100 * r.TestAccuracy)], PaperFigure.ColourAt(s), Open: method.IsMemoryFree, Dashed: method.IsMemoryFree));
            }
        }

        folder.WriteCsv("tied.csv", rows);
        terminal.Table(rows);
        terminal.Say("figure: " + PaperFigure.Save(folder, "tied", $"{(Network == "tied" ? "Tied weights" : Network)} on {images.Name}: solid backprop, dashed adjoint", "Epoch", "Test accuracy (%)", series));
        folder.Finish(terminal, $"Training with tied weights on {images.Name}", "figure 3a", [.. sizes.Select(size => Judge(size.ToString(), rows, images.Classes)).OfType<Finding>()]);
    }

    private static Finding? Judge(string size, List<TiedRow> rows, int classes)
    {
        double? Best(Func<Reconstruction, bool> method) =>
            rows.Where(r => r.Size == size && method(Reconstruction.Parse(r.Reconstruction))).Select(r => (double?)r.TestAccuracy).Max();
        return Best(m => m.IsMemoryFree) is not { } adjoint || Best(m => !m.IsMemoryFree) is not { } stored
            ? null
            : new($"Tied weights train with the adjoint as with backprop ({size})", $"best test accuracy {adjoint:0.0 %} with the adjoint, {stored:0.0 %} with stored states", stored < 2.0 / classes ? null : adjoint > stored - 0.02);
    }
}
