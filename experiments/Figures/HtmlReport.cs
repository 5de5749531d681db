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
        page.Append("""
            <section id="findings">
            <h2>Findings</h2>
            <div class="scroll"><table class="findings">
            <thead><tr><th>Experiment</th><th>Claim</th><th>Measured here</th><th>Verdict</th></tr></thead>
            <tbody>

            """);
        foreach (var (i, run) in runs.Index())
        {
            foreach (var (f, finding) in run.Summary.Findings.Index())
            {
                var (style, verdict) = finding.Holds switch
                {
                    true => ("yes", "holds"),
                    false => ("no", "does not hold"),
                    null => ("open", "not shown by this setting"),
                };
                var head = f > 0
                    ? string.Empty
                    : $"<th scope=\"rowgroup\" rowspan=\"{run.Summary.Findings.Count}\"><a href=\"#run{i}\">{Text(run.Name)}</a>"
                        + $"<span>{Text(run.Summary.Paper)}</span></th>";
                page.Append($"<tr>{head}<td>{Text(finding.Claim)}</td><td>{Text(finding.Measured)}</td>");
                page.Append($"<td class=\"{style}\">{verdict}</td></tr>\n");
            }
        }

        page.Append("</tbody>\n</table></div>\n</section>\n");
    }

    private static void WriteRun(StringBuilder page, ReportedRun run, int index)
    {
        page.Append($"<section id=\"run{index}\">\n<h2>{Text(run.Summary.Title)}</h2>\n");
        page.Append($"<p class=\"source\">{Text(run.Summary.Verb)}, {Text(run.Summary.Paper)}</p>\n");
        foreach (var finding in run.Summary.Findings)
        {
            var style = finding.Holds switch { true => "yes", false => "no", null => "open" };
            page.Append($"<p class=\"finding {style}\"><strong>{Text(finding.Claim)}.</strong> {Text(finding.Measured)}.</p>\n");
        }

        foreach (var figure in run.Summary.Figures)
        {
            var picture = Convert.ToBase64String(Picture(run, figure));
            var what = $"{run.Summary.Title}: {Path.GetFileNameWithoutExtension(figure)}";
            page.Append($"<figure>\n<img alt=\"{Text(what)}\" src=\"data:image/svg+xml;base64,{picture}\">\n</figure>\n");
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

        :root { color-scheme: light; --ink: #1b2330; --soft: #5a6475; --line: #d9dee7; --paper: #fff; --ground: #f4f6f9; --blue: #14306e; }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
        header { background: var(--blue); color: #fff; padding: 2.5rem max(1rem, calc((100% - 60rem) / 2)); }
        header h1 { margin: 0 0 .25rem; font-size: clamp(1.5rem, 4vw, 2.25rem); line-height: 1.2; }
        header p { margin: 0; opacity: .85; }
        main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
        section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem; margin: 1rem 0; }
        h2 { margin: 0 0 .5rem; font-size: 1.25rem; }
        .source { margin: 0 0 1rem; color: var(--soft); }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; font-size: .875rem; width: 100%; }
        th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
        th, td { font-variant-numeric: tabular-nums; }
        thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
        .findings th span { display: block; color: var(--soft); font-weight: 400; }
        .findings td:nth-last-child(1) { white-space: nowrap; font-weight: 600; }
        .findings td:nth-last-child(2) { min-width: 14rem; }
        td.yes { color: #176b34; } td.no { color: #a51d1d; } td.open { color: #7a5a00; }
        .finding { margin: .5rem 0; padding: .5rem .75rem; border-left: 4px solid; background: var(--ground); border-radius: 0 6px 6px 0; }
        .finding.yes { border-color: #2f9e53; } .finding.no { border-color: #c82423; } .finding.open { border-color: #d4a20a; }
        figure { margin: 1rem 0; } figure img { display: block; width: 100%; height: auto; }
        details { margin: .5rem 0; } summary { cursor: pointer; color: var(--blue); font-weight: 600; }
        a { color: var(--blue); }
        @media (max-width: 40rem) { main { padding: .5rem; } section { padding: .9rem; } .findings thead { display: none; }
          .findings, .findings tbody, .findings tr, .findings td, .findings th { display: block; width: 100%; }
          .findings td { border: 0; padding: .1rem 0; } .findings th { border: 0; padding: .25rem 0; }
          .findings tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } }
        @media print { body { background: #fff; } section { break-inside: avoid; border: 0; } header { color: #000; background: none; } }

        """;
}
