namespace ResNetNodes;

/// <summary>The number type in which a stage evaluates its residual functions.</summary>
public enum ComputeType
{
    /// <summary>The dtype of the state.</summary>
    SameAsState,

    /// <summary>
    /// Mixed precision: bfloat16 inside the functions. States, parameters (the master weights), batch normalization's
    /// statistics and gradients stay float32: a state in bfloat16 could not be reconstructed. Products are added up in float32.
    /// In a <c>ResNet</c> stem, first blocks and head go by it too.
    /// </summary>
    BFloat16,
}
