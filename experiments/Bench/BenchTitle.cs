using static ResNetNodes.Experiments.Bench.Markdown;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What was trained, in words of a heading.</summary>
internal static class BenchTitle
{
    public static string Of(BenchSetting setting) =>
        Of(setting.Network, setting.Planes, setting.Size, setting.Classes, setting.Image)
        + (setting.Depth is null ? string.Empty : Inv($", depth {setting.Depth}")) + Inv($", batch {setting.Batch}")
        + (setting.TrainSteps > 0 ? Inv($", after {setting.TrainSteps} training steps") : string.Empty);

    public static string Of(BenchSeries line) =>
        Of(line.Network, line.Planes, null, line.Classes, line.Image) + Inv($", batch {line.Batch}");

    private static string Of(string network, int planes, string? size, int? classes, int? image)
    {
        const int hidden = StageNetwork.Hidden;
        var staged = (size is null ? "s" : char.IsDigit(size[0]) ? "-" + size : " " + size)
            + Inv($", {planes} planes, {classes} classes, images {image}×{image}");
        return network switch
        {
            "tiny" => Inv($"TinyResNet, {planes} planes") + (classes == 10 ? string.Empty : Inv($", {classes} classes")),
            "bottleneck" => Inv($"Bottleneck stage, {planes} channels"),
            "linear" => Inv($"Linear–tanh–Linear, {planes}–{hidden}–{planes}"),
            "resnet" => "ResNet" + staged,
            "ode" => "ODE ResNet" + staged,
            _ => "Tied ODE ResNet" + staged,
        };
    }
}
