"""Small random models with the names of a Llama: a base, three fine-tunes and a model of another origin.

The fine-tunes' changes have heavy tails, as real ones do, and leave a part of the entries alone. Every model is
written in float32 and, rounded, in bfloat16.
"""
import json
import os

import torch
from safetensors.torch import save_file

HIDDEN, LAYERS, INTERMEDIATE, VOCABULARY = 64, 4, 96, 128
FINE_TUNES = ("math", "code", "chat")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def shapes(layers=LAYERS):
    h, m = HIDDEN, INTERMEDIATE
    found = {"model.embed_tokens.weight": (VOCABULARY, h), "model.norm.weight": (h,), "lm_head.weight": (VOCABULARY, h)}
    for l in range(layers):
        p = f"model.layers.{l}."
        found |= {
            p + "self_attn.q_proj.weight": (h, h),
            p + "self_attn.k_proj.weight": (h // 2, h),
            p + "self_attn.v_proj.weight": (h // 2, h),
            p + "self_attn.o_proj.weight": (h, h),
            p + "mlp.gate_proj.weight": (m, h),
            p + "mlp.up_proj.weight": (m, h),
            p + "mlp.down_proj.weight": (h, m),
            p + "input_layernorm.weight": (h,),
            p + "post_attention_layernorm.weight": (h,),
        }
    return found


def config(layers=LAYERS):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }


def random_model(seed):
    """Weights of deviation 0.02; norms around 1."""
    g = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=g) * 0.02 + (1.0 if len(shape) == 1 else 0.0) for name, shape in shapes().items()
    }


def change(x, g):
    """Student's t with five degrees of freedom."""
    return torch.randn(x.shape, generator=g) / (torch.randn((5, *x.shape), generator=g).square().mean(0).sqrt() + 1e-3)


def fine_tune(base, seed, size=0.003):
    """Four of five entries have a change, the larger half of which all fine-tunes share."""
    common, own = torch.Generator().manual_seed(2), torch.Generator().manual_seed(seed)
    return {
        name: x + size * (change(x, common) + 0.7 * change(x, own)) * (torch.rand(x.shape, generator=own) < 0.8)
        for name, x in base.items()
    }


def write(folder, tensors, dtype, layers=LAYERS):
    os.makedirs(folder, exist_ok=True)
    tensors = {name: x.to(dtype).contiguous() for name, x in tensors.items()}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config(layers) | {"torch_dtype": str(dtype).removeprefix("torch.")}, f, indent=2)


def make(work):
    """Writes `work/f32/NAME` and `work/bf16/NAME`."""
    base = random_model(1)
    models = {"base": base}
    models |= {name: fine_tune(base, 10 + k) for k, name in enumerate(FINE_TUNES)}
    models["stranger"] = random_model(30)
    for folder, dtype in DTYPES.items():
        for name, tensors in models.items():
            write(os.path.join(work, folder, name), tensors, dtype)
