namespace ResNetNodes;

/// <summary>What the residual functions of a stage are evaluated in.</summary>
public enum ComputeType
{
    /// <summary>The dtype of the state.</summary>
    SameAsState,

    /// <summary>
    /// Mixed precision: bfloat16 inside of the functions. States, parameters (the master weights), batch normalization's
    /// statistics and gradients stay float32: a state of bfloat16 could not be reconstructed.
    /// </summary>
    BFloat16,
}
