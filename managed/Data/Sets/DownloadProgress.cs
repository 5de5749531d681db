namespace ResNetNodes.Data;

/// <summary>The progress of a download.</summary>
/// <param name="Bytes">Bytes on disk, including those of earlier attempts.</param>
/// <param name="Total">Total bytes, if the server says so.</param>
internal readonly record struct DownloadProgress(long Bytes, long? Total);
