using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>A file of PyTorch's <c>torch.save</c>: a pickle that tells of tensors, and the storages that they are views of.</summary>
internal abstract class PickledWeights(string path) : WeightsReader(path)
{
    /// <summary>The longest pickle that makes sense: a thousand times that of a network of 1,000 functions.</summary>
    protected const long MostPickle = 1 << 28;

    private readonly Dictionary<string, PickledStorage> storages = [];
    private IReadOnlyList<StoredTensor> tensors = [];

    public override IReadOnlyList<StoredTensor> Tensors => tensors;

    public override void Read(StoredTensor stored, Tensor target)
    {
        var view = ((Entry)stored).View;
        if (view.Storage.Count == target.NumberOfElements && IsRowMajor(view))
        {
            ReadStorage(view.Storage, target);
            return;
        }

        using var scope = NewDisposeScope();
        using var guard = no_grad();
        var storage = empty(view.Storage.Count, view.Storage.Type);
        ReadStorage(view.Storage, storage);
        target.detach().copy_(storage.as_strided(view.Size, view.Stride, view.Offset));
    }

    /// <summary>The storages that pickles of the file have told of so far.</summary>
    protected IReadOnlyDictionary<string, PickledStorage> Storages => storages;

    /// <summary>Reads one pickle of the file.</summary>
    /// <exception cref="ResNetNodesException">It is none of tensors, or names what might run anything.</exception>
    protected object? Unpickled(Stream stream)
    {
        try
        {
            return Unpickler.Read(stream, Storage);
        }
        catch (ForbiddenPickleException exception)
        {
            throw new ResNetNodesException(
                $"{Path}: asks for {OneLine.Of(exception.Global.ToString(), 100)}, which is no part of a tensor and could run anything; "
                + "nothing was run. Only tensors by name are read: torch.save(model.state_dict(), ...)",
                exception);
        }
        catch (FormatException exception)
        {
            throw Damaged(exception.Message, exception);
        }
    }

    /// <summary>Takes the tensors of what was saved, after the lengths of storages are known.</summary>
    /// <param name="root">What the pickle holds.</param>
    protected void Take(object? root)
    {
        var named = Named(root as Dictionary<object, object?> ?? throw NoNames("one value"));
        var list = new List<StoredTensor>();
        foreach (var (key, value) in named)
        {
            var name = key as string ?? throw NoNames($"the key {key}");
            var entry = new Entry(name, (PickledTensor)value!);
            list.Add(Fits(entry.View) ? entry : throw Damaged($"{name}, {entry.Text}, does not fit into its storage"));
        }

        tensors = list;
    }

    /// <summary>How many bytes a storage has in the file; -1 where it is not there.</summary>
    protected abstract long StorageBytes(PickledStorage storage);

    public override void Check(StoredTensor stored) => CheckStorage(((Entry)stored).View.Storage);

    /// <summary>Makes sure that a storage's bytes can be read.</summary>
    protected virtual void CheckStorage(PickledStorage storage)
    {
    }

    /// <summary>Overwrites a tensor of a storage's type and length.</summary>
    protected abstract void ReadStorage(PickledStorage storage, Tensor target);

    private static bool IsRowMajor(PickledTensor view)
    {
        var step = 1L;
        for (var d = view.Size.Length - 1; d >= 0; d--)
        {
            if (view.Size[d] != 1 && view.Stride[d] != step)
            {
                return false;
            }

            step *= view.Size[d];
        }

        return view.Offset == 0;
    }

    private PickledStorage Storage(object?[] told)
    {
        var storage = told is ["storage", Global { Module: "torch" } type, string key, string, long count, ..]
            && Pickle.Storages.TryGetValue(type.Name, out var numbers) && count >= 0
            && (told.Length == 5 || told is [_, _, _, _, _, null])
            ? new PickledStorage(numbers, key, count)
            : throw new FormatException("its pickle tells of a storage that is none");
        return storages.TryAdd(storage.Key, storage) || storages[storage.Key] == storage
            ? storage
            : throw new FormatException($"its pickle tells of storage {storage.Key} in two ways");
    }

    // The state_dict itself, or the one of a training checkpoint.
    private Dictionary<object, object?> Named(Dictionary<object, object?> root)
    {
        if (root.Values.Any(value => value is PickledTensor))
        {
            return root.FirstOrDefault(pair => pair.Value is not PickledTensor).Key is { } odd ? throw NoNames($"{odd}, no tensor,") : root;
        }

        var parts = root.Values.OfType<Dictionary<object, object?>>()
            .Where(part => part.Count > 0 && part.Values.All(value => value is PickledTensor)).ToList();
        return parts.Count switch
        {
            1 => parts[0],
            0 when root.Count == 0 => root,
            _ => throw NoNames($"{(parts.Count == 0 ? "no" : "more than one")} dictionary of tensors among {Listed(root.Keys)}"),
        };
    }

    private static string Listed(IEnumerable<object> keys) => OneLine.Of(string.Join(", ", keys.Take(5)), 100);

    private ResNetNodesException NoNames(string what) =>
        new($"{Path}: holds {OneLine.Of(what, 150)} where tensors by name are expected; save them alone: "
            + "torch.save(model.state_dict(), ...)");

    // All of it inside of its storage, and that inside of the file.
    private bool Fits(PickledTensor view)
    {
        try
        {
            var last = checked(view.Offset + view.Size.Zip(view.Stride, (size, stride) => checked((size - 1) * stride)).Sum());
            var isEmpty = view.Size.Contains(0);
            return view.Offset >= 0 && view.Size.All(size => size >= 0) && view.Stride.All(stride => stride >= 0)
                && TensorBytes.Count(view.Storage.Type, view.Size) >= 0 && (isEmpty || last < view.Storage.Count)
                && StorageBytes(view.Storage) == TensorBytes.Count(view.Storage.Type, [view.Storage.Count]);
        }
        catch (OverflowException)
        {
            return false;
        }
    }

    private sealed record Entry(string Name, PickledTensor View) : StoredTensor(Name, View.Storage.Type, View.Size);
}
