"""The inputs and expected outputs below `small/`: methods whose tests need no large tensors.

Called by make.py. As there, each method is written down a second time, in float64 and as plainly as possible; what is
compared or ranked starts from float32 task vectors, as in compiled code.
"""
import os
import numpy as np
from safetensors.numpy import save_file

SHAPES = {
    "embed.weight": (12, 20),
    "layers.0.conv.weight": (5, 7, 3),
    "layers.0.mlp.weight": (16, 24),
    "layers.0.norm.weight": (31,),
    "one.weight": (1,),
    "scale": (),
}
NAMES = sorted(SHAPES)


def vector(model):
    return np.concatenate([np.ravel(model[k]) for k in NAMES])


def unvector(v):
    ends = np.cumsum([int(np.prod(SHAPES[k], dtype=int)) for k in NAMES])
    return {k: part.reshape(SHAPES[k]) for k, part in zip(NAMES, np.split(v, ends[:-1]))}


def delta32(m, b):
    return np.asarray(m.astype(np.float32) - b.astype(np.float32), np.float64)


def by_rows(f, *xs):
    shape = xs[0].shape
    if xs[0].ndim <= 1:
        return f(*xs)
    return np.stack([f(*r) for r in zip(*[x.reshape(-1, shape[-1]) for x in xs])]).reshape(shape)


# ---- spheres and medians ---------------------------------------------------------------------------------------------
def nearswap(b, other, t):
    move = other - b
    return np.where(np.abs(move) <= t, other, b + t * np.sign(move))


def multislerp(ms, weights):
    w = np.array(weights) / sum(weights)
    xs = [m.ravel() for m in ms]
    unit = [x / np.linalg.norm(x) for x in xs]
    pole = sum(a * u for a, u in zip(w, unit))
    pole = pole / np.linalg.norm(pole)
    tangent = sum(a * (u - (u @ pole) * pole) for a, u in zip(w, unit))
    angle = np.linalg.norm(tangent)
    point = np.cos(angle) * pole + (np.sin(angle) / angle * tangent if angle > 1e-8 else tangent)
    return (sum(a * np.linalg.norm(x) for a, x in zip(w, xs)) * point).reshape(ms[0].shape)


def karcher(ms, weights, turns=10, tolerance=1e-5):
    """Steps along the mean of the logarithms of all points."""
    w = np.array(weights) / sum(weights)
    xs = [m.ravel() for m in ms]
    unit = [x / np.linalg.norm(x) for x in xs]
    at = sum(a * u for a, u in zip(w, unit))
    at = at / np.linalg.norm(at)
    for _ in range(turns):
        step = np.zeros_like(at)
        for a, u in zip(w, unit):
            angle = np.arccos(np.clip(u @ at, -1, 1))
            if np.sin(angle) >= tolerance:
                step += a * angle / np.sin(angle) * (u - np.cos(angle) * at)
        length = np.linalg.norm(step)
        if length < tolerance:
            break
        at = np.cos(length) * at + np.sin(length) * step / length
        at = at / np.linalg.norm(at)
    return (sum(a * np.linalg.norm(x) for a, x in zip(w, xs)) * at).reshape(ms[0].shape)


def median(ms, turns=20, least=1e-6):
    """Weiszfeld's iteration on the points themselves."""
    at = sum(ms) / len(ms)
    for _ in range(turns):
        pull = [1 / max(np.linalg.norm(at - m), least) for m in ms]
        at = sum(p * m for p, m in zip(pull, ms)) / sum(pull)
    return at


# ---- task vectors ----------------------------------------------------------------------------------------------------
def magmax(b, ms):
    tau = np.stack([delta32(m, b) for m in ms])
    return b + np.take_along_axis(tau, np.abs(tau).argmax(0)[None], 0)[0]


def breadcrumbs_flat(b, ms, weights, density, gamma):
    out = np.array(b)
    for w, m in zip(weights, ms):
        t = delta32(m, b).ravel()
        order = np.argsort(-np.abs(t), kind="stable")
        first = int(gamma * t.size)
        kept = np.zeros_like(t)
        chosen = order[first : first + int(density * t.size)]
        kept[chosen] = t[chosen]
        out = out + w * kept.reshape(b.shape)
    return out


def elect(tau, weights, normalize):
    """Sum of those of the weighted task vectors that agree with the majority, by the weights that did."""
    positive = sum(tau) >= 0
    top, used = 0, 0
    for t, w in zip(tau, weights):
        agrees = np.where(positive, t > 0, t < 0)
        top, used = top + np.where(agrees, t, 0), used + w * agrees
    return top / np.where(used == 0, 1, used) if normalize else top


