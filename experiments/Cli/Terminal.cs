using System.Globalization;
using Spectre.Console;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Results on standard output; all that is for people's eyes on standard error.</summary>
internal sealed class Terminal : IDisposable
{
    private readonly TextWriter results;
    private readonly TextWriter people;
    private readonly bool quiet;
    private readonly bool verbose;
    private readonly bool live;
    private readonly bool json;
    private bool lineOpen;
    private string within = string.Empty;

    /// <summary>How results and what is for people are shown.</summary>
    /// <param name="json">Results as JSON objects, one a line.</param>
    /// <param name="quiet">Warnings and errors only.</param>
    /// <param name="verbose">Details too.</param>
    /// <param name="colours">Colours, where the terminal has them and the environment allows them.</param>
    /// <param name="silent">Nothing at all: another process shows it.</param>
    public Terminal(bool json, bool quiet, bool verbose, bool colours, bool silent)
    {
        (results, people) = silent ? (TextWriter.Null, TextWriter.Null) : (Console.Out, Console.Error);
        (this.json, this.quiet, this.verbose) = (json, quiet, verbose);
        var dumb = Environment.GetEnvironmentVariable("TERM") is "dumb" or null;
        var coloured = colours && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && !dumb;
        // Spectre's live displays write escapes into redirected output in some states: the choice is made here.
        live = !Console.IsErrorRedirected && !dumb && !quiet && !silent;
        ErrorConsole = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = live ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = coloured && live ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Out = new AnsiConsoleOutput(Console.Error),
        });
    }

    private IAnsiConsole ErrorConsole { get; }

    /// <summary>
    /// Shows what follows as a part of something larger: progress and lines are led by its name, results are left out.
    /// </summary>
    public IDisposable Enter(string part)
    {
        within = $"[{part}] ";
        return new Leave(this);
    }

    /// <summary>A line for people; left out when quiet.</summary>
    public void Say(string text)
    {
        if (!quiet)
        {
            CloseLine();
            people.WriteLine(within + text);
        }
    }

    /// <summary>A line for people who asked for details.</summary>
    public void Detail(Func<string> text)
    {
        if (verbose)
        {
            Say(text());
        }
    }

    /// <summary>A warning.</summary>
    public void Warn(string text)
    {
        CloseLine();
        if (live)
        {
            ErrorConsole.MarkupLine($"[yellow]warning:[/] {Markup.Escape(within + text)}");
        }
        else
        {
            people.WriteLine($"warning: {within}{text}");
        }
    }

    /// <summary>Progress on one line of a terminal; nothing where there is none.</summary>
    public void Progress(double share, string text)
    {
        if (live)
        {
            const int width = 30;
            var done = (int)(share * width);
            var (full, rest) = (new string('━', done), new string('─', width - done));
            ErrorConsole.Markup($"\r[green]{full}[/][grey]{rest}[/] {Markup.Escape(within + text)}   ");
            lineOpen = true;
        }
    }

    /// <summary>A record of the result, now, where results are JSON.</summary>
    public void Row(object record)
    {
        if (json && within.Length == 0)
        {
            CloseLine();
            Write(Rows.Json(record));
        }
    }

    /// <summary>Records as a table, where results are not JSON. Columns are those of the first.</summary>
    public void Table<T>(IReadOnlyList<T> records)
        where T : notnull
    {
        var rows = records.Select(record => Rows.Of(record)).ToList();
        if (json || rows.Count == 0 || within.Length > 0)
        {
            return;
        }

        CloseLine();
        var columns = rows[0].Keys.ToList();
        var cells = rows.Select(row => columns.Select(c => Text(row.GetValueOrDefault(c))).ToList()).Prepend(columns).ToList();
        var widths = columns.Select((_, i) => cells.Max(line => line[i].Length)).ToList();
        foreach (var line in cells)
        {
            Write(string.Join("  ", line.Select((cell, i) => cell.PadLeft(widths[i]))));
        }
    }

    public void Dispose() => CloseLine();

    /// <summary>A number as tables show it.</summary>
    public static string Text(object? value) => value switch
    {
        null => "-",
        double d when d != 0 && (Math.Abs(d) < 1e-3 || Math.Abs(d) >= 1e6) => d.ToString("0.00e+0", CultureInfo.InvariantCulture),
        double d => d.ToString("0.####", CultureInfo.InvariantCulture),
        IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? string.Empty,
    };

    private void Write(string line) => results.WriteLine(line);

    private void CloseLine()
    {
        if (lineOpen)
        {
            people.WriteLine();
            lineOpen = false;
        }
    }

    private sealed class Leave(Terminal terminal) : IDisposable
    {
        public void Dispose()
        {
            terminal.CloseLine();
            terminal.within = string.Empty;
        }
    }
}
