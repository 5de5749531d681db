namespace ResNetNodes.Distributed;

/// <summary>When gradients began to travel in a step.</summary>
/// <param name="Bytes">Those of the bucket: of the gradients that are summed up together.</param>
/// <param name="Time">Since <see cref="DataParallel.ExpectBackward"/>; where that was not called, since the first bucket.</param>
public readonly record struct BucketStart(long Bytes, TimeSpan Time);
