using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// Who is told of gradients that stages add to <c>.grad</c> themselves. A parameter that stands twice in a list counts twice. May be told
/// from any thread.
/// </summary>
internal interface IGradientListener
{
    /// <summary>A call whose way back adds to these has been recorded.</summary>
    void Expect(IReadOnlyList<Tensor> parameters);

    /// <summary>Its way back begins to add.</summary>
    /// <exception cref="ResNetNodesException">It must not any more.</exception>
    void Begin(IReadOnlyList<Tensor> parameters);

    /// <summary>One of them has all that the call adds to it; where it has no <c>.grad</c> yet, it gets one later.</summary>
    void Ready(Tensor parameter);

    /// <summary>The call is over; of one of them it has told nothing.</summary>
    void Leave(Tensor parameter);
}
