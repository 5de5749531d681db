using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>What the tests compare with: the same recursion written with TorchSharp's autograd in float64.</summary>
internal static class Truth
{
    public static nn.Module<Tensor, Tensor> TinyFunction(int planes) => nn.Sequential(
        nn.Conv2d(planes, planes, 3, padding: 1),
        nn.BatchNorm2d(planes),
        nn.ReLU(),
        nn.Conv2d(planes, planes, 3, padding: 1),
        nn.BatchNorm2d(planes));

    public static nn.Module<Tensor, Tensor> LinearFunction(int width) =>
        nn.Sequential(nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, width));

    public static List<nn.Module<Tensor, Tensor>> Functions(int depth, Func<nn.Module<Tensor, Tensor>> make)
    {
        random.manual_seed(3);
        var functions = Enumerable.Range(0, depth).Select(_ => make()).ToList();
        functions.ForEach(f => f.to(ScalarType.Float64));
        return functions;
    }

    /// <summary>The default options with this reconstruction.</summary>
    public static StageOptions Options(string method) => new() { Reconstruction = Reconstruction.Parse(method) };

    /// <summary>The stage by plain autograd, every state stored: the definition of the solver's tableau, term by term.</summary>
    public static Tensor Forward(IReadOnlyList<nn.Module<Tensor, Tensor>> functions, int depth, Solver solver, Tensor x)
    {
        var h = 1.0 / depth;
        var offsets = solver.FunctionOffsets;
        for (var n = 0; n + offsets.Max() < depth; n++)
        {
            var (slopes, at) = (new List<Tensor>(), 0);
            for (var i = 0; i < offsets.Count; i++)
            {
                var state = x;
                for (var j = 0; j < i; j++, at++)
                {
                    state = state + (h * solver.A[at] * slopes[j]);
                }

                slopes.Add(functions[Math.Min(n + offsets[i], functions.Count - 1)].call(state));
            }

            foreach (var (slope, weight) in slopes.Zip(solver.B))
            {
                x = x + (h * weight * slope);
            }
        }

        return x;
    }

    public static double RelativeError(Tensor found, Tensor expected) =>
        ((found - expected).norm() / expected.norm()).to(ScalarType.Float64).item<double>();

    public static Tensor Normal(long seed, params long[] shape)
    {
        random.manual_seed(seed);
        return randn(shape, ScalarType.Float64);
    }

    /// <summary>Takes the gradients and clears them.</summary>
    public static List<Tensor> TakeGradients(IEnumerable<Tensor> tensors)
    {
        var list = new List<Tensor>();
        foreach (var tensor in tensors)
        {
            list.Add(tensor.grad?.clone() ?? zeros_like(tensor));
            tensor.grad = null;
        }

        return list;
    }
}

/// <summary>A function of a state of 6 numbers and a condition: tanh(linear(x)) c.</summary>
internal sealed class ConditionedFunction : nn.Module<Tensor, Tensor, Tensor>
{
    private readonly TorchSharp.Modules.Linear linear = nn.Linear(6, 6, dtype: ScalarType.Float64);

    public ConditionedFunction()
        : base(nameof(ConditionedFunction)) => RegisterComponents();

    public override Tensor forward(Tensor input1, Tensor input2) => tanh(linear.call(input1)) * input2;
}
