"""Adapters of every kind below `adapters/`, and the change that each makes in the weights of `adapters/base`.

Called by make.py. The formulas are those of PEFT's and LyCORIS' sources, written down a second time in float64 with
einsum and loops, from factors that are rounded to float32 first.
"""
import json
import os
import numpy as np
from safetensors.numpy import save_file

BASE = {
    "conv.weight": (6, 4, 3, 3),
    "conv.bias": (6,),
    "point.weight": (6, 4, 1, 1),
    "line.weight": (6, 4, 5),
    "embed_tokens.weight": (20, 8),
    "head.weight": (20, 8),
    "head.bias": (20,),
    "turned.weight": (8, 10),
}
for layer in range(2):
    BASE[f"layers.{layer}.attn.q_proj.weight"] = (12, 8)
    BASE[f"layers.{layer}.attn.q_proj.bias"] = (12,)
    BASE[f"layers.{layer}.attn.o_proj.weight"] = (8, 12)
    BASE[f"layers.{layer}.mlp.up_proj.weight"] = (16, 8)
    BASE[f"layers.{layer}.mlp.down_proj.weight"] = (8, 16)
    BASE[f"layers.{layer}.norm.weight"] = (8,)

LAYERS = range(2)


def r32(x):
    return np.asarray(np.asarray(x, np.float32), np.float64)


class Adapter:
    """Collects the tensors of one adapter and the changes they make."""

    def __init__(self, base, seed, prefix="base_model.model."):
        self.base, self.prefix = base, prefix
        self.rng = np.random.default_rng(seed)
        self.tensors, self.changes = {}, {}

    def random(self, *shape):
        return r32(self.rng.standard_normal(shape) * 0.3)

    def put(self, key, value):
        self.tensors[self.prefix + key] = value
        return value

    def new(self, key, *shape):
        return self.put(key, self.random(*shape))

    def change(self, name, delta):
        assert delta.shape == self.base[name].shape, (name, delta.shape)
        self.changes[name] = self.changes.get(name, 0) + delta

    def save(self, folder, name, config):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        tensors = {k: np.ascontiguousarray(v, np.float32) for k, v in self.tensors.items()}
        if config is None:
            os.rmdir(f"{folder}/{name}")
            save_file(tensors, f"{folder}/{name}.safetensors")
        else:
            save_file(tensors, f"{folder}/{name}/adapter_model.safetensors")
            with open(f"{folder}/{name}/adapter_config.json", "w") as f:
                json.dump({"base_model_name_or_path": "base", **config}, f, indent=2)
                f.write("\n")
        os.makedirs(f"{folder}/expected", exist_ok=True)
        changes = {k: np.ascontiguousarray(v, np.float32) for k, v in self.changes.items()}
        save_file(changes, f"{folder}/expected/{name}.safetensors")


def factors(a, module, o, i, r):
    return a.new(f"{module}.lora_A.weight", r, i), a.new(f"{module}.lora_B.weight", o, r)


def rows_resized(total, lengths):
    """DoRA: each row of `total` with a given length."""
    sizes = np.sqrt((total.reshape(len(total), -1) ** 2).sum(1))
    return lengths.reshape(-1, *[1] * (total.ndim - 1)) * total / sizes.reshape(-1, *[1] * (total.ndim - 1))


def lora(base, folder):
    """Ranks and alphas by pattern, one module of its own rank, a whole tensor beside the factors."""
    a = Adapter(base, 1)
    for l in LAYERS:
        r, alpha = (2, 6) if l == 0 else (4, 8)
        q = f"layers.{l}.attn.q_proj"
        fa, fb = factors(a, q, 12, 8, r)
        a.change(f"{q}.weight", alpha / r * fb @ fa)
        o = f"layers.{l}.attn.o_proj"
        fa, fb = factors(a, o, 8, 12, 4)
        a.change(f"{o}.weight", 1.5 / 4 * fb @ fa)
    for name in ("head.weight", "head.bias"):
        a.change(name, a.new(name, *BASE[name]) - base[name])
    a.save(folder, "lora", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "bias": "none",
        "use_rslora": False, "use_dora": False, "fan_in_fan_out": False, "modules_to_save": ["head"],
        "target_modules": ["q_proj", "o_proj"],
        "rank_pattern": {"0.attn.q_proj": 2}, "alpha_pattern": {"0.attn.q_proj": 6, r"o_pr\w+": 1.5},
    })


