"""Measures the memory of a training step of ResNet in PyTorch, and prints one JSON object.

usage: MALLOC_MMAP_THRESHOLD_=16384 reference_memory.py --network ode|tied --size SIZE --method backprop|checkpoint
         [--planes 64] [--classes 1000] [--image 64] [--batch 32] [--threads 2] [--layout channels_last|contiguous]
       SIZE as our programs take it: 18, 34, 50, 101, 152, auto:8, custom:3+8+36+3 or custom-basic:2+2+10+2

The object has peak_bytes of the process, step_bytes (the peak less what is resident at rest between steps),
step_seconds (the median) and version. It is measured as by managed/Measuring/MemoryProbe.cs, on Linux with glibc, and
in the same setting of its allocator: blocks of 16 KiB and more return to the system once they are freed, so that what
is measured is what lives. Steps take longer that way: step_seconds compares only with times of the same setting.

The network is that of managed/Networks/ResNet.cs, written frugally: ReLU in place behind a normalization, no copy of
h f(x). --layout is that of images and weights; which one takes less depends on method and network. `backprop` stores
every state. `checkpoint` is torch.utils.checkpoint.checkpoint_sequential over the blocks of the network, in
round(sqrt(blocks)) segments. Gradients are kept between steps: they and the momentum count as rest. Tried with
PyTorch 2.14.
"""

import argparse
import ctypes
import gc
import json
import math
import os
import re
import statistics
import sys
import time

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

WARM_UP, REPEATS, RATE, MOMENTUM = 3, 5, 1e-3, 0.9
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
VARIABLE, THRESHOLD = "MALLOC_MMAP_THRESHOLD_", "16384"
NAMED = {
    "18": "custom-basic:2+2+2+2", "34": "custom-basic:3+4+6+3", "50": "custom:3+4+6+3", "101": "custom:3+4+23+3",
    "152": "custom:3+8+36+3"}


def size_of(text):
    """Blocks of the four stages, and whether they are bottlenecks."""
    form = re.fullmatch(r"(auto|custom|custom-basic):([1-9]\d*(?:\+[1-9]\d*)*)", NAMED.get(text, text))
    kind, blocks = (form[1], [int(part) for part in form[2].split("+")]) if form else ("", [])
    if len(blocks) != {"auto": 1}.get(kind, 4):
        raise argparse.ArgumentTypeError(f"'{text}' is unknown; expected 34, 101, auto:8 or custom:3+8+36+3")
    return (blocks * 4, blocks[0] > 2) if kind == "auto" else (blocks, kind == "custom")


def convolution(inputs, outputs, kernel, stride=1):
    own = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(own.weight, mode="fan_out", nonlinearity="relu")
    return own


def branch(inputs, planes, bottleneck, stride=1, relu_first=False):
    shapes = [(planes, 3, stride), (planes, 3, 1)]
    if bottleneck:
        shapes = [(planes, 1, 1), (planes, 3, stride), (4 * planes, 1, 1)]
    layers = []
    for i, (outputs, kernel, step) in enumerate(shapes):
        if i > 0 or relu_first:
            layers.append(nn.ReLU(inplace=i > 0))  # the first one's input is the state, which is needed again
        layers += [convolution(inputs, outputs, kernel, step), nn.BatchNorm2d(outputs)]
        inputs = outputs
    return nn.Sequential(*layers)


class FirstBlock(nn.Module):
    """ReLU(branch(x) + shortcut(x)), which may change the shape."""

    def __init__(self, inputs, planes, bottleneck, stride):
        super().__init__()
        outputs = 4 * planes if bottleneck else planes
        self.branch = branch(inputs, planes, bottleneck, stride)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return self.branch(x).add_(self.shortcut(x)).relu_()


class Step(nn.Module):
    """x + h f(x)."""

    def __init__(self, function, h):
        super().__init__()
        self.function, self.h = function, h

    def forward(self, x):
        return torch.add(x, self.function(x), alpha=self.h)


def network_of(kind, size, planes, classes):
    """The blocks in order; the steps of a tied stage share one function."""
    (stages, bottleneck), channels = size, planes
    if classes == 1000:
        first, pool = convolution(3, planes, 7, 2), nn.MaxPool2d(3, 2, padding=1)
    else:
        first, pool = convolution(3, planes, 3), nn.Identity()
    blocks = [nn.Sequential(first, nn.BatchNorm2d(planes), nn.ReLU(inplace=True), pool)]
    for s, count in enumerate(stages):
        width, depth = planes << s, count - 1
        blocks.append(FirstBlock(channels, width, bottleneck, 1 if s == 0 else 2))
        channels = 4 * width if bottleneck else width
        functions = [branch(channels, width, bottleneck, relu_first=True)
                     for _ in range(min(depth, 1) if kind == "tied" else depth)]
        blocks += [Step(functions[i % len(functions)], 1 / depth) for i in range(depth)]
        blocks.append(nn.ReLU())  # not in place: a segment may begin here, and keeps its input
    blocks.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)))
    return nn.Sequential(*blocks)


def status(key):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def measure(step):
    """Steady steps. The smallest figures stand, as noise only adds."""
    for _ in range(WARM_UP):
        step()
    libc, peaks, own, seconds = ctypes.CDLL("libc.so.6"), [], [], []
    for _ in range(REPEATS):
        gc.collect()
        libc.malloc_trim(ctypes.c_size_t(0))
        rest = status("VmRSS:")
        with open("/proc/self/clear_refs", "w", encoding="ascii") as marks:
            marks.write("5")  # resets the high-water mark
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
        peaks.append(status("VmHWM:"))
        own.append(peaks[-1] - rest)
    return {"peak_bytes": min(peaks), "step_bytes": max(min(own), 0), "step_seconds": statistics.median(seconds)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("--network", choices=("ode", "tied"), required=True)
    parser.add_argument("--size", type=size_of, required=True)
    parser.add_argument("--method", choices=("backprop", "checkpoint"), required=True)
    for name, default in (("planes", 64), ("classes", 1000), ("image", 64), ("batch", 32), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--layout", choices=tuple(LAYOUTS), default="channels_last")
    options = parser.parse_args()
    if os.environ.get(VARIABLE) != THRESHOLD:
        sys.exit(f"reference_memory.py: expected {VARIABLE}={THRESHOLD} in the environment, as --help says")

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    layout = LAYOUTS[options.layout]
    network = network_of(options.network, options.size, options.planes, options.classes).to(memory_format=layout)
    images = torch.randn(options.batch, 3, options.image, options.image).contiguous(memory_format=layout)
    labels = torch.randint(0, options.classes, (options.batch,))
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)
    segments = round(math.sqrt(len(network)))

    def step():
        optimizer.zero_grad(set_to_none=False)
        if options.method == "backprop":
            scores = network(images)
        else:
            scores = checkpoint_sequential(network, segments, images, use_reentrant=False)
        nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()

    print(json.dumps({**measure(step), "version": torch.__version__}))


if __name__ == "__main__":
    main()
