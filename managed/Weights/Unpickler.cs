using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace ResNetNodes.Weights;

/// <summary>
/// Reads a pickle of tensors. A pickle is a program: it may name any function of Python and call it. This reader knows the few that
/// rebuild tensors and collections, makes their values itself, and refuses all others by name; nothing is ever run.
/// </summary>
internal sealed class Unpickler
{
    private static readonly object Mark = new();

    private readonly Stream stream;
    private readonly Func<object?[], PickledStorage> storage;
    private readonly List<object?> stack = [];
    private readonly Dictionary<long, object?> memo = [];

    private Unpickler(Stream stream, Func<object?[], PickledStorage> storage) => (this.stream, this.storage) = (stream, storage);

    /// <summary>Reads one pickle; the stream then stands behind it.</summary>
    /// <param name="stream">Where it begins.</param>
    /// <param name="storage">Makes a storage of the tuple that tells of it.</param>
    /// <returns>Its value: null, a bool, long, double, text, byte[], object?[], list, dictionary, or a tensor.</returns>
    /// <exception cref="FormatException">It is cut or no pickle of tensors; a phrase.</exception>
    /// <exception cref="ForbiddenPickleException">It names what is none of tensors and collections.</exception>
    public static object? Read(Stream stream, Func<object?[], PickledStorage> storage)
    {
        try
        {
            return new Unpickler(stream, storage).Run();
        }
        catch (EndOfStreamException exception)
        {
            throw new FormatException("its pickle ends too early", exception);
        }
    }

