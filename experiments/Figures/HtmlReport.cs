using System.Globalization;
using System.Net;
using System.Text;
using System.Xml;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// All runs on one page that needs nothing beside itself: no server, no script, no font, no image file. What runs hold is shown as text
/// or as pictures, and can do nothing: a picture in an img runs no script, and the page's policy allows none.
/// </summary>
internal static class HtmlReport
{
    private const int RowsShown = 40;

    private const string Policy =
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

    public static string Write(IReadOnlyList<ReportedRun> runs)
    {
        var page = new StringBuilder();
        page.Append($"""
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="{Policy}">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Do residual networks discretize neural ODEs? A reproduction</title>
            <style>{Style}</style>
            </head>
            <body>
            <header>
            <h1>Do residual networks discretize neural ODEs?</h1>
            <p>Sander, Ablin and Peyré (NeurIPS 2022, arXiv 2205.14612), reproduced by ResNet Nodes.</p>
            </header>
            <main>

            """);
        WriteOverview(page, runs);
        foreach (var (i, run) in runs.Index())
        {
            WriteRun(page, run, i);
        }

        WriteMachine(page, runs);
        return page.Append("</main>\n</body>\n</html>\n").ToString();
    }

    private static void WriteOverview(StringBuilder page, IReadOnlyList<ReportedRun> runs)
    {
        var all = runs.SelectMany(run => run.Summary.Findings.Select(finding => (IsOurs: IsOurs(run, finding), finding.Holds))).ToList();
        page.Append("<section id=\"findings\">\n<h2>Findings</h2>\n<p>");
        page.Append(Count("the paper's", [.. all.Where(f => !f.IsOurs).Select(f => f.Holds)])).Append(' ');
        page.Append(Count("our own", [.. all.Where(f => f.IsOurs).Select(f => f.Holds)]));
        page.Append("""
            </p>
            <div class="scroll"><table class="findings">
            <thead><tr><th>In the paper</th><th>Claim</th><th>Measured here</th><th>Verdict</th></tr></thead>
            <tbody>

            """);
        foreach (var (i, run) in runs.Index())
        {
            foreach (var (f, finding) in run.Summary.Findings.Index())
            {
                var head = f > 0
                    ? string.Empty
                    : $"<th scope=\"rowgroup\" rowspan=\"{run.Summary.Findings.Count}\"><a href=\"#run{i}\">{Text(run.Summary.Paper)}</a>"
                        + $"<span>{Text(run.Name)}</span></th>";
                page.Append($"<tr>{head}<td>{Tag(run, finding)} {Text(finding.Statement)}</td><td>{Text(finding.Measured)}</td>");
                page.Append($"<td class=\"{StyleOf(finding)}\">{finding.Verdict}</td></tr>\n");
            }
        }

        page.Append("</tbody>\n</table></div>\n</section>\n");
    }

    // "Of the paper's 9 claims 7 hold, 1 does not hold, 1 can't be decided."
    private static string Count(string whose, IReadOnlyList<bool?> verdicts)
    {
        int Of(bool? verdict) => verdicts.Count(v => v == verdict);
        string Verb(int count, string one, string many) => $"{count} {(count == 1 ? one : many)}";
        return Text(
            $"Of {whose} {Verb(verdicts.Count, "claim", "claims")} {Verb(Of(true), "holds", "hold")}, "
            + $"{Verb(Of(false), "does not hold", "do not hold")}, {Of(null)} can't be decided.");
    }

    private static bool IsOurs(ReportedRun run, Finding finding) => finding.IsOurs || run.Summary.Paper == RunSummary.Beyond;

    private static string Tag(ReportedRun run, Finding finding) =>
        IsOurs(run, finding) ? "<span class=\"tag ours\">ours</span>" : "<span class=\"tag\">paper</span>";

    private static string StyleOf(Finding finding) => finding.Holds switch { true => "yes", false => "no", null => "open" };

