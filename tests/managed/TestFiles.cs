using System.Diagnostics;
using System.IO.Compression;

namespace ResNetNodes.Tests;

/// <summary>Files that .NET does not make.</summary>
internal static class TestFiles
{
    /// <summary>What is under a file's name and no file: reading it waits or never ends, where nobody looks before.</summary>
    public static readonly string[] NoFiles = ["pipe", "endless", "folder"];

    /// <summary>Makes a pipe that nobody writes to.</summary>
    public static void Pipe(string path) => Shell("mkfifo \"$1\"", path);

    /// <summary>Gives a file another name in its folder, in the notation of printf, such as "a\377.png".</summary>
    /// <param name="path">The file, or a pattern of it.</param>
    /// <param name="name">Its new name.</param>
    public static void Rename(string path, string name) => Shell("mv $1 \"$(dirname \"$1\")/$(printf \"$2\")\"", path, name);

    /// <summary>Removes a folder with all that is in it, names that .NET can't tell included.</summary>
    public static void RemoveAll(string folder) => Shell("rm -rf \"$1\"", folder);

    /// <summary>Puts one of <see cref="NoFiles"/> under a name.</summary>
    public static void Put(string kind, string path)
    {
        File.Delete(path);
        switch (kind)
        {
            case "pipe":
                Pipe(path);
                break;
            case "endless":
                File.CreateSymbolicLink(path, "/dev/zero");
                break;
            default:
                Directory.CreateDirectory(path);
                break;
        }
    }

    /// <summary>Removes what <see cref="Put"/> made.</summary>
    public static void Remove(string path)
    {
        if (Directory.Exists(path))
        {
            Directory.Delete(path);
        }
        else
        {
            File.Delete(path);
        }
    }

    /// <summary>Writes a gzip file.</summary>
    public static void Gzip(string path, byte[] content)
    {
        using var stream = new GZipStream(File.Create(path), CompressionLevel.Fastest);
        stream.Write(content);
    }

    /// <summary>A function's result; fails where it does not end.</summary>
    public static T InTime<T>(Func<T> work) => Task.Run(work).WaitAsync(TimeSpan.FromSeconds(30)).GetAwaiter().GetResult();

    private static void Shell(string command, params string[] arguments)
    {
        using var process = Process.Start("sh", ["-c", command, "sh", .. arguments]);
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{command} ended with {process.ExitCode}");
        }
    }
}
