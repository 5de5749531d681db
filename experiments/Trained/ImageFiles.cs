using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;

namespace ResNetNodes.Experiments.Trained;

/// <summary>Image files by name.</summary>
internal static class ImageFiles
{
    /// <summary>The files that words name, in their order: of a folder its images at any depth, in ordinal order of their paths.</summary>
    /// <param name="words">Files and folders.</param>
    /// <param name="terminal">Is told what of a folder was left out.</param>
    public static IReadOnlyList<string> Of(IEnumerable<string> words, Terminal terminal)
    {
        var files = new List<string>();
        foreach (var word in words)
        {
            if (!Directory.Exists(word))
            {
                files.Add(word);
                continue;
            }

            try
            {
                var listing = new ImageListing();
                var images = listing.Images(word);
                files.AddRange(images.Select(image => Path.Combine(word, image)));
                if (listing.LeftOut is { } leftOut)
                {
                    terminal.Warn($"{OneLine.Of(word)}: left out: {leftOut}");
                }

                if (images.Count == 0)
                {
                    throw new ResNetNodesException(
                        $"{OneLine.Of(word)}: holds no {Suggestion.List(ImageListing.Endings)} file; name another folder");
                }
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new ResNetNodesException($"{OneLine.Of(word)}: can't be read: {exception.Message}", exception);
            }
        }

        return files;
    }

    /// <summary>Reads an image of so many channels; null with a phrase where it can't be.</summary>
    /// <param name="path">The file.</param>
    /// <param name="channels">Of a network's input. A decoded image has three, which are equal where it is grey.</param>
    /// <param name="failure">Why not.</param>
    public static ImageBytes? Read(string path, int channels, out string? failure)
    {
        byte[] content;
        try
        {
            content = RegularFile.ReadAllBytes(path, ImageFolder.MostBytes);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            failure = "can't be read: "
                + (exception is FileNotFoundException && path.Contains(ImageListing.NoCharacter) ? ImageListing.NoUtf8 : exception.Message);
            return null;
        }

        if (ImageDecoder.Decode(content, out failure) is not { } image)
        {
            return null;
        }

        if (channels == image.Channels)
        {
            return image;
        }

        var plane = image.Height * image.Width;
        var red = image.Values[..plane];
        var values = image.Values.Span;
        if (channels != 1 || !red.Span.SequenceEqual(values.Slice(plane, plane)) || !red.Span.SequenceEqual(values[(2 * plane)..]))
        {
            failure = channels == 1 ? "is in colour, and the network takes grey images"
                : $"has {image.Channels} channels, and the network takes {channels}";
            return null;
        }

        return new(red, 1, image.Height, image.Width);
    }
}
