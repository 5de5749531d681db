using Xunit;

namespace ResNetNodes.Tests;

public sealed class SuggestionTests
{
    private static readonly string[] Names = ["train", "tied", "report", "reproduce"];

    [Theory]
    [InlineData("trian", "train")] // two letters replaced
    [InlineData("trai", "train")]
    [InlineData("ttied", "tied")]
    [InlineData("repord", "report")]
    [InlineData("reproduction", "reproduce")] // 4 of 12 letters
    public void Hint_NamesTheNearest(string word, string name) => Assert.Equal($"; did you mean {name}?", Suggestion.Hint(word, Names));

    [Theory]
    [InlineData("bench")]
    [InlineData("zzz")]
    public void Hint_IsSilentWhereNothingIsNear(string word) => Assert.Equal(string.Empty, Suggestion.Hint(word, Names));

    [Fact]
    public void Hint_OfNoNames_IsSilent() => Assert.Equal(string.Empty, Suggestion.Hint("train", []));
}
