"""The networks of managed/Networks and of `resnet-nodes bench` in PyTorch, for the programs that measure it beside ours.

Written frugally: ReLU in place behind a normalization, no copy of h f(x). A network is an nn.Sequential of its blocks:
stem, first blocks, steps x + h f(x), head. Works with PyTorch 1.13 and later.
"""

import argparse
import math
import re

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

STAGED = ("resnet", "ode", "tied")  # networks of four stages: an ordinary one, an ODE network, one of tied weights
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
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


def staged(kind, size, planes, classes):
    """A network of four stages; the steps of a tied stage share one function."""
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
        functions = [branch(channels, width, bottleneck, relu_first=kind != "resnet")
                     for _ in range(min(depth, 1) if kind == "tied" else depth)]
        blocks += [Step(functions[i % len(functions)], 1 / depth) for i in range(depth)]
        if kind != "resnet":
            blocks.append(nn.ReLU())  # not in place: a segment may begin here, and keeps its input
    blocks.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)))
    return nn.Sequential(*blocks)


def tiny(depth, planes, classes):
    """TinyResNet, for images of 32×32."""
    def function():
        return nn.Sequential(
            nn.Conv2d(planes, planes, 3, padding=1), nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, padding=1), nn.BatchNorm2d(planes))

    stem = nn.Sequential(
        nn.Conv2d(3, planes, 5, stride=3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU(inplace=True))
    head = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * planes, classes))
    return nn.Sequential(stem, *(Step(function(), 1 / depth) for _ in range(depth)), head)


def bottleneck_stage(depth, planes):
    """The stage of bench's network bottleneck, with nothing around it."""
    inner = planes // 4

    def function():
        return nn.Sequential(
            nn.ReLU(), nn.Conv2d(planes, inner, 1), nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True), nn.Conv2d(inner, inner, 3, padding=1), nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True), nn.Conv2d(inner, planes, 1), nn.BatchNorm2d(planes))

    return nn.Sequential(*(Step(function(), 1 / depth) for _ in range(depth)))


def checkpointed(network, x):
    """Gradient checkpointing in round(√blocks) segments, as torch.utils.checkpoint.checkpoint_sequential cuts them."""
    def segment(begin, end):
        def run(state):
            for block in network[begin:end]:
                state = block(state)
            return state

        return run

    segments = round(math.sqrt(len(network)))
    length = len(network) // segments
    last = (segments - 1) * length
    for begin in range(0, last, length):
        x = checkpoint(segment(begin, begin + length), x, use_reentrant=False)
    return segment(last, len(network))(x)


def counts(network, images):
    """Numbers that it learns, and multiplications and additions of convolutions and linear layers in a forward pass."""
    operations = []

    def count(layer, _, output):
        operations.append(2 * output.numel() * layer.weight[0].numel())

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    network.eval()  # of one image, and running statistics stay as they are
    with torch.no_grad():
        network(images[:1])
    network.train()
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in network.parameters()), len(images) * sum(operations)
