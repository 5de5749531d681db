using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// Over a step of one image: refuses to normalize a channel of one value by its batch. It has no variance; LibTorch's layer makes its
/// running variance NaN without a word, and every test afterwards.
/// </summary>
internal sealed class OneValueGuard : IDisposable
{
    private readonly List<Action> removals = [];

    /// <param name="model">The network. Stages that run native layers refuse by themselves, and run others where a hook is set.</param>
    public OneValueGuard(nn.Module model)
    {
        var native = ILearningStage.Of(model).Where(s => s.Stage.Execution == StageExecution.Layers)
            .SelectMany(s => ((nn.Module)s.Stage).modules()).ToHashSet();
        foreach (var norm in model.modules().OfType<BatchNorm>().Distinct().Where(norm => !native.Contains(norm)))
        {
            removals.Add(norm.register_forward_pre_hook((_, input) =>
                input.NumberOfElements == norm.num_features && (norm.training || !norm.track_running_stats)
                    ? throw Refusal(null)
                    : input).remove);
        }
    }

    /// <summary>Calls a network; where it can't normalize one value, says so in the same words, whoever found it.</summary>
    /// <param name="model">The network.</param>
    /// <param name="images">What it is given.</param>
    public static Tensor Call(nn.Module<Tensor, Tensor> model, Tensor images)
    {
        try
        {
            return model.call(images);
        }
        catch (Exception exception) when (IsMeantBy(exception))
        {
            throw Refusal(exception);
        }
    }

    /// <summary>Whether an exception says the same in the words of LibTorch or of the native engine.</summary>
    public static bool IsMeantBy(Exception exception) =>
        exception.Message.Contains("more than 1 value per channel", StringComparison.Ordinal)
        || exception.Message.Contains("more than one value a channel", StringComparison.Ordinal);

    /// <summary>The error, with its remedy.</summary>
    public static ResNetNodesException Refusal(Exception? inner)
    {
        const string message =
            "a batch of 1 image can't be normalized at 1×1 pixels: drop the last, smaller batch (dropLast / --drop-last), or take "
            + "another batch size";
        return inner is null ? new(message) : new(message, inner);
    }

    public void Dispose() => removals.ForEach(remove => remove());
}
