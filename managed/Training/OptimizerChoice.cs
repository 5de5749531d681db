using ResNetNodes.Data;
using System.Globalization;
using TorchSharp.Modules;

namespace ResNetNodes.Training;

/// <summary>How a trainer moves parameters: a value with a name, which makes the optimizer.</summary>
public sealed record OptimizerChoice
{
    private readonly string name;
    private readonly IReadOnlyList<(string Name, double Value)> numbers;
    private readonly Func<IReadOnlyList<TrainedGroup>, OptimizerHelper> create;

    private OptimizerChoice(
        string name,
        Func<IReadOnlyList<TrainedGroup>, OptimizerHelper> create,
        params IReadOnlyList<(string Name, double Value)> numbers) =>
        (this.name, this.create, this.numbers) = (name, create, numbers);

    /// <summary>Tensors of the weights' size that it keeps; null where it is not known.</summary>
    internal int? Copies { get; private init; }

    /// <summary>What a run that goes on has to have again.</summary>
    internal IEnumerable<Fact> Facts =>
    [
        new("optimizer", [name]),
        .. numbers.Select(number => new Fact(number.Name, [number.Value.ToString(CultureInfo.InvariantCulture)])),
    ];

    /// <summary>SGD with momentum (<see cref="MomentumSgd"/>).</summary>
    /// <param name="momentum">From 0 to below 1.</param>
    /// <returns>The choice.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The momentum is out of its range.</exception>
    public static OptimizerChoice Sgd(double momentum = 0.9) => new(
        "sgd",
        groups => new MomentumSgd(
            groups.Select(g => new SGD.ParamGroup(g.Parameters, g.LearningRate, momentum, weight_decay: g.WeightDecay)),
            groups[0].LearningRate, momentum),
        ("momentum", Below1(momentum, nameof(momentum))))
    {
        Copies = momentum > 0 ? 1 : 0,
    };

    /// <summary>AdamW (<see cref="DecoupledAdam"/>). The learning rate of SGD is too large for it: 1e-3 is usual.</summary>
    /// <param name="beta1">From 0 to below 1.</param>
    /// <param name="beta2">From 0 to below 1.</param>
    /// <param name="epsilon">Above 0.</param>
    /// <returns>The choice.</returns>
    /// <exception cref="ArgumentOutOfRangeException">One is out of its range.</exception>
    public static OptimizerChoice AdamW(double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8) => new(
        "adamw",
        groups => new DecoupledAdam(
            groups.Select(g => new AdamW.ParamGroup(g.Parameters, g.LearningRate, beta1, beta2, epsilon, g.WeightDecay)),
            groups[0].LearningRate),
        ("beta1", Below1(beta1, nameof(beta1))),
        ("beta2", Below1(beta2, nameof(beta2))),
        ("epsilon", epsilon > 0 && double.IsFinite(epsilon)
            ? epsilon
            : throw new ArgumentOutOfRangeException(nameof(epsilon), epsilon, "expected a positive number")))
    {
        Copies = 2,
    };

    /// <summary>Any other optimizer of TorchSharp, or of the user. A run goes on with one of the same name alone.</summary>
    /// <param name="name">A letter, then letters, digits, points and hyphens: the numbers that it depends on are part of it.</param>
    /// <param name="create">
    /// Makes it. Each of its groups keeps the rate that it has here, times what the schedule says. A checkpoint holds what its state
    /// remembers as tensors, numbers and flags.
    /// </param>
    /// <returns>The choice.</returns>
    /// <exception cref="ArgumentException">The name is none.</exception>
    public static OptimizerChoice Custom(string name, Func<IReadOnlyList<TrainedGroup>, OptimizerHelper> create)
    {
        ArgumentNullException.ThrowIfNull(create);
        ChoiceName.Require(name, "optimizer", "sgd", "adamw");
        return new(name, create);
    }

    /// <summary>Equal by name and numbers.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both print the same.</returns>
    public bool Equals(OptimizerChoice? other) => other?.ToString() == ToString();

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    /// <inheritdoc/>
    public override string ToString() => string.Join(' ', [name, .. Facts.Skip(1).Select(fact => $"{fact.Name} {fact.Values[0]}")]);

    /// <summary>The optimizer; the caller's to dispose.</summary>
    internal OptimizerHelper Create(IReadOnlyList<TrainedGroup> groups) =>
        create(groups) ?? throw new ArgumentException($"optimizer {name}: its factory gave none");

    private static double Below1(double value, string argument) => value is >= 0 and < 1
        ? value
        : throw new ArgumentOutOfRangeException(argument, value, "expected from 0 to below 1");
}

/// <summary>Parameters that are trained alike.</summary>
/// <param name="Parameters">They require gradients.</param>
/// <param name="LearningRate">Their first learning rate.</param>
/// <param name="WeightDecay">Their weight decay.</param>
public sealed record TrainedGroup(IReadOnlyList<Parameter> Parameters, double LearningRate, double WeightDecay);
