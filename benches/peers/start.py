"""What a network starts from, as the library's benchmarks write it."""

import json
import struct

import torch

DTYPES = {"F32": torch.float32, "I64": torch.int64}


def start(folder, name):
    """A network's tensors and its inputs. (The format: a length, a table as JSON, the numbers.)"""
    with open(f"{folder}/{name}.safetensors", "rb") as file:
        table = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        numbers = bytearray(file.read())
    tensors = {}
    for name, entry in table.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = torch.frombuffer(numbers[begin:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def given(model, tensors):
    """The model with these weights. Its names are those of the file, as both follow PyTorch's habits."""
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in ("x", "y")})
    return model
