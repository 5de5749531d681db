using System.Globalization;

namespace ResNetNodes.Training;

/// <summary>Schedules as users write them: [warmup:N[steps]+]schedule[@step].</summary>
internal static class ScheduleText
{
    public const string ByStep = "@step", StepsUnit = "steps";
    private const string WarmUp = "warmup:", Every = "every:", Steps = "steps:";

    public static Schedule Parse(string text)
    {
        var rest = text.Trim().ToLowerInvariant();
        string? rise = null;
        if (rest.StartsWith(WarmUp, StringComparison.Ordinal) && rest.IndexOf('+', StringComparison.Ordinal) is > 0 and var end)
        {
            (rise, rest) = (rest[WarmUp.Length..end], rest[(end + 1)..]);
        }

        var byStep = rest.EndsWith(ByStep, StringComparison.Ordinal);
        var schedule = Named(byStep ? rest[..^ByStep.Length] : rest, text) ?? throw Unknown(text);
        schedule = byStep ? schedule.ByStep() : schedule;
        return rise is null ? schedule : Rising(schedule, rise, text);
    }

    public static ArgumentException OutOfRange(string text, int least) =>
        new($"schedule '{text}': epochs are from {least} to {Schedule.MostEpochs}: at a second each those take a day");

    private static Schedule Rising(Schedule schedule, string rise, string text)
    {
        var inSteps = rise.EndsWith(StepsUnit, StringComparison.Ordinal);
        var digits = inSteps ? rise[..^StepsUnit.Length] : rise;
        if (!IsWhole(digits))
        {
            throw Unknown(text);
        }

        var length = Whole(digits);
        return !inSteps
            ? length is >= 1 and <= Schedule.MostEpochs ? schedule.WarmUp(length) : throw OutOfRange(text, 1)
            : length is >= 1 and <= Schedule.MostWarmUpSteps ? schedule.WarmUpSteps(length)
            : throw new ArgumentException(
                $"schedule '{text}': steps of a warm-up are from 1 to {Schedule.MostWarmUpSteps}: more take longer than runs do");
    }

    private static Schedule? Named(string name, string text)
    {
        switch (name)
        {
            case "constant":
                return Schedule.Constant;
            case "cosine":
                return Schedule.Cosine;
            case "thirds":
                return Schedule.Thirds;
            case var every when every.StartsWith(Every, StringComparison.Ordinal):
                if (every[Every.Length..].Split('*') is [var number, var by] && IsWhole(number)
                    && double.TryParse(by, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var factor)
                    && factor is > 0 and <= 1)
                {
                    return Whole(number) is var length and >= 1 and <= Schedule.MostEpochs
                        ? Schedule.Every(length, factor)
                        : throw OutOfRange(text, 1);
                }

                return null;
            case var steps when steps.StartsWith(Steps, StringComparison.Ordinal):
                var parts = steps[Steps.Length..].Split('+');
                return parts.All(IsWhole) ? Schedule.Steps([.. parts.Select(Whole)]) : null;
            default:
                return null;
        }
    }

    private static bool IsWhole(string text) => text.Length > 0 && text.All(char.IsAsciiDigit);

    // A number beyond an int is out of every range.
    private static int Whole(string digits) =>
        int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : int.MaxValue;

    private static ArgumentException Unknown(string text) => new(
        $"schedule '{text}' is unknown; expected constant, cosine, thirds, steps:100+150 or every:5*0.33, by step as cosine@step, and "
        + "after a rise as warmup:5+cosine or warmup:500steps+cosine");
}
