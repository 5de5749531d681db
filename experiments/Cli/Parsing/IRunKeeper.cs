namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>What keeps the parts of a run that are done.</summary>
internal interface IRunKeeper : IDisposable
{
    /// <summary>The run's folder, for --out.</summary>
    string Path { get; }

    /// <summary>Ends a run that failed; where nothing was done, nothing is left.</summary>
    /// <returns>Whether there is something to continue.</returns>
    bool Abandon();
}
