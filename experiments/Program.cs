using System.Globalization;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Verbs;

namespace ResNetNodes.Experiments;

/// <summary>The command line: words to verb, failures to exit codes.</summary>
internal static class Program
{
    /// <summary>Every verb; a new one is a line here.</summary>
    public static readonly IReadOnlyList<Type> Verbs =
    [
        typeof(Reproduce),
        typeof(Report),
        typeof(Train),
        typeof(LinearWeights),
        typeof(Tied),
        typeof(AdjointFailure),
        typeof(Finetune),
        typeof(DepthSweep),
        typeof(CompareGradients),
        typeof(Memory),
        typeof(Discretization),
        typeof(Bench),
        typeof(MemoryPoint),
        typeof(BenchPoint),
    ];

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
            HelpPage.WriteOverview(Console.Out);
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

        var verb = StrictArguments.FindVerb(arguments[0]);
        if (arguments.Contains("--help") || arguments.Contains("-h"))
        {
            HelpPage.Write(Console.Out, verb);
            return 0;
        }

        var options = Parse(verb, arguments[1..]);
        using var terminal = new Terminal(options);
        options.Start(terminal, cancellation);
        return 0;
    }

    /// <summary>A verb with its options; the words are checked.</summary>
    public static CommonOptions Parse(Type verb, IReadOnlyList<string> arguments)
    {
        var name = StrictArguments.NameOf(verb);
        var words = StrictArguments.Complete(verb, arguments);
        using var parser = new Parser(settings => settings.HelpWriter = null);
        // CommandLineParser takes at most 16 types at once: the verb's own is enough.
        return parser.ParseArguments([name, .. words], [verb]) is Parsed<object> { Value: CommonOptions options }
            ? options
            : throw new UsageException($"{name}: {string.Join(' ', words)} can't be read; see resnet-nodes help {name}");
    }

    private static int Fail(Exception exception, int code, bool verbose)
    {
        var message = exception is System.Reflection.TargetInvocationException { InnerException: { } inner } ? inner.Message : exception.Message;
        Console.Error.WriteLine($"resnet-nodes: {message.Split('\n')[0]}");
        if (verbose)
        {
            Console.Error.WriteLine(exception);
        }

        return code;
    }
}
