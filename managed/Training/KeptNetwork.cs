using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// A copy of what training changes in a network: parameters, buffers, what stages have learned, and modules' modes. All comes back, bit
/// for bit, when it is disposed.
/// </summary>
internal sealed class KeptNetwork : IDisposable
{
    private readonly List<(Tensor Tensor, Tensor Copy)> tensors = [];
    private readonly List<(ILearningStage Stage, IReadOnlyList<double> Learned)> stages;
    private readonly List<(nn.Module Module, bool IsTraining)> modes;

    /// <param name="model">The network, on its device.</param>
    public KeptNetwork(nn.Module model)
    {
        using var guard = no_grad();
        foreach (var tensor in model.parameters().Cast<Tensor>().Concat(model.buffers()).DistinctBy(tensor => tensor.Handle))
        {
            tensors.Add((tensor, tensor.detach().clone().DetachFromDisposeScope()));
        }

        stages = [.. ILearningStage.Of(model).Select(s => (s.Stage, s.Stage.Learned))];
        // A module's mode is set with those below it: they come after it.
        modes = [.. model.named_modules().Select(m => m.module).Prepend(model).Select(module => (module, module.training))];
    }

    public void Dispose()
    {
        using var guard = no_grad();
        foreach (var (tensor, copy) in tensors)
        {
            tensor.copy_(copy);
            copy.Dispose();
        }

        stages.ForEach(kept => kept.Stage.Learned = kept.Learned);
        modes.ForEach(kept => kept.Module.train(kept.IsTraining));
    }
}
