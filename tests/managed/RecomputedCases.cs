using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>A network with parts that may be recomputed, and what it is called with.</summary>
/// <param name="Make">Makes it, and wraps its parts: in a <see cref="Recomputed"/>, or not at all for the truth.</param>
/// <param name="Input">Its input, in float64; integers stay what they are.</param>
/// <param name="Layers">Whether all that is wrapped can be native layers.</param>
internal sealed record RecomputedCase(
    Func<Func<nn.Module<Tensor, Tensor>, nn.Module<Tensor, Tensor>>, nn.Module<Tensor, Tensor>> Make,
    Func<Tensor> Input,
    bool Layers = false)
{
    /// <summary>Whether the input asks for its gradient.</summary>
    public bool InputWanted { get; init; } = true;

    /// <summary>What is done to the network before it is called, such as <c>eval</c>.</summary>
    public Action<nn.Module> Prepare { get; init; } = _ => { };
}

/// <summary>The table of them, by name.</summary>
internal static class RecomputedCases
{
    private static readonly Func<Tensor> Images = () => Truth.Normal(1, 4, 3, 6, 6);
    private static readonly Func<Tensor> Rows = () => Truth.Normal(1, 5, 6);

    public static Dictionary<string, RecomputedCase> All { get; } = new()
    {
        ["linear layers"] = new(wrap => wrap(Truth.LinearFunction(6)), Rows, true),
        ["linear layers that change the width"] = new(wrap => wrap(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))), Rows, true),
        ["linear layers on sequences"] = new(wrap => wrap(nn.Sequential(nn.Linear(6, 4), nn.GELU())), () => Truth.Normal(1, 2, 5, 6), true),
        ["batch norm that trains"] = new(wrap => wrap(Truth.TinyFunction(3)), Images, true),
        ["batch norm in evaluation mode"] = new(wrap => wrap(Truth.TinyFunction(3)), Images, true) { Prepare = Evaluates },
        ["a frozen batch norm"] = new(wrap => wrap(Truth.TinyFunction(3)), Images, true)
        {
            Prepare = network => network.modules().OfType<BatchNorm2d>().First().eval(),
        },
        ["channels that grow"] = new(wrap => wrap(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU())), Images, true),
        ["frozen parameters"] = new(wrap => wrap(Truth.LinearFunction(6)), Rows, true)
        {
            Prepare = network => network.parameters().First().requires_grad_(false),
        },
        ["an input that needs no gradient"] = new(wrap => wrap(Truth.TinyFunction(3)), Images, true) { InputWanted = false },
        ["an in-place activation first"] = new(wrap => wrap(nn.Sequential(nn.ReLU(inplace: true), nn.Linear(6, 6))), Rows, true),
        ["an in-place activation afterwards"] = new(
            wrap => nn.Sequential(wrap(nn.Linear(6, 6)), nn.ReLU(inplace: true), wrap(nn.Sequential(nn.Linear(6, 6), nn.Tanh()))),
            Rows,
            true),
        ["no parameters"] = new(wrap => wrap(nn.Sequential(nn.Tanh(), nn.ReLU())), Rows, true),
        ["images in channels_last"] = new(
            wrap => wrap(Truth.TinyFunction(3)), () => Images().contiguous_channels_last(), true),
        ["a transposed input"] = new(wrap => wrap(Truth.LinearFunction(6)), () => Truth.Normal(1, 6, 5).t(), true),
        ["transposed images"] = new(wrap => wrap(Truth.TinyFunction(3)), () => Images().transpose(2, 3), true),
        ["a layer used twice"] = new(
            wrap =>
            {
                var layer = nn.Linear(6, 6);
                return wrap(nn.Sequential(layer, nn.Tanh(), layer));
            },
            Rows,
            true),
        ["a layer of two recomputed modules"] = new(
            wrap =>
            {
                var layer = nn.Linear(6, 6);
                return nn.Sequential(wrap(nn.Sequential(layer, nn.Tanh())), wrap(nn.Sequential(layer, nn.ReLU())));
            },
            Rows,
            true),
        ["dropout"] = new(wrap => wrap(nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.1))), Rows),
        ["dropout in evaluation mode"] = new(wrap => wrap(nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5))), Rows) { Prepare = Evaluates },
        ["hooks"] = new(
            wrap =>
            {
                var hooked = nn.Linear(6, 6);
                hooked.register_forward_pre_hook((_, x) => x * 2);
                hooked.register_forward_hook((_, _, y) => y.tanh());
                return wrap(nn.Sequential(hooked, nn.Linear(6, 6)));
            },
            Rows),
        ["a strided head"] = new(
            wrap => wrap(nn.Sequential(
                nn.Conv2d(3, 4, 3, stride: 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))),
            Images),
        ["a head on images without a gradient"] = new(
            wrap => wrap(nn.Sequential(nn.Conv2d(3, 4, 3, stride: 2), nn.Flatten())), Images)
        { InputWanted = false },
        ["a max pool in channels_last"] = new(
            wrap => wrap(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))), () => Images().contiguous_channels_last()),
        ["an embedding"] = new(
            wrap => wrap(nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 3))), () => tensor([2L, 5, 2, 0]))
        { InputWanted = false },
        ["its input alone"] = new(wrap => wrap(new Lambda(x => x)), Rows),
        ["a parameter alone"] = new(wrap => wrap(new Scaled((_, scale) => scale)), Rows),
        ["a cast inside"] = new(wrap => wrap(new Lambda(x => x.to(ScalarType.Float32).sin())), Rows),
        ["a part that stops gradients"] = new(wrap => wrap(new Scaled((x, scale) => x.detach() * scale)), Rows),
        ["one in another"] = new(
            wrap => wrap(nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), wrap(nn.Sequential(nn.Linear(6, 4), nn.Sigmoid())))), Rows),
        ["layers in a recomputed module"] = new(
            wrap => wrap(nn.Sequential(nn.Conv2d(3, 4, 3, stride: 2), nn.Sigmoid(), wrap(Truth.TinyFunction(4)))), Images),
        ["a stage inside"] = new(
            wrap => wrap(nn.Sequential(nn.Linear(6, 4), new ResidualStage([Truth.LinearFunction(4), Truth.LinearFunction(4)], Stored))),
            Rows),
        ["a residual function of a stage"] = new(
            wrap => new ResidualStage([wrap(Truth.LinearFunction(6)), wrap(nn.Sequential(nn.Linear(6, 6), nn.Sigmoid()))], Stored),
            Rows),
        ["a condition derived inside"] = new(wrap => wrap(new Conditioning()), Rows),
    };

    private static StageOptions Stored => new() { Reconstruction = Reconstruction.Backprop };

    private static void Evaluates(nn.Module network)
    {
        using var guard = no_grad();
        foreach (var norm in network.modules().OfType<BatchNorm2d>())
        {
            norm.running_mean!.fill_(0.1);
            norm.running_var!.fill_(1.7);
        }

        network.eval();
    }

    private static Tensor contiguous_channels_last(this Tensor images) => images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
}

/// <summary>A function as a module.</summary>
internal sealed class Lambda(Func<Tensor, Tensor> function) : nn.Module<Tensor, Tensor>(nameof(Lambda))
{
    public override Tensor forward(Tensor input) => function(input);
}

/// <summary>A function of the input and a parameter of 6 numbers.</summary>
internal sealed class Scaled : nn.Module<Tensor, Tensor>
{
    private readonly Parameter scale = new(rand(6));
    private readonly Func<Tensor, Tensor, Tensor> function;

    public Scaled(Func<Tensor, Tensor, Tensor> function)
        : base(nameof(Scaled))
    {
        this.function = function;
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => function(input, scale);
}

/// <summary>A stage whose condition is made of the input.</summary>
internal sealed class Conditioning : nn.Module<Tensor, Tensor>
{
    private readonly Linear linear = nn.Linear(6, 6);
    private readonly ConditionedStage stage =
        ConditionedStage.Shared(new ConditionedFunction(), 2, new StageOptions { Reconstruction = Reconstruction.Checkpoint() });

    public Conditioning()
        : base(nameof(Conditioning)) => RegisterComponents();

    public override Tensor forward(Tensor input) => stage.call(input, linear.call(input).sigmoid());
}
