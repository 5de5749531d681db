namespace ResNetNodes;

/// <summary>How the residual functions of a stage are evaluated.</summary>
public enum StageExecution
{
    /// <summary>As native layers if all modules are known ones, by callback otherwise.</summary>
    Auto,

    /// <summary>As native layers: nothing is left to autograd. Building the stage fails if a module is not a known one.</summary>
    Layers,

    /// <summary>
    /// By calling each module, with autograd inside each function: works for any module, and takes more memory for one tape.
    /// </summary>
    Callback,
}
