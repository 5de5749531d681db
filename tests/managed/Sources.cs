using System.Text.RegularExpressions;

namespace ResNetNodes.Tests;

/// <summary>The sources of the managed library as a test reads them.</summary>
internal static partial class Sources
{
    public static string Managed { get; } = Path.Combine(ConventionTests.Root, "managed");

    /// <summary>Files by their folder below managed/.</summary>
    public static ILookup<string, string> ByFolder { get; } = Directory.EnumerateFiles(Managed, "*.cs", SearchOption.AllDirectories)
        .Select(path => Path.GetRelativePath(Managed, path))
        .ToLookup(path => Path.GetDirectoryName(path)!, path => Path.Combine(Managed, path));

    /// <summary>The namespace that a file declares.</summary>
    public static string NamespaceOf(string path) => Namespace().Match(File.ReadAllText(path)).Groups[1].Value;

    /// <summary>The types that a file declares at its top level: its lines that begin with no blank.</summary>
    public static IEnumerable<string> TypesOf(string path) =>
        Declaration().Matches(File.ReadAllText(path)).Select(match => match.Groups[1].Value);

    /// <summary>
    /// The words of a file's code that may be types: no comments, texts or directives. What follows a dot is a member's name, and what
    /// stands before a parenthesis a method's, unless it is made or derived from.
    /// </summary>
    public static HashSet<string> WordsOf(string path)
    {
        var code = Directive().Replace(Text().Replace(Comment().Replace(File.ReadAllText(path), " "), " "), " ");
        return [.. Word().Matches(code).Select(match => match.Value)];
    }

    [GeneratedRegex(@"^namespace ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Namespace();

    [GeneratedRegex(
        @"^(?:public|internal)[\w ]* (?:class|record|struct|enum|interface|delegate [\w.<>?]+) ([A-Z]\w*)", RegexOptions.Multiline)]
    private static partial Regex Declaration();

    [GeneratedRegex(@"//.*|/\*[\s\S]*?\*/")]
    private static partial Regex Comment();

    // The holes of an interpolated text are code, but too short to name what the rest of the file does not.
    [GeneratedRegex(@"""(?:\\.|[^""\\\n])*""")]
    private static partial Regex Text();

    [GeneratedRegex(@"^(?:using|namespace|#).*$", RegexOptions.Multiline)]
    private static partial Regex Directive();

    [GeneratedRegex(@"(?<![\w.])(?:(?<=(?:new|:) )[A-Z]\w*|[A-Z]\w*(?![\w(]))")]
    private static partial Regex Word();
}
