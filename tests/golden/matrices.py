"""Expected outputs below `small/` of methods that multiply, decompose and reorder matrices.

Called by make.py after small.py, whose models it reads. As there, each method is written down a second time in float64, with
numpy's decompositions. Where the sign of a singular vector shows in a result it is the language's: the entry of largest
magnitude in each column of u is positive.
"""
import math, os
import numpy as np
from safetensors.numpy import load_file, save_file
from small import NAMES, SHAPES, delta32, elect, stream, unvector, vector

MATRICES = [k for k in NAMES if len(SHAPES[k]) == 2]
MLP = "layers.0.mlp.weight"


def svd(a, k=None):
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    flip = np.sign(u[np.abs(u).argmax(0), np.arange(u.shape[1])])
    return (u * flip)[:, :k], s[:k], (vt.T * flip)[:, :k]


def polar(a):
    u, _, vt = np.linalg.svd(a, full_matrices=False)
    return u @ vt


# ---- subspaces -------------------------------------------------------------------------------------------------------
def tsv_m(taus):
    k = min(taus[0].shape) // len(taus)
    us, ss, vs = zip(*[svd(t, k) for t in taus])
    return polar(np.hstack(us)) @ np.diag(np.concatenate(ss)) @ polar(np.hstack(vs)).T


def iso_c(taus):
    u, s, v = svd(sum(taus))
    return u @ np.diag(np.full(len(s), s.mean())) @ v.T


def iso_cts(taus, common):
    small = min(taus[0].shape)
    own = round((small - int(small * common)) / len(taus))
    shared = small - own * len(taus)
    u, s, v = svd(sum(taus), shared)
    parts = [svd(t - u @ u.T @ t, own) for t in taus]
    left = polar(np.hstack([p[0] for p in parts] + [u]))
    right = polar(np.hstack([p[2] for p in parts] + [v]))
    return np.concatenate([p[1] for p in parts] + [s]).mean() * left @ right.T


def opcm(B, models, alpha):
    tau = lambda m: {k: m[k] - B[k] for k in NAMES}
    size = lambda d: math.sqrt(sum((d[k] ** 2).sum() for k in NAMES))
    merged, scale, sizes = tau(models[0]), 1.0, [size(tau(models[0]))]
    for m in models[1:]:
        t, new = tau(m), {}
        sizes.append(size(t))
        for k in NAMES:
            part = t[k]
            if k in MATRICES:
                u, s, vt = np.linalg.svd(merged[k])
                r = int(np.argmax(np.cumsum(s) > alpha * s.sum()))
                p = u.T @ t[k] @ vt.T
                np.fill_diagonal(p, 0)
                p[:r, :r] = 0
                part = u @ p @ vt
            new[k] = scale * merged[k] + part
        scale = size(new) / np.mean(sizes)
        merged = {k: v / scale for k, v in new.items()}
    return {k: B[k] + merged[k] for k in NAMES}


# ---- adapters --------------------------------------------------------------------------------------------------------
def trimmed_mean(X, density):
    """TIES of the authors on rows of X."""
    kept = [np.where(np.abs(x) >= np.sort(np.abs(x))[::-1][int(density * x.size) - 1], x, 0) for x in X]
    signs = np.sign(sum(kept))
    signs = np.where(signs == 0, np.sign(signs.sum()), signs)
    agree = [np.where(signs > 0, np.maximum(x, 0), np.minimum(x, 0)) for x in kept]
    return sum(agree) / np.maximum(sum(x != 0 for x in agree), 1)


def knots(taus, density):
    """taus: a dictionary of matrices for each model."""
    bases, shares = {}, [[] for _ in taus]
    for k in MATRICES:
        u, s, v = svd(np.hstack([t[k] for t in taus]))
        bases[k], width = u, SHAPES[k][1]
        for i, share in enumerate(shares):
            share.append((np.diag(s) @ v.T[:, i * width : (i + 1) * width]).ravel())
    joined, at, out = trimmed_mean([np.concatenate(s) for s in shares], density), 0, {}
    for k in MATRICES:
        shape = (bases[k].shape[1], SHAPES[k][1])
        out[k] = bases[k] @ joined[at : at + shape[0] * shape[1]].reshape(shape)
        at += shape[0] * shape[1]
    return out


