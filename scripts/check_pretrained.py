"""check_pretrained.py: the pretrained ResNet-18 of a file in ONNX, for check-pretrained.sh.

  check_pretrained.py convert MODEL.onnx        prints its weights as safetensors, by torchvision's names; it has no last layer
  check_pretrained.py compare WEIGHTS FEATURES  prints by how much the features of PyTorch's network differ from those in the file
"""

import struct
import sys

import torch

from check_weights import read_safetensors, resnet, write_safetensors

# Of its four stages: one more than the usual ResNet-18 has.
BLOCKS = [2, 2, 2, 3]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """Number and content of each field of a message of protocol buffers."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            length = {1: 8, 5: 4}[kind]
            value, at = data[at : at + length], at + length
        yield key >> 3, value


def numbers(value):
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        found.append(number)
    return found


def read_onnx(path):
    """Nodes (operator, inputs), in their order, and the constants in float32."""
    with open(path, "rb") as file:
        (graph,) = [value for field, value in fields(memoryview(file.read())) if field == 7]
    nodes, constants = [], {}
    for field, value in fields(graph):
        parts = list(fields(value)) if field in (1, 5) else []
        if field == 1:
            (operator,) = [bytes(part).decode() for number, part in parts if number == 4]
            nodes.append((operator, [bytes(part).decode() for number, part in parts if number == 1]))
        elif field == 5 and (2, 1) in parts:
            shape = [size for number, part in parts if number == 1 for size in numbers(part)]
            (name,) = [bytes(part).decode() for number, part in parts if number == 8]
            content = b"".join(bytes(part) for number, part in parts if number in (4, 9))
            constants[name] = torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(shape)
    return nodes, constants


def convert(path):
    nodes, constants = read_onnx(path)
    # The network's own convolutions in the order in which they run, and each with the normalization behind it.
    convolutions = [constants[inputs[1]] for operator, inputs in nodes if operator == "Conv"]
    norms = [[constants[name] for name in inputs[1:]] for operator, inputs in nodes if operator == "BatchNormalization"]
    names = [("conv1", "bn1")]
    for stage in range(1, 5):
        for block in range(BLOCKS[stage - 1]):
            prefix = f"layer{stage}.{block}"
            if stage > 1 and block == 0:
                names.append((f"{prefix}.downsample.0", f"{prefix}.downsample.1"))
            names += [(f"{prefix}.conv{i}", f"{prefix}.bn{i}") for i in (1, 2)]
    assert len(names) == len(convolutions) == len(norms)
    tensors = {}
    for (convolution, norm), weight, (scale, bias, mean, variance) in zip(names, convolutions, norms):
        tensors[f"{convolution}.weight"] = weight
        tensors |= {f"{norm}.weight": scale, f"{norm}.bias": bias, f"{norm}.running_mean": mean, f"{norm}.running_var": variance}
    write_safetensors(tensors, sys.stdout.buffer)


def compare(weights, path):
    network = resnet(BLOCKS, 1, planes=64)
    missing = network.load_state_dict(read_safetensors(weights), strict=False)
    assert not missing.unexpected_keys and all(name.startswith("fc.") or "num_batches" in name for name in missing.missing_keys)
    network.fc = torch.nn.Identity()
    network.eval()
    given = read_safetensors(path)
    with torch.no_grad():
        for name in sorted(name for name in given if name.startswith("images")):
            expected = network(given[name])
            error = (given[name.replace("images", "features")] - expected).norm() / expected.norm()
            print(f"{name:24}{error.item():.1e}")


if sys.argv[1] == "convert":
    convert(sys.argv[2])
else:
    compare(sys.argv[2], sys.argv[3])
