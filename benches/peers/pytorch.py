"""PyTorch on the workloads of benches/workloads, from the same weights and inputs. `run` starts this.

    python benches/peers/pytorch.py --weights FOLDER --threads 1 [--only a_,d_gpt_train] [--scale 0.3] [--check]

One line of JSON for each workload, as benches/workloads prints them; times are taken as its `measure` takes them.
"""

import argparse
import json
import math
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F

from start import given, start

PRODUCTS = [
    (1, 64, 64, 64), (1, 128, 128, 128), (1, 256, 256, 256), (1, 512, 512, 512), (1, 1024, 1024, 1024),
    (1, 2048, 2048, 2048), (1, 1, 1024, 1024), (1, 32, 784, 512), (1, 64, 512, 2048), (8, 128, 64, 128),
]

parser = argparse.ArgumentParser()
parser.add_argument("--weights", required=True)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--only", default="")
parser.add_argument("--scale", type=float, default=1.0)
parser.add_argument("--check", action="store_true")
ASKED = parser.parse_args()
ONLY = [name for name in ASKED.only.split(",") if name]
CLOCK = time.process_time if ASKED.threads == 1 else time.perf_counter


# How workloads are asked for and told of.


def wants(name):
    return not ONLY or any(name.startswith(only) or only.startswith(name) for only in ONLY)


def run(name, step, seconds):
    if ONLY and not any(name.startswith(only) for only in ONLY):
        return
    line = {"fw": "torch", "work": name, "threads": ASKED.threads}
    if ASKED.check:
        if name.startswith(("gemm", "f_")):
            return
        line["sizes"] = [step().detach().abs().mean().item() for _ in range(3)]
    else:
        times = measure(step, seconds * ASKED.scale)
        line |= {name: round(seconds * 1e6, 3) for name, seconds in times.items()}
    print(json.dumps(line), flush=True)


def measure(step, seconds):
    """Many short samples; by the clock only those from stretches in which other programs were quiet."""
    begun = CLOCK()
    step()
    first = CLOCK() - begun
    begun, count = time.perf_counter(), 0
    while count < 2 or time.perf_counter() - begun < 0.15 * seconds:
        step()
        count += 1
    one = (time.perf_counter() - begun) / count
    repeats = max(1, math.ceil(2e-3 / one))
    quiet, disturbed, spent = [], [], 0.0
    begun = time.perf_counter()
    while (spent < seconds or len(quiet) < 7) and time.perf_counter() - begun < 3 * seconds + 7 * one:
        before, stretch, samples = busy(), time.perf_counter(), []
        while time.perf_counter() - stretch < 0.2:
            at = CLOCK()
            for _ in range(repeats):
                step()
            samples.append((CLOCK() - at) / repeats)
        took = time.perf_counter() - stretch
        if ASKED.threads > 1 and busy() - before > 0.02 + 0.08 * took:
            disturbed += samples
        else:
            spent += took
            quiet += samples
    samples = sorted(quiet or disturbed)
    return {"min_us": samples[0], "med_us": samples[len(samples) // 2], "max_us": samples[-1], "first_us": first}


def busy():
    """Seconds that all cores were busy with other programs, since the machine started."""
    try:
        ticks = [float(text) for text in open("/proc/stat").readline().split()[1:]]
        own = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (sum(ticks[:3]) + sum(ticks[5:8]) - float(own[11]) - float(own[12])) / 100


def training(model, optimizer, loss):
    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return step


def gradients(model, loss):
    def step():
        model.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        return value

    return step


def inference(forward):
    def step():
        with torch.inference_mode():
            return forward()

    return step


# Products.


def products():
    for batch, m, k, n in PRODUCTS:
        name = f"gemm_{m}x{k}x{n}" if batch == 1 else f"gemm_{batch}x[{m}x{k}x{n}]"
        front = () if batch == 1 else (batch,)
        a, b, c = torch.rand(*front, m, k), torch.rand(*front, k, n), torch.empty(*front, m, n)
        run(name, lambda: torch.matmul(a, b, out=c), 1.0)


# a: 784-512-512-10 with Adam.


def layers(*sizes):
    made = []
    for before, after in zip(sizes, sizes[1:]):
        made += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*made[:-1])


def perceptron():
    for batch in (64, 1024):
        name = f"a_mlp_b{batch}"
        if not wants(name):
            continue
        begin = start(ASKED.weights, name)
        x, y = begin["x"], begin["y"]
        for variant, options in (("", {}), ("_fused_adam", {"fused": True})):
            model = given(layers(784, 512, 512, 10), begin)
            adam = torch.optim.Adam(model.parameters(), lr=1e-3, **options)
            run(f"{name}_train{variant}", training(model, adam, lambda: F.cross_entropy(model(x), y)), 2.5)
            if not variant:
                run(f"{name}_infer", inference(lambda: model(x)), 1.5)


# b: a convolution network for digits.


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.f1, self.f2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c2(F.relu(self.c1(x)))), 2)
        return self.f2(F.relu(self.f1(x.flatten(1))))


FORMATS = (("", torch.contiguous_format), ("_channels_last", torch.channels_last))


