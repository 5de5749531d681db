namespace ResNetNodes;

/// <summary>How the residual functions of a stage are evaluated.</summary>
public enum StageExecution
{
    /// <summary>As native layers where the modules are known ones, by callback otherwise.</summary>
    Auto,

    /// <summary>As native layers: nothing is left to autograd. Building the stage fails where a module is not known.</summary>
    Layers,

    /// <summary>By calling each module, with autograd inside of one function: any module, more memory for its one tape.</summary>
    Callback,
}
