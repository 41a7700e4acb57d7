"""Makes the inputs and the expected outputs of the methods' golden tests, in float64 numpy.

    python make.py FOLDER        (numpy and safetensors; the committed files come from this, small.py and adapters.py)

Each method is written down here a second time, from its paper and independently of the compiler, as plainly as
possible. Inputs are F32 (and `x16`, a BF16 copy of `x`). Outputs are float64, rounded to F32.
"""
import sys, os, itertools
import numpy as np
from safetensors.numpy import save_file
import adapters
import matrices
import small

OUT = sys.argv[1]
SHAPES = {
    "model.embed.weight": (37, 53),
    "model.layers.0.attn.weight": (64, 65),
    "model.layers.0.mlp.weight": (5, 7, 3),
    "model.layers.0.norm.weight": (127,),
    "model.layers.1.attn.weight": (64, 65),
    "model.layers.1.mlp.weight": (5, 7, 3),
    "model.layers.1.norm.weight": (127,),
    "model.one.weight": (1,),
    "model.scale": (),
}
NAMES = sorted(SHAPES)
rng = np.random.default_rng(20261123)


def tensors(scale, around=None):
    out = {}
    for name in NAMES:
        x = rng.standard_normal(SHAPES[name]) * scale
        out[name] = np.asarray(x if around is None else around[name] + x, np.float32)
    return out


base = tensors(0.5)
models = {m: tensors(0.05, base) for m in "abc"}
# Task vectors with equal magnitudes and with zeros, where tie rules show.
models["b"]["model.layers.0.norm.weight"] = base["model.layers.0.norm.weight"].copy()
models["c"]["model.layers.0.norm.weight"] = base["model.layers.0.norm.weight"] + np.float32(0.25)
fishers = {m: {k: np.asarray(np.square(rng.standard_normal(SHAPES[k])) * 1e-3, np.float32) for k in NAMES} for m in "ab"}


def write(name, data, folder=None):
    path = os.path.join(OUT, name) if folder is None else os.path.join(OUT, folder)
    os.makedirs(path, exist_ok=True)
    file = "model.safetensors" if folder is None else name + ".safetensors"
    save_file({k: np.array(v, order="C") for k, v in data.items()}, os.path.join(path, file))


def to_bf16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


write("base", base)
for m in "abc":
    write(m, models[m])
for m in "ab":
    write(f"fisher-{m}", fishers[m], "statistics")

B = {k: v.astype(np.float64) for k, v in base.items()}
M = {m: {k: v.astype(np.float64) for k, v in models[m].items()} for m in "abc"}
F = {m: {k: v.astype(np.float64) for k, v in fishers[m].items()} for m in "ab"}


def expect(name, f):
    """f maps the tensors of one name (base, [a, b, c], name) to the merged tensor."""
    out = {k: np.asarray(f(B[k], [M[m][k] for m in "abc"], k), np.float32).reshape(SHAPES[k]) for k in NAMES}
    write(name, out, "expected")


def as_vector(model):
    return np.concatenate([model[k].ravel() for k in NAMES])


def expect_whole(name, vector):
    out, at = {}, 0
    for k in NAMES:
        n = int(np.prod(SHAPES[k], dtype=int))
        out[k] = np.asarray(vector[at : at + n], np.float32).reshape(SHAPES[k])
        at += n
    write(name, out, "expected")


def delta32(m, b):
    """Task vectors are float32 in the compiled code, and thresholds compare them: form them so here."""
    return (m.astype(np.float32) - b.astype(np.float32)).astype(np.float64)


expect("linear", lambda b, ms, k: (1.0 * ms[0] + 0.3 * ms[1] + 0.5 * ms[2]) / 1.8)
expect("linear-raw", lambda b, ms, k: 0.7 * ms[0] + 0.3 * ms[1])
expect("task-arithmetic", lambda b, ms, k: b + 0.3 * sum(m - b for m in ms))


