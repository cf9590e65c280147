"""Do programs compute the same? What their first steps give tells."""

import sys

# How far the sizes of losses and outputs may be apart, as a share.
APART = 1e-3


def say(text):
    print(f"-- {text}", file=sys.stderr, flush=True)


def apart(found, base):
    """The workloads whose first steps give other numbers than ours, as pairs of framework and name. `found` are the lines of each framework, `base`
    tells the workload without its variant."""
    right = {line["work"]: line["sizes"] for line in found["chainrule"]}
    apart, greatest = set(), 0.0
    for name, lines in found.items():
        told = {line["work"]: line["sizes"] for line in lines}
        for work in set(right) | set(told):
            reference = right.get(base(work))
            if reference is None:
                continue
            sizes = told.get(work)
            if sizes is None:
                say(f"{name} computes nothing for {work}")
                apart.add((name, work))
                continue
            shares = [abs(size - ours) / abs(ours) for size, ours in zip(sizes, reference)]
            greatest = max(greatest, *shares)
            # What is no number is apart, too.
            if not all(share <= APART for share in shares):
                say(f"{name} computes something else for {work}: {sizes}, not {reference}")
                apart.add((name, work))
    say(f"compared the first steps of {len(right)} workloads, {len(apart)} differ; the most by {greatest:.1e}")
    return apart
