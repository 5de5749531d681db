using Xunit;

namespace ResNetNodes.Tests;

public sealed class RegularFileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("regular").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100_000)]
    public void ReadAllBytes_IsTheContent_ThroughALinkToo(int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        File.WriteAllBytes(At("file"), bytes);
        File.CreateSymbolicLink(At("link"), At("file"));
        Assert.Equal(bytes, RegularFile.ReadAllBytes(At("file"), length));
        Assert.Equal(bytes, RegularFile.ReadAllBytes(At("link"), length));
    }

    [Fact]
    public void ReadAllBytes_RefusesALongerFile()
    {
        File.WriteAllBytes(At("file"), new byte[11]);
        Assert.Contains(
            "11 bytes long, more than the 10",
            Assert.Throws<NoRegularFileException>(() => RegularFile.ReadAllBytes(At("file"), 10)).Message);
    }

    /// <summary>At once: a pipe would wait for a writer, a device never end.</summary>
    [Fact]
    public void PipesAndDevices_AreRefused()
    {
        TestFiles.Pipe(At("pipe"));
        File.CreateSymbolicLink(At("endless"), "/dev/zero");
        Assert.All([At("pipe"), At("endless"), "/dev/null"], path =>
            Assert.Contains("no regular file", Assert.Throws<NoRegularFileException>(() => RegularFile.ReadAllBytes(path, 10)).Message));
    }

    [Fact]
    public void WhatIsNotThere_OrAFolder_IsRefused()
    {
        Assert.Throws<FileNotFoundException>(() => RegularFile.OpenRead(At("none")));
        Assert.Throws<UnauthorizedAccessException>(() => RegularFile.OpenRead(folder));
    }

    private string At(string name) => Path.Combine(folder, name);
}
