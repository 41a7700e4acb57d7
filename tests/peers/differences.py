"""The differences that docs/mergekit.md lists, each shown on models where it matters, in f32.

A function for each row, named after it. Each shows that mergekit does what the page says it does, and that Merge does not.
"""
import os

import torch

import page
from compare import CLOSE, Comparison
from run import Failed, load, mergekit

OPEN = 'let {0} = checkpoint("{0}")\n'
CHECKS = {}


def row(name):
    def add(function):
        CHECKS[name] = function
        return function

    return add


def recipe(uses, value, names=("base", "math", "code")):
    return (f"use std.{uses}\n" if uses else "") + "".join(OPEN.format(n) for n in names) + f'save {value} to "out"\n'


def yaml(method, names, base="base", parameters="{}", per_model="{}"):
    models = "".join(f"  - model: {n}\n    parameters: {per_model}\n" for n in names)
    start = f"base_model: {base}\n" if base else ""
    return f"merge_method: {method}\n{start}models:\n{models}parameters: {parameters}\n"


class Sides:
    """The two programs on one folder of models."""

    def __init__(self, work, mergec):
        self.folder, self.mergec = os.path.join(work, "f32"), mergec
        self.bf16 = os.path.join(work, "bf16")

    def ours(self, *args, folder=None, options=()):
        return self.mergec.run(folder or self.folder, recipe(*args), *options)

    def theirs(self, *args, folder=None, seed=None, **kwargs):
        return mergekit(folder or self.folder, yaml(*args, **kwargs), seed=seed)

    def refused(self, *args, folder=None):
        return self.mergec.refuses(folder or self.folder, recipe(*args))

    def model(self, name, folder=None):
        return load(os.path.join(folder or self.folder, name))


def equal(a, b, tolerance=CLOSE):
    return Comparison(a, b).within(tolerance)


@row("storage dtype")
def _(s):
    theirs = s.theirs("nuslerp", ["math", "code"], None, per_model="{weight: 0.5}", folder=s.bf16)
    ours = s.ours("merging.nuslerp", "nuslerp(math, code, 0.5, 0.5)", ("math", "code"), folder=s.bf16)
    c = Comparison(ours, theirs)
    return c.unequal > 0.05 * c.entries, f"nuslerp in bf16: {c.unequal / c.entries:.0%} of the entries"


@row("dtype of the result")
def _(s):
    theirs = {m: s.theirs(m, ["math"], folder=s.bf16) for m in ("arcee_fusion", "ramplus_tl")}
    ours = s.ours("task_vectors.arcee_fusion", "arcee_fusion(base, math)", ("base", "math"), folder=s.bf16)
    good = all(x.dtype == torch.float32 for m in theirs.values() for x in m.values())
    return good and all(x.dtype == torch.bfloat16 for x in ours.values()), "f32 against bf16"


@row("equal entries at a threshold")
def _(s):
    theirs = mergekit(s.bf16, yaml("ties", ["math"], per_model="{weight: 1, density: 0.4}"), dtype="float32")
    ours = s.ours("", 'base + keep_top(math - base, 0.4)', ("base", "math"), folder=s.bf16)
    base, math = s.model("base", s.bf16), s.model("math", s.bf16)
    first, other = True, 0
    for k, b in base.items():
        d = (math[k].float() - b.float()).flatten()
        order = sorted(range(d.numel()), key=lambda i: (-abs(float(d[i])), i))[: int(0.4 * d.numel())]
        moved = torch.zeros_like(d)
        moved[order] = d[order]
        expected = (b.float().flatten() + moved).to(torch.bfloat16).reshape(b.shape)
        first &= torch.equal(ours[k], expected)
        other += int((theirs[k].to(torch.bfloat16) != expected).sum())
    return first and other > 0, f"Merge takes the first everywhere, mergekit other ones in {other} entries"


def scales(out, base, model):
    """Per tensor: the share of changed entries that are left, and the least and largest factor on them."""
    found = []
    for k, b in base.items():
        change, left = (model[k] - b).double(), (out[k] - b).double()
        large = change.abs() > 1e-3
        there = large & (left != 0)
        ratio = left[there] / change[there]
        found.append((k, int(large.sum()), int(there.sum()), float(ratio.min()), float(ratio.max())))
    return found


def share_is(found, density):
    """Whether as many entries are left as a fair draw leaves, within five deviations."""
    n, kept = sum(f[1] for f in found), sum(f[2] for f in found)
    return abs(kept - n * density) < 5 * (n * density * (1 - density)) ** 0.5, kept / n


