using Xunit;

namespace ResNetNodes.Cli.Tests;

public sealed class CommandLineTests
{
    [Theory]
    [InlineData("--help")]
    [InlineData("help")]
    [InlineData("help", "train")]
    [InlineData("train", "--help")]
    [InlineData("memory", "-h")]
    [InlineData("--version")]
    public void HelpAndVersion_GoToStandardOutput(params string[] arguments)
    {
        var (code, output, error) = Executable.Run(arguments);
        Assert.Equal(0, code);
        Assert.Contains("resnet-nodes", output);
        Assert.Empty(error);
    }

    [Fact]
    public void Help_ShowsSectionsDefaultsAndExamples()
    {
        var output = Executable.Run("help", "train").Out;
        Assert.All(
            ["model:", "method:", "data:", "training:", "output:", "[adaptive]", "examples:", "2205.14612"],
            part => Assert.Contains(part, output));
    }

    [Theory]
    [InlineData("did you mean train?", "trian")]
    [InlineData("did you mean epochs?", "train", "--epoch", "3")]
    [InlineData("needs a value", "train", "--lr")]
    [InlineData("belongs to no option", "train", "extra")]
    [InlineData("belongs to no option", "train", "--json", "yes")]
    [InlineData("--lr is 0,5", "train", "--lr", "0,5")]
    [InlineData("--lr is nan", "train", "--lr", "nan")]
    [InlineData("--lr is 0,", "train", "--lr", "0")]
    [InlineData("--epochs is 2.5", "train", "--epochs", "2.5")]
    [InlineData("did you mean heun?", "train", "--solver", "huen")]
    [InlineData("reconstruction 'fast' is unknown", "train", "--reconstruction", "fast")]
    [InlineData("given twice", "train", "--seed", "1", "--seed", "2")]
    [InlineData("expected true or false", "train", "--json=maybe")]
    [InlineData("is not the configuration of a run", "train", "--config", "/dev/null")]
    [InlineData("--device is gpu", "train", "--device", "gpu", "--dataset", "synthetic")]
    [InlineData("--device is cuda:x, expected cpu, cuda or cuda:K", "memory", "--device", "cuda:x")]
    [InlineData("--device is cuda:-1, expected", "linear-weights", "--device", "cuda:-1")]
    [InlineData("--network is tiny, expected tied", "tied", "--network", "tiny")]
    [InlineData("tied has no option --size; did you mean sizes?", "tied", "--size", "34")]
    [InlineData("--size is 34, but --network tiny", "train", "--size", "34")]
    [InlineData("--depth is 8, but --network ode", "train", "--network", "ode", "--depth", "8")]
    [InlineData("did you mean bfloat16?", "train", "--precision", "bfloat6", "--dataset", "synthetic")]
    [InlineData("--precision is float16", "memory", "--precision", "float16")]
    [InlineData("--precision is half", "discretization", "--precision", "half")]
    [InlineData("needs native layers", "tied", "--precision", "bfloat16", "--execution", "callback", "--dataset", "synthetic")]
    [InlineData("--cuda-graphs needs native layers", "train", "--cuda-graphs", "--execution", "callback")]
    [InlineData("--cuda-graphs needs --device cuda, it is cpu", "train", "--cuda-graphs")]
    [InlineData("--cuda-graphs needs --device cuda, it is cpu", "depth-sweep", "--cuda-graphs")]
    [InlineData("did you mean small?", "tied", "--preset", "smal")]
    [InlineData("needs --data", "tied", "--preset", "paper-imagenet")]
    [InlineData("needs --data", "finetune", "--preset", "paper-imagenet")]
    [InlineData("needs --data", "adjoint-failure", "--preset", "paper")]
    [InlineData("size '19' is unknown", "tied", "--sizes", "19", "--dataset", "synthetic")]
    [InlineData("stores the states", "discretization", "--reconstructions", "backprop")]
    [InlineData("--only is trai, expected", "reproduce", "--only", "trai")]
    public void WrongUsage_IsOneLineAndExitCode2(string message, params string[] arguments)
    {
        var (code, output, error) = Executable.Run(arguments);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, error);
        Assert.Single(error.Trim().Split('\n'));
    }

    [Fact]
    public void MissingData_IsOneLineAndExitCode1()
    {
        var (code, output, error) = Executable.Run("train", "--data", "/nowhere");
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.Contains("train-images-idx3-ubyte.gz: not found", error);
        Assert.Single(error.Trim().Split('\n'));
    }

    /// <summary>cuda:99 is not there with any build: without CUDA that is said first.</summary>
    [Theory]
    [InlineData("train")]
    [InlineData("tied")]
    [InlineData("adjoint-failure")]
    [InlineData("finetune")]
    [InlineData("depth-sweep")]
    [InlineData("compare-gradients")]
    [InlineData("memory")]
    [InlineData("discretization")]
    [InlineData("linear-weights")]
    [InlineData("reproduce")]
    public void Cuda_WhereThereIsNone_IsOneLineThatNamesTheRemedy(string verb)
    {
        var folder = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        var (code, output, error) = Executable.Run(verb, "--device", "cuda:99", "--out", folder);
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.Matches(
            @"^resnet-nodes: --device cuda:99: (this build .*TorchBackend=cuda \./build\.sh|there (is|are) \d+ GPU)",
            Assert.Single(error.Trim().Split('\n')));
        Assert.False(Directory.Exists(folder));
    }
}
