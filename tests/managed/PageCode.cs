using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;

namespace ResNetNodes.Tests;

/// <summary>The C# on a page of the documentation, compiled and run as a reader's program would be: of public API alone.</summary>
internal static partial class PageCode
{
    // What a project's ImplicitUsings adds.
    private static readonly string[] ImplicitNamespaces =
        ["System", "System.Collections.Generic", "System.IO", "System.Linq", "System.Threading", "System.Threading.Tasks"];

    // Written after each block.
    private const char EndOfBlock = '\f';

    private static readonly Lazy<IReadOnlyList<MetadataReference>> References = new(() =>
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Select(path => MetadataReference.CreateFromFile(path)),
    ]);

    /// <summary>
    /// Compiles the page's blocks of C# as one program, runs it in a process of its own and returns what each block writes to the console.
    /// </summary>
    /// <param name="page">The page, from the root of the repository.</param>
    /// <param name="prepare">Puts files that the page takes for granted into the program's working folder.</param>
    /// <param name="inspect">Looks at the files there afterwards.</param>
    public static IReadOnlyList<string> Run(string page, Action<string>? prepare = null, Action<string>? inspect = null)
    {
        var folder = Directory.CreateTempSubdirectory("page");
        try
        {
            var program = Path.Combine(folder.FullName, "page.dll");
            Compile(page, program);
            prepare?.Invoke(folder.FullName);
            var written = string.Concat(TestProcess.Run("page", program).Select(line => line + "\n")).Split(EndOfBlock)[..^1];
            inspect?.Invoke(folder.FullName);
            return written;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>The page's text, each block of code followed by what it writes: a fenced block of text, where it writes anything.</summary>
    public static string WithOutput(string page, IReadOnlyList<string> written)
    {
        var block = 0;
        return CodeAndOutput().Replace(Read(page), match =>
        {
            var output = written[block++];
            return match.Groups["code"].Value + (output.Length > 0 ? $"\n```text\n{output}```\n" : string.Empty);
        });
    }

    /// <summary>The page as the cells of a notebook: prose and code by turns, without the output.</summary>
    public static IEnumerable<(bool IsCode, string Text)> Cells(string page)
    {
        var (text, at) = (Read(page), 0);
        foreach (Match match in CodeAndOutput().Matches(text))
        {
            yield return (false, text[at..match.Index].Trim());
            yield return (true, match.Groups["text"].Value.TrimEnd());
            at = match.Index + match.Length;
        }

        yield return (false, text[at..].Trim());
    }

    /// <summary>The errors of code in a notebook, where a cell sees what those before it have declared.</summary>
    public static IEnumerable<string> ErrorsOfScript(string code)
    {
        var tree = CSharpSyntaxTree.ParseText(code, new CSharpParseOptions(LanguageVersion.Latest, kind: SourceCodeKind.Script));
        return CSharpCompilation.CreateScriptCompilation(
                "Notebook", tree, References.Value,
                new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, usings: ImplicitNamespaces))
            .GetDiagnostics().Where(found => found.Severity == DiagnosticSeverity.Error).Select(found => found.ToString());
    }

    /// <summary>A text with its numbers left out, to compare what a program prints with what its page says it prints.</summary>
    public static string WithoutNumbers(string text) => Number().Replace(text, "#");

    /// <summary>Every number of a text, in its order.</summary>
    public static IReadOnlyList<double> Numbers(string text) =>
    [
        .. Number().Matches(text)
            .Select(match => double.Parse(match.Value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture)),
    ];

    private static void Compile(string page, string program)
    {
        var options = new CSharpParseOptions(LanguageVersion.Latest);
        SyntaxTree[] trees =
        [
            CSharpSyntaxTree.ParseText(string.Concat(ImplicitNamespaces.Select(name => $"global using {name};")), options),
            CSharpSyntaxTree.ParseText(SourceText.From(Program(page), Encoding.UTF8), options, page),
        ];
        var result = CSharpCompilation.Create(
            "Page" + Guid.NewGuid().ToString("N"),
            trees,
            References.Value,
            new CSharpCompilationOptions(
                OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable,
                generalDiagnosticOption: ReportDiagnostic.Error))
            .Emit(program);
        Xunit.Assert.True(result.Success, string.Join('\n', result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error)));
    }

    // All else becomes empty lines, so that errors name the page's own.
    private static string Program(string page)
    {
        var (text, at) = (Read(page), 0);
        var program = new StringBuilder();
        foreach (var code in CodeAndOutput().Matches(text).Select(match => match.Groups["text"]))
        {
            program.Append('\n', text[at..code.Index].Count(character => character == '\n')).Append(code.Value.TrimEnd('\n'));
            program.Append($"System.Console.Write((char){(int)EndOfBlock});\n");
            at = code.Index + code.Length;
        }

        return program.ToString();
    }

    private static string Read(string page) => File.ReadAllText(Path.Combine(ConventionTests.Root, page));

    [GeneratedRegex(@"(?<code>^```csharp\n(?<text>[\s\S]*?)^```\n)(?:\n```text\n(?<output>[\s\S]*?)^```\n)?", RegexOptions.Multiline)]
    private static partial Regex CodeAndOutput();

    [GeneratedRegex(@"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")]
    private static partial Regex Number();
}
