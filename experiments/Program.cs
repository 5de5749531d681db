using System.Globalization;
using ResNetNodes.Experiments.Bench;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Paper;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Scaling;
using ResNetNodes.Experiments.Trained;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments;

/// <summary>The command line: words to verb, failures to exit codes.</summary>
internal static class Program
{
    /// <summary>Every verb; a new one is a line here.</summary>
    private static readonly VerbTable Verbs = new(
        typeof(Reproduce),
        typeof(Report),
        typeof(Train),
        typeof(FindRate),
        typeof(Evaluate),
        typeof(Predict),
        typeof(Summary),
        typeof(Export),
        typeof(Import),
        typeof(LinearWeights),
        typeof(Tied),
        typeof(AdjointFailure),
        typeof(Finetune),
        typeof(DepthSweep),
        typeof(CompareGradients),
        typeof(GradientErrors),
        typeof(Memory),
        typeof(Discretization),
        typeof(BenchVerb),
        typeof(ScalingVerb),
        typeof(MemoryPoint),
        typeof(BenchPoint),
        typeof(BenchReferenceVerb));

    private static int Main(string[] arguments)
    {
        CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        RankedRun.WritePlainly();
        StandardStreams.Install();
        // To the very end: a signal during the last moments must not make a finished run look ended.
        var signals = new Signals();
        OwnProcess.EndWithParent(signals.Ask);
        var code = Guarded(arguments, signals);
        GC.KeepAlive(signals);
        return code == ExitCode.Success && StandardStreams.HaveLostLines ? ExitCode.Failed : code;
    }

    private static int Guarded(string[] arguments, Signals signals)
    {
        Verb? verb = null;
        // A part of a run does not go on by itself.
        string? Continuation() => OwnProcess.IsThis ? null : verb?.Continuation;
        try
        {
            return Run(arguments, parsed => verb = parsed, signals);
        }
        catch (ClosedPipeException exception)
        {
            // No failure; but a run that ends by it should not look finished.
            if (verb?.Keeper is not null)
            {
                Console.Error.WriteLine(ErrorLine.Of(exception.Message + Continuation()));
            }

            return ExitCode.Success;
        }
        catch (Exception exception)
        {
            var cause = exception is System.Reflection.TargetInvocationException { InnerException: { } inner } ? inner : exception;
            var (code, message) = cause switch
            {
                UsageException => (ExitCode.WrongUsage, cause.Message),
                InterruptedException => (signals.Code, cause.Message + Continuation()),
                OperationCanceledException => (signals.Code, "interrupted" + Continuation()),
                DivergedException => (ExitCode.Diverged, cause.Message),
                LostOutputException => (ExitCode.Failed, cause.Message + Continuation()),
                _ => (ExitCode.Failed, cause.Message),
            };
            if (RankedRun.IsOneOfSeveral)
            {
                RankedRun.Fail(code, message, cause is OperationCanceledException or DivergedException, signals.Cancellation);
            }
            else
            {
                Console.Error.WriteLine(ErrorLine.Of(message));
            }

            if (arguments.Any(a => a is "--verbose" or "-v"))
            {
                Console.Error.WriteLine(exception);
            }

            return code;
        }
    }

    private static int Run(string[] arguments, Action<Verb> parsed, Signals signals)
    {
        if (arguments.Length == 0 || arguments[0] is "--help" or "-h" || (arguments[0] == "help" && arguments.Length == 1))
        {
            HelpPage.WriteOverview(Console.Out, Verbs);
            return arguments.Length == 0 ? ExitCode.WrongUsage : ExitCode.Success;
        }

        if (arguments[0] is "--version" or "version")
        {
            Console.Out.WriteLine($"resnet-nodes {NativeRuntime.Version}");
            return ExitCode.Success;
        }

        if (arguments[0] == "help")
        {
            arguments = [arguments[1], "--help"];
        }

        var type = Verbs.Find(arguments[0]);
        if (arguments.Contains("--help") || arguments.Contains("-h"))
        {
            HelpPage.Write(Console.Out, Verbs.New(type));
            return ExitCode.Success;
        }

        var verb = Verbs.Parse(type, arguments[1..]);
        parsed(verb);
        RankedRun.Check(verb);
        var shown = verb.Group<TerminalGroup>();
        using var terminal = new Terminal(
            shown?.Json == true, shown?.Quiet == true, shown?.Verbose == true, shown?.NoColor != true, !RankedRun.IsFirst);
        if (!SharedRuns.Help(verb, signals))
        {
            verb.Start(terminal, signals.Cancellation);
        }

        RankedRun.Leave();
        return ExitCode.Success;
    }
}
