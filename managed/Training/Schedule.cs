using System.Globalization;

namespace ResNetNodes.Training;

/// <summary>
/// The learning rate over a run, as a factor of the options': by epoch, or by step, after a warm-up or without one. A value that prints
/// and parses itself.
/// </summary>
public sealed record Schedule
{
    /// <summary>The most epochs that a schedule speaks of: at a second each they take a day.</summary>
    internal const int MostEpochs = 100_000;

    /// <summary>The most steps of a warm-up.</summary>
    internal const int MostWarmUpSteps = 10_000_000;

    /// <summary>The most numbers of a text of steps: the rate is divided by ten after each.</summary>
    private const int MostSteps = 100;

    private readonly string name;
    private readonly Func<double, int, double> factor;

    private Schedule(string name, Func<double, int, double> factor) => (this.name, this.factor) = (name, factor);

    /// <summary>The same rate throughout.</summary>
    public static Schedule Constant { get; } = new("constant", (_, _) => 1);

    /// <summary>From the first rate to 0 along half a cosine over all epochs (paper, figure 3a).</summary>
    public static Schedule Cosine { get; } = new("cosine", (time, epochs) => (1 + Math.Cos(Math.PI * time / epochs)) / 2);

    /// <summary>A tenth after a third of the epochs, a hundredth after two thirds (paper, figure 3c).</summary>
    public static Schedule Thirds { get; } =
        new("thirds", (time, epochs) => Math.Pow(0.1, Math.Min(Math.Floor(3 * time / epochs), 2)));

    /// <summary>Whether the rate changes with every step, and not with every epoch alone.</summary>
    public bool IsByStep { get; private init; }

    private ScheduleWarmUp? Rise { get; init; }

    /// <summary>Divided by ten after each of these epochs.</summary>
    /// <param name="epochs">Such as 100, 150: 1 to 100 numbers, each from 0 to 100000.</param>
    /// <returns>The schedule.</returns>
    /// <exception cref="ArgumentException">There are fewer or more of them, or one is out of that range.</exception>
    public static Schedule Steps(params IReadOnlyList<int> epochs)
    {
        ArgumentNullException.ThrowIfNull(epochs);
        var text = "steps:" + string.Join('+', epochs.Select(e => e.ToString(CultureInfo.InvariantCulture)));
        return epochs.Count is < 1 or > MostSteps
            ? throw new ArgumentException($"a schedule has {epochs.Count} steps, expected 1 to {MostSteps}")
            : epochs.All(e => e is >= 0 and <= MostEpochs) ? new(text, (time, _) => Math.Pow(0.1, epochs.Count(e => time >= e)))
            : throw ScheduleText.OutOfRange(text, 0);
    }

    /// <summary>Multiplied by a factor every so many epochs (paper, table 2: 5 and 0.33).</summary>
    /// <param name="epochs">Epochs between, from 1 to 100000.</param>
    /// <param name="factor">Above 0, at most 1.</param>
    /// <returns>The schedule.</returns>
    /// <exception cref="ArgumentOutOfRangeException">One is out of its range.</exception>
    public static Schedule Every(int epochs, double factor)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(epochs, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(epochs, MostEpochs);
        return factor is > 0 and <= 1
            ? new(
                string.Create(CultureInfo.InvariantCulture, $"every:{epochs}*{factor:R}"),
                (time, _) => Math.Pow(factor, Math.Floor(time / epochs)))
            : throw new ArgumentOutOfRangeException(nameof(factor), factor, "expected a factor above 0 and up to 1");
    }

    /// <summary>
    /// A function of the user's own. <see cref="Parse"/> does not know it; a run goes on with one of the same name alone.
    /// </summary>
    /// <param name="name">What it prints as: a letter, then letters, digits, points and hyphens; no name of another schedule.</param>
    /// <param name="factor">
    /// The factor at a time, in epochs from 0 (2.5: in the middle of the third one; by epoch it is whole), of so many epochs in all. It is
    /// a function of these alone, finite and not negative.
    /// </param>
    /// <returns>The schedule, by epoch.</returns>
    /// <exception cref="ArgumentException">The name is none.</exception>
    public static Schedule Custom(string name, Func<double, int, double> factor)
    {
        ArgumentNullException.ThrowIfNull(factor);
        ChoiceName.Require(name, "schedule", "constant", "cosine", "thirds", "steps", "every", "warmup");
        return new(name, factor);
    }

