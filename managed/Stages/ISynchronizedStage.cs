using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>A stage whose batch normalizations may take the statistics of all ranks.</summary>
internal interface ISynchronizedStage
{
    /// <summary>Whether <see cref="Synchronize"/> takes it: its functions run as native layers, and not as CUDA graphs.</summary>
    bool CanSynchronize { get; }

    /// <summary>
    /// From the next forward pass on, training batch normalizations take the statistics of all ranks' batches together; null, or a
    /// communicator of one rank: of this process's again. All ranks make the same passes in the same order.
    /// </summary>
    /// <param name="ranks">It is not owned, and outlives the passes: later ones are refused.</param>
    /// <exception cref="ResNetNodesException">It can't be synchronized.</exception>
    void Synchronize(NativeCommunicator? ranks);

    /// <summary>The stages of a network, by name; the network itself has none.</summary>
    static IEnumerable<(string Name, ISynchronizedStage Stage)> Of(nn.Module model)
    {
        var modules = model is INetworkOfParts network
            ? network.StageParts().Select(part => (part.Name, (nn.Module)part.Module))
            : model.named_modules().Prepend((string.Empty, model));
        return modules.Where(m => m.Item2 is ISynchronizedStage).Select(m => (m.Item1, (ISynchronizedStage)m.Item2));
    }
}

/// <summary>A network that runs in parts, some of which are no modules of its own.</summary>
internal interface INetworkOfParts
{
    /// <summary>
    /// Its parts in order; from now on all that hold batch normalizations are stages, those too that were plain modules: they store what
    /// their way back reads.
    /// </summary>
    IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> StageParts();
}
