namespace ResNetNodes;

/// <summary>Where the state came from at which a step's gradient was taken.</summary>
public enum StateSource
{
    /// <summary>Reconstructed from the state after the step.</summary>
    Found,

    /// <summary>Stored by the forward pass.</summary>
    Kept,

    /// <summary>Computed again from a stored state before the step.</summary>
    Replayed,
}