def largest(t, density):
    flat = t.ravel()
    out = np.zeros_like(flat)
    chosen = np.argsort(-np.abs(flat), kind="stable")[: int(density * flat.size)]
    out[chosen] = flat[chosen]
    return out.reshape(t.shape)


def sce(b, ms, select):
    tau = np.stack([delta32(m, b) for m in ms])
    if select < 1:
        spread = tau.var(0).ravel()
        chosen = np.zeros(spread.size, bool)
        chosen[np.argsort(-spread, kind="stable")[: int(select * np.count_nonzero(spread))]] = True
        tau = tau * chosen.reshape(b.shape)
    energy = (tau**2).reshape(len(ms), -1).mean(1)
    if energy.sum() == 0:
        energy = np.ones(len(ms))
    majority = np.where(tau.sum(0) >= 0, 1, -1)
    top, all_weights = 0, 0
    for e, t in zip(energy, tau):
        agrees = np.sign(t) == majority
        top, all_weights = top + e * t * agrees, all_weights + e * agrees
    return b + np.where(all_weights == 0, 0, top / np.where(all_weights == 0, 1, all_weights))


def ram(b, ms, plus, least=1e-5, r=0.1, alpha=0.2):
    kept = [np.where(np.abs(delta32(m, b)) > np.float32(least), delta32(m, b), 0) for m in ms]
    makers = sum((t != 0).astype(int) for t in kept)
    out = np.array(b)
    for t in kept:
        own = ((makers == 1) & (t != 0)).sum()
        shared = ((makers > 1) & (t != 0)).sum()
        factor = 1 + r * min(shared / max(own, 1), alpha) if plus else 1
        out = out + np.where(makers == 1, factor * t, t / np.maximum(makers, 1))
    return out


def unit_range(x):
    return np.zeros_like(x) if x.max() == x.min() else (x - x.min()) / (x.max() - x.min())


def cut(x, low, high):
    s = np.sort(x)
    return np.clip(x, s[min(int(x.size * low), x.size - 1)], s[max(int(x.size * (1 - high) - 1), 0)])


def pcb(b, ms, ratio, q, lam, agreement):
    tau = [delta32(m, b) for m in ms]
    sizes = [cut(np.abs(t), q, q) for t in tau]
    flat = [np.sign(t) * unit_range(a) for t, a in zip(tau, sizes)]
    top, bottom = 0, 0
    for i, (t, a) in enumerate(zip(tau, sizes)):
        between = {
            "flat": lambda: np.tanh(t * sum(flat)),
            "sum": lambda: np.tanh(t * sum(tau)),
            "pairs": lambda: sum(np.tanh(flat[i] * f) for f in flat),
        }[agreement]()
        score = unit_range(cut(np.exp(len(ms) * unit_range(a) ** 2) * between, 1 - ratio, 0))
        top, bottom = top + np.sign(t) * a * score, bottom + score
    return b + lam * top / np.maximum(bottom, 1e-12)


def arcee_fusion(b, m):
    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    p, q = softmax(m) + 1e-8, softmax(b) + 1e-8
    matter = np.abs(m - b) * (p * np.log(p / q)).sum(-1, keepdims=True)
    s = np.sort(matter.ravel())
    at = lambda part: s[int(part * (s.size - 1))]
    return np.where(matter >= at(0.5) + 1.5 * (at(0.75) - at(0.25)), m, b)


