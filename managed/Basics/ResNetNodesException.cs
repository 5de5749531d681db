namespace ResNetNodes;

/// <summary>A failure that the caller can act on. The message is one line: the culprit, what it was, what to do.</summary>
public class ResNetNodesException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">One line: the culprit, its value, what to do.</param>
    /// <param name="innerException">What caused it, if that helps.</param>
    public ResNetNodesException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
