using Xunit;

// Tests share LibTorch's global generator, its threads and the count of native objects: one after the other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
