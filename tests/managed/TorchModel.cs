using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>
/// The network of docs/tutorials/move-a-pytorch-model.md as PyTorch has it: tensors by PyTorch's names, its forward pass written out, and
/// the file that <c>safetensors.torch.save_file(net.state_dict(), …)</c> writes.
/// </summary>
internal sealed class TorchModel
{
    private readonly SortedDictionary<string, Tensor> tensors = new(StringComparer.Ordinal);
    private readonly int blocks;

    /// <summary>Random weights and statistics.</summary>
    public TorchModel(int blocks, int channels)
    {
        this.blocks = blocks;
        var generator = new Generator(5);
        Tensor Draw(double size, params long[] shape) => randn(shape, generator: generator) * size;
        (tensors["stem.weight"], tensors["stem.bias"]) = (Draw(0.3, channels, 3, 3, 3), Draw(0.1, channels));
        (tensors["head.weight"], tensors["head.bias"]) = (Draw(0.3, 10, channels), Draw(0.1, 10));
        for (var n = 0; n < blocks; n++)
        {
            for (var i = 1; i <= 2; i++)
            {
                tensors[$"blocks.{n}.conv{i}.weight"] = Draw(0.08, channels, channels, 3, 3);
                tensors[$"blocks.{n}.bn{i}.weight"] = (i == 1 ? 1 : 0.2) + Draw(0.02, channels);
                tensors[$"blocks.{n}.bn{i}.bias"] = Draw(0.02, channels);
                tensors[$"blocks.{n}.bn{i}.running_mean"] = Draw(0.1, channels);
                tensors[$"blocks.{n}.bn{i}.running_var"] = 1 + Draw(0.1, channels).abs();
                tensors[$"blocks.{n}.bn{i}.num_batches_tracked"] = tensor(7L);
            }
        }
    }

    /// <summary>What the model gives in evaluation mode.</summary>
    public Tensor Scores(Tensor x)
    {
        x = nn.functional.conv2d(x, tensors["stem.weight"], tensors["stem.bias"], padding: [1, 1]);
        for (var n = 0; n < blocks; n++)
        {
            x = x + Normalized(n, 2, Convolved(n, 2, Normalized(n, 1, Convolved(n, 1, x)).relu()));
        }

        return nn.functional.linear(x.mean([2, 3]), tensors["head.weight"], tensors["head.bias"]);
    }

    /// <summary>Eight bytes of the header's length, the header as JSON, and the values behind it.</summary>
    public byte[] Safetensors()
    {
        var (header, values) = (new Dictionary<string, object>(), new MemoryStream());
        foreach (var (name, value) in tensors)
        {
            var begin = values.Length;
            values.Write(value.contiguous().bytes);
            var type = value.dtype == ScalarType.Int64 ? "I64" : "F32";
            header[name] = new { dtype = type, shape = value.shape, data_offsets = new[] { begin, values.Length } };
        }

        var text = JsonSerializer.SerializeToUtf8Bytes(header);
        return [.. BitConverter.GetBytes((long)text.Length), .. text, .. values.ToArray()];
    }

    /// <summary>Name, type and shape of each tensor of a file, in order of their names.</summary>
    public static IReadOnlyList<string> EntriesOf(byte[] file)
    {
        using var header = JsonDocument.Parse(file.AsMemory(8, (int)BitConverter.ToInt64(file)));
        return
        [
            .. header.RootElement.EnumerateObject().Where(entry => entry.Name != "__metadata__")
                .Select(entry => $"{entry.Name} {entry.Value.GetProperty("dtype")} {entry.Value.GetProperty("shape")}")
                .Order(StringComparer.Ordinal),
        ];
    }

    private Tensor Convolved(int n, int i, Tensor x) => nn.functional.conv2d(x, tensors[$"blocks.{n}.conv{i}.weight"], padding: [1, 1]);

    // In evaluation mode, as it is defined; eps is PyTorch's 1e-5.
    private Tensor Normalized(int n, int i, Tensor x)
    {
        Tensor Of(string part) => tensors[$"blocks.{n}.bn{i}.{part}"].reshape(1, -1, 1, 1);
        return ((x - Of("running_mean")) / (Of("running_var") + 1e-5).sqrt() * Of("weight")) + Of("bias");
    }
}