def digits():
    begin = start(ASKED.weights, "b_cnn")
    y = begin["y"]
    for variant, form in FORMATS:
        x = begin["x"].to(memory_format=form)
        model = given(Digits(), begin).to(memory_format=form)
        adam = torch.optim.Adam(model.parameters(), lr=1e-3)
        run(f"b_cnn_train{variant}", training(model, adam, lambda: F.cross_entropy(model(x), y)), 4.0)
        run(f"b_cnn_infer{variant}", inference(lambda: model(x)), 2.5)


# c: blocks of a residual network.


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)) + x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block(), Block())

    def forward(self, x):
        return self.blocks(x)


def residual():
    begin = start(ASKED.weights, "c_resnet3")
    for variant, form in FORMATS:
        x = begin["x"].to(memory_format=form)
        model = given(Residual(), begin).to(memory_format=form)
        run(f"c_resnet3_fwdbwd{variant}", gradients(model, lambda: model(x).square().mean()), 4.0)
        model.eval()
        run(f"c_resnet3_infer{variant}", inference(lambda: model(x)), 2.5)


# d: a small GPT.

WIDTH, HEADS, DEPTH, CONTEXT, TOKENS = 256, 4, 4, 128, 256


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, cache, seen):
        batch, length, width = x.shape
        parts = self.qkv(self.n1(x)).split(width, -1)
        q, k, v = (part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in parts)
        if cache is not None:
            keys, values = cache
            keys[:, :, seen : seen + length], values[:, :, seen : seen + length] = k, v
            k, v = keys[:, :, : seen + length], values[:, :, : seen + length]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.n2(x))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.te, self.pe = nn.Embedding(TOKENS, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Attentive() for _ in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, TOKENS, bias=False)

    def forward(self, tokens, caches=(None,) * DEPTH, seen=0):
        x = self.te(tokens) + self.pe(torch.arange(seen, seen + tokens.shape[1]))
        for block, cache in zip(self.blocks, caches):
            x = block(x, cache, seen)
        return self.head(self.norm(x))


def language():
    begin = start(ASKED.weights, "d_gpt")
    tokens, follow = begin["x"], begin["y"]

    def train(variant="", **options):
        model = given(Gpt(), begin)
        adam = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, **options)
        loss = lambda: F.cross_entropy(model(tokens).view(-1, TOKENS), follow)
        run(f"d_gpt_train{variant}", training(model, adam, loss), 5.0)
        return model

    model = train()
    run("d_gpt_infer_prefill", inference(lambda: model(tokens)), 2.5)
    caches = [torch.zeros(2, 1, HEADS, CONTEXT, WIDTH // HEADS) for _ in range(DEPTH)]

    def generate():
        scores = model(torch.zeros(1, 1, dtype=torch.long), caches, 0)
        for seen in range(1, CONTEXT):
            scores = model(scores[:, -1].argmax(-1, keepdim=True), caches, seen)
        return scores

    run("d_gpt_gen128_kv", inference(generate), 3.0)
    train("_fused_adam", fused=True)


# e: one LSTM layer over 64 steps.


def recurrent():
    begin = start(ASKED.weights, "e_lstm")
    model = given(nn.LSTM(64, 256), begin)
    run("e_lstm_fwdbwd", gradients(model, lambda: model(begin["x"])[0].square().mean()), 4.0)
    run("e_lstm_infer", inference(lambda: model(begin["x"])[0]), 2.5)


# f: single operations, and networks so small that everything around the arithmetic counts.


def single():
    x, weight, bias = torch.randn(4096, 1024), torch.ones(1024), torch.randn(1024)
    for name, operation in (
        ("softmax_4096x1024", lambda: F.softmax(x, -1)),
        ("layernorm_4096x1024", lambda: F.layer_norm(x, (1024,), weight, bias)),
        ("gelu_tanh_4M", lambda: F.gelu(x, approximate="tanh")),
        ("gelu_erf_4M", lambda: F.gelu(x)),
        ("add_bcast_4096x1024", lambda: x + bias),
        ("add_4M", lambda: x + x),
        ("sum_axis0_4096x1024", lambda: x.sum(0)),
        ("sum_axis1_4096x1024", lambda: x.sum(1)),
        ("exp_4M", lambda: x.exp()),
        ("transpose_copy_4096x1024", lambda: x.t().contiguous()),
    ):
        run(f"f_{name}", inference(operation), 1.2)


def small():
    x, y = torch.randn(4, 2), torch.randn(4, 1)
    for name, optimizer, rate in (("sgd", torch.optim.SGD, 0.1), ("adam", torch.optim.Adam, 1e-3)):
        model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
        step = training(model, optimizer(model.parameters(), lr=rate), lambda: F.mse_loss(model(x), y))
        run(f"f_tiny_train_{name}", step, 2.0)
    model, one = layers(784, 512, 10), torch.randn(1, 784)
    run("f_mlp784_512_10_b1_infer", inference(lambda: model(one)), 2.0)


torch.set_num_threads(ASKED.threads)
torch.manual_seed(0)
for family, work in (
    ("gemm", products), ("a_mlp", perceptron), ("b_cnn", digits), ("c_resnet3", residual), ("d_gpt", language),
    ("e_lstm", recurrent), ("f_", small), ("f_", single),
):
    if wants(family):
        work()
if not ASKED.check:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"fw": "torch", "work": "rss", "threads": ASKED.threads, "peak_rss_mib": round(peak, 1)}))
