using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The page of other people's runs: what they hold is shown and does nothing, and what is not theirs is not read.</summary>
public sealed class ReportTests : IDisposable
{
    private const string Drawing = """<svg xmlns="http://www.w3.org/2000/svg" width="9" height="6"><rect width="9" height="6"/></svg>""";

    private const string Misshapen = "is not as a run writes it";

    private readonly string folder = Directory.CreateTempSubdirectory("report").FullName;

    public ReportTests()
    {
        Directory.CreateDirectory(At("runs/a"));
        Write("config.json", Config(new JsonObject { ["depth"] = "2", ["data"] = null }, "1"));
        Write("summary.json", new JsonObject
        {
            ["verb"] = "train",
            ["title"] = "A title",
            ["paper"] = "section 4",
            ["findings"] = new JsonArray(new JsonObject { ["claim"] = "A claim", ["measured"] = "a figure", ["holds"] = true }),
            ["figures"] = new JsonArray(Figure("a.svg", "What it shows")),
            ["tables"] = new JsonArray("a.csv"),
            ["digests"] = new JsonObject(),
        }.ToJsonString());
        Write("a.svg", Drawing);
        Write("a.csv", "x,y\n1,\"a, \"\"b\"\"\"\n");
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Page_ShowsFiguresTablesAndFindings()
    {
        var page = Page();
        Assert.Contains("<td>a, &quot;b&quot;</td>", page);
        Assert.Contains("<strong>A claim.</strong> a figure.", page);
        Assert.Contains("<figcaption>What it shows.</figcaption>", page);
        var picture = Assert.Single(Regex.Matches(page, "<img alt=\"What it shows\" src=\"data:image/svg\\+xml;base64,([^\"]*)\">"));
        Assert.Equal(Drawing, Encoding.UTF8.GetString(Convert.FromBase64String(picture.Groups[1].Value)));
    }

    /// <summary>Whose a claim is and whether it holds are told at the top, in one sentence for the paper's and one for ours.</summary>
    [Fact]
    public void Findings_AreCountedAndTagged()
    {
        static JsonObject Finding(string claim, bool? holds) => new() { ["claim"] = claim, ["measured"] = "1", ["holds"] = holds };
        Change(summary => summary["findings"] = new JsonArray(
            Finding("One", true), Finding("Two", true), Finding("Three", false), Finding("Ours: four", null),
            Finding("Ours, if so: five", true)));
        var page = Page();
        Assert.Contains("Of the paper&#39;s 3 claims 2 hold, 1 does not hold, 0 can&#39;t be decided.", page);
        Assert.Contains("Of our own 2 claims 1 holds, 0 do not hold, 1 can&#39;t be decided.", page);
        Assert.Contains("<a href=\"#run0\">section 4</a><span>a</span></th><td><span class=\"tag\">paper</span> One</td><td>1</td>", page);
        Assert.Contains("<td><span class=\"tag ours\">ours</span> four</td><td>1</td><td class=\"open\">can't be decided</td>", page);
        Assert.Contains("<td><span class=\"tag ours\">ours</span> if so: five</td>", page);
        Assert.DoesNotContain("Ours", page);
    }

    /// <summary>A figure is a name and a title, and both are texts.</summary>
    [Theory]
    [InlineData("""{"name": "a.svg"}""")]
    [InlineData("""{"name": null, "title": "A title"}""")]
    [InlineData("""{"name": "a.svg", "title": null}""")]
    [InlineData("""{"name": "a.svg", "title": 7}""")]
    [InlineData("\"a.svg\"")]
    public void FigureOfTheWrongShape_IsNamed(string figure)
    {
        Change(summary => summary["figures"] = new JsonArray(JsonNode.Parse(figure)));
        Refused("runs/a/summary.json", Misshapen);
    }

    /// <summary>Nothing but our own markup is in the page: a picture's inside is not, and texts are texts.</summary>
    [Theory]
    [InlineData("""<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>""")]
    [InlineData("""<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><rect onclick="alert(1)"/></svg>""")]
    [InlineData("""<svg xmlns="http://www.w3.org/2000/svg"><a href="javascript:alert(1)"><rect/></a></svg>""")]
    [InlineData(
        """<svg xmlns="http://www.w3.org/2000/svg"><foreignObject><body xmlns="http://www.w3.org/1999/xhtml">"""
        + """<script/></body></foreignObject></svg>""")]
    public void ScriptOfAFigure_IsNoPartOfThePage(string svg)
    {
        Write("a.svg", svg);
        AssertHarmless(Page());
    }

    [Fact]
    public void MarkupInTexts_IsText()
    {
        const string evil = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>";
        Directory.Move(At("runs/a"), At("runs/<script>"));
        Directory.CreateDirectory(At("runs/a"));
        foreach (var file in Directory.GetFiles(At("runs/<script>")))
        {
            File.Copy(file, Path.Combine(At("runs/a"), Path.GetFileName(file)));
        }

        Change(summary =>
        {
            foreach (var member in (string[])["verb", "title", "paper"])
            {
                summary[member] = evil;
            }

            var finding = summary["findings"]![0]!;
            finding["claim"] = evil + "\u001b[2J\n";
            finding["measured"] = evil + "\u001b[2J\n";
            summary["figures"]![0]!["title"] = evil;
        });
        Write("config.json", Config(new JsonObject { [evil] = evil }, evil));
        Write("a.csv", "\"" + evil.Replace("\"", "\"\"", StringComparison.Ordinal) + "\"\n1\n");
        var (code, output, error) = Report();
        Assert.True(code == 0, error);
        Assert.DoesNotContain('\u001b', output);
        AssertHarmless(File.ReadAllText(At("out/report.html")));
    }

    /// <summary>A name is that of a file in the run's folder, or it is refused before anything is read.</summary>
    [Theory]
    [InlineData("../../secret.csv")]
    [InlineData("../a/a.csv")]
    [InlineData("/etc/passwd")]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("")]
    [InlineData("inner/a.csv")]
    [InlineData("..\\secret.csv")]
    [InlineData("a.csv\n")]
    public void NameOutOfTheFolder_IsRefused(string name)
    {
        File.WriteAllText(At("secret.csv"), "secret\n1\n");
        foreach (var entry in (string[])["tables", "figures"])
        {
            Change(summary => summary[entry] = new JsonArray(entry == "figures" ? Figure(name, "A title") : name));
            Refused($"summary.json: {entry} names '", "expected the name of a file in its folder");
        }
    }