@row("DARE's scale")
def _(s):
    base, math = s.model("base"), s.model("math")
    theirs = scales(s.theirs("dare_linear", ["math"], per_model="{weight: 1, density: 0.25}", seed=3), base, math)
    ours = scales(s.ours("merging.dare", "dare(base, [math], density: 0.25, seed: 3)", ("base", "math")), base, math)
    own = s.ours("task_vectors.dare_linear", "dare_linear(base, [math], [1], density: 0.25, seed: 3, match_l1: true)", ("base", "math"))
    size = {k: (math[k] - b).double().abs().sum() for k, b in base.items()}
    kept_size = all(abs((own[k] - b).double().abs().sum() / size[k] - 1) < 1e-4 for k, b in base.items())
    fair, kept = share_is(ours, 0.25)
    fair_too, _ = share_is(theirs, 0.25)
    fixed = all(abs(low - 4) < 2e-3 and abs(high - 4) < 2e-3 for *_, low, high in ours)
    one = all(high - low < 2e-3 for *_, low, high in theirs)
    spread = [low for *_, low, _ in theirs]
    good = fair and fair_too and fixed and one and max(spread) - min(spread) > 0.1 and kept_size
    return good, f"{kept:.1%} left of 25%; scaled by 4, in mergekit by {min(spread):.2f} to {max(spread):.2f}"


def by_rank(out, base, model):
    """Per entry of the matrices whose change is large enough to read a factor off: place in its row from 0 to 1, and the
    factor on its change."""
    places, factors = [], []
    for k, b in base.items():
        if b.dim() == 2:
            change, left = (model[k] - b).double(), (out[k] - b).double()
            place = change.abs().argsort(dim=1, stable=True).argsort(dim=1) / (b.shape[1] - 1)
            large = change.abs() > 1e-3
            places.append(place[large])
            factors.append((left / change)[large])
    return torch.cat(places), torch.cat(factors)


@row("DELLA's scale")
def _(s):
    base, math = s.model("base"), s.model("math")
    settings = {"per_model": "{weight: 1, density: 0.5, epsilon: 0.3}", "seed": 3}
    call = "della_linear(base, [math], [1], density: 0.5, epsilon: 0.3, seed: 3{})"
    ours = by_rank(s.ours("task_vectors.della_linear", call.format(""), ("base", "math")), base, math)
    matched = by_rank(s.ours("task_vectors.della_linear", call.format(", match_l1: true"), ("base", "math")), base, math)
    theirs = by_rank(s.theirs("della_linear", ["math"], **settings), base, math)
    fair, shares = True, []
    for place, factor in (ours, matched, theirs):
        for low in (0.2, 0.5, 0.8):
            there = (place >= low) & (place < low + 0.2)
            chance = 0.2 + 0.6 * place[there]
            kept = (factor[there] != 0).double()
            fair &= bool((kept - chance).sum().abs() < 5 * (chance * (1 - chance)).sum().sqrt())
            shares.append(float(kept.mean()))
    left = ours[1] != 0
    by_chance = bool((ours[1][left] * (0.2 + 0.6 * ours[0][left]) - 1).abs().max() < 5e-3)
    flat = not bool((theirs[1][theirs[1] != 0] * (0.2 + 0.6 * theirs[0][theirs[1] != 0]) - 1).abs().max() < 5e-3)
    shown = ", ".join(f"{a:.0%} and {b:.0%}" for a, b in zip(shares[:3], shares[6:]))
    return fair and by_chance and flat, f"left of entries at places 0.2, 0.5, 0.8 of a row, here and in mergekit: {shown}"


@row("random masks")
def _(s):
    args = ("dare_linear", ["math", "code"])
    drop = {"per_model": "{weight: 0.5, density: 0.5}"}
    again = equal(s.theirs(*args, seed=3, **drop), s.theirs(*args, seed=3, **drop), 0.0)
    free = not equal(s.theirs(*args, **drop), s.theirs(*args, **drop))
    def ours(*options):
        return s.ours("merging.dare", "dare(base, [math, code], density: 0.5)", options=options)

    fixed = equal(ours("--threads", "1"), ours("--threads", "2"), 0.0)
    anew = not equal(ours(), ours("--seed", "1"))
    return again and free and fixed and anew, "mergekit's change from run to run without a seed, Merge's with the seed only"


@row("density without a value")
def _(s):
    theirs = s.theirs("ties", ["math", "code"], per_model="{weight: 1}")
    ours = s.ours("merging.ties_weighted", "ties_weighted(base, [math, code], [1, 1], density: 1.0)")
    default = s.ours("merging.ties_weighted", "ties_weighted(base, [math, code], [1, 1])")
    return equal(ours, theirs) and not equal(default, theirs, 1e-3), "mergekit's ties is Merge's at density 1"


@row("normalize of dare_ties")
def _(s):
    theirs = s.theirs("dare_ties", ["math", "code"], per_model="{weight: 0.6, density: 1}")
    plain = s.ours("merging.dare_ties", "dare_ties(base, [math, code], [0.6, 0.6], density: 1.0)")
    same = s.ours("merging.dare_ties", "dare_ties(base, [math, code], [0.6, 0.6], density: 1.0, normalize: false)")
    return equal(same, theirs) and not equal(plain, theirs, 1e-3), "mergekit's is `normalize: false`"


