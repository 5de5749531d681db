using System.Reflection;
using System.Runtime.InteropServices;
using ResNetNodes.Networks;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// A network and its optimizer as a checkpoint sees them: named tensors and numbers. What a file holds is checked against all of them
/// before any of them changes.
/// </summary>
internal sealed class SavedTraining
{
    // Beyond, a float64 holds no whole numbers.
    private const double MostLearned = 1L << 53;

    private readonly Dictionary<string, Tensor> network;
    private readonly OptimizerHelper? optimizer;
    private readonly WeightAverage? average;
    private readonly List<(string Name, ILearningStage Stage)> stages;
    private readonly Dictionary<IntPtr, string> names;

    /// <param name="model">The network.</param>
    /// <param name="optimizer">Its optimizer; null for the network alone.</param>
    /// <param name="average">The average of its weights; null where none is kept.</param>
    public SavedTraining(nn.Module model, OptimizerHelper? optimizer, WeightAverage? average = null)
    {
        (network, this.optimizer, stages) = (model.state_dict(), optimizer, [.. ILearningStage.Of(model)]);
        this.average = average;
        names = model.named_parameters().DistinctBy(p => p.parameter.Handle).ToDictionary(p => p.parameter.Handle, p => p.name);
    }

    /// <summary>Writes all of it.</summary>
    /// <param name="target">Receives it.</param>
    /// <param name="history">The finished epochs.</param>
    /// <param name="begun">The epoch after them, where it was begun.</param>
    /// <param name="facts">What the run depends on.</param>
    /// <param name="description">Which network it is.</param>
    public void Write(
        Stream target, IReadOnlyList<EpochMetrics> history, BegunEpoch? begun, RunFacts? facts, NetworkDescription? description)
    {
        var tensors = network.Select(t => (Role: TensorRole.Network, Name: t.Key, Tensor: t.Value))
            .Concat(States().SelectMany(s => OptimizerFields.Tensors(s.State)
                .Select(t => (Role: TensorRole.Optimizer, Name: $"{s.Name}.{t.Name}", t.Tensor))))
            .Concat(Averages())
            .ToList();
        var learned = stages.ToDictionary(s => s.Name, s => MemoryMarshal.AsBytes([.. s.Stage.Learned]).ToArray());
        var header = new CheckpointHeader(
            history, begun, facts, RandomNumbers.TorchState(), learned, Numbers(),
            [.. tensors.Select(t => SavedTensor.Of(t.Role, t.Name, t.Tensor))],
            description);
        CheckpointFile.Write(target, header, tensors.Select(t => t.Tensor));
    }

    /// <summary>Reads all of a file, or the network alone where there is no optimizer.</summary>
    /// <param name="file">The file.</param>
    /// <exception cref="FormatException">It belongs to another network or optimizer; nothing has changed.</exception>
    /// <exception cref="ResNetNodesException">Its contents can't be; nothing has changed.</exception>
    public void Restore(CheckpointFile file)
    {
        var header = file.Header;
        if (!RandomNumbers.IsTorchState(header.Generator))
        {
            throw file.Damaged("its random numbers are none of LibTorch's");
        }

        var saved = header.Tensors.ToDictionary(t => (t.Role, t.Name));
        CheckNetwork(saved);
        var targets = network.ToDictionary(t => (TensorRole.Network, t.Key), t => t.Value);
        if (optimizer is null)
        {
            file.ReadTensors(header.Tensors.Select(t => targets.GetValueOrDefault((t.Role, t.Name))));
            return;
        }

        var changes = CheckOptimizer(header.Optimizer ?? throw new FormatException("it holds a network alone, and no optimizer"), saved);
        CheckAverages(saved);
        RestoreLearned(header.Learned);
        foreach (var (role, name, tensor) in Averages())
        {
            targets.Add((role, name), tensor);
        }

        foreach (var (name, tensor) in changes.Tensors)
        {
            targets.Add((TensorRole.Optimizer, name), tensor());
        }

        file.ReadTensors(header.Tensors.Select(t => targets[(t.Role, t.Name)]));
        changes.Numbers.ForEach(set => set());
        RandomNumbers.RestoreTorch(header.Generator);
    }

