using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Distributed;

/// <summary>
/// The processes that train one network together: ranks, numbered from 0. Every rank starts the same operations in the same order, on
/// tensors of the same shape and type. Operations run while their rank goes on, one after the other.
/// </summary>
/// <remarks>
/// Sums are added up from rank 0 to the last: every rank gets the same bits, and those of one process that adds up the same terms in
/// that order, whatever the network and the version of MPI.
/// </remarks>
public sealed class Communicator : IDisposable
{
    // A wait looks up so often: for what is told to the process meanwhile.
    private const int LookMilliseconds = 200;

    private readonly Interop.NativeCommunicator native;
    private TimeSpan timeout;

    private Communicator(Interop.NativeCommunicator native)
    {
        this.native = native;
        (Rank, Size, LocalRank, LocalSize) = (native.Rank(), native.Size(), native.LocalRank(), native.LocalSize());
        Timeout = TimeSpan.FromMinutes(10);
    }

    /// <summary>The engine's own.</summary>
    internal Interop.NativeCommunicator Native => native;

    /// <summary>Whether this process has been started as one of several: by Open MPI's mpirun, or by what speaks PMIx as it does.</summary>
    public static bool IsLaunched => new[] { "OMPI_COMM_WORLD_SIZE", "PMIX_RANK" }
        .Any(name => Environment.GetEnvironmentVariable(name) is not null);

    /// <summary>This process, from 0.</summary>
    public int Rank { get; }

    /// <summary>How many there are.</summary>
    public int Size { get; }

    /// <summary>This process among the ranks of its machine, from 0.</summary>
    public int LocalRank { get; }

    /// <summary>The ranks of this machine.</summary>
    public int LocalSize { get; }

    /// <summary>
    /// How long a rank waits for the others before it takes them for lost: 10 minutes at first;
    /// <see cref="System.Threading.Timeout.InfiniteTimeSpan"/>: for ever.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Set to less than a millisecond.</exception>
    public TimeSpan Timeout
    {
        get => timeout;
        set
        {
            var isInfinite = value == System.Threading.Timeout.InfiniteTimeSpan;
            if (!isInfinite)
            {
                ArgumentOutOfRangeException.ThrowIfLessThan(value, TimeSpan.FromMilliseconds(1));
            }

            timeout = value;
            native.LimitWaits(isInfinite ? long.MaxValue : (long)value.TotalMilliseconds);
        }
    }

    /// <summary>Joins the other ranks by Open MPI, for once in the life of a process.</summary>
    /// <returns>The ranks; each has to dispose its own.</returns>
    /// <exception cref="ResNetNodesException">
    /// This process has not been started by mpirun; Open MPI, or the library libresnet_nodes_mpi.so, is missing; or the ranks are joined
    /// already.
    /// </exception>
    public static Communicator OpenMpi()
    {
        NativeLibraries.Require();
        return new(new Interop.NativeCommunicator(NativeLibraries.PathOf("resnet_nodes_mpi") ?? throw new ResNetNodesException(
            "libresnet_nodes_mpi.so is missing beside libresnet_nodes.so: this build has been made without Open MPI; install its headers "
            + "(Debian: libopenmpi-dev) and build again: ./build.sh setup --with-mpi && ./build.sh")));
    }

    /// <summary>Starts to sum a tensor up over the ranks, in place.</summary>
    /// <param name="tensor">Contiguous, on the CPU; float32, float64 or int64.</param>
    /// <returns>What to wait for.</returns>
    /// <exception cref="ResNetNodesException">The tensor is of another kind.</exception>
    public Communication StartSum(Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return new(this, native.StartSum(tensor));
    }

    /// <summary>Starts to give one rank's values of a tensor to all.</summary>
    /// <param name="tensor">Contiguous, on the CPU, of any type.</param>
    /// <param name="root">Whose values.</param>
    /// <returns>What to wait for.</returns>
    /// <exception cref="ResNetNodesException">The tensor is of another kind, or there is no such rank.</exception>
    public Communication StartBroadcast(Tensor tensor, int root = 0)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return new(this, native.StartBroadcast(tensor, root));
    }

    /// <summary>Sums a tensor up over the ranks, in place: <see cref="StartSum"/>, to its end.</summary>
    public void Sum(Tensor tensor) => StartSum(tensor).Wait();

    /// <summary>Gives one rank's values of a tensor to all: <see cref="StartBroadcast"/>, to its end.</summary>
    public void Broadcast(Tensor tensor, int root = 0) => StartBroadcast(tensor, root).Wait();

    /// <summary>Waits until every rank has come here.</summary>
    /// <exception cref="ResNetNodesException">Some have not.</exception>
    public void Barrier() => new Communication(this, native.StartBarrier()).Wait();

    /// <summary>Ends all ranks at once; does not return. mpirun ends with the same code.</summary>
    /// <param name="exitCode">Above 0.</param>
    public void Abort(int exitCode) => native.Abort(exitCode);

    /// <summary>Leaves the other ranks; waits until all do.</summary>
    public void Dispose() => native.Dispose();

    /// <summary>The numbers of all ranks, by rank.</summary>
    /// <param name="own">This rank's: as many as the others'.</param>
    internal double[][] Gather(params double[] own)
    {
        using var scope = NewDisposeScope();
        var all = zeros(Size, own.Length, ScalarType.Float64);
        own.CopyTo(MemoryMarshal.Cast<byte, double>(all.bytes)[(Rank * own.Length)..]);
        Sum(all);
        return [.. all.data<double>().ToArray().Chunk(Math.Max(own.Length, 1))];
    }

    /// <summary>Bytes of rank 0, on all.</summary>
    /// <param name="own">Rank 0's; of the others nothing is read.</param>
    internal byte[] FromFirst(byte[]? own)
    {
        using var scope = NewDisposeScope();
        var length = tensor(own?.LongLength ?? 0, ScalarType.Int64);
        Broadcast(length);
        var bytes = Rank == 0 ? tensor(own!, ScalarType.Byte) : zeros(length.item<long>(), ScalarType.Byte);
        Broadcast(bytes);
        return bytes.bytes.ToArray();
    }

    /// <summary>Checks that all ranks have the same: every rank calls it.</summary>
    /// <param name="lines">What they have, a line each.</param>
    /// <exception cref="ResNetNodesException">
    /// On the ranks that have something else than rank 0; the message names the first line.
    /// </exception>
    internal void RequireSame(IReadOnlyList<string> lines)
    {
        // As a digest at first: mostly all is well, and there may be many lines.
        var text = string.Join('\n', lines);
        var digest = SHA256.HashData(Encoding.UTF8.GetBytes(text));
        var same = FromFirst(digest).AsSpan().SequenceEqual(digest);
        if (Gather(same ? 0 : 1).All(other => other[0] == 0))
        {
            return;
        }

        var first = Encoding.UTF8.GetString(FromFirst(Encoding.UTF8.GetBytes(text))).Split('\n');
        if (!same)
        {
            var (there, here) = first.Concat(Enumerable.Repeat("nothing", lines.Count))
                .Zip(lines.Concat(Enumerable.Repeat("nothing", first.Length))).First(pair => pair.First != pair.Second);
            throw new ResNetNodesException($"rank {Rank} has {here}, and rank 0 has {there}; start all ranks alike");
        }
    }

    /// <exception cref="ResNetNodesException">The operation has failed, or the others have not come.</exception>
    internal void Wait(long operation)
    {
        while (!native.Wait(operation, LookMilliseconds))
        {
        }
    }
}
