"""Times training steps of TinyResNet in PyTorch, and prints the table that compares them with ours.

usage: reference_bench.py time DEPTH PLANES BATCH STEPS THREADS   one JSON object a line: method, step_seconds (the median)
       reference_bench.py table ROUND_FILE...                     the objects of all rounds and of ours, as one table
       reference_bench.py version

The network is that of managed/Networks/TinyResNet.cs. Its gradients are computed in three ways: plain backprop;
torch.utils.checkpoint in segments of sqrt(N) layers; and a plain implementation of the adjoint of arXiv 2205.14612,
section 4. THREADS 0 keeps PyTorch's default. Works with PyTorch 1.13 and later.
"""

import json
import math
import statistics
import sys
import time

REFERENCE, WARM_UP, CLASSES, RATE = "pytorch-backprop", 2, 10, 1e-3


def network_of(torch, depth, planes):
    nn = torch.nn

    def function():
        return nn.Sequential(
            nn.Conv2d(planes, planes, 3, padding=1), nn.BatchNorm2d(planes), nn.ReLU(),
            nn.Conv2d(planes, planes, 3, padding=1), nn.BatchNorm2d(planes))

    stem = nn.Sequential(nn.Conv2d(3, planes, 5, stride=3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU())
    head = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * planes, CLASSES))
    return nn.ModuleDict({"stem": stem, "functions": nn.ModuleList([function() for _ in range(depth)]), "head": head})


def backprop(functions, h, state):
    for f in functions:
        state = state + h * f(state)
    return state


def checkpointed(functions, h, state):
    from torch.utils.checkpoint import checkpoint

    length = math.ceil(math.sqrt(len(functions)))
    for begin in range(0, len(functions), length):
        segment = functions[begin:begin + length]
        state = checkpoint(lambda x, own=segment: backprop(own, h, x), state, use_reentrant=False)
    return state


def adjoint_of(torch):
    class Adjoint(torch.autograd.Function):
        """Keeps only x_N; on the way back x_n = x_{n+1} - h f_n(x_{n+1}), and the product is taken at x_n."""

        @staticmethod
        def forward(ctx, functions, h, x, *parameters):
            with torch.no_grad():
                output = backprop(functions, h, x)
            ctx.functions, ctx.h = functions, h
            ctx.save_for_backward(output)
            return output

        @staticmethod
        def backward(ctx, gradient):
            (state,), gradients = ctx.saved_tensors, []
            for f in reversed(ctx.functions):
                with torch.no_grad():
                    state = state - ctx.h * f(state)
                with torch.enable_grad():
                    x = state.detach().requires_grad_()
                    own = torch.autograd.grad(f(x), [x, *f.parameters()], ctx.h * gradient)
                gradient = gradient + own[0]
                gradients = [*own[1:], *gradients]
            return (None, None, gradient, *gradients)

    return lambda functions, h, x: Adjoint.apply(functions, h, x, *(p for f in functions for p in f.parameters()))


def measure(depth, planes, batch, steps, threads):
    import torch

    if threads > 0:
        torch.set_num_threads(threads)
    torch.manual_seed(1)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, CLASSES, (batch,))
    network = network_of(torch, depth, planes)
    optimizer = torch.optim.SGD(network.parameters(), RATE)
    methods = {REFERENCE: backprop, "pytorch-checkpoint": checkpointed, "pytorch-adjoint": adjoint_of(torch)}

    def step(method):
        begin = time.perf_counter()
        optimizer.zero_grad()
        state = method(list(network["functions"]), 1 / depth, network["stem"](images))
        torch.nn.functional.cross_entropy(network["head"](state), labels).backward()
        optimizer.step()
        return time.perf_counter() - begin

    seconds = {name: [] for name in methods}
    for turn in range(WARM_UP + steps):
        for name, method in methods.items():
            taken = step(method)
            if turn >= WARM_UP:
                seconds[name].append(taken)
    for name, own in seconds.items():
        print(json.dumps({"method": name, "step_seconds": statistics.median(own)}))


def table(files):
    rounds = {}
    for file in files:
        with open(file, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row.get("step_seconds") is not None:
                    rounds.setdefault(row["method"], []).append(row["step_seconds"])
    medians = {method: statistics.median(own) for method, own in rounds.items()}
    width = max(map(len, medians))
    print(f"{'method':{width}}  ratio to {REFERENCE}  ms a step  fastest and slowest round (ms)")
    for method, median in medians.items():
        ratio, own = median / medians[REFERENCE], rounds[method]
        print(f"{method:{width}}  {ratio:25.3f}  {1e3 * median:9.2f}  {1e3 * min(own):.2f} to {1e3 * max(own):.2f}")


def main(words):
    if words[:1] == ["time"] and len(words) == 6:
        measure(*map(int, words[1:]))
    elif words[:1] == ["table"] and len(words) > 1:
        table(words[1:])
    elif words == ["version"]:
        import torch

        print(torch.__version__)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