    [Theory]
    [InlineData("a.csv", "tables")]
    [InlineData("a.svg", "figures")]
    [InlineData("summary.json", "summary.json")]
    [InlineData("config.json", "config.json")]
    public void LinkPipeFolderAndGiant_AreRefused(string file, string named)
    {
        var path = At($"runs/a/{file}");
        File.Move(path, At(file));
        File.CreateSymbolicLink(path, At(file));
        Refused(named, "it is a link");
        File.Delete(path);
        using (var pipe = Process.Start("mkfifo", [path]))
        {
            pipe.WaitForExit();
        }

        Refused(named, "no regular file");
        File.Delete(path);
        using (var giant = File.Create(path))
        {
            giant.SetLength(1L << 40);
        }

        Refused(named, "more than the");
        File.Delete(path);
        if (file != "summary.json")
        {
            Directory.CreateDirectory(path);
            Refused(named, "it is a folder");
            Directory.Delete(path);
            Refused(named, "can't be read");
        }
    }

    /// <summary>Cycles end, and a link does not bring runs from elsewhere.</summary>
    [Fact]
    public void Search_DoesNotFollowLinks()
    {
        Directory.CreateSymbolicLink(At("runs/loop"), At("runs"));
        Directory.CreateDirectory(At("elsewhere"));
        Directory.Move(At("runs/a"), At("elsewhere/a"));
        Directory.CreateSymbolicLink(At("runs/b"), At("elsewhere/a"));
        Refused("holds no finished run");
        Directory.Move(At("elsewhere/a"), At("runs/a"));
        Assert.Single(Regex.Matches(Page(), "<section id=\"run"));
    }

    [Theory]
    [InlineData("summary.json", "", "is damaged")]
    [InlineData("summary.json", "no JSON", "is damaged")]
    [InlineData("summary.json", "null", "is damaged")]
    [InlineData("summary.json", "[]", "is damaged")]
    [InlineData("summary.json", "{}", Misshapen)]
    [InlineData("summary.json", "{}}", Misshapen)]
    [InlineData("config.json", "", "is damaged")]
    [InlineData("config.json", "null", "is damaged")]
    [InlineData("config.json", "{}", Misshapen)]
    [InlineData("config.json", """{"options": null}""", Misshapen)]
    [InlineData("config.json", """{"options": [1]}""", Misshapen)]
    [InlineData("config.json", """{"options": "text"}""", Misshapen)]
    [InlineData("config.json", """{"options": {"depth": "\ud800"}}""", Misshapen)]
    public void DamagedJson_IsNamed(string file, string text, string message)
    {
        Write(file, text);
        Refused($"runs/a/{file}", message);
    }

    /// <summary>A table, a figure or a summary that was changed afterwards is not what the run found.</summary>
    [Theory]
    [InlineData("a.csv", "x,y\n2,\"a, \"\"b\"\"\"\n")]
    [InlineData("a.svg", """<svg xmlns="http://www.w3.org/2000/svg" width="8" height="6"><rect width="9" height="6"/></svg>""")]
    [InlineData("summary.json", null)]
    public void ChangedFile_IsNamed(string file, string? text)
    {
        var path = At($"runs/a/{file}");
        File.WriteAllText(path, text ?? File.ReadAllText(path).Replace("a figure", "b figure", StringComparison.Ordinal));
        Refused($"runs/a/{file}", "checksum");
    }

