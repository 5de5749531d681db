"""Times training steps in PyTorch, next to which scripts/compare-reference.sh times ours.

usage: reference_bench.py --network tiny|bottleneck|resnet|ode|tied [--depth N | --size SIZE] [--planes C] [--classes K]
         [--image P] [--batch B] [--train-steps N] [--precision float32,bfloat16] [--methods METHOD,...] [--steps N]
         [--threads N]
       reference_bench.py --version

A step is zero_grad, forward pass, loss, backward pass and SGD, as in `resnet-nodes bench`; methods take turns, in an order
drawn anew each time, and begin from the same weights, after --train-steps steps of eager. One JSON object a line, with the
keys of bench's rows: step_seconds is the median; a method that can't run has a line with its failure. Methods:

  pytorch-eager                      plain backprop
  pytorch-channels-last              the same, images and weights in that layout
  pytorch-checkpoint                 torch.utils.checkpoint in round(sqrt(blocks)) segments
  pytorch-channels-last-checkpoint   both
  pytorch-compile                    torch.compile of eager
  pytorch-adjoint                    a plain implementation of the adjoint of arXiv 2205.14612, section 4 (tiny, bottleneck)

--precision bfloat16 is torch.autocast. The networks are those of reference_networks.py, beside this file.
"""

import argparse
import contextlib
import copy
import json
import random
import statistics
import sys
import time

import torch
from torch import nn

import reference_networks as networks

WARM_UP, RATE, TRAINING_RATE, SEED = 3, 1e-3, 0.1, 1  # as bench's
MAP_SIDE = 14  # of the maps of bench's network bottleneck
LONGEST = 200  # characters of a failure


class Adjoint(torch.autograd.Function):
    """Keeps only x_N; on the way back x_n = x_{n+1} - h f_n(x_{n+1}), and the product is taken at x_n."""

    @staticmethod
    def forward(ctx, steps, x, *_):
        with torch.no_grad():
            for step in steps:
                x = step(x)
        ctx.steps = steps
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        (state,), gradients = ctx.saved_tensors, []
        for step in reversed(ctx.steps):
            with torch.no_grad():
                state = torch.sub(state, step.function(state), alpha=step.h)
            with torch.enable_grad():
                x = state.detach().requires_grad_()
                own = torch.autograd.grad(step.function(x), [x, *step.function.parameters()], step.h * gradient)
            gradient = gradient + own[0]
            gradients = [*own[1:], *gradients]
        return (None, gradient, *gradients)


def adjoint(network, x):
    """The run of steps by the adjoint, what stands before and behind it by autograd."""
    steps = [block for block in network if isinstance(block, networks.Step)]
    begin = next(i for i, block in enumerate(network) if block is steps[0])
    x = network[:begin](x)
    x = Adjoint.apply(steps, x, *(p for step in steps for p in step.function.parameters()))
    return network[begin + len(steps):](x)


def eager(network, x):
    return network(x)


class Trial:
    """A method on weights of its own, with what was measured of it."""

    def __init__(self, method, precision, network, images, labels):
        self.method, self.precision, self.seconds, self.failure = method, precision, [], None
        layout = networks.LAYOUTS["channels_last" if "channels-last" in method else "contiguous"]
        self.network = copy.deepcopy(network).to(memory_format=layout)
        self.images, self.labels = images.contiguous(memory_format=layout), labels
        self.run = networks.checkpointed if method.endswith("checkpoint") else adjoint if method.endswith("adjoint") else eager
        self.called = self.network
        self.optimizer = torch.optim.SGD(self.network.parameters(), RATE)

    def prepare(self):
        if self.method.endswith("compile"):
            if not hasattr(torch, "compile"):
                raise RuntimeError(f"PyTorch {torch.__version__} has no torch.compile")
            self.called = torch.compile(self.network)
        for _ in range(WARM_UP):
            self.step()

    def step(self, rate=RATE):
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        mixed = torch.autocast("cpu", dtype=torch.bfloat16) if self.precision == "bfloat16" else contextlib.nullcontext()
        with mixed:
            output = self.run(self.called, self.images)
            loss = output.float().pow(2).mean() if self.labels is None else nn.functional.cross_entropy(output, self.labels)
        loss.backward()
        self.optimizer.step()

    def time(self):
        begin = time.perf_counter()
        self.step()
        self.seconds.append(time.perf_counter() - begin)


def build(options):
    if options.network == "tiny":
        return networks.tiny(options.depth, options.planes, options.classes), torch.randn(options.batch, 3, 32, 32)
    if options.network == "bottleneck":
        images = torch.randn(options.batch, options.planes, MAP_SIDE, MAP_SIDE)
        return networks.bottleneck_stage(options.depth, options.planes), images
    network = networks.staged(options.network, networks.size_of(options.size), options.planes, options.classes)
    return network, torch.randn(options.batch, 3, options.image, options.image)


def tell(options, trial, **found):
    staged = options.network in networks.STAGED
    print(json.dumps({
        "network": options.network, "planes": options.planes, "depth": None if staged else options.depth,
        "size": options.size if staged else None, "classes": None if options.network == "bottleneck" else options.classes,
        "image": options.image if staged else None, "batch": options.batch, "precision": trial.precision, "method": trial.method,
        "train_steps": options.train_steps, "version": torch.__version__, **found}), flush=True)


def line_of(error):
    """The first line of an error that is no heading, cut where it gets long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    text = lines[0] if len(lines) == 1 or not lines[0].endswith(":") else f"{lines[0]} {lines[1]}"
    return f"{type(error).__name__}: {text}"[:LONGEST]


def measure(options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    network, images = build(options)
    labels = None if options.network == "bottleneck" else torch.randint(0, options.classes, (options.batch,))
    parameters, operations = networks.counts(network, images)
    start = Trial("pytorch-eager", "float32", network, images, labels)
    for _ in range(options.train_steps):
        start.step(TRAINING_RATE)

    trials = [trial for precision in options.precision for trial in trials_of(options, precision, start)]
    running = [trial for trial in trials if trial.failure is None]
    order = random.Random(SEED)
    for _ in range(options.steps):
        for trial in order.sample(running, len(running)):
            trial.time()
    for trial in trials:
        if trial.failure is None:
            tell(options, trial, parameters=parameters, forward_gflop=operations / 1e9,
                 step_seconds=statistics.median(trial.seconds))
        else:
            tell(options, trial, failure=trial.failure)


def trials_of(options, precision, start):
    for method in options.methods:
        if precision == "bfloat16" and not method.endswith(("eager", "channels-last")):
            continue  # autocast is measured where it is fastest
        if method.endswith("adjoint") and options.network in networks.STAGED:
            continue
        trial = Trial(method, precision, start.network, start.images, start.labels)
        try:
            trial.prepare()
        except Exception as error:  # what a compiler may raise is anything; the others go on
            if not method.endswith("compile"):
                raise
            trial.failure = line_of(error)
        yield trial


def words(text):
    return text.split(",")


def main():
    if sys.argv[1:] == ["--version"]:
        print(torch.__version__)
        return
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("--network", choices=("tiny", "bottleneck", *networks.STAGED), required=True)
    parser.add_argument("--size", default="34")
    parser.add_argument("--precision", type=words, default=["float32"])
    parser.add_argument("--methods", type=words, default=["pytorch-eager", "pytorch-channels-last"])
    for name, default in (("depth", 16), ("planes", 16), ("classes", 10), ("image", 32), ("batch", 128), ("train-steps", 0),
                          ("steps", 10), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
