using Xunit;

namespace ResNetNodes.Tests;

public sealed class AtomicFileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("atomic").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Write_ReplacesTheFileAndLeavesNoOther()
    {
        var path = Path.Combine(folder, "file.txt");
        AtomicFile.Write(path, "first, and longer");
        AtomicFile.Write(path, "größer");
        Assert.Equal("größer", File.ReadAllText(path));
        Assert.Equal([path], Directory.EnumerateFileSystemEntries(folder));
    }

    [Fact]
    public void Write_LeavesNoPartWhereTheLastStepFails()
    {
        var path = Path.Combine(folder, "folder");
        Directory.CreateDirectory(path);
        Assert.StartsWith($"{path}: can't be written: ", Assert.Throws<ResNetNodesException>(() => AtomicFile.Write(path, "text")).Message);
        Assert.Equal([path], Directory.EnumerateFileSystemEntries(folder));
    }

    [Theory]
    [InlineData("none/file.txt")]
    [InlineData("/dev/full/file")]
    public void Write_LeavesNothingHalfWritten(string path)
    {
        Assert.Throws<ResNetNodesException>(() => AtomicFile.Write(Path.Combine(folder, path), "text"));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
    }

    /// <summary>What stands under the temporary name is removed, not written through.</summary>
    [Fact]
    public void Write_FollowsNoPlantedLink()
    {
        var (path, other) = (Path.Combine(folder, "file.txt"), Path.Combine(folder, "other.txt"));
        File.WriteAllText(other, "mine");
        File.CreateSymbolicLink(path + ".partial", other);
        AtomicFile.Write(path, "text");
        Assert.Equal(("text", "mine"), (File.ReadAllText(path), File.ReadAllText(other)));
        Assert.Null(new FileInfo(path).LinkTarget);
    }

    [Fact]
    public void Write_KeepsTheOldFileWhereWritingFails()
    {
        var path = Path.Combine(folder, "file.txt");
        AtomicFile.Write(path, "old");
        Assert.Throws<InvalidOperationException>(() => AtomicFile.Write(path, file =>
        {
            file.WriteByte(1);
            throw new InvalidOperationException();
        }));
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Equal([path], Directory.EnumerateFileSystemEntries(folder));
    }
}