def lego(downs, ups, labels, largest):
    """labels: the cluster of each rank of all adapters."""
    parts = np.vstack([np.hstack([a, b.T]) for a, b in zip(downs, ups)])
    size = lambda x: np.abs(x).max() if largest else np.linalg.norm(x)
    total = 0
    for c in range(labels.max() + 1):
        mine = parts[labels == c]
        middle = mine.mean(0)
        middle = middle * np.mean([size(x) for x in mine]) / size(middle)
        a, b = middle[: downs[0].shape[1]], middle[downs[0].shape[1] :]
        total = total + math.sqrt(len(downs[0]) / (labels.max() + 1)) * np.outer(b, a)
    return total


# ---- statistics, folding, compression --------------------------------------------------------------------------------
def regmean(ms, grams, a):
    grams = [g * (a + (1 - a) * np.eye(len(g))) for g in grams]
    return (np.linalg.inv(sum(grams)) @ sum(g @ m.T for g, m in zip(grams, ms))).T


def eora(full, compressed, gram, rank):
    l, q = np.linalg.eigh(gram)
    root = q * np.sqrt(l)
    u, s, v = svd((full - compressed) @ root, rank)
    return compressed + u @ np.diag(s) @ v.T @ np.diag(1 / np.sqrt(l)) @ q.T


def eora_factors(full, compressed, gram, rank):
    """(down, up), each with half of the singular values."""
    l, q = np.linalg.eigh(gram)
    u, s, v = svd((full - compressed) @ (q * np.sqrt(l)), rank)
    return (q @ np.diag(1 / np.sqrt(l)) @ v @ np.diag(np.sqrt(s))).T, u @ np.diag(np.sqrt(s))


def rps(store, signs, hash, scale, first):
    m, out = len(store), np.zeros(signs.size)
    for j in range(signs.size):
        n = first + j
        c = n // m
        h = (c * hash[0] + c * c * hash[1] + hash[2]) % 2038074743 % m
        out[j] = scale * signs.ravel()[j] * store[(h + n - c * m) % m]
    return out.reshape(signs.shape)


def magprune(t, u, density, epsilon, l1):
    flat = t.reshape(-1, t.shape[-1])
    place = np.argsort(np.argsort(np.abs(flat), axis=1, kind="stable"), axis=1, kind="stable").reshape(t.shape)
    n = t.shape[-1]
    chance = density - epsilon + place * 2 * epsilon / (n - 1) if n > 1 else np.full(t.shape, density)
    kept = np.where(u < chance, t, 0)
    if l1:
        return kept * (np.abs(t).sum() / np.abs(kept).sum()) if kept.any() else kept
    return kept / chance


