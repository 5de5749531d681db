using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// The random numbers of a run: everything that the library draws comes from a seed through this type, each purpose from a stream of
/// its own, so that one does not move when another draws more.
/// </summary>
/// <param name="seed">The run's seed.</param>
internal sealed class RandomNumbers(long seed)
{
    // 2^64 over the golden ratio: odd and of large order, it keeps what is made from neighbouring numbers apart.
    private const ulong Golden = 0x9E3779B97F4A7C15UL;

    /// <summary>
    /// Seeds LibTorch's global generator, from which weights, dropout and the seeds of stages' calls are drawn. For the program that
    /// owns the run: a library that did this would take the numbers of its caller away.
    /// </summary>
    public void SeedTorch() => random.manual_seed(seed).Dispose();

    /// <summary>
    /// Seeds LibTorch's global generator until the scope is disposed; the caller's numbers then go on as if nothing had been drawn.
    /// Those of the CPU: TorchSharp can't save a GPU's, which is seeded along and goes on from here.
    /// </summary>
    /// <returns>The scope.</returns>
    public IDisposable TorchScope() => new Scope(seed);

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

    /// <summary>Numbers whose seed is drawn from LibTorch's global generator.</summary>
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

    /// <summary>Puts LibTorch's global generator where <see cref="TorchState"/> found it.</summary>
    public static void RestoreTorch(byte[] state)
    {
        using var generator = tensor(state, ScalarType.Byte);
        random.set_rng_state(generator);
    }

    private sealed class Scope : IDisposable
    {
        private readonly Tensor outer = random.get_rng_state().DetachFromDisposeScope();

        public Scope(long seed) => random.manual_seed(seed).Dispose();

        public void Dispose()
        {
            random.set_rng_state(outer);
            outer.Dispose();
        }
    }
}