@row("TIES without weights")
def _(s):
    # `contrary` cancels `math` nowhere exactly, but `mirror` does.
    names = ("base", "math", "mirror")
    theirs = s.theirs("ties", ["math", "mirror"], per_model="{weight: 1, density: 1}")
    ours = s.ours("merging.ties", "ties(base, [math, mirror], density: 1.0)", names)
    weighted = s.ours("merging.ties_weighted", "ties_weighted(base, [math, mirror], [1, 1], density: 1.0)", names)
    base = s.model("base")
    stays = all(torch.equal(ours[k], base[k]) for k in base)
    return stays and equal(weighted, theirs) and not equal(ours, theirs, 1e-3), "two models that cancel: the base, or the positive"


@row("trimming small tensors")
def _(s):
    theirs = s.theirs("ties", ["math"], per_model="{weight: 1, density: 0.01}")
    ours = s.ours("merging.ties_weighted", "ties_weighted(base, [math], [1], density: 0.01)", ("base", "math"))
    base = s.model("base")
    moved = [[int((out[k] != base[k]).sum()) for k in base if base[k].dim() == 1] for out in (ours, theirs)]
    least = s.ours("merging.ties_weighted", "ties_weighted(base, [math], [1], density: 0.01, least: 1)", ("base", "math"))
    good = set(moved[0]) == {0} and set(moved[1]) == {1} and equal(least, theirs)
    return good, "64 entries at density 0.01: none, in mergekit and with `least: 1` one"


@row("outliers beside a large density")
def _(s):
    theirs = s.theirs("breadcrumbs", ["math"], per_model="{weight: 1, density: 0.75, gamma: 0.5}")
    fit = s.theirs("breadcrumbs", ["math"], per_model="{weight: 1, density: 0.75, gamma: 0.25}")
    ours = s.refused("task_vectors.breadcrumbs_flat", "breadcrumbs_flat(base, [math], [1], density: 0.75, gamma: 0.5)", ("base", "math"))
    return ours and equal(theirs, fit), "0.75 + 0.5 is an error, in mergekit it is 0.75 + 0.25"


@row("model stock's ratio")
def _(s):
    theirs = s.theirs("model_stock", ["math", "contrary"])
    names = ("base", "math", "contrary")
    ours = s.ours("merging.model_stock", "model_stock(base, [math, contrary])", names)
    free = s.ours("merging.model_stock", "model_stock(base, [math, contrary], held: false)", names)
    base = s.model("base")
    away = max(float((theirs[k] - base[k]).abs().max()) for k in base)
    good = equal(ours, base) and equal(free, theirs, 1e-2)
    return good, f"opposed models: the base, in mergekit and with `held: false` up to {away:.1g} off"


@row("multislerp of opposed models")
def _(s):
    try:
        s.theirs("multislerp", ["math", "mirror", "code", "erroc"], per_model="{weight: 1}")
        raised = False
    except Failed:
        raised = True
    names = ("base", "math", "mirror", "code", "erroc")
    ours = s.ours("geometry.multislerp", f"base + multislerp([{', '.join(f'{n} - base' for n in names[1:])}], [1, 1, 1, 1])", names)
    return raised and equal(ours, s.model("base"), 1e-5), "an error, here the average"


@row("SCE of small changes")
def _(s):
    names = ("base", "timid", "bold")
    theirs = s.theirs("sce", ["timid", "bold"])
    ours = s.ours("task_vectors.sce", "sce(base, [timid, bold])", names)
    # Where both go the same way, equal shares are the plain mean.
    t, b, o = (s.model(n) for n in ("timid", "bold", "base"))
    plain = shares = True
    for k in o:
        x, y = (t[k] - o[k]).double(), (b[k] - o[k]).double()
        both = x * y > 0
        mean, energy = (x + y) / 2, (x.square().mean() * x + y.square().mean() * y) / (x.square().mean() + y.square().mean())
        plain &= bool(((theirs[k] - o[k]).double() - mean)[both].abs().max() < 1e-6)
        shares &= bool(((ours[k] - o[k]).double() - energy)[both].abs().max() < 1e-6)
    alike = s.ours("task_vectors.sce", "sce(base, [timid, bold], least: 1e-6)", names)
    return plain and shares and equal(alike, theirs), "equal shares in mergekit and with `least: 1e-6`, shares by energy here"


