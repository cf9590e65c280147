"""The table (Markdown) and the charts (SVG) of what `run` measured."""

import math
import platform
from html import escape

OURS = "chainrule"
NAMES = {OURS: "chainrule", "torch": "PyTorch", "candle": "candle", "burn": "burn"}
# What a framework can do otherwise than it comes: the fastest of it counts, and is said.
VARIANTS = {"_channels_last": "channels last", "_fused_adam": "fused Adam"}
WORKS = {
    "a_mlp_b64_train": "a: MLP, batch 64, training step",
    "a_mlp_b64_infer": "a: MLP, batch 64, inference",
    "a_mlp_b1024_train": "a: MLP, batch 1024, training step",
    "a_mlp_b1024_infer": "a: MLP, batch 1024, inference",
    "b_cnn_train": "b: convolutions for digits, training step",
    "b_cnn_infer": "b: convolutions for digits, inference",
    "c_resnet3_fwdbwd": "c: three residual blocks, forward and backward",
    "c_resnet3_infer": "c: three residual blocks, inference",
    "d_gpt_train": "d: small GPT, training step",
    "d_gpt_infer_prefill": "d: small GPT, a whole context",
    "d_gpt_gen128_kv": "d: small GPT, 128 tokens with a cache",
    "e_lstm_fwdbwd": "e: LSTM, forward and backward",
    "e_lstm_infer": "e: LSTM, inference",
    "f_tiny_train_sgd": "f: 2-16-1, a step of SGD",
    "f_tiny_train_adam": "f: 2-16-1, a step of Adam",
    "f_mlp784_512_10_b1_infer": "f: MLP 784-512-10, one input",
    "f_softmax_4096x1024": "f: softmax 4096×1024",
    "f_layernorm_4096x1024": "f: layer_norm 4096×1024",
    "f_gelu_tanh_4M": "f: gelu (tanh), 4 M",
    "f_gelu_erf_4M": "f: gelu (erf), 4 M",
    "f_exp_4M": "f: exp, 4 M",
    "f_add_4M": "f: add, 4 M",
    "f_add_bcast_4096x1024": "f: add, a row to each of 4096",
    "f_sum_axis0_4096x1024": "f: sum down columns",
    "f_sum_axis1_4096x1024": "f: sum of rows",
    "f_transpose_copy_4096x1024": "f: transposed copy",
}
# Whose memory and first step are told: one small network and one that is not.
FRESH = {"a_": "a_mlp_b64_train", "d_": "d_gpt_train"}


class Cell:
    """The time of a workload in a framework: microseconds, and in which variant."""

    def __init__(self, time, variant=""):
        self.time, self.variant = time, variant


def base(work):
    """The workload without its variant, and what the variant is called."""
    for end, name in VARIANTS.items():
        if work.endswith(end):
            return work.removesuffix(end), name
    return work, ""


def title(work):
    return WORKS.get(work) or work.replace("gemm_", "product ").replace("x[", " × [").replace("x", "×")


def write(lines, apart, how, folder):
    """Writes table.md and a chart for each number of threads; gives their paths."""
    counts = sorted({line["threads"] for line in lines})
    parts, paths = [heading(apart, how)], [folder / "table.md"]
    for count in counts:
        own = [line for line in lines if line["threads"] == count]
        times, plain = lowest(own)
        paths.append(folder / f"chart-{count}.svg")
        paths[-1].write_text(chart(times, count))
        parts += [f"## {threads(count)}", f"![Times relative to ours]({paths[-1].name})"]
        parts += [table(times), means(times, plain), fresh(own)]
    paths[0].write_text("\n\n".join(filter(None, parts)) + "\n")
    return paths


def threads(count):
    return "1 thread" if count == 1 else f"{count} threads"


def heading(apart, how):
    text = (
        "# This crate beside others\n\n"
        f"Written by `benches/peers/run` on {processor()}, {how}.\n\n"
        "The median of a step in milliseconds, the lowest of all rounds; products in GFLOP/s. Of a framework that can do a thing in"
        " several ways the fastest counts, and is named. *Best / ours*: how many times as long the fastest of the others takes;"
        " where that is below 1, it is bold."
    )
    if apart:
        names = ", ".join(sorted(f"{work} ({NAMES[name]})" for name, work in apart))
        text += f"\n\nNot timed, as their first steps give other numbers: {names}."
    return text


def processor():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def lowest(lines):
    """For each workload and framework the lowest median of all rounds: of the fastest variant, and as it comes."""
    times, plain = {}, {}
    for line in lines:
        if "med_us" not in line:
            continue
        work, variant = base(line["work"])
        for found, counts in ((times, True), (plain, not variant)):
            row = found.setdefault(work, {})
            if counts and (line["fw"] not in row or line["med_us"] < row[line["fw"]].time):
                row[line["fw"]] = Cell(line["med_us"], variant)
    order = list(WORKS)
    place = lambda work: (order.index(work) if work in order else len(order))
    return {work: times[work] for work in sorted(times, key=place)}, plain


def frameworks(times):
    return [name for name in NAMES if any(name in row for row in times.values())]


def ratio(row):
    """The fastest of the others over ours."""
    others = [cell.time for name, cell in row.items() if name != OURS]
    return min(others) / row[OURS].time if others and OURS in row else None


def table(times):
    names = frameworks(times)
    rows = ["| | " + " | ".join(NAMES[name] for name in names) + " | best / ours |", "|---" * (len(names) + 2) + "|"]
    for work, row in times.items():
        share = ratio(row)
        share = "" if share is None else f"{share:.2f}" if share >= 1 else f"**{share:.2f}**"
        rows.append(f"| {title(work)} | " + " | ".join(shown(work, row.get(name)) for name in names) + f" | {share} |")
    return "\n".join(rows)