    private static void WriteRun(StringBuilder page, ReportedRun run, int index)
    {
        page.Append($"<section id=\"run{index}\">\n<h2>{Text(run.Summary.Title)}</h2>\n");
        page.Append($"<p class=\"source\">{Text(run.Summary.Verb)}, {Text(run.Summary.Paper)}</p>\n");
        foreach (var figure in run.Summary.Figures)
        {
            var picture = Convert.ToBase64String(Picture(run, figure.Name));
            page.Append("<figure>\n<div class=\"scroll\">");
            page.Append($"<img alt=\"{Text(figure.Title)}\" src=\"data:image/svg+xml;base64,{picture}\"></div>\n");
            page.Append($"<figcaption>{Text(figure.Title.TrimEnd('.'))}.</figcaption>\n</figure>\n");
        }

        foreach (var finding in run.Summary.Findings)
        {
            page.Append($"<p class=\"finding {StyleOf(finding)}\">{Tag(run, finding)} <strong>{Text(finding.Statement)}.</strong> ");
            page.Append($"{Text(finding.Measured)}. <em>{char.ToUpperInvariant(finding.Verdict[0])}{finding.Verdict[1..]}.</em></p>\n");
        }

        foreach (var table in run.Summary.Tables)
        {
            WriteTable(page, table, CsvTable.Parse(Path.Combine(run.Folder, table), run.Read("tables", table)));
        }

        page.Append("<details>\n<summary>Configuration</summary>\n<div class=\"scroll\"><table>\n<tbody>\n");
        foreach (var option in run.Config.Options.Where(o => o.Value is not null))
        {
            page.Append($"<tr><th scope=\"row\">--{Text(option.Key)}</th><td>{Text(option.Value!)}</td></tr>\n");
        }

        page.Append("</tbody>\n</table></div>\n</details>\n</section>\n");
    }

    private static void WriteTable(StringBuilder page, string name, CsvTable table)
    {
        var rest = table.Rows.Count - RowsShown;
        page.Append($"<details{(table.Rows.Count < 12 ? " open" : string.Empty)}>\n");
        page.Append($"<summary>{Text(name)}, {table.Rows.Count} rows</summary>\n");
        page.Append("<div class=\"scroll\"><table>\n<thead><tr>");
        page.AppendJoin(string.Empty, table.Columns.Select(cell => $"<th>{Text(cell)}</th>")).Append("</tr></thead>\n<tbody>\n");
        foreach (var row in table.Rows.Take(RowsShown))
        {
            page.Append("<tr>").AppendJoin(string.Empty, row.Select(cell => $"<td>{Text(Short(cell))}</td>")).Append("</tr>\n");
        }

        page.Append("</tbody>\n</table></div>\n");
        if (rest > 0)
        {
            page.Append($"<p>{rest} more rows are in the file of this name in the run's folder.</p>\n");
        }

        page.Append("</details>\n");
    }

    private static void WriteMachine(StringBuilder page, IReadOnlyList<ReportedRun> runs)
    {
        page.Append("<section id=\"machine\">\n<h2>Versions and machine</h2>\n<div class=\"scroll\"><table>\n<tbody>\n");
        (string What, Func<RunConfig, string?> Of)[] rows =
        [
            ("version", c => c.Version), ("build", c => c.Build), ("libtorch", c => c.Libtorch), ("kernel path", c => c.KernelPath),
            ("threads", c => c.Threads.ToString(CultureInfo.InvariantCulture)), ("processor", c => c.Processor), ("system", c => c.System),
        ];
        foreach (var (what, of) in rows)
        {
            var values = runs.Select(r => of(r.Config)).Where(v => !string.IsNullOrEmpty(v)).Distinct();
            page.Append($"<tr><th scope=\"row\">{what}</th><td>{Text(string.Join("; ", values))}</td></tr>\n");
        }

        page.Append("</tbody>\n</table></div>\n</section>\n");
    }

