#!/usr/bin/env python3
"""Writes the small reference that is committed here: plain Python, no library, in the format that tests/reference.rs reads.

Values come from the textbook formula of each operation, gradients from complex steps: for an analytic f,
f'(x) = Im f(x + ih) / h is exact to the last digits, since nothing is subtracted. Run it in this folder.
"""
import cmath, json, random, struct

STEP = 1e-40
random.seed(7)


def single(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


class Array:
    """Numbers in a shape, row by row."""

    def __init__(self, shape, numbers):
        self.shape, self.numbers = list(shape), list(numbers)

    def map(self, f):
        return Array(self.shape, [f(x) for x in self.numbers])

    def at(self, *place):
        flat = 0
        for size, position in zip(self.shape, place):
            flat = flat * size + position
        return self.numbers[flat]


def places(shape):
    if not shape:
        yield ()
        return
    for first in range(shape[0]):
        for rest in places(shape[1:]):
            yield (first, *rest)


def build(shape, f):
    return Array(shape, [f(*place) for place in places(shape)])


def broadcast(f):
    def call(a, b):
        rank = max(len(a.shape), len(b.shape))
        sizes = lambda x: [1] * (rank - len(x.shape)) + x.shape
        shape = [max(p, q) for p, q in zip(sizes(a), sizes(b))]
        pick = lambda x, place: x.at(*[0 if size == 1 else i for size, i in zip(sizes(x), place)][rank - len(x.shape):])
        return build(shape, lambda *place: f(pick(a, place), pick(b, place)))
    return call


def matmul(a, b):
    (m, k), (_, n) = a.shape, b.shape
    return build([m, n], lambda i, j: sum(a.at(i, p) * b.at(p, j) for p in range(k)))


def total(x, axis=None):
    if axis is None:
        return Array([], [sum(x.numbers)])
    rest = x.shape[:axis] + x.shape[axis + 1:]
    return build(rest, lambda *place: sum(x.at(*place[:axis], i, *place[axis:]) for i in range(x.shape[axis])))


def softmax(x):
    rows, columns = x.shape
    top = [max(x.at(i, j).real for j in range(columns)) for i in range(rows)]
    return build(x.shape, lambda i, j: cmath.exp(x.at(i, j) - top[i])
                 / sum(cmath.exp(x.at(i, p) - top[i]) for p in range(columns)))


def layer_norm(x, weight, bias):
    columns = x.shape[1]
    mean = lambda i: sum(x.at(i, p) for p in range(columns)) / columns
    variance = lambda i: sum((x.at(i, p) - mean(i)) ** 2 for p in range(columns)) / columns
    return build(x.shape, lambda i, j: (x.at(i, j) - mean(i)) / cmath.sqrt(variance(i) + 1e-5)
                 * weight.at(j) + bias.at(j))


def conv2d(x, weight):
    (n, channels, height, width), (filters, _, p, q) = x.shape, weight.shape
    return build([n, filters, height - p + 1, width - q + 1], lambda b, f, i, j: sum(
        x.at(b, c, i + u, j + v) * weight.at(f, c, u, v)
        for c in range(channels) for u in range(p) for v in range(q)))


def sigmoid(z):
    return 1 / (1 + cmath.exp(-z))


def see(x, view):
    for step in view:
        if step["op"] == "transpose":
            a, b = step["dims"]
            order = list(range(len(x.shape)))
            order[a], order[b] = order[b], order[a]
        elif step["op"] == "permute":
            order = step["dims"]
        if step["op"] in ("transpose", "permute"):
            def turned(*place, x=x, order=order):
                back = [0] * len(place)
                for to, origin in enumerate(order):
                    back[origin] = place[to]
                return x.at(*back)
            x = build([x.shape[i] for i in order], turned)
        elif step["op"] == "slice":
            axis, positions = step["dim"], range(step["start"], step["stop"], step["step"])
            shape = x.shape[:axis] + [len(positions)] + x.shape[axis + 1:]
            x = build(shape, lambda *p, x=x: x.at(*p[:axis], positions[p[axis]], *p[axis + 1:]))
        elif step["op"] == "expand":
            x = build(step["shape"], lambda *p, x=x: x.at(*[0 if s == 1 else i for s, i in zip(x.shape, p)]))
    return x


def noise(shape, low=-2.0, high=2.0):
    return build(shape, lambda *_: single(random.uniform(low, high)))


TRANSPOSED = [{"op": "transpose", "dims": [0, 1]}]
EVERY_OTHER = [{"op": "slice", "dim": 1, "start": 1, "stop": 6, "step": 2}]
REPEATED = [{"op": "expand", "shape": [3, 4]}]

# name, attributes, inputs (name, stored shape, view), function
CASES = [
    ("exp", {}, [("input", [2, 3], [])], lambda x: x.map(cmath.exp)),
    ("exp", {}, [("input", [3, 6], EVERY_OTHER)], lambda x: x.map(cmath.exp)),
    ("tanh", {}, [("input", [], [])], lambda x: x.map(cmath.tanh)),
    ("sigmoid", {}, [("input", [3, 2], TRANSPOSED)], lambda x: x.map(sigmoid)),
    ("silu", {}, [("input", [1, 4], REPEATED)], lambda x: x.map(lambda z: z * sigmoid(z))),
    ("square", {}, [("input", [0, 3], [])], lambda x: x.map(lambda z: z * z)),
    ("add", {}, [("input", [2, 3], []), ("other", [3], [])], broadcast(lambda p, q: p + q)),
    ("mul", {}, [("input", [3, 2], TRANSPOSED), ("other", [2, 1], [])], broadcast(lambda p, q: p * q)),
    ("matmul", {}, [("input", [2, 5], []), ("other", [4, 5], TRANSPOSED)], matmul),
    ("matmul", {}, [("input", [2, 0], []), ("other", [0, 3], [])], matmul),
    ("sum", {}, [("input", [2, 3, 2], [])], total),
    ("sum", {"dim": 1, "keepdim": False}, [("input", [3, 4], TRANSPOSED)], lambda x: total(x, 1)),
    ("softmax", {"dim": -1}, [("input", [3, 5], [])], softmax),
    ("softmax", {"dim": -1}, [("input", [5, 3], TRANSPOSED)], softmax),
    ("layer_norm", {"normalized_shape": [6], "eps": 1e-5},
     [("input", [4, 6], []), ("weight", [6], []), ("bias", [6], [])], layer_norm),
    ("conv2d", {}, [("input", [2, 2, 4, 5], []), ("weight", [3, 2, 2, 3], [])], conv2d),
]


def main():
    tensors, records, counts = {}, [], {}

    def put(key, array, kind):
        tensors[key] = (kind, array.shape, struct.pack(f"<{len(array.numbers)}{'f' if kind == 'F32' else 'd'}", *array.numbers))

    def tolerances(array):
        largest = max((abs(x) for x in array.numbers), default=0.0)
        return {"atol64": 1e-11 * largest + 1e-13, "atol32": 4e-6 * largest + 1e-7}

    for op, attributes, inputs, function in CASES:
        name = f"{op}_{counts.setdefault(op, 0):02}"
        counts[op] += 1
        stored = [noise(shape) for _, shape, _ in inputs]
        run = lambda arrays: function(*[see(x, view) for x, (_, _, view) in zip(arrays, inputs)])
        real = lambda array: array.map(lambda z: complex(z).real)
        result = real(run(stored))
        up = noise(result.shape, -1.0, 1.0)
        record = {
            "name": name, "group": "excerpt", "op": op, "torch": op, "attrs": attributes, "ctor": None,
            "variadic": False, "ref32": "f64", "out_names": ["out"],
            "inputs": [{"name": label, "dtype": "f32", "shape": shape, "grad": True, "view": view, "as": "positional"}
                       for label, shape, view in inputs],
            "outputs": [{"name": "out", "shape": result.shape, "dtype": "float", "diff": True, **tolerances(result)}],
            "grads": [],
        }
        put(f"{name}/up/out", up, "F32")
        put(f"{name}/f64/out/out", result, "F64")
        for which, (label, shape, _) in enumerate(inputs):
            put(f"{name}/in/{label}", stored[which], "F32")
            slopes = []
            for flat in range(len(stored[which].numbers)):
                moved = [Array(x.shape, x.numbers) for x in stored]
                moved[which].numbers[flat] += complex(0, STEP)
                slopes.append(sum(complex(z).imag / STEP * u for z, u in zip(run(moved).numbers, up.numbers)))
            gradient = Array(shape, slopes)
            put(f"{name}/f64/grad/{label}", gradient, "F64")
            record["grads"].append({"name": label, "shape": shape, "dtype": "float", **tolerances(gradient)})
        records.append(record)

    with open("manifest.json", "w") as file:
        lines = ",\n".join(json.dumps(record) for record in records)
        file.write(f'{{"format": 1, "rtol64": 1e-9, "rtol32": 1e-5, "cases": [\n{lines}\n]}}\n')
    header, at = {}, 0
    for key, (kind, shape, data) in tensors.items():
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open("excerpt.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


main()