    private IEnumerable<(TensorRole Role, string Name, Tensor Tensor)> Averages() => average is null
        ? []
        : average.Tensors.Select(t => (TensorRole.Average, t.Name, t.Tensor))
            .Append((TensorRole.AverageSteps, nameof(TensorRole.AverageSteps), average.Steps));

    private void CheckAverages(Dictionary<(TensorRole Role, string Name), SavedTensor> saved)
    {
        var own = Averages().ToDictionary(t => (t.Role, t.Name), t => t.Tensor);
        foreach (var (key, tensor) in own)
        {
            Require(
                saved.GetValueOrDefault(key) ?? throw new FormatException($"it has no average of {key.Name}"), tensor.dtype, tensor.shape);
        }

        if (saved.Keys.FirstOrDefault(
            key => key.Role is TensorRole.Average or TensorRole.AverageSteps && !own.ContainsKey(key)) is { Name: { } odd })
        {
            throw new FormatException($"it has an average of {odd}, here there is none");
        }
    }

    private static void Require(SavedTensor saved, ScalarType type, long[] shape)
    {
        if (saved.Type != type || !saved.Shape.SequenceEqual(shape))
        {
            throw new FormatException($"{saved.Name} is {saved.Text}, here {type} [{string.Join(", ", shape)}]");
        }
    }

    // Each parameter's own, in the order of the groups.
    private IEnumerable<(string Name, Parameter Parameter, OptimizerState State, int Group)> States()
    {
        if (optimizer is null)
        {
            return [];
        }

        var parameters = optimizer.ParamGroups.Cast<ParamGroup>()
            .SelectMany((group, g) => group.Parameters.Select(parameter => (parameter, g)));
        return parameters.Zip(optimizer.state_dict().State, (p, state) => (p.parameter, p.g, state))
            .Select((s, i) => (names.GetValueOrDefault(s.parameter.Handle, $"parameter {i}"), s.parameter, s.state, s.g));
    }

    private SavedOptimizer? Numbers()
    {
        if (optimizer is null)
        {
            return null;
        }

        var states = States().ToLookup(s => s.Group, s => new SavedState(s.Name, OptimizerFields.Numbers(s.State)));
        return new(
            optimizer.GetType().Name,
            [.. optimizer.state_dict().Options.Select((o, g) => new SavedGroup(OptimizerFields.Numbers(o), [.. states[g]]))]);
    }

    private void CheckNetwork(Dictionary<(TensorRole Role, string Name), SavedTensor> saved)
    {
        foreach (var (name, tensor) in network)
        {
            Require(
                saved.GetValueOrDefault((TensorRole.Network, name)) ?? throw new FormatException($"it has no {name}"),
                tensor.dtype,
                tensor.shape);
        }

        if (saved.Keys.FirstOrDefault(key => key.Role == TensorRole.Network && !network.ContainsKey(key.Name)) is { Name: { } odd })
        {
            throw new FormatException($"it has {odd}, which this network has not");
        }
    }

