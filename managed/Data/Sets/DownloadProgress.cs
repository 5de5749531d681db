namespace ResNetNodes.Data;

/// <summary>How far a download is.</summary>
/// <param name="Bytes">Bytes on the disk, those of earlier tries too.</param>
/// <param name="Total">Bytes in all, where the server says so.</param>
internal readonly record struct DownloadProgress(long Bytes, long? Total);
