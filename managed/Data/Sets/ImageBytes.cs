namespace ResNetNodes.Data;

/// <summary>One decoded image.</summary>
/// <param name="Values">Channels × Height × Width bytes, row-major.</param>
/// <param name="Channels">1 (grey) or 3 (red, green, blue).</param>
/// <param name="Height">Rows.</param>
/// <param name="Width">Columns.</param>
public readonly record struct ImageBytes(ReadOnlyMemory<byte> Values, int Channels, int Height, int Width);
