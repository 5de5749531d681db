"""Checks the engine on a GPU against PyTorch: one section after the other, each with its own verdict.

usage: gpu_checks.py LIBRARY [--device cpu]   (libresnet_nodes_torch_ops.so, built with -DRESNET_NODES_TORCH_OPS=ON)

On a CPU the sections run that need no GPU, to try this program itself. Exit status: 0 where all that ran passed.
"""

import sys
import time
import traceback

import torch

from gpu_stage import Problem, off, truth

WARM_UP = 12  # until adaptive's choices have settled and graphs have been recorded
RECORDINGS = 40


class Checks:
    def __init__(self, device):
        self.device, self.failures = device, 0

    def section(self, name, body, needs_gpu=False):
        begin = time.perf_counter()
        print(f"\n== {name}", flush=True)
        if needs_gpu and self.device == "cpu":
            print(f"-- {name}: skipped, it needs a GPU", flush=True)
            return
        self.wrong = []
        try:
            body()
        except Exception:  # whatever it is: the other sections still tell something
            traceback.print_exc(file=sys.stdout)
            self.wrong.append("an exception")
        verdict = "passed" if not self.wrong else "FAILED: " + ", ".join(self.wrong)
        self.failures += bool(self.wrong)
        print(f"-- {name}: {verdict} ({time.perf_counter() - begin:.0f} s)", flush=True)

    def expect(self, holds, what):
        if not holds:
            self.wrong.append(what)

    def near(self, found, expected, bound, what):
        error = off(found, expected)
        print(f"  {what:48} {error:.1e} (at most {bound:.0e})", flush=True)
        self.expect(error <= bound, what)  # not a number is no success either

    def poison(self):
        """Leaves NaN in the memory that the allocator hands out next."""
        sizes = [2**k for k in range(7, 25)]
        dirty = [torch.full((size,), float("nan"), device=self.device) for size in sizes for _ in range(4)]
        del dirty

    def problem(self, *size, dtype=torch.float32, training=True):
        return Problem(*size, self.device, dtype, training)

    # --- Sections -----------------------------------------------------------------------------------------------------

    def gradients(self):
        """The engine's float32 gradients against PyTorch's in float64 on the CPU."""
        for net, channels, pixels in (("tiny", 16, 10), ("bottleneck", 64, 7), ("linear", 32, 0)):
            size = (net, channels, pixels, 8, 8)
            expected, problem = truth(*size), self.problem(*size)
            methods = ["backprop", "checkpoint", "adaptive"]
            if self.device != "cpu":
                methods += ["backprop+graphs", "adaptive+graphs"]
            for method in methods:
                for _ in range(WARM_UP if "adaptive" in method or "graphs" in method else 0):
                    problem.gradients(lambda: problem.engine(method))
                bound = 0.05 if "adaptive" in method else 1e-4
                self.near(problem.gradients(lambda: problem.engine(method)), expected, bound, f"{net}, {method}")
            self.near(problem.gradients(problem.pytorch), expected, 1e-4, f"{net}, PyTorch")

    def convolutions(self):
        """Normalizations fused with ReLUs, in memory full of NaN, beside PyTorch's own; TF32 off, then on."""
        for tf32 in (False, True):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            for net in ("tiny", "grouped", "dilated"):
                size = (net, 48, 10, 8, 4)
                expected, problem = truth(*size), self.problem(*size)
                theirs = off(problem.gradients(problem.pytorch), expected)
                for method in ("backprop", "checkpoint"):
                    self.poison()
                    found = problem.gradients(lambda: problem.engine(method))
                    bound = max(3 * theirs, 1e-4)
                    self.near(found, expected, bound, f"{net}, TF32 {'on' if tf32 else 'off'}, {method}")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def evaluation(self):
        for dtype, least in ((torch.float32, 1e-4), (torch.bfloat16, 0.02)):
            for net in ("tiny", "bottleneck"):
                size = (net, 32, 8, 8, 4)
                expected, problem = truth(*size, training=False), self.problem(*size, dtype=dtype, training=False)
                theirs = off(problem.gradients(problem.pytorch), expected)
                for method in ("backprop", "checkpoint"):
                    self.poison()
                    found = problem.gradients(lambda: problem.engine(method))
                    self.near(found, expected, max(3 * theirs, least), f"{net}, {str(dtype)[6:]}, {method}")

    def graphs(self):
        """Many recordings, some of them destroyed: those that are left stay right, and their memory is given back."""
        def reserved():
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            return torch.cuda.memory_reserved() / 2**20

        size = ("linear", 64, 0, 256, 4)
        expected, problem = truth(*size), self.problem(*size)
        before, line = reserved(), []
        for number in range(1, RECORDINGS + 1):
            for _ in range(WARM_UP):
                problem.engine("backprop+graphs", number)
            line.append(reserved())
            if number % 3 == 0:
                torch.ops.resnet_nodes_bench.forget(number - 1)
        print("  MiB reserved after each recording:", " ".join(f"{mib:.0f}" for mib in line))
        for number in range(1, RECORDINGS + 1):
            if number % 3 != 2:
                found = problem.gradients(lambda: problem.engine("backprop+graphs", number))
                self.expect(off(found, expected) <= 1e-4, f"recording {number}")
        for number in range(1, RECORDINGS + 1):
            torch.ops.resnet_nodes_bench.forget(number)
        after = reserved()
        print(f"  before all {before:.0f}, after all are destroyed {after:.0f}")
        self.expect(after <= before + 64, "memory is kept")

    def failure(self):
        """A recording that fails leaves LibTorch's random numbers and later recordings as they were."""
        x = torch.randn(64, device=self.device)
        reason = torch.ops.resnet_nodes_bench.fail_to_record(x)
        print(f"  {reason}")
        self.expect("could not be recorded" in reason, "no failure")
        self.expect(torch.randn(64, device=self.device).isfinite().all().item(), "random numbers")
        size = ("tiny", 16, 10, 8, 4)
        expected, problem = truth(*size), self.problem(*size)
        for _ in range(WARM_UP):
            problem.gradients(lambda: problem.engine("backprop+graphs", 99))
        self.near(problem.gradients(lambda: problem.engine("backprop+graphs", 99)), expected, 1e-4, "recorded after it")
        torch.ops.resnet_nodes_bench.forget(99)

    def waits(self):
        """Nothing between the first kernel and the last waits for the device."""
        from torch.profiler import ProfilerActivity, profile

        problem = self.problem("tiny", 16, 10, 256, 64)
        for method in ("backprop", "adaptive", "adaptive+graphs"):
            for _ in range(WARM_UP):
                problem.engine(method)
            torch.cuda.synchronize()
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
                problem.engine(method)
            events = profiled.events()
            launches = [e.time_range.start for e in events if "LaunchKernel" in e.name or "GraphLaunch" in e.name]
            waits = [e.name for e in events
                     if launches and min(launches) < e.time_range.start < max(launches) and "Synchronize" in e.name]
            print(f"  {method}: {len(launches)} launches, {len(waits)} waits between them {sorted(set(waits))}")
            self.expect(launches and not waits, method)

    def run(self):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.section("gradients against float64", self.gradients)
        self.section("functions in memory full of NaN, groups, dilation, TF32", self.convolutions)
        self.section("backward in evaluation mode", self.evaluation)
        self.section("graphs: recordings and memory", self.graphs, needs_gpu=True)
        self.section("graphs: a recording that fails", self.failure, needs_gpu=True)
        self.section("waits for the device", self.waits, needs_gpu=True)
        return self.failures


def main():
    arguments = sys.argv[1:]
    device = "cuda"
    if arguments[1:] == ["--device", "cpu"]:
        device = "cpu"
    elif len(arguments) != 1:
        sys.exit(__doc__)
    torch.ops.load_library(arguments[0])
    sys.exit(1 if Checks(device).run() else 0)


if __name__ == "__main__":
    main()
