using ResNetNodes.Weights;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class NameRuleTests
{
    [Theory]
    [InlineData("a.{*}", "b.{*}", "a.x.y", "b.x.y")]
    [InlineData("stage{s+1}.functions.{n}.{*}", "layer{s+1}.{n+1}.{*}", "stage1.functions.0.w", "layer1.1.w")]
    [InlineData("blocks.{s}.w", "layer{s+1}.0.w", "blocks.3.w", "layer4.0.w")]
    [InlineData("{i}.{j}", "{j}.{i}", "1.20", "20.1")]
    [InlineData("w", "v", "w", "v")]
    [InlineData("a.b{n}", "a+b{n}", "a.b12", "a+b12")]
    public void Names_AreReadInBothDirections(string ours, string theirs, string name, string other)
    {
        var rule = new NameRule(ours, theirs);
        Assert.Equal(other, rule.ToTheirs(name));
        Assert.Equal(name, rule.ToOurs(other));
        Assert.Equal((ours, theirs, $"{ours} = {theirs}"), (rule.Ours, rule.Theirs, rule.ToString()));
    }

    [Theory]
    [InlineData("layer0.1.w")] // s would be -1
    [InlineData("layer1.0.w")] // n would be -1
    [InlineData("layer01.1.w")]
    [InlineData("layer1.1")]
    [InlineData("layer1.1.")]
    [InlineData("xlayer1.1.w")]
    [InlineData("layer1.99999999999.w")]
    [InlineData("layer١.1.w")]
    public void Names_OfAnotherKindAreNone(string name) =>
        Assert.Null(new NameRule("stage{s+1}.functions.{n}.{*}", "layer{s+1}.{n+1}.{*}").ToOurs(name));

    [Theory]
    [InlineData("a{n}", "b")]
    [InlineData("a{n}{n}", "b{n}{n}")]
    [InlineData("a{n}", "b{m}")]
    public void Sides_HaveTheSamePlaceholders(string ours, string theirs) =>
        Assert.Throws<ArgumentException>(() => new NameRule(ours, theirs));
}
