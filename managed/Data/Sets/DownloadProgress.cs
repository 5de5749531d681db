namespace ResNetNodes.Data;

/// <summary>The progress of a download.</summary>
/// <param name="Bytes">Bytes on disk, including those of earlier attempts.</param>
/// <param name="Total">Bytes of the whole file.</param>
internal readonly record struct DownloadProgress(long Bytes, long Total);
