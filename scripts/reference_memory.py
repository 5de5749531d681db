"""Measures the memory of a training step of ResNet in PyTorch, and prints one JSON object.

usage: MALLOC_MMAP_THRESHOLD_=16384 reference_memory.py --network ode|tied|resnet --size SIZE --method backprop|checkpoint
         [--planes 64] [--classes 1000] [--image 64] [--batch 32] [--threads 2] [--layout channels_last|contiguous]
       SIZE as our programs take it: 18, 34, 50, 101, 152, auto:8, custom:3+8+36+3 or custom-basic:2+2+10+2

The object has peak_bytes of the process, step_bytes (the peak less what is resident at rest between steps),
step_seconds (the median) and version. It is measured as by managed/Measuring/MemoryProbe.cs, on Linux with glibc, and
in the same setting of its allocator: blocks of 16 KiB and more return to the system once they are freed, so that what
is measured is what lives. Steps take longer that way: step_seconds compares only with times of the same setting.

The network is that of managed/Networks/ResNet.cs, as reference_networks.py beside this file writes it. --layout is that
of images and weights; which one takes less depends on method and network. `backprop` stores every state. `checkpoint`
is what torch.utils.checkpoint.checkpoint_sequential does over the blocks of the network, in round(sqrt(blocks))
segments. Gradients are kept between steps: they and the momentum count as rest. Tried with PyTorch 2.14.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import sys
import time

import torch
from torch import nn

from reference_networks import LAYOUTS, STAGED, checkpointed, size_of, staged

WARM_UP, REPEATS, RATE, MOMENTUM = 3, 5, 1e-3, 0.9
VARIABLE, THRESHOLD = "MALLOC_MMAP_THRESHOLD_", "16384"


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
    parser.add_argument("--network", choices=STAGED, required=True)
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
    network = staged(options.network, options.size, options.planes, options.classes).to(memory_format=layout)
    images = torch.randn(options.batch, 3, options.image, options.image).contiguous(memory_format=layout)
    labels = torch.randint(0, options.classes, (options.batch,))
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)

    def step():
        optimizer.zero_grad(set_to_none=False)
        scores = network(images) if options.method == "backprop" else checkpointed(network, images)
        nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()

    print(json.dumps({**measure(step), "version": torch.__version__}))


if __name__ == "__main__":
    main()