    /// <summary>Every member of a summary, in every wrong shape.</summary>
    [Theory]
    [InlineData("verb")]
    [InlineData("title")]
    [InlineData("paper")]
    [InlineData("findings")]
    [InlineData("figures")]
    [InlineData("tables")]
    public void MemberOfTheWrongShape_IsNamed(string member)
    {
        var isList = member is "findings" or "figures" or "tables";
        foreach (
            var wrong in (string[])
                ["null", "7", isList ? "\"text\"" : "[\"text\"]", "{\"a\": 1}", isList ? "[null]" : "true", isList ? "[7]" : "[]"])
        {
            Change(summary => summary[member] = JsonNode.Parse(wrong));
            Refused("runs/a/summary.json", Misshapen);
        }

        Change(summary => summary.Remove(member));
        Refused("runs/a/summary.json", Misshapen);
    }

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("\n\n", "is empty")]
    [InlineData("x,y\n1\n", "row 1 has 1 cells, expected 2")]
    [InlineData("x,y\n1,2\n1,2,3\n", "row 2 has 3 cells, expected 2")]
    [InlineData("x,y\n1,\"2\n", "line 2 has quotes that do not match")]
    [InlineData("x,y\n\"1\"2,3\n", "line 2 has quotes that do not match")]
    public void DamagedTable_IsNamed(string csv, string message)
    {
        Write("a.csv", csv);
        Refused("runs/a/a.csv", message);
    }

    [Theory]
    [InlineData("", "is damaged")]
    [InlineData("no drawing", "is damaged")]
    [InlineData("<svg>", "is damaged")]
    [InlineData("<html/>", "is no SVG drawing")]
    [InlineData("""<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>""", "is damaged")]
    public void DamagedFigure_IsNamed(string svg, string message)
    {
        Write("a.svg", svg);
        Refused("runs/a/a.svg", message);
    }

    // The policy is there, and no element or attribute that could do anything: pictures and links are the page's own.
    private static void AssertHarmless(string page)
    {
        Assert.Contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';", page);
        Assert.DoesNotContain("script-src", page);
        var tags = Regex.Matches(page, "<([a-zA-Z!/]+)([^>]*)>").ToList();
        Assert.All(
            tags,
            tag => Assert.DoesNotMatch("(?i)^/?(script|svg|foreignObject|iframe|object|embed|link|base|form)$", tag.Groups[1].Value));
        Assert.All(tags, tag => Assert.DoesNotMatch(
            "(?i)\\son[a-z]+\\s*=|javascript:",
            Regex.Replace(tag.Groups[2].Value, "\"[^\"]*\"", match => match.Value.Replace('=', ' '))));
        Assert.All(tags.Where(tag => tag.Groups[1].Value == "img"), tag => Assert.Contains("src=\"data:image/svg+xml;base64,", tag.Value));
    }

    private string Page()
    {
        var (code, _, error) = Report();
        Assert.True(code == 0, error);
        return File.ReadAllText(At("out/report.html"));
    }

    private (int Code, string Out, string Error) Report() =>
        Executable.Run("report", "--in", At("runs"), "--out", At("out"), "--overwrite");

    private void Refused(params string[] parts)
    {
        var (code, output, error) = Report();
        Assert.Equal(1, code);
        Assert.Empty(output);
        var line = Assert.Single(error.TrimEnd('\n').Split('\n'));
        Assert.All(parts, part => Assert.Contains(part, line));
        Assert.False(Directory.Exists(At("out")));
    }

    private void Change(Action<JsonObject> change)
    {
        var path = At("runs/a/summary.json");
        var summary = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        summary.Remove("sha256");
        change(summary);
        Write("summary.json", summary.ToJsonString());
    }

    // As a run does: JSON with its checksum, and that of tables and figures in the summary.
    private void Write(string file, string text)
    {
        File.WriteAllText(At($"runs/a/{file}"), file.EndsWith(".json", StringComparison.Ordinal) ? Sealed(text) : text);
        if (!file.EndsWith(".json", StringComparison.Ordinal))
        {
            Change(summary => summary["digests"]![file] = Digest(text));
        }
    }

    private static JsonObject Figure(string name, string title) => new() { ["name"] = name, ["title"] = title };

    private static string Config(JsonObject options, string version) => new JsonObject
    {
        ["verb"] = "train",
        ["options"] = options,
        ["version"] = version,
        ["build"] = null,
        ["libtorch"] = "2",
        ["kernel_path"] = "avx2",
        ["threads"] = 2,
        ["processor"] = null,
        ["system"] = "Linux",
        ["command_line"] = new JsonArray("train"),
    }.ToJsonString();

    private static string Sealed(string text)
    {
        if (!text.EndsWith('}'))
        {
            return text;
        }

        var body = text[..^1];
        return $"{body},\n  \"sha256\": \"{Digest(body)}\"\n}}\n";
    }

    private static string Digest(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private string At(string path) => Path.Combine(folder, path);
}
