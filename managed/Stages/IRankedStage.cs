using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>A stage that several ranks train together.</summary>
internal interface IRankedStage
{
    /// <summary>Whether <see cref="Synchronize"/> takes it: its functions run as native layers, and not as CUDA graphs.</summary>
    bool CanSynchronize { get; }

    /// <summary>Whether its ways back add to <c>.grad</c> themselves: native layers that are asked to.</summary>
    bool AddsInPlace { get; }

    /// <summary>
    /// From the next forward pass on, training batch normalizations take the statistics of all ranks' batches together; null, or a
    /// communicator of one rank: of this process's again. All ranks make the same passes in the same order.
    /// </summary>
    /// <param name="ranks">It is not owned, and outlives the passes: later ones are refused.</param>
    /// <exception cref="ResNetNodesException">It can't be synchronized.</exception>
    void Synchronize(NativeCommunicator? ranks);

    /// <summary>From the next forward pass on, this one is told of gradients that ways back add to in place; null: nobody is.</summary>
    void Tell(IGradientListener? listener);

    /// <summary>The stages of a network, by name; the network itself has none.</summary>
    static IEnumerable<(string Name, IRankedStage Stage)> Of(nn.Module model) =>
        model.named_modules().Prepend((string.Empty, model))
            .Concat((model as INetworkOfParts)?.Parts.Select(part => (part.Name, (nn.Module)part.Module)) ?? [])
            .Where(m => m.Item2 is IRankedStage).DistinctBy(m => m.Item2).Select(m => (m.Item1, (IRankedStage)m.Item2));
}

/// <summary>A network that may run in parts, some of which are no modules of its own.</summary>
internal interface INetworkOfParts
{
    /// <summary>Its parts in order; none where it runs in one.</summary>
    IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> Parts { get; }

    /// <summary>
    /// From now on all parts that hold batch normalizations are stages, those too that were plain modules: they store what their way back
    /// reads.
    /// </summary>
    void MakeStages();
}
