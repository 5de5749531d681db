using System.Globalization;

namespace ResNetNodes.Training;

/// <summary>The learning rate of an epoch, as a factor of the first. A value that prints and parses itself.</summary>
public sealed record Schedule
{
    /// <summary>The most epochs that a schedule speaks of: at a second each they take a day.</summary>
    internal const int MostEpochs = 100_000;

    /// <summary>The most numbers of a text of steps: the rate is divided by ten after each.</summary>
    private const int MostSteps = 100;

    private readonly Func<int, int, double> factor;

    private Schedule(string text, Func<int, int, double> factor) => (Text, this.factor) = (text, factor);

    /// <summary>The same rate throughout.</summary>
    public static Schedule Constant { get; } = new("constant", (_, _) => 1);

    /// <summary>From the first rate to 0 along half a cosine over all epochs (paper, figure 3a).</summary>
    public static Schedule Cosine { get; } = new("cosine", (epoch, epochs) => (1 + Math.Cos(Math.PI * epoch / epochs)) / 2);

    /// <summary>A tenth after a third of the epochs, a hundredth after two thirds (paper, figure 3c).</summary>
    public static Schedule Thirds { get; } = new("thirds", (epoch, epochs) => Math.Pow(0.1, Math.Min(3L * epoch / epochs, 2)));

    private string Text { get; }

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
            : epochs.All(e => e is >= 0 and <= MostEpochs) ? new(text, (epoch, _) => Math.Pow(0.1, epochs.Count(e => epoch >= e)))
            : throw OutOfRange(text, 0);
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
            ? new(string.Create(CultureInfo.InvariantCulture, $"every:{epochs}*{factor:R}"), (epoch, _) => Math.Pow(factor, epoch / epochs))
            : throw new ArgumentOutOfRangeException(nameof(factor), factor, "expected a factor above 0 and up to 1");
    }

    /// <summary>Reads a schedule as users write it; the inverse of <see cref="ToString"/>.</summary>
    /// <param name="text">constant, cosine, thirds, steps:100+150 or every:5*0.33.</param>
    /// <returns>The schedule.</returns>
    /// <exception cref="ArgumentException">The text names none.</exception>
    public static Schedule Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        switch (text.Trim().ToLowerInvariant())
        {
            case "constant":
                return Constant;
            case "cosine":
                return Cosine;
            case "thirds":
                return Thirds;
            case var every when every.StartsWith("every:", StringComparison.Ordinal):
                if (every["every:".Length..].Split('*') is [var number, var by] && IsWhole(number)
                    && double.TryParse(by, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var factor)
                    && factor is > 0 and <= 1)
                {
                    return Epochs(number) is var length and >= 1 and <= MostEpochs ? Every(length, factor) : throw OutOfRange(text, 1);
                }

                break;
            case var steps when steps.StartsWith("steps:", StringComparison.Ordinal):
                var parts = steps["steps:".Length..].Split('+');
                if (parts.All(IsWhole))
                {
                    return Steps([.. parts.Select(Epochs)]);
                }

                break;
        }

        throw new ArgumentException($"schedule '{text}' is unknown; expected constant, cosine, thirds, steps:100+150 or every:5*0.33");
    }

    /// <summary>The factor of an epoch's learning rate.</summary>
    /// <param name="epoch">From 0.</param>
    /// <param name="epochs">Total number of epochs.</param>
    /// <returns>A factor from 0 to 1.</returns>
    public double Factor(int epoch, int epochs) => factor(epoch, epochs);

    /// <inheritdoc/>
    public override string ToString() => Text;

    /// <summary>Equal by text.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both print the same.</returns>
    public bool Equals(Schedule? other) => other?.Text == Text;

    /// <inheritdoc/>
    public override int GetHashCode() => Text.GetHashCode(StringComparison.Ordinal);

    private static bool IsWhole(string text) => text.Length > 0 && text.All(char.IsAsciiDigit);

    // A number beyond an int is out of every range.
    private static int Epochs(string digits) =>
        int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var epochs) ? epochs : int.MaxValue;

    private static ArgumentException OutOfRange(string text, int least) =>
        new($"schedule '{text}': epochs are from {least} to {MostEpochs}: at a second each those take a day");
}