def make(out, philox_uniform):
    rng = np.random.default_rng(11)
    at = lambda path: os.path.join(out, "small", path)
    I = {m: {k: v.astype(np.float64) for k, v in load_file(at(f"{m}/model.safetensors")).items()} for m in ("base", "a", "b", "c")}
    B, models = I["base"], [I[m] for m in "abc"]

    def write(path, data):
        os.makedirs(os.path.dirname(at(path)), exist_ok=True)
        save_file({k: np.array(v, np.float32, order="C") for k, v in data.items()}, at(path))

    def made(path, data):
        """An input: written, and given back as what was written."""
        write(path, data)
        return {k: v.astype(np.float64) for k, v in load_file(at(path)).items()}

    def expect(name, f, others=lambda b, ms, k: np.mean(ms, axis=0)):
        """f of matrices, `others` of all other tensors."""
        pick = lambda k: f if k in MATRICES else others
        write(f"expected/{name}.safetensors", {k: pick(k)(B[k], [m[k] for m in models], k) for k in NAMES})

    taus = lambda b, ms: [m - b for m in ms]
    expect("tsv-m", lambda b, ms, k: b + 0.8 * tsv_m(taus(b, ms)))
    expect("iso-c", lambda b, ms, k: b + iso_c(taus(b, ms)))
    expect("iso-cts", lambda b, ms, k: b + 1.5 * iso_cts(taus(b, ms), 0.8))
    write("expected/opcm.safetensors", opcm(B, models, 0.5))
    knotted = knots([{k: m[k] - B[k] for k in MATRICES} for m in models], 0.2)
    write("expected/knots.safetensors", B | {k: B[k] + 0.6 * knotted[k] for k in MATRICES})

    # Statistics and factors for the (16, 24) matrix.
    gram = lambda n: (lambda x: x.T @ x / len(x))(rng.standard_normal((2 * n, n)) * np.linspace(0.2, 2, n))
    centres = rng.standard_normal((4, 40))
    near = lambda order: centres[order] * rng.uniform(0.8, 1.2, (4, 1)) + 0.02 * rng.standard_normal((4, 40))
    order = [2, 0, 3, 1]
    one, two = near([0, 1, 2, 3]), near(order)
    f = made("matrices.safetensors", {
        **{f"gram.{m}.{k}": gram(SHAPES[k][1]) for m in "abc" for k in MATRICES},
        "one.down": one[:, :24], "one.up": one[:, 24:].T, "two.down": two[:, :24], "two.up": two[:, 24:].T,
        "before.down": rng.standard_normal((4, 24)), "before.up": rng.standard_normal((24, 4)),
        "after.down": rng.standard_normal((4, 16)), "after.up": rng.standard_normal((16, 4)),
        "bias": rng.standard_normal(16), "rank.bias": rng.standard_normal(4), "in.bias": rng.standard_normal(24),
        "out.bias": rng.standard_normal(16), "l1": rng.standard_normal((16, 3)), "l0": rng.standard_normal((3, 16)),
        "mask": np.where(np.isin(np.arange(16), rng.permutation(16)[:10]), 1, -1) * rng.uniform(0.01, 1, 16),
        "store": rng.standard_normal(37), "signs": rng.choice([-1.0, 1.0], (16, 24)),
    })  # fmt: skip
    expect("regmean", lambda b, ms, k: regmean(ms, [f[f"gram.{m}.{k}"] for m in "abc"], 0.9))
    same = lambda b, ms, k: b
    factors = [eora_factors(models[0][k], B[k], f[f"gram.a.{k}"], 4) for k in [MLP]]
    write("expected/eora-factors.safetensors", {"down": factors[0][0], "up": factors[0][1]})
    expect("eora", lambda b, ms, k: eora(ms[0], b, f[f"gram.a.{k}"], 4), same)
    w = B[MLP]
    for name, largest in [("lego", False), ("lego-largest", True)]:
        # Two adapters of rank 4: rank k of the second lies near rank order[k] of the first.
        merged = lego([f["one.down"], f["two.down"]], [f["one.up"], f["two.up"]], np.array([0, 1, 2, 3] + order), largest)
        write(f"expected/{name}.safetensors", B | {MLP: w + merged})
    u, s, v = svd(w, 4)
    slim = {"first": (v * np.sqrt(s)).T, "second": u * np.sqrt(s)}
    write("expected/pela.safetensors", slim)
    adapter = np.eye(24) + 0.5 * f["before.up"] @ f["before.down"]
    behind = np.eye(16) + 0.3 * f["after.up"] @ f["after.down"]
    write("expected/zeroi2v.safetensors", {
        "before": w @ adapter,
        "before.bias": w @ (0.5 * (f["before.up"] @ f["rank.bias"] + f["in.bias"])) + f["bias"],
        "after": behind @ w,
        "after.bias": behind @ f["bias"] + 0.3 * (f["after.up"] @ f["rank.bias"] + f["out.bias"]),
    })  # fmt: skip
    kept = np.flatnonzero(f["mask"] > 0)
    mixed = (np.eye(16) + f["l1"] @ f["l0"]) @ w
    write("expected/pat.safetensors", {
        "producer": mixed[kept], "consumer": w.T[:, kept], "embedding": mixed[kept].T, "norm": f["bias"][kept] * math.sqrt(16 / 10)
    })  # fmt: skip
    write("expected/rps.safetensors", {"expanded": rps(f["store"], f["signs"], (2027, 90001, 1733), 0.7, 50)})

    small_ones = {k: B[k][np.abs(B[k]) < np.float32(0.1)] for k in MATRICES}
    packed = made("packed.safetensors", {k: v + 0.05 * rng.standard_normal(v.shape) for k, v in small_ones.items()})

    def unpacked(b, ms, k):
        b = b.copy()
        b[np.abs(b) < np.float32(0.1)] = packed[k]
        return b

    expect("sara-packed", unpacked, same)

    def pruned(b, ms, k, weights, density, epsilon, l1=False, seed=0):
        u = [stream(seed, [i], k, philox_uniform, b.size).reshape(b.shape) for i in range(len(ms))]
        return [w * magprune(delta32(m, b), v, density, epsilon, l1) for w, m, v in zip(weights, ms, u)]

    W = (0.5, 0.3, 0.2)
    rows = lambda f: lambda b, ms, k: b if b.ndim == 0 else f(b, ms, k)
    everywhere = lambda f: (rows(f), rows(f))
    expect("della", *everywhere(lambda b, ms, k: b + 1.1 * elect(pruned(b, ms, k, W, 0.7, 0.07), W, True)))
    expect("della-linear", *everywhere(lambda b, ms, k: b + sum(pruned(b, ms, k, W, 0.5, 0.15, seed=4))))
    def pruned_alone(b, ms, k):
        u = stream(9, [], k, philox_uniform, b.size).reshape(b.shape)
        return b + magprune(delta32(ms[0], b), u, 0.6, 0.2, False)

    expect("magprune", *everywhere(pruned_alone))
    expect("della-l1", *everywhere(lambda b, ms, k: b + sum(pruned(b, ms, k, W, 0.5, 0.15, l1=True))))
    mean_of = lambda b, ms, k: (ms[0] + ms[2]) / 2
    expect("greedy-soup", mean_of, mean_of)

    # Networks of two hidden layers; q is p in another order, with noise.
    sizes = [9, 12, 10, 4]
    p = {f"{i}.weight": rng.standard_normal((sizes[i + 1], sizes[i])) for i in range(3)}
    p |= {f"{i}.bias": rng.standard_normal(sizes[i + 1]) for i in range(3)}
    orders = [rng.permutation(12), rng.permutation(10)]
    q = {k: v + 0.1 * rng.standard_normal(v.shape) for k, v in p.items()}
    noisy = made("p/model.safetensors", p), made("q-in-order.safetensors", q)
    os.remove(at("q-in-order.safetensors"))
    q = dict(noisy[1])
    for i, o in enumerate(orders):
        q[f"{i}.weight"], q[f"{i}.bias"] = q[f"{i}.weight"][o], q[f"{i}.bias"][o]
        q[f"{i + 1}.weight"] = q[f"{i + 1}.weight"][:, o]
    write("q/model.safetensors", q)
    # Unit orders[k][j] of q is unit j of p: the inverse brings it back.
    write("orders.safetensors", {str(k): np.argsort(o) for k, o in enumerate(orders)})
    write("expected/reordered.safetensors", noisy[1])
    write("expected/rebasin.safetensors", {k: (noisy[0][k] + noisy[1][k]) / 2 for k in p})
