using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>A class that an image may be of.</summary>
internal sealed record PredictionRow(string Image, int Rank, int Label, string Class, double Score);

/// <summary>Classifies images.</summary>
[Verb("predict", HelpText = "Classify image files with a trained network.")]
[Page(
    "An IMAGE is a JPEG, PNG, WebP or BMP file, or a folder of them. Images become inputs as in the tests of the network's training; what "
    + "is larger than they were is scaled down. One that can't be read is told, the others are classified, and the exit code is 1.",
    "resnet-nodes predict --checkpoint runs/train/checkpoint.bin cat.png photos/              (2 seconds on 2 cores)",
    "resnet-nodes predict --checkpoint runs/train/checkpoint.bin --top 5 --to classes.csv photos/")]
[JsonRows(typeof(PredictionRow))]
[Defaults("batch=32")]
[Meaning("checkpoint", "The trained network: checkpoint.bin of a run, or what export or import has written.")]
[Meaning("batch", "Images at a time.")]
[Meaning("to", "File for the classes, instead of standard output: .csv, or .jsonl (one JSON object a line).")]
internal sealed class Predict : Computation
{
    private const string Csv = ".csv", JsonLines = ".jsonl";

    [Option("top", Default = "1", MetaValue = "K", HelpText = "Classes to name for each image, the most likely first.")]
    [Section("output")]
    public string Top { get => Given(); set => Set(value); }

    public CheckpointGroup Checkpoint { get; } = new();

    public BatchGroup Batch { get; } = new();

    public DeviceGroup Device { get; } = new();

    public TargetGroup Target { get; } = new();

    public override string WordsName => "IMAGE";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var (top, batch, target) = (Read.Whole("top", Top), Batch.Number, Target.Path(Csv, JsonLines));
        if (FreeWords.Count == 0)
        {
            throw new UsageException("predict needs an IMAGE: the name of a file or folder");
        }

        var (model, description) = Checkpoint.Open(this);
        using var network = new TrainedClassifier(model, description, Device.Value);
        var input = description.Input ?? throw new ResNetNodesException(
            $"{Checkpoint.Path}: does not say what images its network takes: it was saved before it was trained; train it, or save it with "
            + "a description");
        network.Require("the checkpoint's image size", input.Pixels, batch);
        var files = ImageFiles.Of(FreeWords, terminal);
        var (rows, failed) = (new List<PredictionRow>(), 0);
        foreach (var (i, chunk) in files.Chunk(batch).Index())
        {
            cancellation.ThrowIfCancellationRequested();
            var (read, images) = Images(chunk, input, terminal);
            failed += chunk.Length - read.Count;
            using (images)
            {
                var own = read.Count > 0 ? Classify(network, read, images, Math.Min(top, description.Classes)) : [];
                rows.AddRange(own);
                if (target is null)
                {
                    own.ForEach(terminal.Row);
                }
            }

            terminal.Progress(Math.Min(1, (i + 1.0) * batch / files.Count), $"predict: {rows.Count} images");
        }

        if (target is null)
        {
            terminal.Table(rows);
        }
        else if (rows.Count > 0)
        {
            AtomicFile.Write(target, target.EndsWith(Csv, StringComparison.OrdinalIgnoreCase)
                ? Rows.Csv(rows)
                : string.Concat(rows.Select(row => Rows.Json(row) + "\n")));
            terminal.Say($"output: {target}");
        }

        if (failed > 0)
        {
            throw new ResNetNodesException($"{failed} of {files.Count} images could not be classified");
        }
    }

    // Those that could be read, and their inputs.
    private (List<string> Read, Tensor Images) Images(string[] files, InputDescription input, Terminal terminal)
    {
        var augmentation = input.ToAugmentation();
        var (read, values) = (new List<string>(), new float[input.Channels * input.Pixels * input.Pixels]);
        var images = empty([files.Length, input.Channels, input.Pixels, input.Pixels], ScalarType.Float32);
        foreach (var file in files)
        {
            if (ImageFiles.Read(file, input.Channels, out var failure) is { } image)
            {
                augmentation.Apply(image, read.Count, 0, 0, values);
                using var target = images[read.Count];
                using var one = tensor(values, target.shape);
                target.copy_(one);
                read.Add(file);
            }
            else
            {
                terminal.Warn($"{OneLine.Of(file)}: {failure}");
            }
        }

        using (images)
        {
            return (read, images.narrow(0, 0, read.Count).to(Device.Value));
        }
    }

    private static List<PredictionRow> Classify(TrainedClassifier network, List<string> files, Tensor images, int top)
    {
        using var scope = NewDisposeScope();
        var all = network.Scores(images, files.Count == 1 ? OneLine.Of(files[0]) : $"{files.Count} images")
            .to(ScalarType.Float64).softmax(1).cpu();
        return
        [
            .. files.SelectMany((file, i) => all[i].data<double>().ToArray().Index().OrderByDescending(score => score.Item)
                .ThenBy(score => score.Index).Take(top)
                .Select((score, rank) => new PredictionRow(
                    file, rank + 1, score.Index, network.NameOf(score.Index), score.Item))),
        ];
    }
}
