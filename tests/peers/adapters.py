"""Adapters that PEFT writes, merged by both sides, and adapters that Merge writes, loaded by PEFT.

Factors are f32. Of a base in bf16 both add in f32 and round once, so that results agree up to the last rounding; but
PEFT rounds the change of an embedding before it adds it, and is made to compute that in f32 here.
"""
import os
import shutil

import torch

from compare import CLOSE, ROUNDED, Comparison
from models import DTYPES
from run import Failed, load

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = ATTENTION + ["gate_proj", "up_proj", "down_proj"]


def configurations():
    """Name and configuration of each kind of adapter."""
    import peft

    lora = {"r": 4, "lora_alpha": 6, "target_modules": ALL}
    return {
        "LoRA": peft.LoraConfig(**lora),
        "rsLoRA": peft.LoraConfig(**lora, use_rslora=True),
        "LoRA of some modules": peft.LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"], layers_to_transform=[1, 2]),
        "rank and alpha patterns": peft.LoraConfig(
            **lora, rank_pattern={"q_proj": 8, "down_proj": 2}, alpha_pattern={"up_proj": 3, "q_proj": 16}
        ),
        "rsLoRA with patterns": peft.LoraConfig(**lora, use_rslora=True, rank_pattern={"q_proj": 8}, alpha_pattern={"q_proj": 16}),
        "LoRA of embeddings": peft.LoraConfig(r=4, lora_alpha=6, target_modules=["embed_tokens", "q_proj"]),
        "LoRA, a module saved whole": peft.LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj"], modules_to_save=["lm_head"]),
        "DoRA": peft.LoraConfig(**lora, use_dora=True),
        "LoHa": peft.LoHaConfig(r=4, alpha=6, target_modules=ALL),
        "LoKr": peft.LoKrConfig(r=4, alpha=6, target_modules=ALL),
        "LoKr, both decomposed": peft.LoKrConfig(r=2, alpha=3, target_modules=ALL, decompose_both=True, decompose_factor=8),
        "LoKr, whole factors": peft.LoKrConfig(r=64, alpha=6, target_modules=ALL),
        "IA3": peft.IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "VeRA": peft.VeraConfig(r=8, target_modules=["q_proj", "o_proj"], save_projection=True),
        "AdaLoRA": peft.AdaLoraConfig(init_r=6, target_r=3, lora_alpha=6, target_modules=ALL, total_step=100),
    }


def base_model(work, dtype="f32", read_as=None):
    import transformers

    return transformers.LlamaForCausalLM.from_pretrained(os.path.join(work, dtype, "base"), dtype=read_as or DTYPES[dtype])


def write_adapter(work, config, folder, seed, dtype="f32"):
    """An adapter whose parameters are all random, as after a training. With embeddings PEFT saves those of the base too."""
    import peft

    model = peft.get_peft_model(base_model(work, dtype), config)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in model.named_parameters():
            if x.requires_grad:
                noise = torch.randn(x.shape, generator=g)
                scaling = "magnitude" in name or "ia3_l" in name
                x.copy_(x * (1 + 0.1 * noise) if scaling else 0.2 * noise)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)


def merged_by_peft(work, folder, dtype="f32", read_as=None):
    import peft

    model = peft.PeftModel.from_pretrained(base_model(work, dtype, read_as), folder).merge_and_unload()
    return {k: v.detach().to(DTYPES[dtype]).clone() for k, v in model.state_dict().items()}


def apply(value, *adapters):
    lets = "".join(f'let {name} = adapter("{path}", on: base)\n' for name, path in adapters)
    return f'let base = checkpoint("base")\n{lets}save {value} to "out"\n'


def verdict(name, ours, theirs, dtype="f32"):
    c = Comparison(ours, theirs)
    good = c.within(CLOSE) if dtype == "f32" else c.within_one_rounding(ROUNDED)
    detail = f"largest difference {c.worst:.1e} of {CLOSE:.0e}" if dtype == "f32" else f"{c.unequal} of {c.entries} rounded the other way"
    return name, dtype, "equal" if good else "DIFFERENT", c.trouble() or detail, good


def read(work, mergec, name, config, dtype):
    folder = os.path.join(work, dtype, "adapter")
    write_adapter(work, config, folder, 5, dtype)
    theirs = merged_by_peft(work, folder, dtype, torch.float32 if "embeddings" in name else None)
    base = load(os.path.join(work, dtype, "base"))
    if all(torch.equal(theirs[k], base[k]) for k in base):
        return name, dtype, "NOTHING", "PEFT's merge is the base: the comparison says nothing", False
    ours = mergec.run(os.path.join(work, dtype), apply("base + one", ("one", "adapter")))
    return verdict(name, ours, theirs, dtype)


def write_sum(work, mergec, name, first, second):
    """A combination of two adapters as one adapter, loaded by PEFT, against the combination of their merges."""
    folder = os.path.join(work, "f32")
    base = load(os.path.join(folder, "base"))
    expected = {k: x.double() for k, x in base.items()}
    for weight, part, config in ((0.7, "one", first), (0.3, "two", second)):
        write_adapter(work, config, os.path.join(folder, part), 6 if part == "one" else 7)
        for k, x in merged_by_peft(work, os.path.join(folder, part)).items():
            expected[k] += weight * (x.double() - base[k].double())
    recipe = apply("0.7 * one + 0.3 * two", ("one", "one"), ("two", "two")).rstrip() + " as peft\n"
    mergec.run(folder, recipe)
    theirs = merged_by_peft(work, os.path.join(folder, "out-merge"))
    return verdict(name, {k: x.float() for k, x in expected.items()}, theirs)


def write_extracted(work, mergec, name):
    """A fine-tune's changes of some matrices as a LoRA, against the decomposition by LAPACK."""
    folder = os.path.join(work, "f32")
    base, math = load(os.path.join(folder, "base")), load(os.path.join(folder, "math"))
    expected = dict(base)
    for k in base:
        if k.endswith(("q_proj.weight", "down_proj.weight")):
            u, s, v = torch.linalg.svd(math[k].double() - base[k].double(), full_matrices=False)
            expected[k] = (base[k].double() + (u[:, :4] * s[:4]) @ v[:4]).float()
    recipe = (
        'let base = checkpoint("base")\nlet math = checkpoint("math")\n'
        'save low_rank((math - base)["**.{q_proj|down_proj}.weight"], rank: 4) to "out" as peft\n'
    )
    mergec.run(folder, recipe)
    return verdict(name, expected, merged_by_peft(work, os.path.join(folder, "out-merge")))


def rows(_text, work, mergec, wanted):
    import peft

    def asked(name):
        return not wanted or any(w in name for w in wanted)

    plain = peft.LoraConfig(r=4, lora_alpha=6, target_modules=ALL)
    wide = peft.LoraConfig(r=8, lora_alpha=8, target_modules=ALL, use_rslora=True)
    part = peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"], rank_pattern={"layers.1.self_attn.q_proj": 6})
    steps = [(name, dtype, read, (config, dtype)) for name, config in configurations().items() for dtype in DTYPES]
    steps += [
        ("as peft: other ranks, rsLoRA", "f32", write_sum, (plain, wide)),
        ("as peft: other modules", "f32", write_sum, (plain, part)),
        ("as peft: extracted from a fine-tune", "f32", write_extracted, ()),
    ]
    for name, dtype, step, arguments in steps:
        if asked(name):
            try:
                yield step(work, mergec, name, *arguments)
            except Failed as failed:
                yield name, dtype, "FAILED", str(failed), False
