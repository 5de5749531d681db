using ResNetNodes.Interop;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// What functions that are called consist of at one moment, as far as they compute with it: their modules, modes, settings, parameters and
/// buffers. No copy of any tensor: which it is, and how often it has been changed in place.
/// </summary>
internal sealed class ModuleState
{
    private readonly List<List<Part>> parts = [];
    private readonly Func<int, string> nameOf;

    /// <param name="modules">The modules of each function (<see cref="ModuleTree"/>).</param>
    /// <param name="nameOf">What a message calls a function.</param>
    public ModuleState(IReadOnlyList<List<nn.Module>> modules, Func<int, string> nameOf)
    {
        this.nameOf = nameOf;
        parts.AddRange(modules.Select(list => list.ConvertAll(Part.Of)));
    }

    /// <summary>
    /// Throws where something differs from what it was at the end of the forward pass. What the forward pass itself had changed (it
    /// differs from what it was <paramref name="before"/> that) is the functions' own: running statistics, a counter. Modes may differ.
    /// </summary>
    /// <exception cref="ResNetNodesException">Names what has changed.</exception>
    public void RequireSame(ModuleState before, ModuleState after)
    {
        for (var i = 0; i < after.parts.Count; i++)
        {
            var (then, now) = (after.parts[i], parts[i]);
            if (!AreSame(then, now))
            {
                throw Changed($"the modules of {nameOf(i)} were changed");
            }

            // Modules that the forward pass has made itself have no state before it.
            for (var k = 0; k < now.Count && AreSame(before.parts[i], then); k++)
            {
                now[k].RequireSame(before.parts[i][k], then[k], nameOf(i));
            }
        }
    }

    /// <summary>
    /// Switches the modules to the modes that they had then, and freezes parameters that were frozen then, until disposed.
    /// </summary>
    public IDisposable InModesOf(ModuleState then) => new Modes(this, then);

    private static bool AreSame(List<Part> a, List<Part> b) => a.Select(part => part.Module).SequenceEqual(b.Select(part => part.Module));

    private static ResNetNodesException Changed(string what) =>
        new($"{what} since the forward pass; run the forward pass again before the backward pass");

    private IEnumerable<Held> Parameters() =>
        parts.SelectMany(of => of).SelectMany(part => part.Tensors).Where(held => held.Tensor is Parameter);

    // A tensor by its wrapper, which keeps it apart from one that comes to lie in its place later.
    private readonly record struct Held(Tensor Tensor, long Version, bool Frozen)
    {
        public static Held Of(Tensor tensor) => new(tensor, Functions.TensorVersion(tensor), !tensor.requires_grad);

        public bool IsReplacedBy(Held other) =>
            !ReferenceEquals(Tensor, other.Tensor)
            && (Tensor.IsInvalid || other.Tensor.IsInvalid || TensorIdentity.Of(Tensor) != TensorIdentity.Of(other.Tensor));

        /// <summary>Whether it is the same tensor with the same value.</summary>
        public bool IsSame(Held other) => !IsReplacedBy(other) && Version == other.Version;
    }

    private readonly record struct Part(nn.Module Module, bool Training, int Settings, Held[] Tensors)
    {
        public static Part Of(nn.Module module)
        {
            var tensors = Named(module).Select(tensor => Held.Of(tensor.Tensor));
            return new(module, module.training, ModuleSettings.Hash(module), [.. tensors]);
        }

        public void RequireSame(Part before, Part after, string function)
        {
            if (Settings != after.Settings && !ModuleSettings.AreOwn(Module))
            {
                throw Changed($"the settings or hooks of {Module.GetType().Name} in {function} were changed");
            }

            // A normalization that trains writes its statistics, uncounted, and does not read them.
            var read = Module is NormBase && after.Training ? Module.named_parameters(recurse: false).Count() : after.Tensors.Length;
            for (var i = 0; i < read; i++)
            {
                if (i >= before.Tensors.Length || !before.Tensors[i].IsSame(after.Tensors[i]))
                {
                    continue; // the forward pass has changed it itself
                }

                if (i >= Tensors.Length || !Tensors[i].IsSame(after.Tensors[i]))
                {
                    var how = i >= Tensors.Length || Tensors[i].IsReplacedBy(after.Tensors[i]) ? "replaced" : "changed in place";
                    throw Changed($"{NameOf(i)} of {Module.GetType().Name} in {function} was {how}");
                }
            }
        }

        private static IEnumerable<(Tensor Tensor, string Kind, string Name)> Named(nn.Module module) =>
            module.named_parameters(recurse: false).Select(p => ((Tensor)p.parameter, "parameter", p.name))
                .Concat(module.named_buffers(recurse: false).Select(b => (b.buffer, "buffer", b.name)));

        private string NameOf(int tensor) =>
            Named(Module).Skip(tensor).Select(found => $"{found.Kind} '{found.Name}'").FirstOrDefault() ?? "a parameter";
    }

    private sealed class Modes : IDisposable
    {
        private readonly ModuleState now;
        private readonly bool differ;
        private readonly List<Tensor> thawed;

        public Modes(ModuleState now, ModuleState then)
        {
            this.now = now;
            differ = !Trainings(now).SequenceEqual(Trainings(then));
            var frozen = then.Parameters().Where(held => held.Frozen).Select(held => held.Tensor)
                .ToHashSet<object>(ReferenceEqualityComparer.Instance);
            thawed = [.. now.Parameters().Where(held => !held.Frozen && frozen.Contains(held.Tensor)).Select(held => held.Tensor)];
            thawed.ForEach(parameter => parameter.requires_grad_(false));
            Switch(then);
        }

        public void Dispose()
        {
            Switch(now);
            thawed.ForEach(parameter => parameter.requires_grad_(true));
        }

        private static IEnumerable<bool> Trainings(ModuleState state) => state.parts.SelectMany(of => of).Select(part => part.Training);

        // Each before its parts: a module's own mode is the last that it is given.
        private void Switch(ModuleState to)
        {
            foreach (var part in differ ? to.parts.SelectMany(of => of) : [])
            {
                part.Module.train(part.Training);
            }
        }
    }
}
