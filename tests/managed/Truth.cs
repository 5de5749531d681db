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

    /// <summary>The stage by plain autograd, every state stored.</summary>
    public static Tensor Forward(IReadOnlyList<nn.Module<Tensor, Tensor>> functions, int depth, Solver solver, Tensor x)
    {
        var h = 1.0 / depth;
        nn.Module<Tensor, Tensor> F(int n) => functions[Math.Min(n, functions.Count - 1)];
        if (solver == Solver.Euler)
        {
            for (var n = 0; n < depth; n++)
            {
                x = x + (h * F(n).call(x));
            }

            return x;
        }

        for (var n = 0; n + 1 < depth; n++)
        {
            var k1 = F(n).call(x);
            x = x + (h / 2 * (k1 + F(n + 1).call(x + (h * k1))));
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
