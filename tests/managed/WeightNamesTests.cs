using ResNetNodes.Weights;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class WeightNamesTests
{
    [Fact]
    public void Table_TakesTheFirstRuleThatIsAboutAName()
    {
        var names = new WeightNames("other", [new NameRule("a.{*}", "first.{*}"), new NameRule("{*}", "rest.{*}")]);
        Assert.Equal("first.w", names.ToTheirs("a.w"));
        Assert.Equal("rest.b.w", names.ToTheirs("b.w"));
        Assert.Equal("a.w", names.ToOurs("first.w"));
        Assert.Null(names.ToOurs("w"));
        Assert.Equal(("other", "other", 2), (names.Name, names.ToString(), names.Rules.Count));
        Assert.Throws<ArgumentException>(() => new WeightNames("other", []));
    }
}
