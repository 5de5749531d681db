namespace ResNetNodes.Training;

/// <summary>The loss of a training step is not a finite number; the network is left as before the step.</summary>
public sealed class DivergedException : ResNetNodesException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">One line: the loss, and what to do.</param>
    public DivergedException(string message)
        : base(message)
    {
    }
}