    /// <summary>Reads a schedule as users write it; the inverse of <see cref="ToString"/>.</summary>
    /// <param name="text">
    /// constant, cosine, thirds, steps:100+150 or every:5*0.33; @step behind it: by step; warmup:5+ or warmup:500steps+ before it: after a
    /// rise over 5 epochs, or 500 steps.
    /// </param>
    /// <returns>The schedule.</returns>
    /// <exception cref="ArgumentException">The text names none.</exception>
    public static Schedule Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return ScheduleText.Parse(text);
    }

    /// <summary>The same, changing with every step: a step's time is its epoch and the part of it that is done.</summary>
    /// <returns>The schedule.</returns>
    public Schedule ByStep() => this with { IsByStep = true };

    /// <summary>
    /// The same, times a linear rise: (s + 1)/W in step s of the first W, those of so many epochs. The schedule itself begins with the
    /// run, not behind the rise.
    /// </summary>
    /// <param name="epochs">From 1 to 100000.</param>
    /// <returns>The schedule.</returns>
    /// <exception cref="ArgumentOutOfRangeException">It is out of that range.</exception>
    public Schedule WarmUp(int epochs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(epochs, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(epochs, MostEpochs);
        return this with { Rise = new(epochs, false) };
    }

    /// <summary>The same, times a linear rise over its first steps, as <see cref="WarmUp"/>.</summary>
    /// <param name="steps">From 1 to 10000000.</param>
    /// <returns>The schedule.</returns>
    /// <exception cref="ArgumentOutOfRangeException">It is out of that range.</exception>
    public Schedule WarmUpSteps(int steps)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(steps, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(steps, MostWarmUpSteps);
        return this with { Rise = new(steps, true) };
    }

    /// <summary>The factor of the learning rate in an epoch's first step.</summary>
    /// <param name="epoch">From 0.</param>
    /// <param name="epochs">Total number of epochs.</param>
    /// <returns>A factor from 0 to 1; of a function of the user's own, what it gives.</returns>
    public double Factor(int epoch, int epochs) => Factor(epoch, epochs, 0, 1);

    /// <summary>The factor of the learning rate in a step.</summary>
    /// <param name="epoch">From 0.</param>
    /// <param name="epochs">Total number of epochs.</param>
    /// <param name="step">The step of the epoch, from 0.</param>
    /// <param name="steps">Steps of an epoch.</param>
    /// <returns>A factor from 0 to 1; of a function of the user's own, what it gives.</returns>
    /// <exception cref="ResNetNodesException">A function of the user's own gives what is no factor.</exception>
    public double Factor(int epoch, int epochs, int step, int steps)
    {
        var time = IsByStep ? epoch + ((double)step / steps) : epoch;
        var value = factor(time, epochs);
        if (!double.IsFinite(value) || value < 0)
        {
            throw new ResNetNodesException(
                $"schedule {name}: its factor at {time} of {epochs} epochs is {value}, expected a finite number of 0 or more");
        }

        return Rise is null ? value : value * Rise.Factor(epoch, step, steps);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{(Rise is null ? string.Empty : $"{Rise}+")}{name}{(IsByStep ? ScheduleText.ByStep : null)}";

    /// <summary>Equal by text.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both print the same.</returns>
    public bool Equals(Schedule? other) => other?.ToString() == ToString();

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);
}

/// <summary>A linear rise.</summary>
/// <param name="Length">How long it takes.</param>
/// <param name="InSteps">In steps; otherwise in epochs.</param>
internal sealed record ScheduleWarmUp(int Length, bool InSteps)
{
    public double Factor(int epoch, int step, int steps)
    {
        var done = ((double)epoch * steps) + step + 1;
        return Math.Min(1, done / (InSteps ? Length : (double)Length * steps));
    }

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"warmup:{Length}{(InSteps ? ScheduleText.StepsUnit : string.Empty)}");
}