def stream(seed, turns, name, philox_uniform, n):
    """The language's numbers of a tensor: a key from seed, loop turns and name, then Philox."""
    word = 0xCBF29CE484222325
    for byte in b"".join(int(i).to_bytes(4, "little") for i in [len(turns), *turns]) + name.encode():
        word = (word ^ byte) * 0x100000001B3 % 2**64
    z = (seed + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return philox_uniform(n, z ^ z >> 31 ^ word)


# ---- masks -----------------------------------------------------------------------------------------------------------
def emr(B, models):
    """United vector, masks and numbers of whole models."""
    tau = [{k: delta32(m[k], B[k]) for k in NAMES} for m in models]
    united, masks = {}, [{} for _ in tau]
    for k in NAMES:
        flag = np.where(sum(t[k] for t in tau) > 0, 1, -1)
        best = np.zeros(SHAPES[k])
        for t, mask in zip(tau, masks):
            mask[k] = (t[k] * flag > 0).astype(float)
            best = np.maximum(best, np.abs(t[k]) * mask[k])
        united[k] = flag * best
    numbers = [
        sum(np.abs(t[k]).mean() for k in NAMES) / sum(np.abs(united[k] * mask[k]).mean() for k in NAMES)
        for t, mask in zip(tau, masks)
    ]
    return united, masks, numbers


def consensus(b, ms, lam, least, alpha):
    tau = [delta32(m, b) for m in ms]
    total = sum(tau)
    active = sum((np.abs(t) > lam * np.abs(total - t)).astype(int) for t in tau)
    return b + alpha * np.where(active >= least, total, 0)


def hft(B, tuned, attention, feed_forward, norms, seed, philox_uniform):
    """Half of each category goes back to the base, drawn as the language shuffles a list: turns are those of its loops."""

    def shuffled(items, seed, *turns):
        u, items = stream(seed, turns, "", philox_uniform, max(len(items), 1)), list(items)
        for last in range(len(items) - 1, 0, -1):
            other = min(int(np.float32(u[last]) * np.float32(last + 1)), last)
            items[last], items[other] = items[other], items[last]
        return items

    back = []
    for k, layer in enumerate(attention):
        back += shuffled(layer, seed + k, k)[: len(layer) // 2]
    layers = shuffled(range(len(feed_forward)), seed)
    more, fewer = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    for part, up in [(more, 1), (fewer, 0)]:
        for turn, k in enumerate(part):
            back += shuffled(feed_forward[k], seed + k, turn)[: (len(feed_forward[k]) + up) // 2]
    back += shuffled(norms, seed)[: len(norms) // 2]
    return {k: B[k] if k in back else tuned[k] for k in tuned}, back


# ---- signatures ------------------------------------------------------------------------------------------------------
def signature(robust, clean, start):
    v, a = (robust - start).ravel(), (clean - start).ravel()
    return (v - a * (a @ v) / (a @ a)).reshape(robust.shape)


def levels(x, n, low=None, high=None):
    low, high = x.min() if low is None else low, x.max() if high is None else high
    return x if high == low else np.round((x - low) / (high - low) * (n - 1)) / (n - 1) * (high - low) + low


def log_levels(x, n):
    size = np.abs(x)
    some = size[size > 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        power = levels(np.log2(size), n // 2, np.log2(some.min()), np.log2(some.max()))
        return np.where(size == 0, 0, np.sign(x) * 2**power)


def make(out, philox_uniform):
    rng = np.random.default_rng(7)

    def random(scale, around=None):
        return {
            k: np.asarray(rng.standard_normal(SHAPES[k]) * scale + (0 if around is None else around[k]), np.float32) for k in NAMES
        }

    inputs = {"base": random(0.5)}
    inputs.update({m: random(0.05, inputs["base"]) for m in "abc"})
    # A model that leaves a tensor as it is, and one that leaves half of another.
    inputs["b"]["layers.0.norm.weight"] = inputs["base"]["layers.0.norm.weight"].copy()
    inputs["c"]["layers.0.mlp.weight"][:8] = inputs["base"]["layers.0.mlp.weight"][:8]
    # Pruned models, each with zeros of its own.
    for m in "xy":
        inputs[m] = {k: np.asarray(v * (rng.random(v.shape) < 0.6), np.float32) for k, v in inputs["ab"["xy".index(m)]].items()}

    def write(path, data):
        os.makedirs(os.path.dirname(os.path.join(out, "small", path)), exist_ok=True)
        data = {k: np.array(np.asarray(v, np.float32).reshape(SHAPES.get(k, ())), order="C") for k, v in data.items()}
        save_file(data, os.path.join(out, "small", path))

    for name, data in inputs.items():
        write(f"{name}/model.safetensors", data)
    I = {name: {k: v.astype(np.float64) for k, v in data.items()} for name, data in inputs.items()}
    B, models = I["base"], [I[m] for m in "abc"]

    def expect(name, f):
        """f maps the tensors of one name (base, [a, b, c], name) to the expected one."""
        write(f"expected/{name}.safetensors", {k: f(B[k], [m[k] for m in models], k) for k in NAMES})

    def expect_whole(name, f):
        write(f"expected/{name}.safetensors", unvector(f(vector(B), [vector(m) for m in models])))

    W = (0.5, 0.3, 0.2)
    expect("nearswap", lambda b, ms, k: nearswap(ms[0], ms[1], 0.03))
    expect("expo", lambda b, ms, k: 1.3 * ms[0] - 0.3 * b)
    expect("multislerp", lambda b, ms, k: multislerp(ms, W))
    expect_whole("multislerp-whole", lambda b, ms: multislerp(ms, W))
    expect_whole("multislerp-base", lambda b, ms: b + multislerp([m - b for m in ms], W))
    expect("karcher", lambda b, ms, k: karcher(ms, W))
    expect_whole("karcher-deltas", lambda b, ms: b + karcher([m - b for m in ms], W))
    expect("geometric-median", lambda b, ms, k: median(ms))
    expect_whole("geometric-median-whole", lambda b, ms: median(ms))

    expect("magmax", lambda b, ms, k: magmax(b, ms))
    expect("breadcrumbs-flat", lambda b, ms, k: breadcrumbs_flat(b, ms, W, 0.5, 0.1))
    expect_whole("breadcrumbs-flat-whole", lambda b, ms: breadcrumbs_flat(b, ms, W, 0.9, 0.01))
    expect("ties-weighted", lambda b, ms, k: b + elect([w * largest(delta32(m, b), 0.4) for w, m in zip(W, ms)], W, True))
    expect(
        "breadcrumbs-ties",
        lambda b, ms, k: b + elect([w * breadcrumbs_flat(0 * b, [delta32(m, b)], [1], 0.6, 0.1) for w, m in zip(W, ms)], W, False),
    )
    expect("sce", lambda b, ms, k: sce(b, ms, 1))
    expect("sce-select", lambda b, ms, k: sce(b, ms, 0.3))
    expect("ram", lambda b, ms, k: ram(b, ms, False))
    expect("ram-plus", lambda b, ms, k: ram(b, ms, True))
    expect_whole("ram-plus-whole", lambda b, ms: ram(b, ms, True, alpha=5))
    expect_whole("pcb", lambda b, ms: pcb(b, ms, 0.05, 0.01, 1.2, "flat"))
    expect_whole("pcb-sum", lambda b, ms: pcb(b, ms, 0.1, 0.0001, 1.0, "sum"))
    expect_whole("pcb-pairs", lambda b, ms: pcb(b, ms, 0.05, 0.01, 1.0, "pairs"))
    expect("arcee-fusion", lambda b, ms, k: b if b.ndim == 0 else arcee_fusion(b, ms[0]))

    def parts(b, ms, k, density, scale, seed):
        u = [stream(seed, [i], k, philox_uniform, max(b.size, 1)).reshape(b.shape) for i in range(len(ms))]
        return [delta32(m, b) * (v < np.float32(density)) / scale for m, v in zip(ms, u)]

    def dropped(b, ms, k, density, scale, weights, seed):
        return b + sum(w * t for w, t in zip(weights, parts(b, ms, k, density, scale, seed)))

    expect("dare", lambda b, ms, k: dropped(b, ms, k, 0.3, 0.3, (0.5, 0.5, 0.5), 11))
    expect("dare-linear", lambda b, ms, k: dropped(b, ms, k, 0.5, 0.5, W, 0))
    expect("darex-q", lambda b, ms, k: dropped(b, ms, k, 0.2, 0.6, (1, 1, 1), 3))

    expect("dare-ties", lambda b, ms, k: b + elect([w * t for w, t in zip(W, parts(b, ms, k, 0.5, 0.5, 0))], W, True))

    united, masks, numbers = emr(B, models)
    write("expected/emr-united.safetensors", united)
    write("expected/emr-mask.safetensors", masks[1])
    write("expected/emr-model.safetensors", {k: B[k] + numbers[1] * masks[1][k] * united[k] for k in NAMES})
    expect("tall-mask", lambda b, ms, k: np.abs(delta32(ms[0], b)) > 0.4 * np.abs(delta32(ms[1], b) + delta32(ms[2], b)))
    expect("consensus", lambda b, ms, k: consensus(b, ms, 0.4, 2, 0.3))
    expect("sara", lambda b, ms, k: b + sum(w * np.where(np.abs(b) < 0.1, m - b, 0) for w, m in zip(W, ms)))
    expect(
        "half-reset", lambda b, ms, k: ms[0] if stream(5, [], k, philox_uniform, 1)[0] < np.float32(0.5) else b
    )

    # Where the clean model has no task vector to project out, the whole of the robust model's stays.
    still = "layers.0.norm.weight"
    sig = {k: models[0][k] - B[k] if k == still else signature(models[0][k], models[1][k], B[k]) for k in NAMES}
    write("expected/signature.safetensors", {k: B[k] + sig[k] for k in NAMES})
    write("expected/patch.safetensors", {k: models[1][k] + 0.7 * sig[k] - 0.2 * (models[2][k] - B[k]) for k in NAMES})
    expect("quantise-linear", lambda b, ms, k: levels(delta32(ms[1], b), 16))
    expect("quantise-log", lambda b, ms, k: 0 * b if not delta32(ms[1], b).any() else log_levels(delta32(ms[1], b), 16))

    # Factors for the (16, 24) matrix and the (5, 7, 3) tensor, which counts as a convolution over a line.
    sizes = {"b": (16, 4), "a": (4, 24), "b2": (16, 4), "a2": (4, 24), "x": (4, 6), "y": (4, 4), "kb": (5, 6), "ka": (6, 21)}
    sizes |= {"rows": (16,), "columns": (24,), "ranks": (4,)}
    f = {k: np.asarray(rng.standard_normal(s), np.float32) for k, s in sizes.items()}
    # Numbers of their own, so that those above and below stay what they were.
    more = np.random.default_rng(77)
    sizes = {"values": (4,), "core": (3, 5), "core.inputs": (24, 3), "core.outputs": (16, 5)}
    sizes |= {"kernel": (2, 3, 2, 1), "kernel.inputs": (7, 2), "kernel.outputs": (5, 3)}
    sizes |= {"kernel.rows": (3, 2), "kernel.columns": (1, 1), "rules": (4, 4, 4), "left": (4, 6, 2), "right": (4, 2, 4)}
    f |= {k: np.asarray(more.standard_normal(s), np.float32) for k, s in sizes.items()}
    save_file(f, os.path.join(out, "small", "adapter.safetensors"))
    f = {k: v.astype(np.float64) for k, v in f.items()}
    linear, conv = "layers.0.mlp.weight", "layers.0.conv.weight"
    turned = B[linear] + 2 * f["b"] @ f["a"]
    adapted = {
        "lora": turned,
        "rslora": B[linear] + 4 * f["b"] @ f["a"],
        "dora": f["rows"][:, None] * turned / np.linalg.norm(turned, axis=1, keepdims=True),
        "loha": B[linear] + 2 * (f["b"] @ f["a"]) * (f["b2"] @ f["a2"]),
        "lokr": B[linear] + 0.5 * np.kron(f["x"], f["y"]),
        "vera": B[linear] + np.diag(f["rows"]) @ f["b"] @ np.diag(f["ranks"]) @ f["a"],
        "ia3": B[linear] * f["columns"],
        "ia3-rows": np.diag(f["rows"]) @ B[linear],
        "low-rank-delta": B[linear] + 0.5 * np.einsum("or,ri->oi", f["b"], f["a"]),
        "adalora": B[linear] + 0.5 * f["b"] @ np.diag(f["values"]) @ f["a"],
        "flora": B[linear] + 0.5 * np.einsum("pq,ip,oq->oi", f["core"], f["core.inputs"], f["core.outputs"]),
        "compacter": B[linear] + sum(np.kron(f["rules"][k], f["left"][k] @ f["right"][k]) for k in range(4)).T,
    }
    for name, x in adapted.items():
        write(f"expected/{name}.safetensors", B | {linear: x})
    write("expected/lora-conv.safetensors", B | {conv: B[conv] + 0.5 * (f["kb"] @ f["ka"]).reshape(5, 7, 3)})
    sides = [f["kernel." + k] for k in ("inputs", "outputs", "rows", "columns")]
    change = np.einsum("pqst,ip,oq,xs,yt->oixy", f["kernel"], *sides)
    write("expected/flora-conv.safetensors", B | {conv: B[conv] + 0.5 * change[..., 0]})

    # Whole files under the names of the authors' code: FLoRA of two layers, and a Compacter adapter, which becomes linear layers.
    files = np.random.default_rng(78)
    saved = lambda path, data: save_file({k: np.asarray(v, np.float32) for k, v in data.items()}, os.path.join(out, "small", path))
    flora, folded = {}, dict(B)
    for k in ["embed.weight", linear]:
        n, (rows, columns) = k[: -len(".weight")], SHAPES[k]
        sizes = {"G": (2, 3), "0": (columns, 2), "1": (rows, 3)}
        part = {s: files.standard_normal(shape).astype(np.float32) for s, shape in sizes.items()}
        flora |= {f"{n}.flora_layer.param_{s}": v for s, v in part.items()}
        # As their forward pass has it: the core meets its factors one by one, and the result is turned.
        change = np.tensordot(np.tensordot(part["G"].astype(float), part["0"], ([0], [1])), part["1"], ([0], [1]))
        folded[k] = B[k] + 0.5 * change.T
    saved("flora.safetensors", flora)
    write("expected/flora-file.safetensors", folded)
    compacter, dense = {}, {}
    for side, (n_in, n_out) in {"down_sampler": (12, 8), "up_sampler": (8, 12)}.items():
        sizes = {"phm_rule": (4, 4, 4), "W_left": (4, n_in // 4, 1), "W_right": (4, 1, n_out // 4), "b": (n_out,)}
        part = {s: files.standard_normal(shape).astype(np.float32) for s, shape in sizes.items()}
        compacter |= {f"layer.0.adapter.{side}.{s}": v for s, v in part.items()}
        # Their layers compute x @ H + b.
        H = sum(np.kron(part["phm_rule"][i].astype(float), part["W_left"][i].astype(float) @ part["W_right"][i]) for i in range(4))
        dense |= {f"layer.0.adapter.{side}.weight": H.T, f"layer.0.adapter.{side}.bias": part["b"]}
    saved("compacter.safetensors", compacter)
    saved("expected/compacter-file.safetensors", {k: np.ascontiguousarray(v) for k, v in dense.items()})

    def shared(k):
        x, y = I["x"][k], I["y"][k]
        return np.where((x != 0) & (y != 0), (x + y) / 2, 0)

    write("expected/sparse-soup.safetensors", {k: shared(k) for k in NAMES})

    def pruned(v, sparsity):
        order = np.argsort(-np.abs(v), kind="stable")
        mask = np.zeros(v.size)
        mask[order[: v.size - round(sparsity * v.size)]] = 1
        return mask

    expect_whole("magnitude-mask", lambda b, ms: pruned(ms[0], 0.7))
    expect_whole("magnitude-prune", lambda b, ms: ms[0] * pruned(ms[0], 0.9))

    def moving(ms, momentum):
        done = []
        for m in ms:
            done.append(m if not done else (1 - momentum) * m + momentum * np.mean(done, axis=0))
        return done[-1]

    expect("mos-ema", lambda b, ms, k: moving(ms, 0.1))

    # The parts that methods above are made of, alone.
    def trimmed(ms, density):
        kept = [largest(t, density) for t in ms]
        sign = np.sign(sum(kept))
        sign = np.where(sign == 0, np.sign(sign.sum()), sign)
        agree = [np.where(sign > 0, np.maximum(t, 0), np.minimum(t, 0)) for t in kept]
        return sum(agree) / np.maximum(sum(t != 0 for t in agree), 1)

    def crumbs(t, keep, drop):
        order, out = np.argsort(-np.abs(t), kind="stable"), np.zeros_like(t)
        chosen = order[int(drop * t.size) :][: int(keep * t.size)]
        out[chosen] = t[chosen]
        return out

    def kept_at_random(b, ms, k, density, seed):
        return delta32(ms[0], b) * (stream(seed, [], k, philox_uniform, max(b.size, 1)).reshape(b.shape) < np.float32(density))

    def of_length(t, like):
        return t * (np.abs(like).sum() / np.abs(t).sum()) if t.any() else t

    expect("elect", lambda b, ms, k: b + elect([w * delta32(m, b) for w, m in zip(W, ms)], W, True))
    expect("trimmed-mean", lambda b, ms, k: trimmed([delta32(m, b) for m in ms], 0.3))
    expect("crumbs", lambda b, ms, k: b if b.ndim == 0 else b + by_rows(lambda t: crumbs(t, 0.3, 0.1), delta32(ms[0], b)))
    expect("drop-and-rescale", lambda b, ms, k: b + kept_at_random(b, ms, k, 0.3, 7) / 0.3)
    expect("drop-l1", lambda b, ms, k: b + of_length(kept_at_random(b, ms, k, 0.3, 7), delta32(ms[0], b)))
    expect("scaled-to-l1", lambda b, ms, k: b + of_length(largest(delta32(ms[0], b), 0.3), delta32(ms[1], b)))
    layers = [[k for k in NAMES if "embed" in k or "conv" in k], ["layers.0.mlp.weight"], ["one.weight"]]
    reset, back = hft(B, models[0], layers[:1], layers[1:], ["layers.0.norm.weight", "scale"], 4, philox_uniform)
    assert 0 < len(back) < len(NAMES)
    write("expected/hft.safetensors", reset)
