"""Compares the engine with PyTorch on one GPU: gradients against float64 on the CPU, then step time and peak memory.

usage: gpu_bench.py LIBRARY [STAGE ...]   (libresnet_nodes_torch_ops.so, built with -DRESNET_NODES_TORCH_OPS=ON)

STAGE: a stage and its depth, as tiny:64 or bottleneck:16; without any, all of the table, smallest first.

Prints one table. Times are medians of interleaved rounds; memory is what PyTorch's allocator counts beyond the
parameters, their gradients and x. (For graphs this is what they hold and hand out; memory that their pools keep free for
the next replay is not counted.)
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

ROUNDS, WARM_UP = 7, 12
# net, channels, pixels, batch, depths
SIZES = [("tiny", 16, 10, 256, (16, 64, 128)), ("bottleneck", 256, 14, 128, (16, 64))]
ENGINE = ("adaptive", "adaptive+graphs", "corrected", "corrected+graphs", "checkpoint", "backprop", "backprop+graphs")


def conv(inputs, outputs, kernel):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def function(net, channels):
    if net == "tiny":
        return nn.Sequential(
            conv(channels, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, channels, 3),
            nn.BatchNorm2d(channels))
    narrow = channels // 4
    return nn.Sequential(
        conv(channels, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU(), conv(narrow, narrow, 3), nn.BatchNorm2d(narrow),
        nn.ReLU(), conv(narrow, channels, 1), nn.BatchNorm2d(channels))


class Problem:
    def __init__(self, net, channels, pixels, batch, depth, device, dtype):
        torch.manual_seed(1)
        self.net, self.depth = net, depth
        self.functions = nn.ModuleList([function(net, channels) for _ in range(depth)])
        x, grad = torch.randn(batch, channels, pixels, pixels), torch.randn(batch, channels, pixels, pixels)
        to = {"device": device, "dtype": dtype}
        self.functions.to(**to).to(memory_format=torch.channels_last)
        self.x = x.to(**to).contiguous(memory_format=torch.channels_last)
        self.grad = grad.to(**to).contiguous(memory_format=torch.channels_last)
        self.parameters = list(self.functions.parameters())
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.buffers = [b for b in self.functions.buffers() if b.is_floating_point()]

    def engine(self, method):
        with torch.no_grad():
            return torch.ops.resnet_nodes_bench.train_step(
                self.x, self.grad, [p.detach() for p in self.parameters], self.buffers,
                [p.grad for p in self.parameters], self.depth, self.net, method)

    def pytorch(self, checkpointed):
        x = self.x.detach().requires_grad_()
        state = x
        for f in self.functions:
            step = checkpoint(f, state, use_reentrant=False) if checkpointed else f(state)
            state = torch.add(state, step, alpha=1 / self.depth)
        state.backward(self.grad)
        return x.grad

    def gradients(self, step):
        for parameter in self.parameters:
            parameter.grad.zero_()
        x = step()
        return torch.cat([g.double().cpu().flatten() for g in [x] + [p.grad for p in self.parameters]])


def compare():
    """The engine's float32 gradients on the GPU, without TF32, against PyTorch's in float64 on the CPU."""
    print("gradient, relative to PyTorch's in float64 on the CPU (depth 8, batch 8):")
    worst = 0
    for net, channels, pixels in (("tiny", 16, 10), ("bottleneck", 64, 7)):
        truth_of = Problem(net, channels, pixels, 8, 8, "cpu", torch.float64)
        truth = truth_of.gradients(lambda: truth_of.pytorch(False))
        problem = Problem(net, channels, pixels, 8, 8, "cuda", torch.float32)
        steps = {f"engine {method}": (lambda method=method: problem.engine(method))
                 for method in ("backprop", "backprop+graphs", "adaptive", "adaptive+graphs")}
        steps["PyTorch backprop"] = lambda: problem.pytorch(False)
        for name, step in steps.items():
            # Until adaptive's choices have settled and graphs have been recorded.
            for _ in range(WARM_UP if "adaptive" in name or "graphs" in name else 0):
                problem.gradients(step)
            error = ((problem.gradients(step) - truth).norm() / truth.norm()).item()
            print(f"  {net:10}  {name:22}  {error:.1e}")
            worst = max(worst, error if name.startswith("engine backprop") else 0)
    if not worst < 1e-3:
        sys.exit(f"gpu_bench.py: the engine's stored gradient is off by {worst:.1e}, expected rounding of float32")


def measure(size, depth):
    net, channels, pixels, batch, _ = size
    problem = Problem(net, channels, pixels, batch, depth, "cuda", torch.float32)
    steps = {f"engine {method}": (lambda method=method: problem.engine(method)) for method in ENGINE}
    steps["PyTorch backprop"] = lambda: problem.pytorch(False)
    steps["PyTorch checkpoint"] = lambda: problem.pytorch(True)
    times, peaks = {name: [] for name in steps}, {}
    for name, step in steps.items():
        before = torch.cuda.memory_allocated()
        for _ in range(WARM_UP):
            step()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    for _ in range(ROUNDS):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            torch.cuda.synchronize()
            times[name].append(1e3 * (time.perf_counter() - begin))
    backprop = statistics.median(times["PyTorch backprop"])
    for name in steps:
        median = statistics.median(times[name])
        print(f"| {net} {channels}x{pixels}x{pixels}, batch {batch} | {depth} | {name} | {median:.2f} | "
              f"{median / backprop:.2f} | {peaks[name]:.0f} |", flush=True)


def stages(names):
    """(size, depth) of each name, in their order."""
    known = {f"{size[0]}:{depth}": (size, depth) for size in SIZES for depth in size[4]}
    for name in names:
        if name not in known:
            sys.exit(f"gpu_bench.py: no stage {name}, expected one of {', '.join(known)}")
    return [known[name] for name in names or known]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    chosen = stages(sys.argv[2:])
    torch.ops.load_library(sys.argv[1])
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    compare()
    torch.backends.cudnn.benchmark = True
    print(f"\n{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, float32 without TF32, channels_last\n")
    print("| stage | depth | method | ms a step | to PyTorch backprop | MiB |\n|---|---|---|---|---|---|")
    for size, depth in chosen:
        measure(size, depth)


if __name__ == "__main__":
    main()
