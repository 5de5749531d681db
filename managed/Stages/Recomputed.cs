using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using ResNetNodes.Stages.Engine;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// A module whose forward pass keeps its input alone, and whose backward pass evaluates it again: gradient checkpointing (Chen et al. 2016,
/// arXiv 1604.06174). Output, gradients, buffers and random numbers are those of the module itself.
/// </summary>
/// <remarks>
/// Memory of a training step: the input, instead of all that the module's layers keep for the backward pass; while that goes through the
/// module, what its layers keep too. Cost: one more evaluation of the module, 4 for 3. The module may be any, with any dtype and shape
/// of input and output; docs/modules.md says what may be changed between the two passes.
/// </remarks>
public sealed class Recomputed : nn.Module<Tensor, Tensor>, IRankedStage
{
    private readonly StageEngine engine;
    private readonly nn.Module<Tensor, Tensor> module;

    /// <summary>Wraps a module; its parameters and buffers are named <c>module.…</c> here.</summary>
    /// <param name="module">The module; this one owns it, as any module does its parts.</param>
    /// <param name="options">How it is evaluated and differentiated.</param>
    /// <exception cref="ArgumentNullException">No module.</exception>
    /// <exception cref="ArgumentException">An invalid option, or native layers that can't stand for the module.</exception>
    public Recomputed(nn.Module<Tensor, Tensor> module, RecomputedOptions? options = null)
        : base(nameof(Recomputed))
    {
        ArgumentNullException.ThrowIfNull(module);
        engine = new StageEngine(nameof(Recomputed), StageFunctions.Alone(module), (options ?? new RecomputedOptions()).ToStage());
        this.module = module;
        RegisterComponents();
    }

    /// <summary>The module that is evaluated again.</summary>
    public nn.Module<Tensor, Tensor> Module => module;

    /// <summary>How it is evaluated and differentiated. May be changed between steps.</summary>
    /// <exception cref="ArgumentException">An invalid option; the old ones are kept.</exception>
    public RecomputedOptions Options
    {
        get => RecomputedOptions.Of(engine.Options);
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            engine.Options = value.ToStage();
        }
    }

    /// <summary>How the module is evaluated: <see cref="StageExecution.Layers"/> or <see cref="StageExecution.Callback"/>.</summary>
    public StageExecution Execution => engine.Execution;

    /// <summary>Why it is evaluated that way.</summary>
    public string ExecutionReason => engine.ExecutionReason;

    /// <summary>What plans of memory ask, and set options of.</summary>
    internal StageEngine Engine => engine;

    /// <inheritdoc/>
    bool IRankedStage.CanSynchronize => engine.CanSynchronize;

    /// <inheritdoc/>
    bool IRankedStage.AddsInPlace => engine.AddsInPlace;

    /// <summary>
    /// Runs of consecutive layers of equal length, all but the last one recomputed, as PyTorch's <c>checkpoint_sequential</c>.
    /// </summary>
    /// <remarks>
    /// Memory of a training step: the inputs of the runs, and what the layers of one run keep; with √n runs of n equal layers 2√n
    /// activations instead of n. The last run is not evaluated again: its gradient is due when its output has just been computed.
    /// Cost: one more evaluation of the layers of all other runs.
    /// </remarks>
    /// <param name="layers">Layers, in the order in which they run; each gets what the one before gives.</param>
    /// <param name="segments">
    /// The number of runs, from 1 (nothing is recomputed) to that of the layers; the last takes what is left over.
    /// </param>
    /// <param name="options">How the recomputed runs are evaluated and differentiated.</param>
    /// <returns>
    /// A sequence of the runs, named <c>0</c>, <c>1</c>, …; each is a <see cref="Recomputed"/> of a sequence of its layers, the last one
    /// that sequence itself.
    /// </returns>
    /// <exception cref="ArgumentNullException">No list of layers.</exception>
    /// <exception cref="ArgumentException">No layer, one that is null, a number of runs out of range, or an invalid option.</exception>
    public static Sequential Sequential(
        IEnumerable<nn.Module<Tensor, Tensor>> layers, int segments, RecomputedOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(layers);
        nn.Module<Tensor, Tensor>[] all = [.. layers];
        if (all.Length == 0)
        {
            throw new ArgumentException("a sequence needs at least one layer", nameof(layers));
        }

        if (Array.IndexOf(all, null) is >= 0 and var missing)
        {
            throw new ArgumentException($"layer {missing} is null", nameof(layers));
        }

        if (segments < 1 || segments > all.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(segments), segments, $"expected 1 to {all.Length}, the number of layers");
        }

        var (length, last) = (all.Length / segments, segments - 1);
        var runs = Enumerable.Range(0, last)
            .Select(i => (nn.Module<Tensor, Tensor>)new Recomputed(nn.Sequential(all[(i * length)..((i + 1) * length)]), options))
            .Append(nn.Sequential(all[(last * length)..]));
        return nn.Sequential([.. runs]);
    }

    /// <summary>Runs the module.</summary>
    /// <param name="input">
    /// What the module takes, of any dtype. Its gradient is computed where it requires one; a module that writes to its input gets a copy.
    /// </param>
    /// <returns>What the module gives, as a tensor of its own; the caller owns it.</returns>
    /// <exception cref="ArgumentNullException">No input.</exception>
    /// <exception cref="ObjectDisposedException">The module is disposed.</exception>
    /// <exception cref="ResNetNodesException">The input does not fit native layers, or the module returns no tensor.</exception>
    // Random numbers of its own are for those who evaluate again: where no way back follows, the module draws as it would without this one.
    public override Tensor forward(Tensor input) => engine.Run(input, [], training: false);

    /// <inheritdoc/>
    void IRankedStage.Synchronize(NativeCommunicator? ranks) => engine.Synchronize(ranks);

    /// <inheritdoc/>
    void IRankedStage.Tell(IGradientListener? listener) => engine.Tell(listener);

    /// <summary>Names the module, whether it is stored, and execution.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => engine.ToString();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            engine.Dispose();
        }

        base.Dispose(disposing);
    }
}
