"""Stands in PyTorch's place where only the names of workloads are asked for (`gpu_pytorch.py --list`): whatever is asked of it is of the same kind."""

import sys


class Anything:
    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        return Anything()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __mro_entries__(self, _):
        return (Anything,)

    __add__ = __radd__ = __mul__ = __rmul__ = __truediv__ = __mod__ = __call__


sys.modules["torch"] = sys.modules["torch.nn"] = Anything()
