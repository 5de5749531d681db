using System.Globalization;
using ResNetNodes.Experiments.Bench;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Paper;

namespace ResNetNodes.Experiments;

/// <summary>The command line: words to verb, failures to exit codes.</summary>
internal static class Program
{
    /// <summary>Every verb; a new one is a line here.</summary>
    private static readonly VerbTable Verbs = new(
        typeof(Reproduce),
        typeof(Report),
        typeof(Train),
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
        typeof(MemoryPoint),
        typeof(BenchPoint));

    private static int Main(string[] arguments)
    {
        CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        using var cancellation = new CancellationTokenSource();
        Console.CancelKeyPress += (_, pressed) =>
        {
            pressed.Cancel = true;
            cancellation.Cancel();
        };
        var verbose = arguments.Any(a => a is "--verbose" or "-v");
        try
        {
            return Run(arguments, cancellation.Token);
        }
        catch (UsageException exception)
        {
            return Fail(exception, 2, verbose);
        }
        catch (OperationCanceledException exception)
        {
            return Fail(exception, 130, verbose);
        }
        catch (ClosedPipeException)
        {
            return 0;
        }
        catch (Exception exception)
        {
            return Fail(exception, 1, verbose);
        }
    }

    private static int Run(string[] arguments, CancellationToken cancellation)
    {
        if (arguments.Length == 0 || arguments[0] is "--help" or "-h" || (arguments[0] == "help" && arguments.Length == 1))
        {
            HelpPage.WriteOverview(Console.Out, Verbs);
            return arguments.Length == 0 ? 2 : 0;
        }

        if (arguments[0] is "--version" or "version")
        {
            Console.Out.WriteLine($"resnet-nodes {NativeRuntime.Version}");
            return 0;
        }

        if (arguments[0] == "help")
        {
            arguments = [arguments[1], "--help"];
        }

        var verb = Verbs.Find(arguments[0]);
        if (arguments.Contains("--help") || arguments.Contains("-h"))
        {
            HelpPage.Write(Console.Out, Verbs.New(verb));
            return 0;
        }

        var parsed = Verbs.Parse(verb, arguments[1..]);
        var shown = parsed.Group<TerminalGroup>();
        using var terminal = new Terminal(shown?.Json == true, shown?.Quiet == true, shown?.Verbose == true, shown?.NoColor != true);
        parsed.Start(terminal, cancellation);
        return 0;
    }

    private static int Fail(Exception exception, int code, bool verbose)
    {
        var cause = exception is System.Reflection.TargetInvocationException { InnerException: { } inner } ? inner : exception;
        Console.Error.WriteLine($"resnet-nodes: {cause.Message.Split('\n')[0]}");
        if (verbose)
        {
            Console.Error.WriteLine(exception);
        }

        return code;
    }
}
