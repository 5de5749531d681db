using ResNetNodes.Networks;
using ResNetNodes.Planning;
using ResNetNodes.Stages.Engine;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>What training steps of a network take, foreseen from shapes.</summary>
internal sealed class StepCosts
{
    private readonly List<(string Name, StageEngine Engine, bool IsStage)> parts;
    private readonly bool isTiny;
    private readonly int adjointFrom;
    private readonly ComputeType type;

    /// <param name="network">Names and modules of the parts, in the order in which they run.</param>
    /// <param name="description">Whose they are.</param>
    /// <param name="type">What residual functions are evaluated in.</param>
    public StepCosts(
        IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> network, NetworkDescription description, ComputeType type)
    {
        parts =
        [
            .. network.Select(part => part.Module switch
            {
                ResidualStage stage => (part.Name, stage.Engine, true),
                Recomputed recomputed => (part.Name, recomputed.Engine, false),
                var other => (part.Name, new Recomputed(other).Engine, false),
            }),
        ];
        (isTiny, adjointFrom, this.type) = (description.Depth is not null, description.AdjointFrom, type);
    }

    /// <summary>What a step with a method takes.</summary>
    /// <param name="method">Of the stages. Beside those that store no tapes, the other parts of a ResNet keep their inputs alone.</param>
    /// <param name="images">What the step is on; values are not read.</param>
    public StepRow Of(Reconstruction method, Tensor images)
    {
        using var scope = NewDisposeScope();
        // As the networks are built without a budget.
        var stores = isTiny || method == Reconstruction.Backprop;
        var (costs, evaluations, functions) = (new List<PartCost>(), 0.0, 0);
        var given = images;
        foreach (var (name, engine, isStage) in parts)
        {
            var way = isStage && engine.Depth >= adjointFrom ? method
                : stores || isStage ? Reconstruction.Backprop
                : Reconstruction.Checkpoint();
            var asked = engine.Options with
            {
                Reconstruction = way,
                ComputeType = isStage || !isTiny ? type : ComputeType.SameAsState,
                AccumulateGradientsInPlace = true,
            };
            var cost = engine.Costs(given, [asked])?[0]
                ?? throw new ResNetNodesException($"the memory of {name} is not known before it runs: {engine.ExecutionReason}");
            costs.Add(new(cost.KeptBytes, cost.ForwardBytes, cost.BackwardBytes, 0));
            (evaluations, functions) = isStage ? (evaluations + cost.Evaluations, functions + engine.Depth) : (evaluations, functions);
            // Of any size, and without memory of its own.
            given = zeros(1, images.dtype).expand([.. cost.OutputSizes]);
        }

        return new(
            $"{method}", PlanSearch.Peak([.. costs], images.numel() * images.element_size()).Bytes,
            functions > 0 ? evaluations / functions : 0);
    }
}