    private (List<Action> Numbers, List<(string Name, Func<Tensor> Target)> Tensors) CheckOptimizer(
        SavedOptimizer saved, Dictionary<(TensorRole Role, string Name), SavedTensor> tensors)
    {
        var (own, states) = (optimizer!.state_dict(), States().ToLookup(s => s.Group));
        if (saved.Class != optimizer.GetType().Name || saved.Groups?.Count != own.Options.Count)
        {
            throw new FormatException(
                $"its optimizer is {saved.Class} of {saved.Groups?.Count ?? 0} groups, here "
                + $"{optimizer.GetType().Name} of {own.Options.Count}");
        }

        var (numbers, targets) = (new List<Action>(), new List<(string, Func<Tensor>)>());
        for (var g = 0; g < own.Options.Count; g++)
        {
            var trained = saved.Groups[g].Parameters;
            if (!trained.Select(p => p.Parameter).SequenceEqual(states[g].Select(s => s.Name)))
            {
                var odd = trained.Select(p => p.Parameter).Except(states[g].Select(s => s.Name))
                    .Concat(states[g].Select(s => s.Name).Except(trained.Select(p => p.Parameter))).FirstOrDefault();
                throw new FormatException($"its optimizer trains other parameters ({odd ?? "in another order"})");
            }

            numbers.Add(OptimizerFields.Reader(own.Options[g], saved.Groups[g].Options));
            foreach (var (state, before) in states[g].Zip(trained))
            {
                numbers.Add(OptimizerFields.Reader(state.State, before.Numbers));
                foreach (var (field, at) in OptimizerFields.TensorFields(state.State))
                {
                    var name = $"{state.Name}.{field}";
                    if (tensors.TryGetValue((TensorRole.Optimizer, name), out var given))
                    {
                        targets.Add((name, Place(at, state.State, state.Parameter, given)));
                    }
                    else if (at.GetValue(state.State) is Tensor now)
                    {
                        numbers.Add(OptimizerFields.BeginsWithout(at, state.Parameter, state.State, own.Options[g])
                            ? () => Remove(at, state.State, now)
                            : throw new FormatException($"it has no {name}"));
                    }
                }
            }
        }

        var known = targets.Select(t => t.Item1).ToHashSet();
        return tensors.Keys.FirstOrDefault(key => key.Role == TensorRole.Optimizer && !known.Contains(key.Name)) is { Name: { } other }
            ? throw new FormatException($"its optimizer has {other}, here not")
            : (numbers, targets);
    }

    // Where a tensor of the file goes: into the one that is there, or into a new one like the parameter.
    private static Func<Tensor> Place(FieldInfo field, OptimizerState state, Parameter parameter, SavedTensor saved)
    {
        var there = (Tensor?)field.GetValue(state);
        Require(saved, (there ?? parameter).dtype, (there ?? parameter).shape);
        return () =>
        {
            if (there is null)
            {
                there = empty(parameter.shape, parameter.dtype, parameter.device).DetachFromDisposeScope();
                field.SetValue(state, there);
            }

            return there;
        };
    }

    private static void Remove(FieldInfo field, OptimizerState state, Tensor tensor)
    {
        field.SetValue(state, null);
        tensor.Dispose();
    }

    // All or none: what a stage can have learned it knows alone.
    private void RestoreLearned(IReadOnlyDictionary<string, byte[]> learned)
    {
        if (!stages.Select(s => s.Name).ToHashSet().SetEquals(learned.Keys))
        {
            throw new FormatException(
                $"its stages are {string.Join(", ", learned.Keys)}, here {string.Join(", ", stages.Select(s => s.Name))}");
        }

        var before = stages.ConvertAll(s => s.Stage.Learned);
        for (var i = 0; i < stages.Count; i++)
        {
            var (name, stage) = stages[i];
            try
            {
                // A stage that learned nothing, or learns nothing now, has another reconstruction: it begins anew.
                if (learned[name].Length > 0)
                {
                    stage.Learned = Whole(learned[name]);
                }
            }
            catch (Exception exception) when (exception is ResNetNodesException or FormatException)
            {
                for (; i > 0; i--)
                {
                    stages[i - 1].Stage.Learned = before[i - 1];
                }

                throw new FormatException($"{name}: {exception.Message}", exception);
            }
        }
    }

    private static double[] Whole(byte[] learned)
    {
        var numbers = MemoryMarshal.Cast<byte, double>(learned).ToArray();
        return learned.Length % sizeof(double) == 0
            && Array.TrueForAll(numbers, number => double.IsInteger(number) && Math.Abs(number) < MostLearned)
            ? numbers
            : throw new FormatException("what it has learned is no list of whole numbers");
    }
}