    private object? Run()
    {
        while (true)
        {
            var code = (char)Byte();
            switch (code)
            {
                case '.':
                    return Pop();
                case '\x80': // protocol
                    Byte();
                    break;
                case '\x95': // frame
                    Bytes(sizeof(long));
                    break;
                case 'N':
                    stack.Add(null);
                    break;
                case '\x88' or '\x89':
                    stack.Add(code == '\x88');
                    break;
                case 'K':
                    stack.Add((long)Byte());
                    break;
                case 'M':
                    stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(sizeof(ushort))));
                    break;
                case 'J':
                    stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(sizeof(int))));
                    break;
                case '\x8a':
                    stack.Add(Whole(Bytes(Byte())));
                    break;
                case 'G':
                    stack.Add(BinaryPrimitives.ReadDoubleBigEndian(Bytes(sizeof(double))));
                    break;
                case 'X' or '\x8c' or '\x8d':
                    stack.Add(Encoding.UTF8.GetString(Bytes(Length(code == 'X' ? 4 : code == '\x8c' ? 1 : 8))));
                    break;
                case 'T' or 'U':
                    stack.Add(Encoding.Latin1.GetString(Bytes(Length(code == 'T' ? 4 : 1))));
                    break;
                case 'B' or 'C' or '\x8e':
                    stack.Add(Bytes(Length(code == 'B' ? 4 : code == 'C' ? 1 : 8)));
                    break;
                case '(':
                    stack.Add(Mark);
                    break;
                case ')':
                    stack.Add(Array.Empty<object?>());
                    break;
                case ']':
                    stack.Add(new List<object?>());
                    break;
                case '}':
                    stack.Add(new Dictionary<object, object?>());
                    break;
                case 't':
                    stack.Add(PopToMark());
                    break;
                case '\x85' or '\x86' or '\x87':
                    stack.Add(PopMany(code - '\x85' + 1));
                    break;
                case 'l':
                    stack.Add(PopToMark().ToList());
                    break;
                case 'd':
                    stack.Add(WithItems([], PopToMark()));
                    break;
                case 'a' or 'e':
                    var items = code == 'a' ? PopMany(1) : PopToMark();
                    (Peek() as List<object?> ?? throw Broken("appends to what is no list")).AddRange(items);
                    break;
                case 's' or 'u':
                    var pairs = code == 's' ? PopMany(2) : PopToMark();
                    WithItems(Peek() as Dictionary<object, object?> ?? throw Broken("puts an item into what is no dictionary"), pairs);
                    break;
                case 'q' or 'r':
                    memo[Length(code == 'q' ? 1 : 4)] = Peek();
                    break;
                case '\x94':
                    memo[memo.Count] = Peek();
                    break;
                case 'h' or 'j':
                    var isKept = memo.TryGetValue(Length(code == 'h' ? 1 : 4), out var value);
                    stack.Add(isKept ? value : throw Broken("recalls what it has not kept"));
                    break;
                case '0':
                    Pop();
                    break;
                case '1':
                    PopToMark();
                    break;
                case 'c':
                    stack.Add(Known(Line(), Line()));
                    break;
                case '\x93':
                    stack.Add(PopMany(2) is [string module, string name] ? Known(module, name) : throw Broken("names no class"));
                    break;
                case 'R':
                    stack.Add(
                        PopMany(2) is [Global callee, object?[] arguments] ? Call(callee, arguments) : throw Broken("calls no function"));
                    break;
                case 'b': // attributes of a collection, which say nothing of its tensors
                    Pop();
                    if (Peek() is not Dictionary<object, object?>)
                    {
                        throw Broken("sets attributes of what is no dictionary");
                    }

                    break;
                case 'Q':
                    stack.Add(storage(Pop() as object?[] ?? throw Broken("tells of no storage")));
                    break;
                default:
                    throw Broken($"has the instruction 0x{(int)code:x2}, which tensors do not need");
            }
        }
    }

    private static FormatException Broken(string what) => new($"its pickle {what}");

    private static Global Known(string module, string name)
    {
        var global = new Global(module, name);
        return Pickle.Calls.ContainsKey(global) || (module == "torch" && Pickle.Storages.ContainsKey(name))
            ? global
            : throw new ForbiddenPickleException(global);
    }

    private static object? Call(Global callee, object?[] arguments) =>
        Pickle.Calls.TryGetValue(callee, out var call) ? call(arguments) : throw Pickle.Odd(callee.ToString());

    private static Dictionary<object, object?> WithItems(Dictionary<object, object?> dictionary, object?[] pairs)
    {
        if (pairs.Length % 2 != 0)
        {
            throw Broken("has a key without a value");
        }

        for (var i = 0; i < pairs.Length; i += 2)
        {
            dictionary[pairs[i] ?? "None"] = pairs[i + 1];
        }

        return dictionary;
    }

    private static long Whole(byte[] bytes)
    {
        var number = new BigInteger(bytes);
        return number >= long.MinValue && number <= long.MaxValue ? (long)number : throw Broken("has a number of more than 8 bytes");
    }

    private int Byte() => stream.ReadByte() is >= 0 and var value ? value : throw new EndOfStreamException();

    // Never more than the stream has left, so that a wrong length takes no memory.
    private byte[] Bytes(long length)
    {
        if (length > stream.Length - stream.Position)
        {
            throw new EndOfStreamException();
        }

        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private long Length(int width)
    {
        Span<byte> wide = stackalloc byte[sizeof(ulong)];
        Bytes(width).CopyTo(wide);
        var length = BinaryPrimitives.ReadUInt64LittleEndian(wide);
        return length <= int.MaxValue ? (long)length : throw new EndOfStreamException();
    }

    private string Line()
    {
        var bytes = new List<byte>();
        for (var next = Byte(); next != '\n'; next = Byte())
        {
            bytes.Add((byte)next);
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }

    private object? Peek() => stack.Count > 0 && stack[^1] != Mark ? stack[^1] : throw Broken("takes what is not there");

    private object? Pop()
    {
        var value = Peek();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private object?[] PopMany(int count)
    {
        var values = new object?[count];
        for (var i = count - 1; i >= 0; i--)
        {
            values[i] = Pop();
        }

        return values;
    }

    private object?[] PopToMark()
    {
        var mark = stack.LastIndexOf(Mark);
        if (mark < 0)
        {
            throw Broken("takes what is not there");
        }

        var values = stack.GetRange(mark + 1, stack.Count - mark - 1);
        stack.RemoveRange(mark, stack.Count - mark);
        return [.. values];
    }
}

/// <summary>A pickle names what might run anything, or is no part of a tensor.</summary>
/// <param name="global">What it names.</param>
internal sealed class ForbiddenPickleException(Global global) : Exception($"{global}")
{
    /// <summary>What it names.</summary>
    public Global Global => global;
}
