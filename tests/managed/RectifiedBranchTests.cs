using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class RectifiedBranchTests
{
    private static readonly StageOptions Backprop = new() { StepSize = 1, Reconstruction = Reconstruction.Backprop };

    /// <summary>With ties and what is no number: x + f(x) is ReLU's, gradients too.</summary>
    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Step_IsThatOfAnOrdinaryBlock(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        float[] values = [0f, -0f, 1f, -1f, 3f, -0.25f, 1e-30f, -2f];
        var pairs = values.SelectMany(a => values.SelectMany(b => new[] { a, b })).ToArray();
        var x = tensor(pairs).reshape(-1, 2);
        // The branch: both columns in the other order, so that each number meets each.
        using var order = nn.Linear(2, 2, hasBias: false);
        using (no_grad())
        {
            order.weight!.copy_(tensor(new[,] { { 0f, 1f }, { 1f, 0f } }));
        }

        using var stage = new ResidualStage([new RectifiedBranch(order)], Backprop with { Execution = execution });
        Assert.Equal(execution, stage.Execution);
        var (found, foundGradients) = Pass(stage, x);
        var (expected, gradients) = Pass(new Block(order), x);
        Assert.Equal(expected.data<float>().ToArray(), found.data<float>().ToArray());
        Assert.All(foundGradients.Zip(gradients), pair => Assert.True(pair.First.allclose(pair.Second, 1e-6, 0)));

        using var identity = new ResidualStage([new RectifiedBranch(nn.Identity())], Backprop with { Execution = execution });
        Assert.True(identity.call(tensor(new[,] { { float.NaN } })).isnan().item<bool>());

        (Tensor Output, Tensor[] Gradients) Pass(nn.Module<Tensor, Tensor> module, Tensor given)
        {
            var leaf = given.clone().requires_grad_();
            order.zero_grad();
            var output = module.call(leaf);
            output.sum().backward();
            return (output.detach(), [leaf.grad!.clone(), order.weight!.grad!.clone()]);
        }
    }

    [Fact]
    public void Branch_IsRegistered()
    {
        using var function = new RectifiedBranch(nn.Linear(4, 4));
        Assert.Equal(["branch.weight", "branch.bias"], function.state_dict().Keys);
        Assert.Equal(2, function.Branch.parameters().Count());
        Assert.Throws<ArgumentNullException>(() => new RectifiedBranch(null!));
    }

    private sealed class Block(nn.Module<Tensor, Tensor> branch) : nn.Module<Tensor, Tensor>(nameof(Block))
    {
        public override Tensor forward(Tensor input) => (input + branch.call(input)).relu();
    }
}
