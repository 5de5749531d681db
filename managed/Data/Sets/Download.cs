using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using Polly;
using Polly.Retry;

namespace ResNetNodes.Data;

/// <summary>
/// A file from the web. It appears complete under its name or not at all; what has arrived is kept in a .partial file beside it, from
/// where the next attempt or the next run continues.
/// </summary>
internal sealed class Download
{
    private const int ReportEvery = 1 << 20;
    private readonly Uri address;
    private readonly string sha256;
    private readonly long length;

    /// <summary>Describes a file.</summary>
    /// <param name="address">Its address.</param>
    /// <param name="sha256">The SHA-256 checksum of its content, 64 hexadecimal digits.</param>
    /// <param name="length">Its length in bytes; a server that has more is not listened to.</param>
    public Download(Uri address, string sha256, long length)
    {
        ArgumentNullException.ThrowIfNull(address);
        ArgumentNullException.ThrowIfNull(sha256);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        if (sha256.Length != 2 * SHA256.HashSizeInBytes || !sha256.All(char.IsAsciiHexDigit))
        {
            throw new ArgumentException(
                $"'{sha256}' is not a SHA-256 checksum, expected {2 * SHA256.HashSizeInBytes} hexadecimal digits", nameof(sha256));
        }

        (this.address, this.sha256, this.length) = (address, sha256.ToUpperInvariant(), length);
    }

    /// <summary>Number of attempts, at least 1.</summary>
    public int Tries { get; init; } = 5;

    /// <summary>Pause between the first and the second attempt; doubled after each.</summary>
    public TimeSpan Pause { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long the server may be silent before an attempt is given up.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Called at the start and the end of each attempt, and after each MiB.</summary>
    public Action<DownloadProgress>? Progress { get; init; }

    internal Func<HttpMessageHandler> Handler { get; init; } = () => new SocketsHttpHandler();

    /// <summary>Downloads the file, or what is missing of it. A file with the right checksum is kept without asking the server.</summary>
    /// <param name="path">Where it goes; its folder is created if it is missing.</param>
    /// <param name="cancellation">Stops the download; what has arrived is kept.</param>
    /// <returns>A task that ends when the file is complete.</returns>
    /// <exception cref="ResNetNodesException">
    /// The server does not have the file, breaks off too often or sends something else, or the disk is full.
    /// </exception>
    public async Task ToAsync(string path, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentOutOfRangeException.ThrowIfLessThan(Tries, 1);
        if (File.Exists(path) && OnDisk(path, () => Checksum(path)) == sha256)
        {
            return;
        }

        OnDisk(path, () => Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!));
        using var client = new HttpClient(Handler()) { Timeout = Timeout.InfiniteTimeSpan };
        var failure = await Retries().ExecuteAsync(async token => await AttemptAsync(client, path, token), cancellation);
        if (failure is not null)
        {
            throw DataFile.Bad(address.ToString(), $"{failure}, after {Tries} attempts; run it again to continue from there");
        }
    }

    // As long as an attempt has failed in a way that another may mend.
    private ResiliencePipeline<string?> Retries() => Tries == 1
        ? ResiliencePipeline<string?>.Empty
        : new ResiliencePipelineBuilder<string?>().AddRetry(new RetryStrategyOptions<string?>
        {
            ShouldHandle = new PredicateBuilder<string?>().HandleResult(failure => failure is not null),
            MaxRetryAttempts = Tries - 1,
            BackoffType = DelayBackoffType.Exponential,
            Delay = Pause,
            MaxDelay = Pause * (1 << 10),
        }).Build();

    // Null once the file is complete; one line where another attempt may help.
    private async Task<string?> AttemptAsync(HttpClient client, string path, CancellationToken cancellation)
    {
        var partial = path + AtomicFile.Unfinished;
        var (resumed, failure) = await TryAsync(client, partial, cancellation);
        if (failure is not null)
        {
            return failure;
        }

        var found = OnDisk(partial, () => Checksum(partial));
        if (found == sha256)
        {
            OnDisk(path, () => File.Move(partial, path, overwrite: true));
            return null;
        }

        var arrived = new FileInfo(partial).Length;
        OnDisk(partial, () => File.Delete(partial));
        failure = $"its {DataFile.Number(arrived)} bytes have the SHA-256 checksum {found.ToLowerInvariant()}, expected "
            + $"{sha256.ToLowerInvariant()}, and were deleted";
        // The beginning, from an earlier try, may be what was wrong: once more from there.
        return resumed ? failure : throw Another(failure);
    }