def shown(work, cell):
    if cell is None:
        return "-"
    if work.startswith("gemm_"):
        batch, _, sizes = work.removeprefix("gemm_").rpartition("x[")
        products = math.prod(int(size) for size in sizes.rstrip("]").split("x")) * int(batch or 1)
        text = f"{2e-3 * products / cell.time:.0f}"
    else:
        text = short(cell.time / 1e3)
    return f"{text} ({cell.variant})" if cell.variant else text


def short(number):
    """Three digits that count."""
    return f"{number:.{max(0, 2 - math.floor(math.log10(number)))}f}" if number > 0 else "0"


def means(times, plain):
    """Geometric means over the networks, over all that is no product, and over the products; PyTorch also as it comes."""
    rows = ["| others / ours, geometric mean | a to e | a to f | products |", "|---|---|---|---|"]
    for name, kind, found in [(name, "", times) for name in frameworks(times)] + [("torch", ", as it comes", plain)]:
        if name == OURS:
            continue
        cells = []
        for families in ("abcde", "abcdef", "g"):
            shares = [
                row[name].time / row[OURS].time
                for work, row in found.items()
                if work[0] in families and name in row and OURS in row
            ]
            cells.append(f"{math.exp(sum(map(math.log, shares)) / len(shares)):.2f}" if shares else "-")
        if any(cell != "-" for cell in cells):
            rows.append(f"| {NAMES[name]}{kind} | " + " | ".join(cells) + " |")
    return "\n".join(rows) if len(rows) > 2 else ""


def fresh(lines):
    """The most memory of a process with one family of workloads, and the very first step in it."""
    names = [name for name in NAMES if any(line["fw"] == name for line in lines)]
    rows = ["| in a fresh process | " + " | ".join(NAMES[name] for name in names) + " |", "|---" * (len(names) + 1) + "|"]

    def row(title, work, family, key, scale):
        found = []
        for name in names:
            told = [
                line[key] * scale
                for line in lines
                if line["fw"] == name and line["work"] == work and line["family"] == family and key in line
            ]
            found.append(short(min(told)) if told else "-")
        if any(text != "-" for text in found):
            rows.append(f"| {title} | " + " | ".join(found) + " |")

    for family, work in FRESH.items():
        row(f"{family[0]}: most memory, MiB", "rss", family, "peak_rss_mib", 1)
        row(f"{title(work)}: the first one, ms", work, family, "first_us", 1e-3)
    return "\n".join(rows) if len(rows) > 2 else ""


# The chart: a bar from ours to each of the others, by logarithms; to the right of ours it is slower. Its looks are those of
# src/explain/chart.

COLOURS = {"torch": "#e07b39", "candle": "#3b82c4", "burn": "#2a9d74"}
INK, QUIET = "#1f2328", "#59636e"
DARK = (
    "@media (prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#e6edf3}.quiet{fill:#9aa4af}"
    ".rule{stroke:#30363d}.axis{stroke:#6e7681}}"
)
WIDTH, LEFT, RIGHT, TOP, BAR = 760, 330, 736, 74, 6


def chart(times, count):
    peers = [name for name in frameworks(times) if name in COLOURS]
    rows = {work: row for work, row in times.items() if OURS in row and len(row) > 1}
    shares = [row[name].time / row[OURS].time for row in rows.values() for name in peers if name in row] + [1.0]
    low, high = min(min(shares) / 1.1, 0.5), max(max(shares) * 1.1, 4)
    across = lambda share: LEFT + (RIGHT - LEFT) * math.log(share / low) / math.log(high / low)
    step = len(peers) * BAR + 8
    bottom = TOP + len(rows) * step + 4
    body = [text("ink", 20, 26, 15, f"Time relative to chainrule, {threads(count)}", ' font-weight="600"')]
    at = 20
    for name in peers:
        body.append(f'<rect x="{at}" y="39" width="18" height="8" rx="2" fill="{COLOURS[name]}"/>')
        body.append(text("ink", at + 26, 47, 12.5, NAMES[name]))
        at += 54 + 7.5 * len(NAMES[name])
    body.append(text("quiet", RIGHT, 47, 12, "to the right: slower than ours, by logarithms", anchor="end"))
    for mark in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if low <= mark <= high:
            x, kind = across(mark), ("axis", "#8c959f") if mark == 1 else ("rule", "#d8dee4")
            body.append(
                f'<line class="{kind[0]}" stroke="{kind[1]}" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}"/>'
            )
            body.append(text("quiet", x, bottom + 18, 12, f"{mark:g}×", anchor="middle"))
    for place, (work, row) in enumerate(rows.items()):
        top = TOP + place * step
        body.append(text("ink", LEFT - 12, top + (step - 8) / 2 + 4, 12, title(work), anchor="end"))
        for line, name in enumerate(peers):
            if name not in row:
                continue
            share = row[name].time / row[OURS].time
            begin, end = sorted((across(1), across(share)))
            body.append(
                f'<rect x="{begin:.1f}" y="{top + line * BAR}" width="{max(end - begin, 1.5):.1f}" height="{BAR - 1}" rx="1"'
                f' fill="{COLOURS[name]}"><title>{escape(title(work))}, {NAMES[name]}: {share:.2f}</title></rect>'
            )
    height = bottom + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        " font-family=\"system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif\">"
        f'<style>{DARK}</style><rect class="page" width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(body)}</svg>\n'
    )


def text(kind, x, y, size, words, extra="", anchor="start"):
    fill = INK if kind == "ink" else QUIET
    return (
        f'<text class="{kind}" fill="{fill}" x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{extra}>'
        f"{escape(words)}</text>"
    )