def rslora(base, folder):
    a = Adapter(base, 2)
    for l in LAYERS:
        q = f"layers.{l}.attn.q_proj"
        fa, fb = factors(a, q, 12, 8, 4)
        a.change(f"{q}.weight", 3 / np.sqrt(4) * fb @ fa)
        bias = a.new(f"{q}.lora_B.bias", 12)
        a.change(f"{q}.bias", 3 / np.sqrt(4) * bias)
    a.save(folder, "rslora", {
        "peft_type": "LORA", "r": 4, "lora_alpha": 3, "use_rslora": True, "lora_bias": True, "target_modules": ["q_proj"],
    })


def other(base, folder):
    """A second LoRA with other modules, ranks and origins, to add to the first."""
    a = Adapter(base, 3)
    for l in LAYERS:
        q = f"layers.{l}.attn.q_proj"
        fa, fb = factors(a, q, 12, 8, 3)
        a.change(f"{q}.weight", 5 / 3 * fb @ fa)
        up = f"layers.{l}.mlp.up_proj"
        fa, fb = factors(a, up, 16, 8, 3)
        a.change(f"{up}.weight", 5 / 3 * fb @ fa)
    a.save(folder, "other", {"peft_type": "LORA", "r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "up_proj"]})


def embedding(base, folder):
    a = Adapter(base, 4)
    fa, fb = a.new("embed_tokens.lora_embedding_A", 3, 20), a.new("embed_tokens.lora_embedding_B", 8, 3)
    a.change("embed_tokens.weight", 2 * (fb @ fa).T)
    a.save(folder, "embedding", {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["embed_tokens"]})


def convolution(base, folder):
    a = Adapter(base, 5)
    fa, fb = a.new("conv.lora_A.weight", 2, 4, 3, 3), a.new("conv.lora_B.weight", 6, 2, 1, 1)
    a.change("conv.weight", 1.5 * np.einsum("or,rikl->oikl", fb[..., 0, 0], fa))
    fa, fb = a.new("point.lora_A.weight", 2, 4, 1, 1), a.new("point.lora_B.weight", 6, 2, 1, 1)
    a.change("point.weight", 1.5 * np.einsum("or,rikl->oikl", fb[..., 0, 0], fa))
    a.save(folder, "convolution", {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["conv", "point"]})


def turned(base, folder):
    """A `Conv1D` of transformers: the weight is stored [in, out]."""
    a = Adapter(base, 6)
    fa, fb = factors(a, "turned", 10, 8, 2)
    a.change("turned.weight", 2 * (fb @ fa).T)
    a.save(folder, "turned", {
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "fan_in_fan_out": True, "target_modules": ["turned"],
    })


def dora(base, folder):
    a = Adapter(base, 7)
    q = "layers.0.attn.q_proj"
    fa, fb = factors(a, q, 12, 8, 2)
    lengths = np.abs(a.new(f"{q}.lora_magnitude_vector", 12))
    a.put(f"{q}.lora_magnitude_vector", lengths)
    w = base[f"{q}.weight"]
    a.change(f"{q}.weight", rows_resized(w + 1.5 * fb @ fa, lengths) - w)
    fa, fb = a.new("conv.lora_A.weight", 2, 4, 3, 3), a.new("conv.lora_B.weight", 6, 2, 1, 1)
    lengths = a.put("conv.lora_magnitude_vector", np.abs(a.random(1, 6, 1, 1)))
    w = base["conv.weight"]
    total = w + 1.5 * np.einsum("or,rikl->oikl", fb[..., 0, 0], fa)
    a.change("conv.weight", rows_resized(total, lengths.ravel()) - w)
    a.save(folder, "dora", {
        "peft_type": "LORA", "r": 2, "lora_alpha": 3, "use_dora": True, "target_modules": ["q_proj", "conv"],
    })


def dora_embedding(base, folder):
    a = Adapter(base, 16)
    fa, fb = a.new("embed_tokens.lora_embedding_A", 2, 20), a.new("embed_tokens.lora_embedding_B", 8, 2)
    lengths = a.put("embed_tokens.lora_magnitude_vector", np.abs(a.random(8)))
    w = base["embed_tokens.weight"]
    a.change("embed_tokens.weight", rows_resized((w + 1.5 * (fb @ fa).T).T, lengths).T - w)
    a.save(folder, "dora_embedding", {
        "peft_type": "LORA", "r": 2, "lora_alpha": 3, "use_dora": True, "target_modules": ["embed_tokens"],
    })


def dora_turned(base, folder):
    a = Adapter(base, 8)
    fa, fb = factors(a, "turned", 10, 8, 2)
    lengths = a.put("turned.lora_magnitude_vector", np.abs(a.random(10)))
    w = base["turned.weight"]
    a.change("turned.weight", rows_resized((w + 1.5 * (fb @ fa).T).T, lengths).T - w)
    a.save(folder, "dora_turned", {
        "peft_type": "LORA", "r": 2, "lora_alpha": 3, "use_dora": True, "fan_in_fan_out": True, "target_modules": ["turned"],
    })


def adalora(base, folder):
    """Ranks 3, 5 and none are left of the 6 that it started with."""
    a = Adapter(base, 9)
    ranks = {"layers.0.attn.q_proj": 3, "layers.1.attn.q_proj": 5, "layers.0.attn.o_proj": 0, "layers.1.attn.o_proj": 6}
    for module, r in ranks.items():
        o, i = BASE[f"{module}.weight"]
        fa, fb, e = a.new(f"{module}.lora_A", r, i), a.new(f"{module}.lora_B", o, r), a.new(f"{module}.lora_E", r, 1)
        a.change(f"{module}.weight", 16 / (6 + 1e-5) * fb @ (fa * e))
    pattern = {f"{module}.lora_E": [k < r for k in range(6)] for module, r in ranks.items()}
    a.save(folder, "adalora", {
        "peft_type": "ADALORA", "r": 8, "target_r": 4, "init_r": 6, "lora_alpha": 16, "total_step": 100,
        "target_modules": ["q_proj", "o_proj"], "rank_pattern": pattern,
    })


def tucker(core, out, into):
    """Entry [p, q, k..] of the core between out[o, p] and into[q, i]."""
    return np.einsum("pqk,op,qi->oik", core.reshape(*core.shape[:2], -1), out, into).reshape(
        len(out), into.shape[1], *core.shape[2:])


def loha(base, folder):
    a = Adapter(base, 10)
    up = "layers.0.mlp.up_proj"
    w1a, w1b = a.new(f"{up}.hada_w1_a", 16, 3), a.new(f"{up}.hada_w1_b", 3, 8)
    w2a, w2b = a.new(f"{up}.hada_w2_a", 16, 3), a.new(f"{up}.hada_w2_b", 3, 8)
    a.change(f"{up}.weight", 4 / 3 * (w1a @ w1b) * (w2a @ w2b))
    t1, t2 = a.new("conv.hada_t1", 3, 3, 3, 3), a.new("conv.hada_t2", 3, 3, 3, 3)
    w1a, w1b = a.new("conv.hada_w1_a", 3, 6), a.new("conv.hada_w1_b", 3, 4)
    w2a, w2b = a.new("conv.hada_w2_a", 3, 6), a.new("conv.hada_w2_b", 3, 4)
    a.change("conv.weight", 4 / 3 * tucker(t1, w1a.T, w1b) * tucker(t2, w2a.T, w2b))
    t1, t2 = a.new("line.hada_t1", 3, 3, 5, 1), a.new("line.hada_t2", 3, 3, 5, 1)
    w1a, w1b = a.new("line.hada_w1_a", 3, 6), a.new("line.hada_w1_b", 3, 4)
    w2a, w2b = a.new("line.hada_w2_a", 3, 6), a.new("line.hada_w2_b", 3, 4)
    a.change("line.weight", (4 / 3 * tucker(t1, w1a.T, w1b) * tucker(t2, w2a.T, w2b)).reshape(6, 4, 5))
    # A kernel of one entry has no core.
    w1a, w1b = a.new("point.hada_w1_a", 6, 3), a.new("point.hada_w1_b", 3, 4)
    w2a, w2b = a.new("point.hada_w2_a", 6, 3), a.new("point.hada_w2_b", 3, 4)
    a.change("point.weight", (4 / 3 * (w1a @ w1b) * (w2a @ w2b)).reshape(6, 4, 1, 1))
    a.save(folder, "loha", {
        "peft_type": "LOHA", "r": 3, "alpha": 4, "use_effective_conv2d": True,
        "target_modules": ["up_proj", "conv", "line", "point"],
    })


def kron(x, y):
    """Of kernels: the trailing axes of y stay."""
    joined = np.einsum("ab,cdk->acbdk", x, y.reshape(*y.shape[:2], -1))
    return joined.reshape(len(x) * len(y), x.shape[1] * y.shape[1], *y.shape[2:])


def lokr(base, folder):
    """Both sides as products, kernels with Tucker cores."""
    a = Adapter(base, 11)
    up, down = "layers.0.mlp.up_proj", "layers.0.mlp.down_proj"
    for module, w1, w2 in ((up, (4, 2), (4, 4)), (down, (2, 4), (4, 4))):
        w1a, w1b = a.new(f"{module}.lokr_w1_a", w1[0], 1), a.new(f"{module}.lokr_w1_b", 1, w1[1])
        w2a, w2b = a.new(f"{module}.lokr_w2_a", w2[0], 1), a.new(f"{module}.lokr_w2_b", 1, w2[1])
        a.change(f"{module}.weight", 3 * np.kron(w1a @ w1b, w2a @ w2b))
    w1, w2a, w2b = a.new("conv.lokr_w1", 2, 2), a.new("conv.lokr_w2_a", 1, 3), a.new("conv.lokr_w2_b", 1, 2)
    a.change("conv.weight", 3 * kron(w1, tucker(a.new("conv.lokr_t2", 1, 1, 3, 3), w2a.T, w2b)))
    w1, w2a, w2b = a.new("point.lokr_w1", 2, 2), a.new("point.lokr_w2_a", 3, 1), a.new("point.lokr_w2_b", 1, 2)
    a.change("point.weight", 3 * np.kron(w1, w2a @ w2b)[..., None, None])
    a.save(folder, "lokr", {
        "peft_type": "LOKR", "r": 1, "alpha": 3, "use_effective_conv2d": True, "decompose_both": True,
        "target_modules": ["up_proj", "down_proj", "conv", "point"],
    })


def lokr_whole(base, folder):
    """Both sides whole."""
    a = Adapter(base, 15)
    up = "layers.0.mlp.up_proj"
    a.change(f"{up}.weight", 3 / 4 * np.kron(a.new(f"{up}.lokr_w1", 4, 2), a.new(f"{up}.lokr_w2", 4, 4)))
    a.change("conv.weight", 3 / 4 * kron(a.new("conv.lokr_w1", 2, 2), a.new("conv.lokr_w2", 3, 2, 3, 3)))
    # PEFT multiplies a kernel of one axis as numpy's kron does, from the last axis on.
    a.change("line.weight", 3 / 4 * np.kron(a.new("line.lokr_w1", 2, 2), a.new("line.lokr_w2", 3, 2, 5)).reshape(6, 4, 5))
    a.save(folder, "lokr_whole", {"peft_type": "LOKR", "r": 4, "alpha": 3, "target_modules": ["up_proj", "conv", "line"]})


def ia3(base, folder):
    a = Adapter(base, 12)
    q, down = "layers.0.attn.q_proj", "layers.0.mlp.down_proj"
    scales = a.new(f"{q}.ia3_l", 12, 1)
    a.change(f"{q}.weight", base[f"{q}.weight"] * scales - base[f"{q}.weight"])
    a.change(f"{q}.bias", base[f"{q}.bias"] * scales.ravel() - base[f"{q}.bias"])
    scales = a.new(f"{down}.ia3_l", 1, 16)
    a.change(f"{down}.weight", base[f"{down}.weight"] * scales - base[f"{down}.weight"])
    scales = a.new("conv.ia3_l", 1, 6, 1, 1)
    a.change("conv.weight", base["conv.weight"] * scales.reshape(6, 1, 1, 1) - base["conv.weight"])
    a.change("conv.bias", base["conv.bias"] * scales.ravel() - base["conv.bias"])
    scales = a.new("point.ia3_l", 1, 4, 1, 1)
    a.change("point.weight", base["point.weight"] * scales - base["point.weight"])
    a.save(folder, "ia3", {
        "peft_type": "IA3", "target_modules": ["q_proj", "down_proj", "conv", "point"],
        "feedforward_modules": ["down_proj", "point"],
    })


def vera(base, folder):
    a = Adapter(base, 13)
    a.prefix = "base_model."
    shared_a, shared_b = a.new("vera_A", 3, 16), a.new("vera_B", 12, 3)
    a.prefix = "base_model.model."
    for module, o, i in (("layers.0.attn.q_proj", 12, 8), ("layers.0.mlp.down_proj", 8, 16)):
        d, b = a.new(f"{module}.vera_lambda_d", 3), a.new(f"{module}.vera_lambda_b", o)
        a.change(f"{module}.weight", (b[:, None] * shared_b[:o]) @ (d[:, None] * shared_a[:, :i]))
    a.save(folder, "vera", {
        "peft_type": "VERA", "r": 3, "save_projection": True, "projection_prng_key": 0, "target_modules": ["q_proj", "down_proj"],
    })


def kohya(base, folder):
    """One file of kohya's form, with modules of LyCORIS; scales stand in the file."""
    a = Adapter(base, 14, prefix="")
    alpha = lambda m, value: a.put(f"lora_unet_{m}.alpha", r32(value))
    new = lambda m, part, *shape: a.new(f"lora_unet_{m}.{part}", *shape)
    m = "layers_0_attn_q_proj"
    down, up = new(m, "lora_down.weight", 4, 8), new(m, "lora_up.weight", 12, 4)
    a.change("layers.0.attn.q_proj.weight", 2.5 / 4 * up @ down)
    alpha(m, 2.5)
    m = "layers_1_attn_q_proj"
    down, up = new(m, "lora_down.weight", 4, 8), new(m, "lora_up.weight", 12, 4)
    a.change("layers.1.attn.q_proj.weight", up @ down)
    down, up = new("conv", "lora_down.weight", 2, 4, 1, 1), new("conv", "lora_up.weight", 6, 2, 1, 1)
    mid = new("conv", "lora_mid.weight", 2, 2, 3, 3)
    a.change("conv.weight", 1.0 / 2 * tucker(mid, up[..., 0, 0], down[..., 0, 0]))
    alpha("conv", 1.0)
    down, up = new("point", "lora_down.weight", 2, 4, 1, 1), new("point", "lora_up.weight", 6, 2, 1, 1)
    a.change("point.weight", (3.0 / 2 * up[..., 0, 0] @ down[..., 0, 0])[..., None, None])
    alpha("point", 3.0)
    m = "layers_0_mlp_up_proj"
    w1a, w1b, w2a, w2b = (new(m, f"hada_w{k}", *s) for k in "12" for k, s in ((k + "_a", (16, 2)), (k + "_b", (2, 8))))
    a.change("layers.0.mlp.up_proj.weight", 1.0 / 2 * (w1a @ w1b) * (w2a @ w2b))
    alpha(m, 1.0)
    m = "layers_0_mlp_down_proj"
    w1, w2 = new(m, "lokr_w1", 2, 4), new(m, "lokr_w2", 4, 4)
    a.change("layers.0.mlp.down_proj.weight", np.kron(w1, w2))
    alpha(m, 99.0)
    a.change("head.weight", new("head", "diff", 20, 8))
    a.change("head.bias", new("head", "diff_b", 20))
    # A second model's keys, which the recipe leaves out.
    a.new("lora_te_text_model_encoder.lora_down.weight", 2, 4)
    a.new("lora_te_text_model_encoder.lora_up.weight", 4, 2)
    a.save(folder, "kohya", None)


def kohya_dora(base, folder):
    """LyCORIS resizes columns."""
    a = Adapter(base, 17, prefix="")
    m = "lycoris_layers_1_attn_o_proj"
    down, up = a.new(f"{m}.lora_down.weight", 2, 12), a.new(f"{m}.lora_up.weight", 8, 2)
    lengths = a.put(f"{m}.dora_scale", np.abs(a.random(1, 12)))
    w = base["layers.1.attn.o_proj.weight"]
    a.change("layers.1.attn.o_proj.weight", rows_resized((w + 0.5 * up @ down).T, lengths.ravel()).T - w)
    a.put(f"{m}.alpha", r32(1.0))
    a.save(folder, "kohya_dora", None)


def make(folder):
    rng = np.random.default_rng(100)
    base = {name: r32(rng.standard_normal(shape) * 0.5) for name, shape in sorted(BASE.items())}
    os.makedirs(f"{folder}/base", exist_ok=True)
    save_file({k: np.asarray(v, np.float32) for k, v in base.items()}, f"{folder}/base/model.safetensors")
    loras = (lora, rslora, other, embedding, convolution, turned, dora, dora_embedding, dora_turned)
    for kind in (*loras, adalora, loha, lokr, lokr_whole, ia3, vera, kohya, kohya_dora):
        kind(base, folder)
