"""PyTorch on the workloads of benches/gpu, on the same GPU, under the same names. `gpu` starts this.

    python benches/peers/gpu_pytorch.py [--only product_bf16,train_] [--seconds 1] [--device cuda] [--quick] [--check FOLDER] [--list]

One line of JSON for each workload. What PyTorch offers beyond plain calls (torch.compile, captured graphs by its mode
"reduce-overhead") has a line of its own, named with what it is after an @. With --check trainings begin with the weights and inputs of that folder, and
their first losses are told in place of times.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional as F

from start import given, start

parser = argparse.ArgumentParser()
parser.add_argument("--only", default="")
parser.add_argument("--seconds", type=float, default=1.0)
parser.add_argument("--device", default="cuda")
parser.add_argument("--quick", action="store_true")
parser.add_argument("--check")
parser.add_argument("--list", action="store_true")
ASKED = parser.parse_args()
ONLY = [name for name in ASKED.only.split(",") if name]
DEVICE = torch.device(ASKED.device)
CARD = torch.cuda.get_device_name(DEVICE) if DEVICE.type == "cuda" else "cpu"
SECONDS = 0.0 if ASKED.quick else ASKED.seconds

# Name, how numbers are kept, whether products of f32 may go by tf32.
F32, TF32 = ("f32", torch.float32, False), ("tf32", torch.float32, True)
BF16, F16 = ("bf16", torch.bfloat16, False), ("f16", torch.float16, False)


# How workloads are asked for, timed and told of.


def size(full, small):
    return small if ASKED.quick else full


def wants(name):
    if ASKED.check and not name.startswith("train_"):
        return False
    return not ONLY or any(name.startswith(only) or only.startswith(name) for only in ONLY)


def run(name, step, allow=False, bytes=0, work=0.0, items=(0, "")):
    if ONLY and not any(name.startswith(only) for only in ONLY):
        return
    if ASKED.check and not (name.startswith("train_") and "@" not in name):
        return
    if ASKED.list:
        print(name)
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allow
    line = {"fw": "torch", "device": CARD, "work": name}
    if ASKED.check:
        print(json.dumps(line | {"sizes": [step().item() for _ in range(3)]}), flush=True)
        return
    median, least = times(step)
    line |= {"med_us": round(median * 1e6, 2), "min_us": round(least * 1e6, 2)}
    if bytes:
        line["gb_s"] = round(bytes / median / 1e9, 1)
    if work:
        line["tflop_s"] = round(work / median / 1e12, 3)
    if items[0]:
        line[f"{items[1]}_s"] = round(items[0] / median, 1)
    print(json.dumps(line), flush=True)


def times(step):
    """As benches/gpu takes them: many steps are asked for, the clock stops when the last one is done."""

    def sample(steps):
        begun = time.perf_counter()
        for _ in range(steps):
            last = step()
        last.detach().reshape(-1)[:1].float().item()
        return (time.perf_counter() - begun) / steps

    sample(1)
    one = sample(1 if ASKED.quick else 3)
    steps = int(min(max(-(-SECONDS / 50 // one), 1), 10_000))
    begun, samples = time.perf_counter(), [sample(steps)]
    while time.perf_counter() - begun < SECONDS:
        samples.append(sample(steps))
    samples.sort()
    return samples[len(samples) // 2], samples[0]


def normal(*sizes, dtype=torch.float32):
    return torch.randn(*sizes, device=DEVICE).to(dtype)


def numbers(count, bound):
    return ((torch.arange(count) * 7919 + 3) % bound).to(DEVICE)


def begun(name, model, *inputs):
    """The model on the device and its inputs; in a check both are what the other program started from."""
    if ASKED.check:
        tensors = start(ASKED.check, name)
        model, inputs = given(model, tensors), [tensors[which].to(DEVICE) for which in "xy"[: len(inputs)]]
    return model.to(DEVICE), *inputs


# What memory limits.


def pointwise():
    for kind, dtype, _ in [F32, BF16]:
        height = width = size(8192, 64)
        x, y, row = (normal(*sizes, dtype=dtype) for sizes in [(height, width), (height, width), (width,)])
        count = x.numel() * x.element_size()
        run(f"add_{kind}", lambda: x + y, bytes=3 * count)
        run(f"row_added_{kind}", lambda: x + row, bytes=2 * count)
        run(f"gelu_{kind}", lambda: F.gelu(x), bytes=2 * count)
        run(f"exp_{kind}", lambda: x.exp(), bytes=2 * count)
        run(f"dropout_{kind}", lambda: F.dropout(x, 0.1, True), bytes=2 * count)
        run(f"transposed_copy_{kind}", lambda: x.t().contiguous(), bytes=2 * count)
        run(f"sum_rows_{kind}", lambda: x.sum(1), bytes=count)
        run(f"sum_columns_{kind}", lambda: x.sum(0), bytes=count)
        run(f"sum_all_{kind}", lambda: x.sum(), bytes=count)


def rows():
    for kind, dtype, _ in [F32, BF16]:
        for height, width in [(4096, 1024), (8192, 4096), (4096, 50257)]:
            height, width = size(height, 8), size(width, -(-width // 64))
            x = normal(height, width, dtype=dtype)
            count = x.numel() * x.element_size()
            variable = x.clone().requires_grad_()
            gain = torch.ones(width, device=DEVICE, dtype=dtype, requires_grad=True)
            bias = torch.zeros(width, device=DEVICE, dtype=dtype, requires_grad=True)
            arriving, target = normal(height, width, dtype=dtype), numbers(height, width)
            still = gain.detach(), bias.detach()

            def normalized():
                y = F.layer_norm(variable, (width,), gain, bias)
                return torch.autograd.grad(y, (variable, gain, bias), arriving)[0]

            def crossed():
                return torch.autograd.grad(F.cross_entropy(variable, target), variable)[0]

            at = f"{kind}_{height}x{width}"
            run(f"softmax_{at}", lambda: x.softmax(-1), bytes=2 * count)
            run(f"layer_norm_{at}", lambda: F.layer_norm(x, (width,), *still), bytes=2 * count)
            run(f"layer_norm_both_ways_{at}", normalized, bytes=5 * count)
            run(f"cross_entropy_both_ways_{at}", crossed, bytes=3 * count)


def optimizers():
    width = size(768, 16)
    shapes = [(3 * width, width), (3 * width,), (width, width), (4 * width, width), (width, 4 * width)]
    weights = [nn.Parameter(normal(*shape) * 0.02) for _ in range(size(12, 2)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    count = sum(4 * weight.numel() for weight in weights)
    fused = {"fused": True} if DEVICE.type == "cuda" else {}
    for name, optimizer, passes in [
        ("sgd_momentum", torch.optim.SGD(weights, lr=1e-3, momentum=0.9, **fused), 5),
        ("adamw", torch.optim.AdamW(weights, lr=1e-3, **fused), 7),
    ]:
        run(name, lambda: (optimizer.step(), weights[0])[1], bytes=passes * count)


# What arithmetic limits.


def products():
    skinny = [(1, 1, 4096, 4096), (1, 16, 4096, 4096), (1, 128, 4096, 16384), (96, 1024, 64, 1024)]
    for kind, dtype, allow in [F32, TF32, BF16, F16]:
        named = {f"product_{kind}_{n}": (1, n, n, n) for n in [1024, 2048, 4096, 8192]}
        named |= {f"product_{kind}_{b}x[{m}x{k}x{n}]": (b, m, k, n) for b, m, k, n in skinny}
        for name, full in named.items():
            if not wants(name):
                continue
            b, m, k, n = (size(number, -(-number // 64)) for number in full)
            left, right = normal(b, m, k, dtype=dtype), normal(b, k, n, dtype=dtype)
            much = {"bytes": right.numel() * right.element_size()} if full[1] == 1 else {"work": 2.0 * b * m * k * n}
            run(name, lambda: left @ right, allow, **much)


def pictures():
    shapes = {
        "3x3_64": (64, 64, 56, 64, 3, 1, 1), "3x3_256": (64, 256, 14, 256, 3, 1, 1),
        "1x1_256": (64, 256, 56, 64, 1, 1, 1), "7x7_3": (64, 3, 224, 64, 7, 2, 1),
        "3x3_128_stride2": (64, 128, 56, 256, 3, 2, 1), "depthwise_3x3_256": (64, 256, 28, 256, 3, 1, 256),
    }
    for kind, dtype, allow in [F32, TF32, BF16]:
        for name, (count, channels, side, results, kernel, stride, groups) in shapes.items():
            if not wants(f"convolution_{kind}_{name}"):
                continue
            count, side = size(count, 1), size(side, min(side, 9))
            channels, results, groups = (size(number, min(number, 4)) for number in (channels, results, groups))
            x = normal(count, channels, side, side, dtype=dtype)
            weight = normal(results, channels // groups, kernel, kernel, dtype=dtype)
            settings = {"stride": stride, "padding": kernel // 2, "groups": groups}
            y = F.conv2d(x, weight, **settings)
            work, moved = 2.0 * y.numel() * channels / groups * kernel * kernel, x.numel() * x.element_size()
            much = lambda passes, times: {"work": times * work} if groups == 1 else {"bytes": passes * moved}
            for form, kept in [("", torch.contiguous_format), ("@channels_last", torch.channels_last)]:
                x, weight, y = (part.detach().to(memory_format=kept) for part in (x, weight, y))
                run(f"convolution_{kind}_{name}{form}", lambda: F.conv2d(x, weight, **settings), allow, **much(2, 1.0))
                x.requires_grad_(), weight.requires_grad_()
                both = lambda: torch.autograd.grad(F.conv2d(x, weight, **settings), (weight, x), y)[0]
                run(f"convolution_{kind}_{name}_both_ways{form}", both, allow, **much(6, 3.0))


def attention():
    for kind, dtype, allow in [F32, TF32, BF16]:
        for full, head in [(1024, 64), (1024, 128), (4096, 128), (16384, 128)]:
            for causal in [False, True]:
                name = f"attention_{kind}_{full}x{head}{'_causal' if causal else ''}"
                if not wants(name):
                    continue
                span, heads = size(full, 40), size(16, 2)
                batch = size(16384 // max(span, 1), 1)
                q, k, v, arriving = (normal(batch, heads, span, head, dtype=dtype) for _ in range(4))
                count = 4.0 * batch * heads * span * span * head * (0.5 if causal else 1.0)
                attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                run(name, attend, allow, work=count)
                for part in (q, k, v):
                    part.requires_grad_()
                both = lambda: torch.autograd.grad(attend(), (q, k, v), arriving)[0]
                run(f"{name}_both_ways", both, allow, work=3.5 * count)


# Whole training steps.


def learn(model, loss, optimizer):
    def step():
        optimizer.zero_grad(set_to_none=True)
        found = loss(model)
        found.backward()
        optimizer.step()
        return found

    return step


def train(name, model, loss, make, items, allow=False):
    """As it comes, and compiled."""
    run(name, learn(model, loss, make(model.parameters())), allow, items=items)
    if DEVICE.type == "cuda" and not ASKED.check and wants(f"{name}@compiled"):
        compiled = torch.compile(model)
        run(f"{name}@compiled", learn(compiled, loss, make(model.parameters())), allow, items=items)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3, fused=DEVICE.type == "cuda")


def perceptron():
    for full in [64, 4096]:
        if not wants(f"train_mlp_b{full}"):
            continue
        batch, width = size(full, 4), size(512, 16)
        model = nn.Sequential(
            nn.Linear(784, width), nn.ReLU(), nn.Dropout(0.0 if ASKED.check else 0.1), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )
        model, x, y = begun(f"train_mlp_b{full}", model, normal(batch, 784), numbers(batch, 10))
        train(f"train_mlp_b{full}", model, lambda model: F.cross_entropy(model(x), y), adam, (batch, "examples"))


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + x)


def residual():
    if not wants("train_residual"):
        return
    batch, channels, side = size(256, 2), size(64, 4), size(32, 8)
    blocks = [Block(channels) for _ in range(size(4, 1))]
    model = nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1, bias=False), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)
    )
    model, x, y = begun("train_residual", model, normal(batch, 3, side, side), numbers(batch, 10))
    train("train_residual", model, lambda model: F.cross_entropy(model(x), y), adam, (batch, "pictures"))


def recurrent():
    if not wants("train_lstm"):
        return
    span, batch, width = size(128, 3), size(64, 2), size(512, 4)
    model, x = begun("train_lstm", nn.LSTM(width, width), normal(span, batch, width))
    loss = lambda model: model(x)[0].square().mean()
    run("train_lstm", learn(model, loss, adam(model.parameters())), items=(span * batch, "tokens"))


class Attentive(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, span, width = x.shape
        heads = lambda part: part.view(batch, span, self.heads, width // self.heads).transpose(1, 2)
        q, k, v = map(heads, self.qkv(self.n1(x)).chunk(3, -1))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, span, width))
        return x + self.down(F.gelu(self.up(self.n2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, tokens, context, width, heads, depth):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, width), nn.Embedding(context, width)
        nn.init.normal_(self.wte.weight, std=0.02), nn.init.normal_(self.wpe.weight, std=0.02)
        self.blocks = nn.ModuleList(Attentive(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, places):
        x = self.wte(tokens) + self.wpe(places)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.wte.weight)


def language():
    tokens, context, width, heads, depth = size((50257, 1024, 768, 12, 12), (100, 16, 32, 2, 1))
    for kind, allow in [("f32", False), ("tf32", True), ("autocast", True)]:
        name = f"train_gpt2_{kind}"
        if not wants(name):
            continue
        batch = size(8, 2)
        text, follow = numbers(batch * context, tokens).view(batch, context), numbers(batch * context, tokens)
        model, text, follow = begun("train_gpt2", Gpt(tokens, context, width, heads, depth), text, follow)
        places = torch.arange(context, device=DEVICE)

        def loss(model):
            with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=kind == "autocast"):
                return F.cross_entropy(model(text, places).view(-1, tokens).float(), follow)

        make = lambda parameters: torch.optim.AdamW(parameters, lr=6e-4, fused=DEVICE.type == "cuda")
        train(name, model, loss, make, (batch * context, "tokens"), allow)


# Order, and what runs or adds up along an axis.


def order():
    if not any(wants(name) for name in ["running_sum", "sort", "topk", "unique", "nonzero", "scatter_add", "index_add", "multinomial"]):
        return
    height, width = size(4096, 32), size(4096, 40)
    x = normal(height, width)
    count = 2 * 4 * height * width
    run("running_sum_rows_f32", lambda: x.cumsum(1), bytes=count)
    run("running_sum_columns_f32", lambda: x.cumsum(0), bytes=count)
    run("running_sum_of_all_f32", lambda: x.view(-1).cumsum(0), bytes=count)
    for kind, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16), ("f64", torch.float64)]:
        lines = normal(size(16384, 8), size(1024, 100), dtype=dtype)
        run(f"sort_rows_{kind}", lambda: lines.sort(1, stable=True)[0], items=(lines.numel(), "elements"))
        run(f"sort_of_all_{kind}", lambda: lines.view(-1).sort(0, stable=True)[0], items=(lines.numel(), "elements"))
    height, width = size(64, 2), size(50257, 3000)
    scores = normal(height, width)
    weights = scores.softmax(-1)
    run("topk_50_f32", lambda: scores.topk(50, 1)[0], bytes=4 * height * width)
    run("multinomial_repeated_f32", lambda: weights.multinomial(1, replacement=True), bytes=4 * height * width)
    ids = numbers(size(4 << 20, 3000), 1000)
    run("unique_i64", lambda: ids.unique(return_inverse=True, return_counts=True)[2], items=(ids.numel(), "elements"))
    run("nonzero_i64", lambda: ids.nonzero(), items=(ids.numel(), "elements"))
    count = size(16 << 20, 9000)
    x = normal(count)
    for name, places in [("scatter_add_many_f32", size(1 << 20, 500)), ("scatter_add_few_f32", 10)]:
        index, zeros = numbers(count, places), torch.zeros(places, device=DEVICE)
        run(name, lambda: zeros.scatter_add(0, index, x), items=(count, "elements"))
    tokens, names, width = size(32768, 100), size(50257, 70), size(768, 16)
    slices, index, zeros = normal(tokens, width), numbers(tokens, names), torch.zeros(names, width, device=DEVICE)
    run("index_add_f32", lambda: zeros.index_add(0, index, slices), bytes=4 * width * (tokens + 2 * names))


if __name__ == "__main__":
    torch.manual_seed(1)
    trainings = [perceptron, residual, recurrent, language]
    for family in trainings if ASKED.check else [pointwise, rows, optimizers, order, products, pictures, attention] + trainings:
        family()
