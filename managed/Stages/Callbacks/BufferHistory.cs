using ResNetNodes.Interop;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// Buffers that functions change: each evaluation on the way back reads what its forward evaluation read, and in the end they are what the
/// forward pass left. Of one pass.
/// </summary>
internal sealed class BufferHistory : IDisposable
{
    // By evaluation: what a buffer was before it, where the evaluation has changed it.
    private readonly Dictionary<long, List<(Tensor Buffer, Tensor Before)>> read = [];
    private readonly Dictionary<IntPtr, (Tensor Buffer, Tensor Left)> left = [];

    /// <summary>Runs a forward evaluation, and notes what it changes.</summary>
    /// <param name="modules">The function's modules (<see cref="ModuleTree"/>).</param>
    /// <param name="use">The evaluation's number.</param>
    /// <param name="evaluate">The evaluation.</param>
    public Tensor Forward(IReadOnlyList<nn.Module> modules, long use, Func<Tensor> evaluate)
    {
        var before = Read(modules)
            .Select(buffer => (Buffer: buffer, Version: Functions.TensorVersion(buffer), Before: Copy(buffer))).ToList();
        try
        {
            var result = evaluate();
            var changed = before.Where(b => Functions.TensorVersion(b.Buffer) != b.Version).ToList();
            if (changed.Count > 0)
            {
                read[use] = [.. changed.Select(b => (b.Buffer, b.Before))];
                before.RemoveAll(changed.Contains);
            }

            return result;
        }
        finally
        {
            before.ForEach(b => b.Before.Dispose());
        }
    }

    /// <summary>Before an evaluation on the way back: its buffers as the forward evaluation read them.</summary>
    public void Replay(IReadOnlyList<nn.Module> modules, long use)
    {
        using var guard = no_grad();
        foreach (var module in modules.Where(module => module.training))
        {
            foreach (var (_, buffer) in module.named_buffers(recurse: false))
            {
                Keep(buffer);
            }
        }

        foreach (var (buffer, before) in read.GetValueOrDefault(use, []))
        {
            Keep(buffer);
            buffer.copy_(before);
        }
    }

    /// <summary>
    /// Puts the buffers back as they were before the way back. At its end: autograd would take a change between a tape and its product for
    /// one that spoils the gradient.
    /// </summary>
    public void Restore()
    {
        using var guard = no_grad();
        foreach (var (buffer, value) in left.Values)
        {
            buffer.copy_(value);
            value.Dispose();
        }

        left.Clear();
    }

    public void Dispose()
    {
        Restore();
        foreach (var (_, before) in read.Values.SelectMany(list => list))
        {
            before.Dispose();
        }

        read.Clear();
    }

    private static Tensor Copy(Tensor buffer)
    {
        using var guard = no_grad();
        return buffer.clone().DetachFromDisposeScope();
    }

    private void Keep(Tensor buffer)
    {
        var identity = TensorIdentity.Of(buffer);
        if (!left.ContainsKey(identity))
        {
            left[identity] = (buffer, Copy(buffer));
        }
    }

    // Normalizations that train write their statistics without reading them, those that don't leave them alone.
    private static IEnumerable<Tensor> Read(IReadOnlyList<nn.Module> modules) =>
        modules.Where(module => module is not NormBase).SelectMany(module => module.named_buffers(recurse: false)).Select(b => b.buffer);
}
