using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>The modules that functions consist of.</summary>
internal static class ModuleTree
{
    /// <summary>A module and all below it, each before its parts. One that occurs twice is listed twice.</summary>
    public static List<nn.Module> Of(nn.Module module)
    {
        var modules = new List<nn.Module>();
        Add(module);
        return modules;

        void Add(nn.Module one)
        {
            modules.Add(one);
            foreach (var (_, part) in one.named_children())
            {
                Add(part);
            }
        }
    }
}