    // Well-formed and a drawing: what is not would be a broken picture, without a word.
    private static byte[] Picture(ReportedRun run, string name)
    {
        var bytes = run.Read("figures", name);
        try
        {
            using var reader = XmlReader.Create(new MemoryStream(bytes), new() { DtdProcessing = DtdProcessing.Prohibit });
            if (reader.MoveToContent() == XmlNodeType.Element && reader.LocalName == "svg")
            {
                while (reader.Read())
                {
                }

                return bytes;
            }
        }
        catch (XmlException exception)
        {
            throw new ResNetNodesException(
                $"{Path.Combine(run.Folder, name)}: is damaged: {OneLine.Of(exception.Message)}; run it again with --overwrite",
                exception);
        }

        throw new ResNetNodesException($"{Path.Combine(run.Folder, name)}: is no SVG drawing; run it again with --overwrite");
    }

    private static string Short(string cell)
    {
        var isNumber = double.TryParse(cell, NumberStyles.Float, CultureInfo.InvariantCulture, out var number);
        return isNumber && cell.Contains('.', StringComparison.Ordinal) ? Terminal.Text(number) : cell;
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private const string Style = """

        :root { color-scheme: light dark; --ink: #1b2330; --soft: #5a6475; --line: #d9dee7; --paper: #fff; --ground: #f4f6f9;
          --link: #14306e; --head: #14306e; --yes: #176b34; --no: #a51d1d; --open: #7a5a00; }
        @media screen and (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a5afbf; --line: #38414f; --paper: #1a2029;
          --ground: #11151b; --link: #9dbcff; --head: #1b2c55; --yes: #6fd08f; --no: #ff9a94; --open: #e6c25c; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
        header { background: var(--head); color: #fff; padding: 2.5rem max(1rem, calc((100% - 64rem) / 2)); }
        header h1 { margin: 0 0 .25rem; font-size: clamp(1.5rem, 4vw, 2.25rem); line-height: 1.2; }
        header p { margin: 0; }
        main { max-width: 64rem; margin: 0 auto; padding: 1rem; }
        section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem; margin: 1rem 0; }
        h2 { margin: 0 0 .5rem; font-size: 1.25rem; line-height: 1.3; }
        .source { margin: 0 0 1rem; color: var(--soft); }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; font-size: .875rem; width: 100%; overflow-wrap: normal; }
        th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
        th, td { font-variant-numeric: tabular-nums; }
        thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
        .findings th > span { display: block; color: var(--soft); font-weight: 400; }
        .findings td:nth-last-child(1) { white-space: nowrap; font-weight: 600; }
        .findings td:nth-last-child(2) { min-width: 14rem; }
        .tag { border: 1px solid var(--soft); border-radius: 4px; color: var(--soft); font-size: .75rem; padding: 0 .3rem; }
        .tag.ours { border-color: var(--link); color: var(--link); }
        td.yes, .yes em { color: var(--yes); } td.no, .no em { color: var(--no); } td.open, .open em { color: var(--open); }
        .finding { margin: .5rem 0; padding: .5rem .75rem; border-left: 4px solid; background: var(--ground); border-radius: 0 6px 6px 0; }
        .finding.yes { border-color: var(--yes); } .finding.no { border-color: var(--no); } .finding.open { border-color: var(--open); }
        .finding em { font-style: normal; font-weight: 600; }
        figure { margin: 1rem 0; } figure .scroll { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
        figure img { display: block; width: 100%; min-width: 34rem; height: auto; } figcaption { color: var(--soft); margin-top: .4rem; }
        details { margin: .5rem 0; } summary { cursor: pointer; color: var(--link); font-weight: 600; }
        a { color: var(--link); }
        @media screen and (max-width: 40rem) { main { padding: .5rem; } section { padding: .9rem; } .findings thead { display: none; }
          .findings, .findings tbody, .findings tr, .findings td, .findings th { display: block; width: 100%; overflow-wrap: anywhere; }
          .findings td { border: 0; padding: .1rem 0; } .findings th { border: 0; padding: .25rem 0; }
          .findings tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } }
        @media print { body { background: #fff; } section { border: 0; padding: 0; } header { color: #000; background: none; padding: 0; }
          figure img { min-width: 0; } .scroll { overflow: visible; } h2, .source { break-after: avoid; }
          figure, tr, .finding { break-inside: avoid; } }

        """;
}
