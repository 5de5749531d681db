using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Distributed;

/// <summary>
/// What modules keep beside their parameters, such as running statistics: after each step all ranks go on with the mean over the ranks,
/// b + Σ(b_r − b)/K where b is what all had before. What no rank has changed stays as it is, bit for bit.
/// </summary>
internal sealed class RunningBuffers : IDisposable
{
    private readonly List<Group> groups;

    /// <param name="buffers">Those of floating-point numbers; whole numbers, such as counts of batches, are the same on all ranks.</param>
    public RunningBuffers(IEnumerable<Tensor> buffers) => groups =
        [.. buffers.Where(buffer => buffer.is_floating_point()).GroupBy(TypeOf).Select(group => new Group([.. group], group.Key))];

    /// <summary>Starts to sum up what this rank has changed.</summary>
    public void Start(Communicator ranks) => groups.ForEach(group => group.Start(ranks));

    /// <summary>Waits for the sums, and takes the mean over so many ranks.</summary>
    public void Finish(int ranks) => groups.ForEach(group => group.Finish(ranks));

    public void Dispose() => groups.ForEach(group => group.Dispose());

    private static ScalarType TypeOf(Tensor buffer) =>
        buffer.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? ScalarType.Float32 : buffer.dtype;

    private sealed class Group : IDisposable
    {
        private readonly IReadOnlyList<Tensor> buffers;
        private readonly ScalarType type;
        private readonly Tensor before;
        private Tensor? changes;
        private Communication? sum;

        public Group(IReadOnlyList<Tensor> buffers, ScalarType type)
        {
            (this.buffers, this.type) = (buffers, type);
            before = Now().DetachFromDisposeScope();
        }

        public void Start(Communicator ranks)
        {
            using var guard = no_grad();
            changes = Now().DetachFromDisposeScope();
            using Scalar minus = -1;
            changes.add_(before, minus);
            sum = ranks.StartSum(changes);
        }

        public void Finish(int ranks)
        {
            sum!.Wait();
            using var guard = no_grad();
            using var scope = NewDisposeScope();
            using Scalar share = 1.0 / ranks;
            before.add_(changes!, share);
            var start = 0L;
            foreach (var buffer in buffers)
            {
                buffer.copy_(before.narrow(0, start, buffer.NumberOfElements).view(buffer.shape));
                start += buffer.NumberOfElements;
            }

            changes!.Dispose();
            changes = null;
        }

        public void Dispose()
        {
            before.Dispose();
            changes?.Dispose();
        }

        private Tensor Now()
        {
            using var guard = no_grad();
            using var scope = NewDisposeScope();
            return cat([.. buffers.Select(buffer => buffer.detach().to(type).flatten())]).MoveToOuterDisposeScope();
        }
    }
}
