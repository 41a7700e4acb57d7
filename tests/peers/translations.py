"""Every pair of docs/mergekit.md, run by both sides on random models.

In f32 the results agree within a tolerance. In bf16 they agree up to the last rounding with mergekit made to compute in
f32 (`dtype: float32`, `out_dtype: bfloat16`), which is the difference "storage dtype" of the page; how far mergekit's own
arithmetic is off is printed. Random masks cannot agree: those methods run at density 1 here, and their masks and scales are compared in differences.py.
"""
import dataclasses
import os
import re

import page
from compare import CLOSE, ROUNDED, Comparison
from run import Failed, load, mergekit


@dataclasses.dataclass
class Expectation:
    # Where one of two equal entries more or less moves a whole tensor a little, in bf16.
    close: float = CLOSE
    # Given (folder of the models): a mask per tensor of the entries that need not agree, and the page's name for that.
    excused: object = None
    difference: str = ""
    # Run at density 1, where nothing is drawn.
    undrawn: bool = False


def tasks(folder, names):
    base = load(os.path.join(folder, "base"))
    models = [load(os.path.join(folder, n)) for n in names]
    return [{k: m[k].float() - base[k].float() for k in base} for m in models]


def at_places(keys, places):
    """Entries whose key equals that of one of the places in ascending order where a selection begins or ends, if the two
    neighbours of that border are equal: which of them is taken is not the same on both sides."""
    order = keys.flatten().sort().values
    mask = keys < float("-inf")
    for place in places:
        if 0 < place < order.numel() and order[place - 1] == order[place]:
            mask |= keys == order[place]
    return mask


def cut_at(names, borders):
    def excused(folder):
        masks = {}
        for task, border in zip(tasks(folder, names), borders):
            for k, x in task.items():
                mask = at_places(x.abs(), border(x.numel()))
                masks[k] = masks[k] | mask if k in masks else mask
        return masks

    return excused


def top(density):
    return lambda n: [n - int(density * n)]


def between(density, gamma):
    return lambda n: [n - int(gamma * n) - int(density * n), n - int(gamma * n)]


def spread_top(names, share):
    """Places whose variance ties with the last that is selected, as either side rounds it."""

    def excused(folder):
        import torch

        masks = {}
        for k, stack in ((k, torch.stack([t[k] for t in tasks(folder, names)])) for k in load(os.path.join(folder, "base"))):
            spread = stack.double().var(dim=0, unbiased=False)
            most = int(int((spread > 0).sum()) * share)
            # In f32 three equal numbers may have a variance that is not quite 0, and then the share is of one entry more.
            slack = int(int((spread == 0).sum()) * share) + 1
            order = spread.flatten().sort(descending=True).values
            high, low = order[max(most - 1, 0)], order[min(most - 1 + slack, order.numel() - 1)]
            masks[k] = (spread <= high * (1 + 1e-6)) & (spread >= low * (1 - 1e-6))
        return masks

    return excused


def near_fusion_threshold(folder):
    """Entries whose importance is within four hundredths of the threshold: in f32 a divergence of two nearly equal softmaxes
    has no more digits than that."""
    import torch

    base, tuned = (load(os.path.join(folder, n)) for n in ("base", "math"))
    masks = {}
    for k in base:
        b, x = base[k].double(), tuned[k].double()
        p, q = (v.softmax(dim=-1) + 1e-8 for v in (x, b))
        matter = (x - b).abs() * (p * (p / q).log()).sum(dim=-1, keepdim=True)
        order = matter.flatten().sort().values
        low, middle, high = (order[int(c * (order.numel() - 1))] for c in (0.25, 0.5, 0.75))
        border = middle + 1.5 * (high - low)
        masks[k] = (matter - border).abs() <= 0.04 * border
    return masks


THREE = ("math", "code", "chat")
EXPECTED = {
    "ties": Expectation(excused=cut_at(THREE, [top(0.4)] * 3), difference="equal entries at a threshold"),
    "ties that keep their size": Expectation(
        close=1e-4, excused=cut_at(("math", "code"), [top(0.4)] * 2), difference="equal entries at a threshold"
    ),
    "ties with a density for each model": Expectation(
        excused=cut_at(("math", "code"), [top(0.7), top(0.2)]), difference="equal entries at a threshold"
    ),
    "breadcrumbs": Expectation(excused=cut_at(THREE, [between(0.6, 0.05)] * 3), difference="equal entries at a threshold"),
    "breadcrumbs_ties": Expectation(excused=cut_at(THREE, [between(0.6, 0.05)] * 3), difference="equal entries at a threshold"),
    "sce with a selection": Expectation(close=1e-4, excused=spread_top(THREE, 0.3), difference="equal entries at a threshold"),
    "arcee_fusion": Expectation(excused=near_fusion_threshold, difference="next to the threshold"),
    "dare_linear": Expectation(undrawn=True, difference="DARE's scale"),
    "dare_ties": Expectation(undrawn=True, difference="DARE's scale"),
    "della": Expectation(undrawn=True, difference="DELLA's scale"),
    "della_linear": Expectation(undrawn=True, difference="DELLA's scale"),
}


def check(heading, yaml, recipe, work, mergec):
    """Lines of the table: (name, dtype, verdict, detail, good)."""
    expected = EXPECTED.get(heading, Expectation())
    if expected.undrawn:
        for setting, limit in (("density", "1.0"), ("epsilon", "0.0")):
            yaml, recipe = (re.sub(rf"{setting}: [\d.]+", f"{setting}: {limit}", text) for text in (yaml, recipe))
    for dtype in ("f32", "bf16"):
        folder = os.path.join(work, dtype)
        try:
            ours = mergec.run(folder, recipe)
            exact = {} if dtype == "f32" else {"dtype": "float32", "out_dtype": "bfloat16"}
            theirs = mergekit(folder, yaml, **exact)
            if dtype == "f32":
                native = None
            else:
                native = Comparison(ours, mergekit(folder, yaml))
        except Failed as failed:
            yield heading, dtype, "FAILED", str(failed), False
            continue
        c = Comparison(ours, theirs, expected.excused and expected.excused(folder), expected.close)
        if dtype == "f32":
            good = c.within(CLOSE)
            detail = f"largest difference {c.worst:.1e} of {CLOSE:.0e}"
        else:
            good = c.within_one_rounding(ROUNDED)
            detail = f"{c.unequal} of {c.entries} rounded the other way; mergekit in bf16: {native.unequal / native.entries:.0%} differ"
            if native.dtypes:
                detail += f", and it writes {len(native.dtypes)} tensors in another dtype"
        if c.excused:
            detail += f"; {c.excused} {expected.difference}"
        if expected.undrawn:
            detail += "; at density 1"
        yield heading, dtype, "equal" if good else "DIFFERENT", c.trouble() or detail, good


def rows(text, work, mergec, wanted):
    for heading, yaml, recipe in page.pairs(text):
        if not wanted or any(w in heading for w in wanted):
            yield from check(heading, yaml, recipe, work, mergec)
