using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Distributed;

/// <summary>
/// A network that several ranks train together, each with its own images: all have the same weights, and after a backward pass
/// <see cref="AverageGradients"/> gives all the same gradient. A <see cref="ResNetNodes.Training.Trainer"/> that is given one does all
/// that by itself.
/// </summary>
/// <remarks>
/// Every rank makes the network, and calls the methods in the same order. As in PyTorch, names of parameters begin with the name of the
/// wrapped module; save <see cref="Module"/> where they should not. Disposing it disposes the network.
/// </remarks>
public sealed class DataParallel : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> module;
    private readonly Dictionary<string, Tensor> tensors = [];
    private RunningBuffers running;

    /// <summary>Wraps a network; all ranks get the parameters and buffers of rank 0.</summary>
    /// <param name="module">The network, with the same parameters on every rank; those that require a gradient now are trained.</param>
    /// <param name="ranks">The ranks; they stay the caller's to dispose.</param>
    /// <param name="synchronizeNorms">
    /// Whether batch normalizations in training take the statistics of all ranks' images, as one process with the whole batch does, or
    /// those of each rank's own. For networks whose normalizations are in stages of native layers: <see cref="ResidualStage"/>,
    /// <see cref="Recomputed"/>, and the networks of this library.
    /// </param>
    /// <exception cref="ResNetNodesException">
    /// Another rank has another network; parameters are of another type than float32 and float64, or not on the CPU; or a batch
    /// normalization can't be synchronized.
    /// </exception>
    public DataParallel(nn.Module<Tensor, Tensor> module, Communicator ranks, bool synchronizeNorms = false)
        : base(nameof(DataParallel))
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(ranks);
        (this.module, Ranks) = (module, ranks);
        RegisterComponents();
        var parameters = module.named_parameters().DistinctBy(p => p.parameter.Handle).ToList();
        foreach (var (name, parameter) in parameters)
        {
            tensors.Add(name, parameter);
            if (parameter.dtype is not (ScalarType.Float32 or ScalarType.Float64) || parameter.device_type != DeviceType.CPU)
            {
                throw new ResNetNodesException(
                    $"{name} is {parameter.dtype} on {parameter.device}; ranks train parameters of float32 or float64 on the CPU");
            }
        }

        foreach (var (name, buffer) in module.named_buffers().DistinctBy(b => b.buffer.Handle))
        {
            tensors.Add(name, buffer);
        }

        ranks.RequireSame([.. tensors.Select(t =>
            $"{t.Key} of {t.Value.dtype} [{string.Join(", ", t.Value.shape)}]{(t.Value.requires_grad ? string.Empty : ", not trained")}")]);
        SynchronizesNorms = synchronizeNorms;
        if (synchronizeNorms)
        {
            SynchronizeNorms();
        }

        // Sums of normalizations have their turn among the others, at the same moment on all ranks; buckets would start at any.
        var telling = synchronizeNorms ? [] : IRankedStage.Of(module).Select(s => s.Stage).ToList();
        var told = telling.Where(stage => stage.AddsInPlace).SelectMany(stage => ((nn.Module)stage).parameters())
            .Select(TensorIdentity.Of).ToHashSet();
        Gradients = new(
            [.. parameters.Where(p => p.parameter.requires_grad)], parameter => told.Contains(TensorIdentity.Of(parameter)), ranks);
        telling.ForEach(stage => stage.Tell(Gradients));
        running = Broadcast();
    }

    /// <summary>The network.</summary>
    public nn.Module<Tensor, Tensor> Module => module;

    /// <summary>The ranks that train it.</summary>
    public Communicator Ranks { get; }

    /// <summary>
    /// Whether gradients begin to travel during the backward pass that <see cref="ExpectBackward"/> announces, as stages with
    /// <see cref="StageOptions.AccumulateGradientsInPlace"/> find them, or all after it. The sums are the same. Without effect where
    /// batch normalizations are synchronized. The same on all ranks.
    /// </summary>
    public bool Overlap { get; set; } = true;

    /// <summary>Gradients of the last step, as they began to travel.</summary>
    public IReadOnlyList<BucketStart> BucketStarts => Gradients.Starts;

    /// <summary>Whether batch normalizations take the statistics of all ranks' images.</summary>
    internal bool SynchronizesNorms { get; }

    /// <summary>The gradients, as they travel.</summary>
    internal GradientBuckets Gradients { get; }

    /// <summary>Running statistics and other buffers.</summary>
    internal RunningBuffers Buffers => running;

    /// <inheritdoc/>
    public override Tensor forward(Tensor input) => module.call(input);

    /// <summary>Gives all ranks the parameters and buffers of rank 0: after they were loaded there.</summary>
    public void Synchronize()
    {
        running.Dispose();
        running = Broadcast();
    }

    /// <summary>
    /// Before the backward pass that completes the gradients of a step, the only one or the last of several: where <see cref="Overlap"/> is
    /// set, gradients begin to travel in it. Every rank calls it, or none. <see cref="AverageGradients"/> follows, and takes all ranks'
    /// losses to be means over equally many images; where they are not, scale the losses.
    /// </summary>
    public void ExpectBackward() => Gradients.ExpectBackward(Overlap && !SynchronizesNorms);

    /// <summary>
    /// After each rank's backward pass: the gradient of the mean loss of all ranks' images, on all. A parameter that has a gradient on no
    /// rank keeps none.
    /// </summary>
    /// <param name="images">Images of this rank's loss, which is a mean over them; the same number everywhere where it is left out.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// No image; or another number than 1, where <see cref="ExpectBackward"/> has let gradients travel already.
    /// </exception>
    /// <exception cref="ResNetNodesException">Something has been added to a gradient after it began to travel.</exception>
    public void AverageGradients(long images = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(images, 1);
        if (Gradients.IsEarly)
        {
            if (images > 1)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(images), images, "expected 1: gradients travel since ExpectBackward; scale the loss by the images instead");
            }

            Gradients.Start();
        }

        var counts = Ranks.Gather([images, .. Gradients.Present()]);
        var present = new double[Gradients.Count];
        foreach (var of in counts)
        {
            for (var i = 0; i < present.Length; i++)
            {
                present[i] += of[i + 1];
            }
        }

        if (!Gradients.IsEarly)
        {
            Scale(images / counts[0][0]);
            Gradients.Start();
        }

        Gradients.Finish(present);
        Scale(counts[0][0] / counts.Sum(of => of[0]));
    }

    /// <summary>
    /// After a step: running statistics, and other buffers of floating-point numbers, become the mean over the ranks of what each has made
    /// of them.
    /// </summary>
    public void AverageBuffers()
    {
        running.Start(Ranks);
        running.Finish(Ranks.Size);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Gradients.Dispose();
            running.Dispose();
        }

        base.Dispose(disposing);
    }

    private void SynchronizeNorms()
    {
        (module as INetworkOfParts)?.MakeStages();
        var stages = IRankedStage.Of(module).ToList();
        if (stages.FirstOrDefault(s => !s.Stage.CanSynchronize) is { Stage: not null } called)
        {
            throw new ResNetNodesException(
                $"{called.Name} calls its modules, or records graphs; batch normalizations are synchronized in native layers alone");
        }

        var within = stages.SelectMany(s => ((nn.Module)s.Stage).modules()).ToHashSet();
        if (module.named_modules().FirstOrDefault(m => m.module is BatchNorm && !within.Contains(m.module)) is { module: not null } left)
        {
            throw new ResNetNodesException(
                $"{left.name} is in no stage, and so takes the statistics of its own rank; wrap what it is in by Recomputed");
        }

        stages.ForEach(s => s.Stage.Synchronize(Ranks.Native));
    }

    private RunningBuffers Broadcast()
    {
        using var guard = no_grad();
        foreach (var tensor in tensors.Values)
        {
            using var scope = NewDisposeScope();
            var contiguous = tensor.detach().contiguous();
            Ranks.Broadcast(contiguous);
            if (Ranks.Rank > 0)
            {
                tensor.copy_(contiguous);
            }
        }

        return new(module.buffers().DistinctBy(buffer => buffer.Handle));
    }

    private void Scale(double factor)
    {
        if (factor == 1)
        {
            return;
        }

        using var guard = no_grad();
        using Scalar scale = factor;
        foreach (var parameter in module.parameters().DistinctBy(parameter => parameter.Handle))
        {
            using var gradient = parameter.grad;
            gradient?.mul_(scale);
        }
    }
}
