using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// Lets one pass at a time run through a module: on its way back modes and buffers are for a while those of the forward pass. Passes of
/// several threads, of one stage or of stages that share modules, wait for each other.
/// </summary>
internal static class ModuleLocks
{
    private static readonly ConditionalWeakTable<nn.Module, Lock> Locks = [];
    private static long lastNumber;

    /// <summary>Waits until no other thread runs a pass through one of the modules, and holds them until disposed.</summary>
    public static IDisposable Enter(IEnumerable<nn.Module> modules)
    {
        // In one order everywhere, so that no two wait for each other.
        var locks = modules.Select(module => Locks.GetValue(module, _ => new Lock(Interlocked.Increment(ref lastNumber))))
            .Distinct().OrderBy(l => l.Number).ToList();
        foreach (var one in locks)
        {
            Monitor.Enter(one);
        }

        return new Held(locks);
    }

    private sealed class Lock(long number)
    {
        public long Number { get; } = number;
    }

    private sealed class Held(List<Lock> locks) : IDisposable
    {
        public void Dispose()
        {
            foreach (var one in locks)
            {
                Monitor.Exit(one);
            }
        }
    }
}
