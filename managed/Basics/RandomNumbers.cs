using System.Buffers.Binary;
using System.Runtime.InteropServices;
using ResNetNodes.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// The random numbers of a run: everything that the library draws comes from a seed through this type, each purpose from a stream of
/// its own, so that one does not move when another draws more.
/// </summary>
/// <param name="seed">The run's seed.</param>
internal sealed partial class RandomNumbers(long seed)
{
    // 2^64 over the golden ratio: odd and of large order, it keeps what is made from neighbouring numbers apart.
    private const ulong Golden = 0x9E3779B97F4A7C15UL;

    /// <summary>
    /// Seeds LibTorch's global generator, from which weights, dropout and the seeds of stages' calls are drawn. For the program that
    /// owns the run: a library that did this would take the numbers of its caller away.
    /// </summary>
    public void SeedTorch() => random.manual_seed(seed).Dispose();

    /// <summary>
    /// What the calling thread draws comes from this seed until the scope is disposed: from a generator of the scope's own, so that
    /// other threads, and the caller's numbers afterwards, go on as if nothing had been drawn. Scopes nest.
    /// </summary>
    /// <param name="device">
    /// Where the numbers are drawn, if not on the CPU alone. A GPU has one generator for all threads: it is seeded, and afterwards put
    /// back to where it was, whoever has drawn from it meanwhile. (No test of ours has run that on a GPU yet.)
    /// </param>
    /// <returns>The scope, for the same thread to dispose.</returns>
    public IDisposable TorchScope(Device? device = null) => new Scope(seed, device);

    /// <summary>The numbers of one part of what this seed stands for, such as evaluation n of a forward pass.</summary>
    public RandomNumbers Part(long number) => new(unchecked(seed + (number * (long)Golden)) & long.MaxValue);

    /// <summary>One stream of the seed alone.</summary>
    public Random Stream() => new(seed is >= int.MinValue and <= int.MaxValue ? (int)seed : (int)(seed % int.MaxValue));

    /// <summary>The stream of an epoch: the order of its images.</summary>
    // System.HashCode is seeded anew in each process; this one is not.
    public Random OfEpoch(int epoch) => new(unchecked((int)((seed * 31) + (epoch * 0x9E3779B1L)) & 0x7FFFFFFF));

