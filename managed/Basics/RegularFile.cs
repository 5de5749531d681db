using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace ResNetNodes;

/// <summary>There is something under a file's name, but nothing to read as a file: a pipe, a device, or far too many bytes.</summary>
internal sealed class NoRegularFileException(string message) : IOException(message);

/// <summary>
/// Reads of regular files alone. A pipe waits for a writer that may never come, and a device such as /dev/zero never ends: a path
/// that leads to one of them, by a link too, is refused. A link to a regular file is that file.
/// </summary>
internal static partial class RegularFile
{
    private const int NonBlocking = 0x800, CloseOnExec = 0x80000;
    private const int OfTheHandle = 0x1000, TypeAlone = 1;
    private const int TypeMask = 0xF000, Regular = 0x8000, Folder = 0x4000;

    /// <summary>Opens a file, and reads its beginning; the file is closed where that fails.</summary>
    /// <param name="path">The file.</param>
    /// <param name="read">Reads it, and owns the file from then on.</param>
    /// <returns>What that gives.</returns>
    /// <exception cref="ResNetNodesException">The file is missing or can't be read; the message names it.</exception>
    public static T Open<T>(string path, Func<Stream, T> read)
    {
        Stream? stream = null;
        try
        {
            stream = OpenRead(path);
            return read(stream);
        }
        catch (Exception exception)
        {
            stream?.Dispose();
            throw exception is IOException or UnauthorizedAccessException
                ? new ResNetNodesException($"{path}: can't be read: {exception.Message.Split('\n')[0].TrimEnd('.', '\r')}", exception)
                : exception;
        }
    }

    /// <summary>Opens a file for reading.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="NoRegularFileException">It is a pipe or a device.</exception>
    /// <exception cref="IOException">It is missing or can't be read; the message is a phrase without the path.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read, or is a folder.</exception>
    public static FileStream OpenRead(string path)
    {
        if (!OperatingSystem.IsLinux())
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read);
        }

        // Without waiting: opening a pipe would wait for its writer.
        var handle = new SafeFileHandle(Open(path, NonBlocking | CloseOnExec), ownsHandle: true);
        try
        {
            if (handle.IsInvalid)
            {
                throw Failure(Marshal.GetLastPInvokeError());
            }

            if (StatX(handle, string.Empty, OfTheHandle, TypeAlone, out var status) != 0)
            {
                throw Failure(Marshal.GetLastPInvokeError());
            }

            return (status.Mode & TypeMask) switch
            {
                Regular => new FileStream(handle, FileAccess.Read),
                Folder => throw new UnauthorizedAccessException("it is a folder"),
                _ => throw new NoRegularFileException("it is a pipe or a device, no regular file"),
            };
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>All bytes of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="most">The largest length that makes sense; a longer file is refused before any of it is read.</param>
    /// <exception cref="NoRegularFileException">It is longer, or a pipe or a device.</exception>
    public static byte[] ReadAllBytes(string path, long most)
    {
        using var file = OpenRead(path);
        var length = file.Length <= most
            ? file.Length
            : throw new NoRegularFileException($"it is {file.Length:N0} bytes long, more than the {most:N0} that make sense");
        var bytes = new byte[length];
        file.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>All of a text in UTF-8.</summary>
    /// <param name="path">The file.</param>
    /// <param name="most">The largest length in bytes that makes sense.</param>
    public static string ReadAllText(string path, long most) => Encoding.UTF8.GetString(ReadAllBytes(path, most));

    private static Exception Failure(int error)
    {
        const int noPermission = 13, noFile = 2, notAFolder = 20;
        var text = Marshal.GetPInvokeErrorMessage(error);
        return error switch
        {
            noPermission => new UnauthorizedAccessException(text),
            noFile or notAFolder => new FileNotFoundException(text),
            _ => new IOException(text, error),
        };
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int StatX(SafeFileHandle file, string path, int flags, uint mask, out Status status);

    // Linux's struct statx: the same on every processor.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Status
    {
        [FieldOffset(28)]
        public ushort Mode;
    }
}
