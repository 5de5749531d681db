"""check_weights.py: files of weights in PyTorch, for check-weights.sh.

  check_weights.py --version
  check_weights.py read FOLDER        loads NAME.safetensors and NAME.pth of each network into PyTorch's modules, and prints by how
                                      much their scores differ from those of NAME.scores.safetensors
  check_weights.py write NAME KIND    prints such a file of a network trained here: safetensors, pth or scores
"""

import io
import json
import struct
import sys

import torch
from torch import nn

DTYPES = {"F32": torch.float32, "I64": torch.int64}


def read_safetensors(path):
    """By the format's specification, in a few lines: length of the header, header, values."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = bytearray(content[8 + length + begin : 8 + length + end])
        dtype = DTYPES[entry["dtype"]]
        tensors[name] = torch.frombuffer(values, dtype=dtype).reshape(entry["shape"])
    return tensors


def write_safetensors(tensors, file):
    header, values = {}, b""
    for name, tensor in tensors.items():
        dtype = next(text for text, dtype in DTYPES.items() if dtype == tensor.dtype)
        content = bytes(tensor.detach().contiguous().flatten().view(torch.uint8).tolist())
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(values), len(values) + len(content)]}
        values += content
    text = json.dumps(header).encode()
    file.write(struct.pack("<Q", len(text)) + text + values)


class Named(nn.Module):
    """Children by name; `run` says how they are used."""

    def __init__(self, children, run):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def tiny(planes=4, depth=3, classes=10):
    functions = nn.ModuleList()
    for _ in range(depth):
        functions.append(
            Named(
                {
                    "conv1": nn.Conv2d(planes, planes, 3, padding=1),
                    "norm1": nn.BatchNorm2d(planes),
                    "conv2": nn.Conv2d(planes, planes, 3, padding=1),
                    "norm2": nn.BatchNorm2d(planes),
                },
                lambda f, x: f.norm2(f.conv2(torch.relu(f.norm1(f.conv1(x))))),
            )
        )

    def stage(module, x):
        for f in module.functions:
            x = x + f(x) / depth
        return x

    stem = {"conv": nn.Conv2d(3, planes, 5, stride=3, padding=1, bias=False), "norm": nn.BatchNorm2d(planes)}
    return Named(
        {
            "stem": Named(stem, lambda s, x: torch.relu(s.norm(s.conv(x)))),
            "stage": Named({"functions": functions}, stage),
            "head": nn.Linear(4 * planes, classes),
        },
        lambda n, x: n.head(torch.nn.functional.avg_pool2d(n.stage(n.stem(x)), 4).flatten(1)),
    )


def block(inputs, planes, expansion, stride):
    """A block of He et al., as torchvision names its parts; the stride is that of the 3x3 convolution."""
    shapes = [(1, 1), (3, stride), (1, 1)] if expansion == 4 else [(3, stride), (3, 1)]
    children, channels = {}, inputs
    for i, (kernel, step) in enumerate(shapes, 1):
        outputs = planes * expansion if i == len(shapes) else planes
        children[f"conv{i}"] = nn.Conv2d(channels, outputs, kernel, stride=step, padding=kernel // 2, bias=False)
        children[f"bn{i}"] = nn.BatchNorm2d(outputs)
        channels = outputs
    if stride != 1 or inputs != channels:
        children["downsample"] = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))

    def run(b, x):
        y = x
        for i in range(1, len(shapes) + 1):
            y = getattr(b, f"bn{i}")(getattr(b, f"conv{i}")(y))
            y = torch.relu(y) if i < len(shapes) else y
        return torch.relu(y + (b.downsample(x) if hasattr(b, "downsample") else x))

    return Named(children, run)


def resnet(blocks, expansion, planes=8, classes=10):
    children = {"conv1": nn.Conv2d(3, planes, 7, stride=2, padding=3, bias=False), "bn1": nn.BatchNorm2d(planes)}
    channels = planes
    for stage, count in enumerate(blocks):
        layers = []
        for i in range(count):
            layers.append(block(channels, planes << stage, expansion, 2 if stage > 0 and i == 0 else 1))
            channels = (planes << stage) * expansion
        children[f"layer{stage + 1}"] = nn.Sequential(*layers)
    children["fc"] = nn.Linear(channels, classes)

    def run(n, x):
        x = torch.nn.functional.max_pool2d(torch.relu(n.bn1(n.conv1(x))), 3, stride=2, padding=1)
        return n.fc(n.layer4(n.layer3(n.layer2(n.layer1(x)))).mean((2, 3)))

    return Named(children, run)


NETWORKS = {"tiny": tiny, "basic": lambda: resnet([2, 2, 2, 2], 1), "bottleneck": lambda: resnet([3, 4, 6, 3], 4)}


def read(folder):
    for name, make in NETWORKS.items():
        given = read_safetensors(f"{folder}/{name}.scores.safetensors")
        for ending in ("safetensors", "pth"):
            path = f"{folder}/{name}.{ending}"
            weights = read_safetensors(path) if ending == "safetensors" else torch.load(path, weights_only=True)
            network = make()
            network.load_state_dict(weights)
            network.eval()
            with torch.no_grad():
                error = (network(given["images"]) - given["scores"]).norm() / given["scores"].norm()
            print(f"{name + '.' + ending:24}{error.item():.1e}")


def write(name, kind):
    torch.manual_seed(3)
    network = NETWORKS[name]()
    images, labels = torch.rand(8, 3, 32, 32), torch.randint(0, 10, (8,))
    optimizer = torch.optim.SGD(network.parameters(), 0.02)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        tensors = {"images": images, "scores": network(images)} if kind == "scores" else network.state_dict()
    content = io.BytesIO()
    if kind == "pth":
        torch.save(tensors, content)
    else:
        write_safetensors(tensors, content)
    sys.stdout.buffer.write(content.getvalue())


# The same bits in each call.
torch.set_num_threads(1)
if sys.argv[1] == "--version":
    print(torch.__version__)
elif sys.argv[1] == "read":
    read(sys.argv[2])
else:
    write(sys.argv[2], sys.argv[3])
