using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class DevicesTests
{
    [Theory]
    [InlineData("cpu")]
    [InlineData("cuda:0")]
    [InlineData("cuda:1")]
    [InlineData("cuda:99")]
    public void Name_PrintsAsItWasParsed(string name) => Assert.Equal(name, Devices.Parse(name).ToString());

    [Fact]
    public void Cuda_IsTheFirstGpu() => Assert.Equal("cuda:0", Devices.Parse("cuda").ToString());

    [Theory]
    [InlineData("")]
    [InlineData("gpu")]
    [InlineData("CUDA")]
    [InlineData("cpu:0")]
    [InlineData("cuda:")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("cuda:+1")]
    [InlineData("cuda: 1")]
    [InlineData("cuda:1:2")]
    [InlineData("cuda:99999999999")]
    public void OtherNames_AreRefused(string name) =>
        Assert.Equal(
            $"device '{name}' is unknown, expected cpu, cuda or cuda:K, K a whole number from 0",
            Assert.Throws<ArgumentException>(() => Devices.Parse(name)).Message);

    [Fact]
    public void Require_NamesTheRemedyWhereTheDeviceIsNotThere()
    {
        Devices.Require(CPU);
        var missing = Devices.Parse($"cuda:{(cuda.is_available() ? cuda.device_count() : 0)}");
        var message = Assert.Throws<ResNetNodesException>(() => Devices.Require(missing)).Message;
        Assert.Contains(cuda.is_available() ? "numbered from 0" : "TorchBackend=cuda ./build.sh", message);
        Assert.DoesNotContain('\n', message);
        using var model = new TinyResNet(new TinyResNetOptions { Depth = 1, Planes = 2 });
        Assert.Equal(
            message,
            Assert.Throws<ResNetNodesException>(() => new Trainer(model, new TrainingOptions { Device = missing })).Message);
    }
}
