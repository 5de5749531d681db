using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>A training run between two epochs, in one file that is written completely or not at all.</summary>
public static class Checkpoint
{
    // Part of the format: what the class of the trainer's optimizer was called in its first files.
    private const string NameInFiles = "MomentumDescent";

    // A loss or an error may be infinite.
    private static readonly JsonSerializerOptions Numbers = new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private static readonly byte[] Magic = "ResNetNodes checkpoint 1\n"u8.ToArray();

    /// <summary>Writes a checkpoint: temporary file, flush to the disk, rename.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The network whose parameters and buffers are written.</param>
    /// <param name="optimizer">The optimizer whose state is written; null for a network alone.</param>
    /// <param name="history">The finished epochs.</param>
    /// <exception cref="ResNetNodesException">The file can't be written.</exception>
    public static void Save(string path, nn.Module model, OptimizerHelper? optimizer, IReadOnlyList<EpochMetrics> history)
    {
        ArgumentNullException.ThrowIfNull(model);
        using var memory = new MemoryStream();
        memory.Write(Magic);
        Block(memory, stream => JsonSerializer.Serialize(stream, history, Numbers));
        Block(memory, stream => model.save(stream));
        Block(memory, stream => stream.Write(optimizer is null ? [] : StateOf(optimizer)));
        Block(memory, stream => stream.Write(RandomNumbers.TorchState()));
        Block(memory, stream => JsonSerializer.Serialize(stream, Learning(model).ToDictionary(s => s.Name, s => s.Stage.Learned)));
        memory.Write(SHA256.HashData(memory.GetBuffer().AsSpan(0, (int)memory.Length)));
        AtomicFile.Write(path, memory.ToArray());
    }

    /// <summary>Reads a checkpoint into a network and an optimizer built like the saved ones.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">Receives parameters and buffers.</param>
    /// <param name="optimizer">Receives its state; null to read the network alone.</param>
    /// <returns>The finished epochs.</returns>
    /// <exception cref="ResNetNodesException">The file is missing or damaged, is not a checkpoint, or belongs to another network.</exception>
    public static IReadOnlyList<EpochMetrics> Load(string path, nn.Module model, OptimizerHelper? optimizer)
    {
        ArgumentNullException.ThrowIfNull(model);
        var data = Read(path);
        using var memory = new MemoryStream(data, Magic.Length, data.Length - Magic.Length - SHA256.HashSizeInBytes, writable: false);
        var history = JsonSerializer.Deserialize<List<EpochMetrics>>(Block(memory), Numbers)!;
        try
        {
            using var weights = new MemoryStream(Block(memory));
            model.load(weights);
            var state = Block(memory);
            if (optimizer is not null && state.Length > 0)
            {
                using var reader = new BinaryReader(new MemoryStream(Renamed(state, NameInFiles, nameof(MomentumSgd))));
                optimizer.load_state_dict(reader);
            }
        }
        catch (Exception exception) when (exception is ArgumentException or FormatException or InvalidOperationException or EndOfStreamException)
        {
            throw new ResNetNodesException($"{path}: belongs to another network ({FirstLine(exception.Message)}); use the options that it was trained with", exception);
        }

        if (optimizer is not null)
        {
            RandomNumbers.RestoreTorch(Block(memory));
            // Earlier files end here: their stages learn anew.
            if (memory.Position < memory.Length)
            {
                RestoreLearned(path, model, JsonSerializer.Deserialize<Dictionary<string, double[]>>(Block(memory))!);
            }
        }

        return history;
    }

    private static IEnumerable<(string Name, ILearningStage Stage)> Learning(nn.Module model) =>
        model.named_modules().Where(m => m.module is ILearningStage).Select(m => (m.name, (ILearningStage)m.module));

    private static void RestoreLearned(string path, nn.Module model, Dictionary<string, double[]> learned)
    {
        foreach (var (name, stage) in Learning(model))
        {
            // A stage that learned nothing, or learns nothing now, has another reconstruction: it begins anew.
            if (!learned.TryGetValue(name, out var numbers) || numbers.Length == 0)
            {
                continue;
            }

            try
            {
                stage.Learned = numbers;
            }
            catch (ResNetNodesException exception)
            {
                throw new ResNetNodesException($"{path}: belongs to another network ({name}: {exception.Message}); use the options that it was trained with", exception);
            }
        }
    }

    private static byte[] StateOf(OptimizerHelper optimizer)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        optimizer.save_state_dict(writer);
        writer.Flush();
        return Renamed(stream.ToArray(), nameof(MomentumSgd), NameInFiles);
    }

    // An optimizer's state begins with the name of its class.
    private static byte[] Renamed(byte[] state, string from, string to)
    {
        using var source = new MemoryStream(state);
        using var reader = new BinaryReader(source);
        if (reader.ReadString() != from)
        {
            return state;
        }

        using var renamed = new MemoryStream();
        using var writer = new BinaryWriter(renamed);
        writer.Write(to);
        writer.Write(state.AsSpan((int)source.Position));
        writer.Flush();
        return renamed.ToArray();
    }

    private static byte[] Read(string path)
    {
        byte[] data;
        try
        {
            data = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be read: {FirstLine(exception.Message)}", exception);
        }

        if (!data.AsSpan().StartsWith(Magic))
        {
            throw new ResNetNodesException($"{path}: is not a checkpoint of this program");
        }

        var body = data.Length - SHA256.HashSizeInBytes;
        if (body < Magic.Length || !SHA256.HashData(data.AsSpan(0, body)).AsSpan().SequenceEqual(data.AsSpan(body)))
        {
            throw new ResNetNodesException($"{path}: is damaged (its checksum is wrong); use an earlier one, or start the run again");
        }

        return data;
    }

    private static void Block(MemoryStream target, Action<Stream> write)
    {
        using var block = new MemoryStream();
        write(block);
        // TorchSharp closes the stream that it saves to; its content can still be had.
        var content = block.ToArray();
        target.Write(BitConverter.GetBytes(content.LongLength));
        target.Write(content);
    }

    private static byte[] Block(MemoryStream source)
    {
        Span<byte> length = stackalloc byte[sizeof(long)];
        source.ReadExactly(length);
        var block = new byte[BitConverter.ToInt64(length)];
        source.ReadExactly(block);
        return block;
    }

    private static string FirstLine(string text) => text.Split('\n')[0].TrimEnd('.', '\r');
}