@row("gradients outside the layers")
def _(s):
    theirs = s.theirs("slerp", ["math", "code"], "math", parameters="{t: [0.1, 0.7, 0.4]}")
    ours = s.ours("merging.slerp", "slerp(math, code, t: 0.1)", ("math", "code"))
    last = s.ours("merging.slerp", "slerp(math, code, t: 0.4)", ("math", "code"))
    outside = [k for k in theirs if ".layers." not in k]
    first, other = ({k: out[k] for k in outside} for out in (ours, last))
    there = {k: theirs[k] for k in outside}
    behind = any("norm" in k or "head" in k for k in outside)
    good = behind and equal(first, there) and not equal(other, there, 1e-3)
    return good, f"{', '.join(outside)}: t is the gradient's first value in mergekit"


@row("fusion's threshold")
def _(s):
    from mergekit.merge_methods.arcee_fusion import DynamicThresholdFusion

    x = torch.randn(1_200_000, generator=torch.Generator().manual_seed(1)).abs()
    found = {float(DynamicThresholdFusion().calculate_dynamic_threshold(x)) for _ in range(3)}
    return len(found) > 1, f"three draws of one tensor of 1.2 million entries: {', '.join(f'{t:.4f}' for t in sorted(found))}"


@row("weights that cancel")
def _(s):
    theirs = mergekit(
        s.folder, "merge_method: linear\nmodels:\n  - {model: math, parameters: {weight: 1}}\n  - {model: code, parameters: {weight: -1}}\n"
    )
    broken = any(not torch.isfinite(x).all() for x in theirs.values())
    return broken and s.refused("merging.linear", "linear([math, code], [1, -1])"), "infinities, here an error of check"


@row("unknown keys")
def _(s):
    theirs = s.theirs("ties", ["math"], per_model="{weight: 1, densty: 0.3}")
    whole = s.theirs("ties", ["math"], per_model="{weight: 1}")
    ours = s.refused("merging.ties_weighted", "ties_weighted(base, [math], [1], densty: 0.3)", ("base", "math"))
    return ours and equal(theirs, whole, 0.0), "`densty` is an error of check"


@row("tensors beside the architecture")
def _(s):
    theirs = s.theirs("linear", ["odd"], None, per_model="{weight: 1}")
    ours = s.ours("merging.linear", "linear([odd], [1])", ("odd",))
    return "vision.weight" in ours and "vision.weight" not in theirs, "`vision.weight` is lost in mergekit"


@row("late errors")
def _(s):
    try:
        s.theirs("della", ["math"], per_model="{weight: 1, density: 0.95}")
        late = False
    except Failed:
        late = True
    early = s.refused("merging.ties", "ties(base, [math, code], density: 1.5)")
    return late and early, "a density out of range: in mergekit raised by the first tensor that is merged"


def make(work):
    """More models, for what only odd ones show."""
    import models

    folder = os.path.join(work, "f32")
    base, math, code = (load(os.path.join(folder, n)) for n in ("base", "math", "code"))
    # Mirrored changes, computed so that the sums are exactly 0: multiples of a power of two.
    exact = {k: (x * 2**20).round() / 2**20 for k, x in base.items()}
    odd = {"base": exact}
    for name, tuned in (("math", math), ("code", code)):
        odd[name] = {k: exact[k] + ((tuned[k] - base[k]) * 2**20).round() / 2**20 for k in base}
    odd["mirror"] = {k: 2 * exact[k] - odd["math"][k] for k in base}
    odd["erroc"] = {k: 2 * exact[k] - odd["code"][k] for k in base}
    odd["contrary"] = {k: exact[k] - 0.7 * (odd["math"][k] - exact[k]) + 0.2 * (odd["code"][k] - exact[k]) for k in base}
    odd["timid"] = {k: exact[k] + 0.03 * (odd["math"][k] - exact[k]) for k in base}
    odd["bold"] = {k: exact[k] + 0.1 * (odd["code"][k] - exact[k]) for k in base}
    odd["odd"] = exact | {"vision.weight": torch.ones(8, 8)}
    for name, tensors in odd.items():
        models.write(os.path.join(work, "odd", "f32", name), tensors, torch.float32)
    for name in ("base", "math", "code"):
        models.write(os.path.join(work, "odd", "bf16", name), load(os.path.join(work, "bf16", name)), torch.bfloat16)


def rows(text, work, mergec, wanted):
    make(work)
    sides = Sides(os.path.join(work, "odd"), mergec)
    sides.text = text
    listed = page.differences(text)
    for name in listed:
        if wanted and not any(w in name for w in wanted):
            continue
        if name not in CHECKS:
            yield name, "", "UNCHECKED", "the page lists it, and no check shows it", False
            continue
        try:
            good, detail = CHECKS[name](sides)
        except Failed as failed:
            good, detail = False, str(failed)
        yield name, "", "differs" if good else "NOT SO", detail, good
    for name in CHECKS.keys() - set(listed):
        yield name, "", "UNLISTED", "the page does not list it", False