def slerp(a, b, t):
    x, y = a.ravel(), b.ravel()
    n = np.linalg.norm(x) * np.linalg.norm(y)
    c = 1.0 if n == 0 else np.clip(x @ y / n, -1, 1)
    if abs(c) > 0.9995:
        return (1 - t) * a + t * b
    w = np.arccos(c)
    return (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


expect("slerp", lambda b, ms, k: slerp(ms[0], ms[1], 0.4))


def nuslerp(a, b, wa, wb):
    t = wb / (wa + wb)
    n = max(np.linalg.norm(a), 1e-7) * max(np.linalg.norm(b), 1e-7)
    w = np.arccos(np.clip((a.ravel() @ b.ravel()) / n, -1, 1))
    if abs(np.sin(w)) < 1e-8:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


def by_rows(f, *xs):
    shape = xs[0].shape
    if xs[0].ndim <= 1:
        return f(*xs)
    rows = [x.reshape(-1, shape[-1]) for x in xs]
    return np.stack([f(*r) for r in zip(*rows)]).reshape(shape)


expect("nuslerp", lambda b, ms, k: nuslerp(ms[0], ms[2], 0.6, 0.2))
expect("nuslerp-rows", lambda b, ms, k: by_rows(lambda x, y: nuslerp(x, y, 0.6, 0.2), ms[0], ms[2]))


def keep_top(t, density):
    """The floor(density * n) entries of largest magnitude; of equal ones, the first."""
    flat = t.ravel()
    order = np.argsort(-np.abs(flat), kind="stable")[: int(density * flat.size)]
    out = np.zeros_like(flat)
    out[order] = flat[order]
    return out.reshape(t.shape)


def keep_top_all(t, density):
    flat = t.ravel()
    k = int(density * flat.size)
    if k == 0:
        return np.zeros_like(t)
    threshold = np.sort(np.abs(flat))[::-1][k - 1]
    return np.where(np.abs(t) >= threshold, t, 0)


def ties(b, ms, density, lam):
    kept = [keep_top(delta32(m, b), density) for m in ms]
    elected = np.sign(sum(kept))
    agree = [np.where(np.sign(t) == elected, t, 0) for t in kept]
    return b + lam * sum(agree) / np.maximum(1, sum((t != 0).astype(float) for t in agree))


def ties_paper(b, ms, density, lam):
    kept = [keep_top_all(delta32(m, b), density) for m in ms]
    signs = np.sign(sum(kept))
    elected = np.where(signs == 0, np.sign(signs.sum()), signs)
    agree = [np.where(np.where(elected > 0, t > 0, t < 0), t, 0) for t in kept]
    return b + lam * sum(agree) / np.maximum(1, sum((t != 0).astype(float) for t in agree))


expect("ties", lambda b, ms, k: ties(b, ms, 0.2, 1.0))
expect("ties-half", lambda b, ms, k: ties(b, ms, 0.5, 1.5))
expect("ties-paper", lambda b, ms, k: ties_paper(b, ms, 0.2, 1.0))
expect_whole("ties-paper-whole", ties_paper(as_vector(B), [as_vector(M[m]) for m in "abc"], 0.2, 1.0))


def crumbs(t, keep, drop):
    n = t.size
    order = np.argsort(-np.abs(t), kind="stable")
    chosen = order[int(drop * n) : int(drop * n) + int(keep * n)]
    out = np.zeros_like(t)
    out[chosen] = t[chosen]
    return out


def breadcrumbs(b, ms, keep, drop, alpha):
    if b.ndim == 0:
        return b
    return b + alpha * sum(by_rows(lambda t: crumbs(t, keep, drop), delta32(m, b)) for m in ms)


expect("breadcrumbs", lambda b, ms, k: breadcrumbs(b, ms, 0.2, 0.1, 0.4))
expect("breadcrumbs-wide", lambda b, ms, k: breadcrumbs(b, ms, 0.5, 0.05, 1.0))


def cosine(x, y):
    n = np.linalg.norm(x) * np.linalg.norm(y)
    return 0.0 if n == 0 else (x.ravel() @ y.ravel()) / n


def stock_ratio(b, ms):
    c = np.mean([cosine(x - b, y - b) for x, y in itertools.combinations(ms, 2)])
    n = len(ms)
    return np.clip(n * c / (1 + (n - 1) * c), 0, 1)


def stock(b, *ms):
    t = stock_ratio(b, ms)
    return (1 - t) * b + t * sum(ms) / len(ms)


expect("model-stock", lambda b, ms, k: stock(b, *ms))
expect("model-stock-rows", lambda b, ms, k: by_rows(stock, b, *ms))


def fisher_whole():
    size = {m: np.linalg.norm(as_vector(F[m])) for m in "ab"}
    weights = [0.7 / size["a"] * np.maximum(as_vector(F["a"]), 1e-6), 0.3 / size["b"] * as_vector(F["b"])]
    top = sum(w * as_vector(M[m]) for w, m in zip(weights, "ab"))
    return top / sum(weights)


expect_whole("fisher-whole", fisher_whole())


# DARE: the masks come from the language's counter-based generator, written down again here.
def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): four words for each 64-bit counter."""
    mask = np.uint64(0xFFFFFFFF)
    c = [counter & mask, counter >> np.uint64(32), np.zeros_like(counter), np.zeros_like(counter)]
    k0, k1 = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k0, p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ k1, p0 & mask]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
    return c


def uniform(n, key):
    i = np.arange(n, dtype=np.uint64)
    words = philox((i // np.uint64(64)) * np.uint64(16) + i % np.uint64(16), key)
    word = (i // np.uint64(16)) % np.uint64(4)
    bits = np.choose(word.astype(int), words)
    return (bits >> np.uint64(8)).astype(np.float64) * 2.0**-24


if __name__ == "__main__":
    x = {"uniform.1": uniform(1000, 1).astype(np.float32), "uniform.big": uniform(1000, 0x0123456789ABCDEF).astype(np.float32)}
    write("random", x, "expected")
    small.make(OUT, uniform)
    matrices.make(OUT, uniform)
    adapters.make(f"{OUT}/adapters")
