"""A residual stage in PyTorch and in the engine, with the same weights: for gpu_checks.py and gpu_bench.py."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def conv(inputs, outputs, kernel, groups=1, dilation=1):
    return nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), groups=groups, dilation=dilation,
                     bias=False)


def function(net, channels):
    """A residual function, as native/bench/torch_ops.cpp has them."""
    if net == "linear":
        return nn.Sequential(nn.Linear(channels, channels), nn.Tanh(), nn.Linear(channels, channels))
    if net == "bottleneck":
        narrow = channels // 4
        return nn.Sequential(
            conv(channels, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU(), conv(narrow, narrow, 3),
            nn.BatchNorm2d(narrow), nn.ReLU(), conv(narrow, channels, 1), nn.BatchNorm2d(channels))
    same = {"groups": 3 if net == "grouped" else 1, "dilation": 2 if net == "dilated" else 1}
    return nn.Sequential(
        conv(channels, channels, 3, **same), nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, channels, 3, **same),
        nn.BatchNorm2d(channels))


class Problem:
    """A stage of `depth` functions, an input and a cotangent. pixels 0: no images, but rows."""

    def __init__(self, net, channels, pixels, batch, depth, device, dtype, training=True, channels_last=True):
        torch.manual_seed(1)
        self.net, self.depth, self.training = net, depth, training
        self.functions = nn.ModuleList([function(net, channels) for _ in range(depth)]).train(training)
        shape = (batch, channels, pixels, pixels) if pixels else (batch, channels)
        x, grad = torch.randn(shape), torch.randn(shape)
        for name, buffer in self.functions.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + (0.5 if name.endswith("var") else -0.5))
        images = channels_last and pixels > 0
        layout = {"memory_format": torch.channels_last if images else torch.contiguous_format}
        to = {"device": device, "dtype": dtype}
        self.functions.to(**to)
        if images:
            self.functions.to(**layout)
        self.x, self.grad = x.to(**to).contiguous(**layout), grad.to(**to).contiguous(**layout)
        self.parameters = list(self.functions.parameters())
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.buffers = [b for b in self.functions.buffers() if b.is_floating_point()]

    def engine(self, method, number=0):
        """Adds to the parameters' gradients and returns that of x."""
        with torch.no_grad():
            return torch.ops.resnet_nodes_bench.train_step(
                self.x, self.grad, [p.detach() for p in self.parameters], self.buffers,
                [p.grad for p in self.parameters], self.depth, self.net, method, self.training, number)

    def pytorch(self, through=lambda f, x: f(x)):
        x = self.x.detach().requires_grad_()
        state = x
        for f in self.functions:
            state = torch.add(state, through(f, state), alpha=1 / self.depth)
        state.backward(self.grad)
        return x.grad

    def checkpointed(self):
        return self.pytorch(lambda f, x: checkpoint(f, x, use_reentrant=False))

    def gradients(self, step):
        """All that a step finds, as one vector in float64 on the CPU."""
        for parameter in self.parameters:
            parameter.grad.zero_()
        x = step()
        return torch.cat([g.double().cpu().flatten() for g in [x] + [p.grad for p in self.parameters]])


def truth(net, channels, pixels, batch, depth, training=True):
    """PyTorch's gradients in float64 on the CPU."""
    problem = Problem(net, channels, pixels, batch, depth, "cpu", torch.float64, training)
    return problem.gradients(problem.pytorch)


def off(found, expected):
    return ((found - expected).norm() / expected.norm()).item()
