using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// A moment of a training: errors of the gradients of all residual parameters and of all parameters; the largest estimated error of a
/// state; evaluations a function, and states kept and replayed by the way back.
/// </summary>
internal sealed record GradientErrorRow(
    string Network,
    string Solver,
    string Reconstruction,
    int Step,
    double RelativeError,
    double WholeError,
    double? StateError,
    double EvaluationsPerLayer,
    int KeptStates,
    int ReplayedStates);

/// <summary>Gradients beside backprop's while a network trains.</summary>
[Verb("gradient-errors", HelpText = "Error of the gradient relative to backprop while whole networks train.")]
[Page(
    "Ours: each network trains with the method itself. At the given steps its gradient, with what it has learned until then, is "
    + "compared with backprop's at the same weights and batch.",
    "resnet-nodes gradient-errors --depths 2,4,8,16,64 --zero-init false --planes 16 --batch 32     (3 minutes on 2 cores)",
    "resnet-nodes gradient-errors --network ode --sizes 18,34,50,101 --planes 16 --batch 32 --at 0,1,10,300")]
[PaperRow("gradients while training", order: 0)]
[JsonRows(typeof(GradientErrorRow))]
[Defaults("solvers=euler", "reconstructions=adaptive", "depths=2,4,8,16", "sizes=18,50", "planes=16", "batch=32")]
[Meaning("planes", "Channels of TinyResNet's stage, or planes of the first of four stages.")]
[Meaning("depths", "Residual functions of TinyResNet.")]
[Meaning("sizes", "Sizes of networks of four stages: {sizes}.")]
[Meaning("reconstructions", "Methods to compare with backprop: {methods}.")]
[Preset("smoke", "dataset=synthetic", "limit=200", "planes=4", "depths=2,6", "at=0,2", "batch=20", "zero-init=false")]
[Preset("small", "depths=2,4,8,16,32", "at=0,1,10,100", "zero-init=false")]
[Preset("paper", "dataset=cifar10", "network=ode", "sizes=18,34,50,101", "planes=64", "batch=256", "at=0,10,100,1000")]
internal sealed class GradientErrors : Experiment
{
    // The largest error that the default method may have.
    private const double Most = 0.02;

    [Option("at", Default = "0,1,10,60", MetaValue = "STEP,...", HelpText = "Training steps after which gradients are compared.")]
    [Section("training")]
    public string At { get => Given(); set => Set(value); }

    public NetworkGroup Network { get; } = new("tiny", "ode", "tied", "resnet", "torchvision");

    public DepthsGroup Depths { get; } = new();

    public SizesGroup Sizes { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolversGroup Solvers { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public RateGroup Rate { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var kind = Network.Name;
        Unused(kind == "tiny" ? "sizes" : "depths", $"--network {kind} has {(kind == "tiny" ? "--depths" : "--sizes")}");
        var (planes, marks) = (Planes.Of(kind), Read.Wholes("at", At).Order().ToList());
        var stage = Execution.On(new StageOptions());
        var options = Rate.On(Optimization.On(Device.Value));
        var (images, augmentation) = Images.Load(true, Seed.Number, terminal, cancellation);
        BatchLoader Loader(long seed) => Images.Batches(images, augmentation, Batch.Number, seed);
        using var batch = Loader(Seed.Number + 1).Epoch(0).First();
        var (solvers, methods) = (Solvers.Values, Methods.Values);
        var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
        var networks = kind == "tiny"
            ? Depths.Numbers.Select(depth => (Name: $"TinyResNet {depth}", Make: Checked(solvers, methods, s =>
            {
                var tiny = Network.Tiny(depth, planes, s, images.Classes);
                NetworkGroup.Check("depths", tiny, load);
                return () => NetworkGroup.Build(tiny, Seed.Number);
            }))).ToList()
            : [.. Sizes.Values.Select(size => (Name: $"{kind} {size}", Make: Checked(solvers, methods, s =>
            {
                var staged = Network.Staged(kind, size, planes, 1, s, images.Classes);
                NetworkGroup.Check("sizes", staged, load);
                return () => NetworkGroup.Build(staged, Seed.Number);
            })))];
        var folder = RunFolder.Open(this);
        var rows = new List<GradientErrorRow>();
        foreach (var (name, make) in networks)
        {
            foreach (var solver in solvers)
            {
                foreach (var method in methods)
                {
                    var own = folder.Point($"{name}-{solver}-{method}".Replace(' ', '-').Replace(':', '_'), () =>
                    {
                        var of = stage with { Solver = solver };
                        using var model = make(of with { Reconstruction = method })();
                        using var truth = new BackpropTruth(make(of with { Reconstruction = Reconstruction.Backprop })(), options.Device);
                        var what = $"{name}, {solver}, {method}";
                        var found = Follow(what, model, truth, Loader(Seed.Number), batch, marks, options, terminal, cancellation);
                        return found.Select(row => row with { Network = name, Solver = solver.Name, Reconstruction = method.ToString() })
                            .ToList();
                    });
                    own.ForEach(terminal.Row);
                    rows.AddRange(own);
                }
            }
        }

        folder.WriteCsv("gradient-errors.csv", rows);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, rows));
        folder.Finish(terminal, $"Gradients beside backprop's while training on {images.Name}", Judge(rows));
    }

