using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class DownloadTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("download").FullName;
    private readonly byte[] content = new byte[3_000_000];
    private readonly string target;

    public DownloadTests()
    {
        new Random(1).NextBytes(content);
        target = Path.Combine(folder, "below", "file.bin");
    }

    private string Partial => target + ".partial";

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task Download_BringsTheFileAndSaysHowFarItIs()
    {
        using var server = new Server(from => Answer(200, content, content.Length));
        var reports = new List<DownloadProgress>();
        await Of(server, progress: reports.Add).ToAsync(target);
        Whole();
        Assert.Equal([-1], server.Ranges);
        Assert.Equal(new(0, content.Length), reports[0]);
        Assert.Equal(new(content.Length, content.Length), reports[^1]);
        Assert.Equal(reports.Select(r => r.Bytes).Order(), reports.Select(r => r.Bytes));
        Assert.InRange(reports.Count, 4, 5);
        await Of(server).ToAsync(target);
        Assert.Single(server.Ranges);
    }

    [Fact]
    public async Task BrokenOff_GoesOnWhereItWas()
    {
        using var server = new Server(from => from < 0
            ? Answer(200, content[..1_000_000], content.Length)
            : Rest(from, Math.Min(content.Length, (int)from + 1_500_000)));
        await Of(server).ToAsync(target);
        Whole();
        Assert.Equal([-1, 1_000_000, 2_500_000], server.Ranges);
    }

    [Fact]
    public async Task AnEarlierRun_IsGoneOnWith()
    {
        Started(content[..700_000]);
        using var server = new Server(from => Rest(from, content.Length));
        await Of(server).ToAsync(target);
        Whole();
        Assert.Equal([700_000], server.Ranges);
    }

    [Fact]
    public async Task AllOfItFromAnEarlierRun_IsTakenOver()
    {
        Started(content);
        using var server = new Server(from => Answer(416, [], 0, $"bytes */{content.Length}"));
        await Of(server).ToAsync(target);
        Whole();
    }

    [Fact]
    public async Task IgnoredRange_StartsAgain()
    {
        Started(content[..700_000]);
        using var server = new Server(from => Answer(200, content, content.Length));
        await Of(server).ToAsync(target);
        Whole();
    }

    [Theory]
    [InlineData("bytes 5-9/3000000")]
    [InlineData(null)]
    public async Task AnotherRangeThanAskedFor_StartsAgain(string? range)
    {
        Started(content[..700_000]);
        using var server = new Server(from => from > 0 ? Answer(206, content[5..10], 5, range) : Answer(200, content, content.Length));
        await Of(server).ToAsync(target);
        Whole();
        Assert.Equal([700_000, -1], server.Ranges);
    }

    [Fact]
    public async Task AWrongBeginning_IsFetchedAgain()
    {
        Started(new byte[700_000]);
        using var server = new Server(from => from > 0 ? Rest(from, content.Length) : Answer(200, content, content.Length));
        await Of(server).ToAsync(target);
        Whole();
        Assert.Equal([700_000, -1], server.Ranges);
    }

    [Fact]
    public async Task ABeginningLongerThanTheFile_IsFetchedAgain()
    {
        Started(new byte[content.Length + 5]);
        using var server = new Server(
            from => from > 0 ? Answer(416, [], 0, $"bytes */{content.Length}") : Answer(200, content, content.Length));
        await Of(server).ToAsync(target);
        Whole();
    }

    [Fact]
    public async Task NotFound_FailsAtOnce()
    {
        using var server = new Server(from => Answer(404, [], 0));
        await Fails(Of(server), "answered 404");
        Assert.Single(server.Ranges);
    }

    [Fact]
    public async Task ServerError_IsTriedAgainAFewTimes()
    {
        using var server = new Server(from => Answer(500, [], 0));
        await Fails(Of(server), "answered 500", "after 3 attempts");
        Assert.Equal(3, server.Ranges.Count);
        var calls = 0;
        using var second = new Server(from => ++calls < 3 ? Answer(503, [], 0) : Answer(200, content, content.Length));
        await Of(second).ToAsync(target);
        Whole();
    }

    [Theory]
    [InlineData(1_000_000)]
    [InlineData(3_000_010)]
    [InlineData(1_000_000_000_000)]
    public async Task AnotherLength_IsSeenBeforeAnythingIsFetched(long stated)
    {
        Started(content[..700_000]);
        using var server = new Server(from => Answer(200, content, stated));
        await Fails(Of(server), $"has {stated:N0} bytes, expected 3,000,000", "the server has another or a damaged file");
        Assert.Equal([700_000], server.Ranges);
        Assert.Equal(700_000, new FileInfo(Partial).Length);
    }

    [Fact]
    public async Task AnotherLengthOfTheWhole_IsSeenInTheRangeToo()
    {
        Started(content[..700_000]);
        using var server = new Server(
            from => Answer(206, content[(int)from..], content.Length - from, $"bytes {from}-{content.Length - 1}/9000000"));
        await Fails(Of(server), "has 9,000,000 bytes, expected 3,000,000");
        Assert.Single(server.Ranges);
    }

    /// <summary>Without a stated length a server could send for ever.</summary>
    [Fact]
    public async Task MoreThanTheFile_IsCutOff()
    {
        byte[] endless = [.. "HTTP/1.1 200 Status\r\nConnection: close\r\n\r\n"u8, .. new byte[8_000_000]];
        using var server = new Server(from => endless);
        await Fails(Of(server), "sends more than 3,000,000 bytes");
        Assert.InRange(new FileInfo(Partial).Length, 0, content.Length);
    }

    [Fact]
    public async Task LessThanTheFileWithoutAWord_IsGoneOnWith()
    {
        using var server = new Server(from => from < 0
            ? [.. "HTTP/1.1 200 Status\r\nConnection: close\r\n\r\n"u8, .. content[..1_000_000]]
            : Rest(from, content.Length));
        await Of(server).ToAsync(target);
        Whole();
        Assert.Equal([-1, 1_000_000], server.Ranges);
    }

    [Fact]
    public async Task ALinkUnderTheUnfinishedName_IsNotWrittenThrough()
    {
        var precious = Path.Combine(folder, "precious");
        await File.WriteAllTextAsync(precious, "of somebody else");
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        File.CreateSymbolicLink(Partial, precious);
        using var server = new Server(from => Answer(200, content, content.Length));
        await Of(server).ToAsync(target);
        Whole();
        Assert.Equal("of somebody else", await File.ReadAllTextAsync(precious));
        Assert.Equal([-1], server.Ranges);
    }

    [Theory]
    [InlineData("file.bin.partial")]
    [InlineData("file.bin")]
    public async Task APipe_IsRefused(string name)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        var pipe = Path.Combine(Path.GetDirectoryName(target)!, name);
        TestFiles.Pipe(pipe);
        using var server = new Server(from => Answer(200, content, content.Length));
        var error = await Assert.ThrowsAsync<ResNetNodesException>(() => Of(server).ToAsync(target)).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.StartsWith($"{pipe}: can't be written or read: it is a pipe or a device", error.Message);
        Assert.Empty(server.Ranges);
    }

    [Fact]
    public async Task WrongBytes_AreDeleted()
    {
        var wrong = (byte[])content.Clone();
        wrong[2_000_000] ^= 1;
        using var server = new Server(from => Answer(200, wrong, wrong.Length));
        await Fails(Of(server), "SHA-256 checksum", "were deleted");
        Assert.Empty(Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories));
        Assert.Single(server.Ranges);
    }

    [Fact]
    public async Task AWrongFileUnderTheName_IsReplacedWhenTheRightOneIsThere()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        await File.WriteAllTextAsync(target, "other");
        using (var server = new Server(from => Answer(404, [], 0)))
        {
            await Assert.ThrowsAsync<ResNetNodesException>(() => Of(server).ToAsync(target));
            Assert.Equal("other", await File.ReadAllTextAsync(target));
        }

        using var good = new Server(from => Answer(200, content, content.Length));
        await Of(good).ToAsync(target);
        Whole();
    }

    [Fact]
    public async Task Silence_IsGivenUp()
    {
        using var server = new Server(from => []);
        await Fails(Of(server, patience: TimeSpan.FromMilliseconds(100)), "was silent for 0.1 s at byte 0", "after 3 attempts");
    }

    [Fact]
    public async Task NoServer_IsNamed()
    {
        Uri address;
        using (var server = new Server(from => []))
        {
            address = server.Address;
        }

        var error = await Assert.ThrowsAsync<ResNetNodesException>(
            () => new Download(address, new string('0', 64), 1) { Pause = TimeSpan.Zero, Tries = 2, Handler = Direct }.ToAsync(target));
        Assert.StartsWith(address.ToString(), error.Message);
        Assert.Contains("after 2 attempts", error.Message);
    }

    [Fact]
    public async Task Cancelling_KeepsWhatHasArrived()
    {
        using var server = new Server(from => Answer(200, content[..2_000_000], content.Length), close: false);
        using var cancellation = new CancellationTokenSource();
        void AtOneMegabyte(DownloadProgress progress)
        {
            if (progress.Bytes > 1_000_000)
            {
                cancellation.Cancel();
            }
        }

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => Of(server, progress: AtOneMegabyte).ToAsync(target, cancellation.Token));
        Assert.InRange(new FileInfo(Partial).Length, 1_000_001, 2_000_000);
        Assert.False(File.Exists(target));
    }

    [Fact]
    public async Task AFolderThatCantBeMade_IsNamed()
    {
        await File.WriteAllTextAsync(Path.Combine(folder, "below"), "a file");
        using var server = new Server(from => Answer(200, content, content.Length));
        var error = await Assert.ThrowsAsync<ResNetNodesException>(() => Of(server).ToAsync(target));
        Assert.StartsWith(target, error.Message);
        Assert.Empty(server.Ranges);
        Assert.Throws<ArgumentException>(() => new Download(server.Address, "12", 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Download(server.Address, new string('0', 64), 0));
    }

    private static HttpMessageHandler Direct() => new SocketsHttpHandler { UseProxy = false };

    private Download Of(Server server, Action<DownloadProgress>? progress = null, TimeSpan? patience = null) =>
        new(server.Address, Convert.ToHexStringLower(SHA256.HashData(content)), content.Length)
        {
            Tries = 3,
            Pause = TimeSpan.Zero,
            Patience = patience ?? TimeSpan.FromSeconds(60),
            Progress = progress,
            Handler = Direct,
        };

    private async Task Fails(Download download, params string[] messages)
    {
        var error = await Assert.ThrowsAsync<ResNetNodesException>(() => download.ToAsync(target));
        Assert.StartsWith("http://127.0.0.1:", error.Message);
        Assert.All(messages, message => Assert.Contains(message, error.Message));
        Assert.DoesNotContain('\n', error.Message);
        Assert.False(File.Exists(target));
    }

    private void Whole()
    {
        Assert.True(content.AsSpan().SequenceEqual(File.ReadAllBytes(target)));
        Assert.Single(Directory.EnumerateFiles(Path.GetDirectoryName(target)!));
    }

    private void Started(byte[] bytes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        File.WriteAllBytes(Partial, bytes);
    }

    private byte[] Rest(long from, int to) =>
        Answer(206, content[(int)from..to], content.Length - from, $"bytes {from}-{content.Length - 1}/{content.Length}");

    private static byte[] Answer(int status, byte[] body, long statedLength, string? range = null) =>
        [.. Encoding.ASCII.GetBytes(
            $"HTTP/1.1 {status} Status\r\nContent-Length: {statedLength}\r\n"
            + $"{(range is null ? string.Empty : $"Content-Range: {range}\r\n")}Connection: close\r\n\r\n"), .. body];

    /// <summary>
    /// Answers each request with bytes made from the start of its range (-1 for none), then closes; without bytes, never.
    /// </summary>
    private sealed class Server : IDisposable
    {
        private readonly TcpListener listener = new(IPAddress.Loopback, 0);
        private readonly List<TcpClient> silent = [];
        private readonly Task loop;

        public Server(Func<long, byte[]> answer, bool close = true)
        {
            listener.Start();
            Address = new($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/file.bin");
            loop = Task.Run(async () =>
            {
                try
                {
                    while (true)
                    {
                        var client = await listener.AcceptTcpClientAsync();
                        var reader = new StreamReader(client.GetStream(), Encoding.ASCII);
                        var from = -1L;
                        while (await reader.ReadLineAsync() is { Length: > 0 } line)
                        {
                            from = line.StartsWith("Range: bytes=", StringComparison.Ordinal)
                                ? long.Parse(line[13..].TrimEnd('-'), System.Globalization.CultureInfo.InvariantCulture)
                                : from;
                        }

                        Ranges.Add(from);
                        var bytes = answer(from);
                        await SendAsync(client, bytes);
                        if (bytes.Length == 0 || !close)
                        {
                            silent.Add(client);
                        }
                        else
                        {
                            client.Dispose();
                        }
                    }
                }
                catch (Exception exception) when (exception is SocketException or ObjectDisposedException or InvalidOperationException)
                {
                    // The test is over.
                }
            });
        }

        public List<long> Ranges { get; } = [];

        public Uri Address { get; }

        public void Dispose()
        {
            listener.Stop();
            loop.Wait();
            silent.ForEach(client => client.Dispose());
            listener.Dispose();
        }

        private static async Task SendAsync(TcpClient client, byte[] bytes)
        {
            try
            {
                await client.GetStream().WriteAsync(bytes);
            }
            catch (Exception exception) when (exception is IOException or SocketException)
            {
                // The client has had enough.
            }
        }
    }
}