    /// <summary>The stream of one image in one epoch: its augmentation.</summary>
    // SplitMix64's finalizer: neighbouring images and epochs get unrelated choices.
    public Random OfImage(int epoch, int index)
    {
        var z = unchecked(((ulong)seed * Golden) + ((ulong)epoch << 32) + (ulong)index + Golden);
        z = unchecked((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL);
        z = unchecked((z ^ (z >> 27)) * 0x94D049BB133111EBUL);
        return new((int)((z ^ (z >> 31)) & 0x7FFFFFFF));
    }

    /// <summary>Numbers whose seed is drawn from LibTorch's global generator, or from the scope that the calling thread is in.</summary>
    public static RandomNumbers Drawn()
    {
        using var drawn = randint(0, long.MaxValue, [1], ScalarType.Int64);
        return new(drawn.item<long>());
    }

    /// <summary>Where LibTorch's global generator is.</summary>
    public static byte[] TorchState()
    {
        using var state = random.get_rng_state();
        return [.. state.bytes];
    }

    /// <summary>
    /// Whether these bytes say where a generator of LibTorch is. LibTorch itself ends the process where they do not, and reads beyond
    /// its numbers where they say that more are left than it has.
    /// </summary>
    // LibTorch's CPUGeneratorImplState: seed (8 bytes), left (4), seeded (4), next (8), 624 numbers (8 each), three normals (8
    // each), whether they are valid (4, and 4 of padding), a normal in float32 (4), whether it is valid (1, and 3 of padding).
    public static bool IsTorchState(ReadOnlySpan<byte> state)
    {
        const int numbers = 624, first = 24, normals = first + (8 * numbers), flag = normals + 24, single = flag + 8, length = single + 8;
        if (state.Length != length)
        {
            return false;
        }

        var (left, next) = (BinaryPrimitives.ReadInt32LittleEndian(state[8..]), BinaryPrimitives.ReadUInt64LittleEndian(state[16..]));
        var words = MemoryMarshal.Cast<byte, ulong>(state[first..normals]);
        return BinaryPrimitives.ReadInt32LittleEndian(state[12..]) == 1
            && left is >= 1 and <= numbers && next <= (ulong)(numbers + 1 - left)
            && !words.ContainsAnyExceptInRange(0UL, uint.MaxValue)
            && BinaryPrimitives.ReadInt32LittleEndian(state[flag..]) is 0 or 1 && state[single + 4] is 0 or 1;
    }

    /// <summary>Puts LibTorch's global generator where <see cref="TorchState"/> found it.</summary>
    public static void RestoreTorch(byte[] state)
    {
        using var generator = tensor(state, ScalarType.Byte);
        random.set_rng_state(generator);
    }

    private sealed class Scope : IDisposable
    {
        // A build of LibTorch may find its default generator in a way that is not redirected: asked once, by a draw.
        private static readonly Lazy<bool> Redirects = new(DrawsFromAThreadsGenerator);

        // Of this thread; the generator that draws are redirected to must live as long as they are.
        [ThreadStatic]
        private static Scope? current;

        private readonly Scope? outer = current;
        private readonly Generator generator;
        private readonly SeededGenerator? onDevice;
        private bool left;

        public Scope(long seed, Device? device)
        {
            if (!Redirects.Value)
            {
                throw NotRedirected();
            }

            onDevice = device?.type == DeviceType.CUDA ? new(Functions.CudaGenerator(device.index), seed) : null;
            generator = new(unchecked((ulong)seed));
            current = this;
            if (!Functions.RedirectRandomNumbers(generator.Handle))
            {
                Leave();
                throw NotRedirected();
            }
        }

        public void Dispose()
        {
            if (left)
            {
                return;
            }

            if (!ReferenceEquals(current, this))
            {
                // Its generator is still in use.
                throw new InvalidOperationException("a scope of random numbers is disposed on another thread, or before one inside of it");
            }

            if (!Leave())
            {
                throw new ResNetNodesException(
                    "random numbers: another thread's first draw undid the redirection of this thread's; run this step again");
            }
        }

        private static ResNetNodesException NotRedirected() => new(
            "random numbers: what a thread draws can't be redirected to a generator of its own; "
            + "use the LibTorch of TorchSharp's package, without a tool that redirects LibTorch's default generator");

        private static bool DrawsFromAThreadsGenerator()
        {
            NativeLibraries.Require();
            using var generator = new Generator(1);
            using var same = new Generator(1);
            try
            {
                var held = Functions.RedirectRandomNumbers(generator.Handle);
                using var drawn = rand(4, device: CPU);
                using var expected = rand(4, device: CPU, generator: same);
                return held && drawn.bytes.SequenceEqual(expected.bytes);
            }
            finally
            {
                Functions.RedirectRandomNumbers(IntPtr.Zero);
            }
        }

        private bool Leave()
        {
            left = true;
            current = outer;
            var held = Functions.RedirectRandomNumbers(outer?.generator.Handle ?? IntPtr.Zero);
            generator.Dispose();
            onDevice?.Dispose();
            return held;
        }
    }

    /// <summary>
    /// Seeds a generator of LibTorch's for a while: disposed, it is where it was before. For those that all threads share, as a GPU's.
    /// </summary>
    internal sealed partial class SeededGenerator : IDisposable
    {
        private readonly IntPtr generator;
        private readonly Tensor before;

        /// <param name="generator">An <c>at::Generator*</c> that lasts longer.</param>
        /// <param name="seed">Its seed meanwhile.</param>
        public SeededGenerator(IntPtr generator, long seed)
        {
            this.generator = generator;
            var state = THSGenerator_get_rng_state(generator);
            if (state == IntPtr.Zero)
            {
                torch.CheckForErrors();
            }

            before = Tensor.UnsafeCreateTensor(state).DetachFromDisposeScope();
            THSGenerator_gen_manual_seed(generator, seed);
        }

        public void Dispose()
        {
            if (!before.IsInvalid)
            {
                THSGenerator_set_rng_state(generator, before.Handle);
                before.Dispose();
            }
        }

        [LibraryImport("LibTorchSharp")]
        private static partial IntPtr THSGenerator_get_rng_state(IntPtr generator);

        [LibraryImport("LibTorchSharp")]
        private static partial void THSGenerator_set_rng_state(IntPtr generator, IntPtr state);

        [LibraryImport("LibTorchSharp")]
        private static partial void THSGenerator_gen_manual_seed(IntPtr generator, long seed);
    }
}
