using System.Text.RegularExpressions;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>Which of a network's modules are in evaluation mode while it is trained.</summary>
internal sealed class ModuleModes
{
    private readonly nn.Module model;
    private readonly List<nn.Module> kept;

    /// <param name="model">The network.</param>
    /// <param name="options">Name the modules.</param>
    /// <exception cref="ArgumentException">They name none.</exception>
    public ModuleModes(nn.Module model, TrainingOptions options)
    {
        this.model = model;
        var norms = options.FreezeNorms ? model.modules().OfType<BatchNorm>().Cast<nn.Module>().ToList() : [];
        var named = options.EvaluationModules is { } pattern
            ? model.named_modules().Where(m => Regex.IsMatch(m.name, pattern)).Select(m => m.module).ToList()
            : [];
        if (options.FreezeNorms && norms.Count == 0)
        {
            throw new ArgumentException("batch normalizations are to stay frozen, and the network has none; leave FreezeNorms out");
        }

        if (options.EvaluationModules is not null && named.Count == 0)
        {
            throw new ArgumentException(
                $"modules named {options.EvaluationModules} are to stay in evaluation mode, and the network has none of that name; it "
                + $"has {string.Join(", ", model.named_modules().Select(m => m.name).Where(n => n.Length > 0).Take(3))}...");
        }

        kept = [.. norms.Concat(named)];
        kept.ForEach(module => module.eval());
    }

    /// <summary>For training: all modules but those.</summary>
    public void Train()
    {
        model.train();
        kept.ForEach(module => module.eval());
    }
}