    // What one request brings is added to the partial file. Failure is null when the server has sent all, and one line where
    // another try may help.
    private async Task<(bool Resumed, string? Failure)> TryAsync(HttpClient client, string partial, CancellationToken cancellation)
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        silence.CancelAfter(Patience);
        using var file = OnDisk(partial, () => Continued(partial));
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            if (file.Length > 0)
            {
                request.Headers.Range = new RangeHeaderValue(file.Length, null);
            }

            using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, silence.Token);
            var range = response.Content.Headers.ContentRange;
            var total = response.StatusCode switch
            {
                HttpStatusCode.OK => response.Content.Headers.ContentLength,
                HttpStatusCode.PartialContent => range?.Length,
                _ => null,
            };
            if (total is { } stated && stated != length)
            {
                throw Another($"has {DataFile.Number(stated)} bytes, expected {DataFile.Number(length)}");
            }

            switch (response.StatusCode)
            {
                case HttpStatusCode.OK:
                    // All from the start, asked for or not.
                    file.SetLength(0);
                    break;
                case HttpStatusCode.PartialContent when range?.From == file.Length:
                    break;
                case HttpStatusCode.RequestedRangeNotSatisfiable when range?.Length == file.Length:
                    return (true, null);
                case HttpStatusCode.PartialContent or HttpStatusCode.RequestedRangeNotSatisfiable:
                    var had = file.Length;
                    file.SetLength(0);
                    return (
                        true,
                        $"answered {range?.ToString() ?? "no range"} to a request for everything from byte {DataFile.Number(had)}");
                default:
                    var status = $"answered {(int)response.StatusCode} {response.ReasonPhrase}".TrimEnd();
                    return response.StatusCode
                        is >= HttpStatusCode.InternalServerError or HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout
                        ? (false, status)
                        : throw DataFile.Bad(address.ToString(), $"{status}; get the file elsewhere");
            }

            var resumed = file.Length > 0;
            await CopyAsync(response, file, partial, silence);
            return (
                resumed,
                file.Length < length ? $"broke off after {DataFile.Number(file.Length)} of {DataFile.Number(length)} bytes" : null);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return (false, $"was silent for {Patience.TotalSeconds:0.#} s at byte {DataFile.Number(file.Length)}");
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException)
        {
            return (false, $"broke off at byte {DataFile.Number(file.Length)} ({exception.Message.TrimEnd('.')})");
        }
    }

    private async Task CopyAsync(HttpResponseMessage response, FileStream file, string partial, CancellationTokenSource silence)
    {
        using var body = await response.Content.ReadAsStreamAsync(silence.Token);
        var buffer = new byte[1 << 16];
        file.Seek(0, SeekOrigin.End);
        var reported = file.Length;
        Progress?.Invoke(new(reported, length));
        try
        {
            while (await body.ReadAsync(buffer, silence.Token) is > 0 and var count)
            {
                silence.CancelAfter(Patience);
                if (file.Length + count > length)
                {
                    OnDisk(partial, () => file.SetLength(0));
                    throw Another($"sends more than {DataFile.Number(length)} bytes");
                }

                // Not buffered beyond this: an interrupted run keeps what it got.
                OnDisk(partial, () =>
                {
                    file.Write(buffer, 0, count);
                    file.Flush();
                });
                if (file.Length - reported >= ReportEvery)
                {
                    Progress?.Invoke(new(reported = file.Length, length));
                }
            }

            OnDisk(partial, () => file.Flush(flushToDisk: true));
        }
        finally
        {
            Progress?.Invoke(new(file.Length, length));
        }
    }

    // What has arrived, if that is a file of ours: a link put there is not written through, and a pipe would wait for ever.
    private FileStream Continued(string partial)
    {
        if (new FileInfo(partial).LinkTarget is not null)
        {
            File.Delete(partial);
        }

        if (File.Exists(partial))
        {
            RegularFile.OpenRead(partial).Dispose();
        }

        var file = new FileStream(partial, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None);
        if (file.Length > length)
        {
            file.SetLength(0);
        }

        return file;
    }

    private ResNetNodesException Another(string what) =>
        DataFile.Bad(address.ToString(), $"{what}; the server has another or a damaged file; try later, or get it elsewhere");

    private static string Checksum(string path)
    {
        using var file = RegularFile.OpenRead(path);
        return Convert.ToHexString(SHA256.HashData(file));
    }

    // The disk's failures are not the network's: no other try helps.
    private static T OnDisk<T>(string path, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(
                path,
                $"can't be written or read: {exception.Message.TrimEnd('.')}; free some disk space, or use another folder",
                exception);
        }
    }

    private static void OnDisk(string path, Action work) => OnDisk(path, () =>
    {
        work();
        return true;
    });
}
