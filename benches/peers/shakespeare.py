"""The PyTorch twin of benches/shakespeare.rs: the same models, data and measure, so that losses can be compared.

    python benches/peers/shakespeare.py input.txt gpt 1 2 3
    python benches/peers/shakespeare.py input.txt lstm 1 2 3

One line for each seed: the validation loss (nats for a character) after 2000 steps.
"""

import sys
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy

CONTEXT, BATCH, STEPS = 64, 32, 2000


class Gpt(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.token = nn.Embedding(characters, 128)
        self.place = nn.Embedding(CONTEXT, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 4, norm=nn.LayerNorm(128), enable_nested_tensor=False)
        # The encoder copies its layer: draw each layer's own numbers, as separate layers would have.
        for one in self.body.layers:
            for part in one.modules():
                if part is not one and hasattr(part, "reset_parameters"):
                    part.reset_parameters()
                elif isinstance(part, nn.MultiheadAttention):
                    part._reset_parameters()
        self.head = nn.Linear(128, characters)

    def forward(self, text):
        time = text.shape[1]
        x = self.token(text) + self.place(torch.arange(time))
        mask = nn.Transformer.generate_square_subsequent_mask(time)
        return self.head(self.body(x, mask=mask, is_causal=True))


class Lstm(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.token = nn.Embedding(characters, 64)
        self.body = nn.LSTM(64, 128, num_layers=2, batch_first=True)
        self.head = nn.Linear(128, characters)

    def forward(self, text):
        return self.head(self.body(self.token(text))[0])


def loss_of(model, windows):
    scores = model(windows[:, :-1])
    return cross_entropy(scores.reshape(-1, scores.shape[-1]), windows[:, 1:].reshape(-1))


def windows(text, starts):
    return torch.stack([text[at : at + CONTEXT + 1] for at in starts])


def validation(model, text):
    starts = range(0, len(text) - CONTEXT, CONTEXT)
    model.eval()
    with torch.no_grad():
        total = 0.0
        for at in range(0, len(starts), 64):
            part = windows(text, starts[at : at + 64])
            total += loss_of(model, part).item() * len(part)
    return total / len(starts)


def main():
    path, kind, *seeds = sys.argv[1:]
    raw = open(path, encoding="utf-8", newline="").read()
    alphabet = sorted(set(raw))
    place = {character: at for at, character in enumerate(alphabet)}
    text = torch.tensor([place[character] for character in raw])
    cut = len(text) * 9 // 10
    train, held_out = text[:cut], text[cut:]
    for seed in map(int, seeds):
        torch.manual_seed(seed)
        model = {"gpt": Gpt, "lstm": Lstm}[kind](len(alphabet))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        start = time.time()
        model.train()
        for _ in range(STEPS):
            batch = windows(train, torch.randint(len(train) - CONTEXT, (BATCH,)).tolist())
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
        took = time.time() - start
        print(f"torch {kind} seed {seed}: validation loss {validation(model, held_out):.4f}, {took:.0f} s", flush=True)


main()
