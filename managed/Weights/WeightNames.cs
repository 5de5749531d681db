namespace ResNetNodes.Weights;

/// <summary>A table of rules that tells how another library names the tensors of a network: read in both directions.</summary>
public sealed class WeightNames
{
    private readonly IReadOnlyList<NameRule> rules;

    /// <summary>A table.</summary>
    /// <param name="name">Whose names they are, as messages say it.</param>
    /// <param name="rules">Its rules; the first that is about a name counts.</param>
    /// <exception cref="ArgumentException">There is no rule.</exception>
    public WeightNames(string name, IEnumerable<NameRule> rules)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(rules);
        (Name, this.rules) = (name, [.. rules]);
        if (this.rules.Count == 0)
        {
            throw new ArgumentException("a table of names needs at least one rule", nameof(rules));
        }
    }

    /// <summary>
    /// ResNets as torchvision names them; of a <see cref="Networks.ResNet"/> for the kind
    /// <see cref="Networks.ResNetKind.Torchvision"/> alone.
    /// </summary>
    public static WeightNames Torchvision { get; } = new("torchvision",
    [
        new("stem.conv.{*}", "conv1.{*}"),
        new("stem.norm.{*}", "bn1.{*}"),
        new("blocks.{s}.branch.conv{i}.{*}", "layer{s+1}.0.conv{i}.{*}"),
        new("blocks.{s}.branch.norm{i}.{*}", "layer{s+1}.0.bn{i}.{*}"),
        new("blocks.{s}.shortcut.conv.{*}", "layer{s+1}.0.downsample.0.{*}"),
        new("blocks.{s}.shortcut.norm.{*}", "layer{s+1}.0.downsample.1.{*}"),
        new("stage{s+1}.functions.{n}.branch.conv{i}.{*}", "layer{s+1}.{n+1}.conv{i}.{*}"),
        new("stage{s+1}.functions.{n}.branch.norm{i}.{*}", "layer{s+1}.{n+1}.bn{i}.{*}"),
        new("head.{*}", "fc.{*}"),
    ]);

    /// <summary>Whose names they are.</summary>
    public string Name { get; }

    /// <summary>The rules.</summary>
    public IReadOnlyList<NameRule> Rules => rules;

    /// <summary>A name from elsewhere as it is here; null where no rule is about it.</summary>
    /// <param name="theirs">The name elsewhere.</param>
    /// <returns>The name here, or null.</returns>
    public string? ToOurs(string theirs) => rules.Select(rule => rule.ToOurs(theirs)).FirstOrDefault(name => name is not null);

    /// <summary>A name from here as it is elsewhere; null where no rule is about it.</summary>
    /// <param name="ours">The name here.</param>
    /// <returns>The name elsewhere, or null.</returns>
    public string? ToTheirs(string ours) => rules.Select(rule => rule.ToTheirs(ours)).FirstOrDefault(name => name is not null);

    /// <summary>Whose names they are.</summary>
    /// <returns><see cref="Name"/>.</returns>
    public override string ToString() => Name;
}