    // A network's maker, once it has been asked for all that will be made of it: a wrong one is known before the first trains.
    private static Func<StageOptions, Func<nn.Module<Tensor, Tensor>>> Checked(
        IReadOnlyList<Solver> solvers,
        IReadOnlyList<Reconstruction> methods,
        Func<StageOptions, Func<nn.Module<Tensor, Tensor>>> make)
    {
        foreach (var (solver, method) in solvers.SelectMany(s => methods.Append(Reconstruction.Backprop).Select(m => (s, m))))
        {
            _ = make(new StageOptions { Solver = solver, Reconstruction = method });
        }

        return make;
    }

    private static List<GradientErrorRow> Follow(
        string what,
        nn.Module<Tensor, Tensor> model,
        BackpropTruth truth,
        BatchLoader loader,
        Batch batch,
        List<int> marks,
        TrainingOptions options,
        Terminal terminal,
        CancellationToken cancellation)
    {
        using var trainer = new Trainer(model, options);
        var rows = new List<GradientErrorRow>();
        var (done, epoch) = (0, 0);
        foreach (var mark in marks)
        {
            while (done < mark)
            {
                foreach (var images in loader.Epoch(epoch++).Take(mark - done))
                {
                    cancellation.ThrowIfCancellationRequested();
                    using var scope = NewDisposeScope();
                    using (images)
                    {
                        var (x, labels) = images.On(options.Device);
                        trainer.TrainStep(x, labels);
                    }

                    terminal.Progress((double)++done / marks[^1], $"{what}: training step {done}/{marks[^1]}");
                }
            }

            rows.Add(Compare(model, truth, batch) with { Step = mark });
        }

        return rows;
    }

    private static GradientErrorRow Compare(nn.Module<Tensor, Tensor> model, BackpropTruth truth, Batch batch)
    {
        var error = truth.Compare(model, batch);
        var stages = NetworkGroup.StagesOf(model);
        var reports = stages.Select(s => s.LastReport!).ToList();
        return new(
            string.Empty, string.Empty, string.Empty, 0, error.InStages, error.Whole, reports.Max(r => r.Error),
            (double)reports.Sum(r => r.Evaluations) / stages.Sum(s => s.Depth),
            reports.Sum(r => r.Count(StateSource.Kept)), reports.Sum(r => r.Count(StateSource.Replayed)));
    }

    private static List<Finding> Judge(List<GradientErrorRow> rows) =>
        [.. rows.GroupBy(r => r.Reconstruction).Select(method =>
        {
            var worst = method.MaxBy(r => r.RelativeError)!;
            return new Finding(
                $"Ours: the gradient of {method.Key} is within {Most:0 %} of backprop's while networks train",
                $"largest error {worst.RelativeError:0.0e+0} ({worst.Network}, {worst.Solver}, step {worst.Step})",
                method.Key.StartsWith("adaptive", StringComparison.Ordinal) ? worst.RelativeError <= Most : null);
        })];

    private static string Draw(RunFolder folder, List<GradientErrorRow> rows)
    {
        // A logarithmic axis has no place for 0, which is exact.
        double Shown(GradientErrorRow row) => Math.Max(row.RelativeError, 1e-8);
        var panels = rows.GroupBy(r => (r.Network, r.Solver)).Select(network => new Panel(
            "Training step", "Relative error of the gradient",
            [
                .. network.GroupBy(r => r.Reconstruction).Select(own => new Series(
                    own.Key, [.. own.Select(r => (double)r.Step)], [.. own.Select(Shown)], PaperFigure.ColourOfMethod(own.Key))),
            ])
        {
            Title = $"{network.Key.Network}, {network.Key.Solver}",
            LogY = true,
            RangeY = (rows.Min(Shown), rows.Max(Shown)),
        }).ToList();
        var worst = rows.MaxBy(r => r.RelativeError)!;
        var title = $"While networks train, gradients are within {worst.RelativeError:0.0e+0} of backprop's, "
            + $"the farthest with {worst.Reconstruction} ({worst.Network}, {worst.Solver})";
        return PaperFigure.Save(folder, "gradient-errors", title, panels);
    }
}
