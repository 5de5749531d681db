"""Compares the engine with PyTorch on one GPU: step time and peak memory against depth.

usage: gpu_bench.py LIBRARY [STAGE ...]   (libresnet_nodes_torch_ops.so, built with -DRESNET_NODES_TORCH_OPS=ON)

STAGE: a stage and its depth, as tiny:64 or bottleneck:16; without any, all of the table, smallest first.

Prints one table. Times are medians of interleaved rounds; memory is what PyTorch's allocator counts beyond the
parameters, their gradients and x. (For graphs this is what they hold and hand out; memory that their pools keep free for
the next replay is not counted.) Two verdicts follow: memory is flat in depth, and adaptive is no slower than PyTorch.
"""

import statistics
import sys
import time

import torch

from gpu_stage import Problem

ROUNDS, WARM_UP = 7, 12
# net, channels, pixels, batch, depths
SIZES = [("tiny", 16, 10, 256, (16, 64, 128)), ("bottleneck", 256, 14, 128, (16, 64))]
ENGINE = ("adaptive", "adaptive+graphs", "corrected", "corrected+graphs", "checkpoint", "backprop", "backprop+graphs")
BACKPROP = ("PyTorch, contiguous", "PyTorch, channels_last", "PyTorch, torch.compile")
# The most that a layer may add to adaptive's memory, of what it adds to PyTorch's backprop.
FLAT = 0.1


def steps_of(size, depth):
    net, channels, pixels, batch, _ = size
    of = (net, channels, pixels, batch, depth, "cuda", torch.float32)
    problem, contiguous = Problem(*of), Problem(*of, channels_last=False)
    steps = {f"engine {method}": (lambda method=method: problem.engine(method)) for method in ENGINE}
    steps["PyTorch, contiguous"] = contiguous.pytorch
    steps["PyTorch, channels_last"] = problem.pytorch
    # One graph for all functions: their weights are its inputs.
    compiled = torch.compile(lambda f, x: f(x), dynamic=False)
    steps["PyTorch, torch.compile"] = lambda: problem.pytorch(compiled)
    steps["PyTorch checkpoint"] = problem.checkpointed
    return steps


def peak_of(step):
    before = torch.cuda.memory_allocated()
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measure(size, depth):
    """Peak in MiB and median of milliseconds of each step that runs."""
    net, channels, pixels, batch, _ = size
    steps, peaks = steps_of(size, depth), {}
    for name, step in steps.items():
        try:
            peaks[name] = peak_of(step)
        except Exception as error:  # a compiler may raise anything; the others go on
            print(f"{name} failed: {str(error).splitlines()[0]}", file=sys.stderr)
    times = {name: [] for name in peaks}
    for _ in range(ROUNDS):
        for name in peaks:
            begin = time.perf_counter()
            steps[name]()
            torch.cuda.synchronize()
            times[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: statistics.median(found) for name, found in times.items()}
    best = min((medians[name] for name in BACKPROP if name in medians), default=float("nan"))
    for name, median in medians.items():
        print(f"| {net} {channels}x{pixels}x{pixels}, batch {batch} | {depth} | {name} | {median:.2f} | "
              f"{median / best:.2f} | {peaks[name]:.0f} |", flush=True)
    return peaks, {name: median / best for name, median in medians.items()}


def stages(names):
    """(size, depth) of each name, in their order."""
    known = {f"{size[0]}:{depth}": (size, depth) for size in SIZES for depth in size[4]}
    for name in names:
        if name not in known:
            sys.exit(f"gpu_bench.py: no stage {name}, expected one of {', '.join(known)}")
    return [known[name] for name in names or known]


def verdict(name, wrong):
    print(f"-- {name}: {'passed' if not wrong else 'FAILED: ' + ', '.join(wrong)}")
    return bool(wrong)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    chosen = stages(sys.argv[2:])
    torch.ops.load_library(sys.argv[1])
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    print(f"\n{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, float32 without TF32, channels_last\n")
    print("| stage | depth | method | ms a step | to PyTorch's best | MiB |\n|---|---|---|---|---|---|")
    peaks, slow = {}, []
    for size, depth in chosen:
        peaks[size[0], depth], ratios = measure(size, depth)
        ratio = ratios.get("engine adaptive+graphs", float("nan"))
        slow += [] if ratio <= 1 else [f"{size[0]}:{depth} ({ratio:.2f})"]
    steep = []
    for net in dict.fromkeys(net for net, _ in peaks):
        depths = [depth for of, depth in peaks if of == net]
        missing = float("nan")
        ours, theirs = (peaks[net, max(depths)].get(name, missing) - peaks[net, min(depths)].get(name, missing)
                        for name in ("engine adaptive", "PyTorch, channels_last"))
        if len(depths) > 1 and not ours <= FLAT * theirs:
            steep.append(f"{net} (adaptive {ours:.0f} MiB more, PyTorch {theirs:.0f})")
    print()
    failed = [verdict("memory against depth", steep), verdict("step time of adaptive+graphs", slow)]
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
