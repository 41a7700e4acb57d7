"""The adapters of tests/golden/adapters, merged by PEFT: the base plus the change that the tests expect.

Among them are kernels, whole modules, biases and weights stored [in, out], which small language models have none of.
"""
import os
import shutil

import numpy as np
import torch
from peft import PeftModel
from safetensors.numpy import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "adapters")


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.ModuleDict({"q_proj": nn.Linear(8, 12), "o_proj": nn.Linear(12, 8, bias=False)})
        self.mlp = nn.ModuleDict({"up_proj": nn.Linear(8, 16, bias=False), "down_proj": nn.Linear(16, 8, bias=False)})
        self.norm = nn.LayerNorm(8, bias=False)


class Net(nn.Module):
    """The module tree that the base's names spell."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3)
        self.point = nn.Conv2d(4, 6, 1, bias=False)
        self.line = nn.Conv1d(4, 6, 5, bias=False)
        self.embed_tokens = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20)
        self.turned = Conv1D(10, 8)
        self.turned.bias = None
        self.layers = nn.ModuleList([Layer(), Layer()])

    def forward(self, x):
        return x

    def prepare_inputs_for_generation(self, *args):
        """PEFT asks for it where the task is CAUSAL_LM."""


def merged(folder, base):
    net = Net()
    net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in base.items()})
    peft = PeftModel.from_pretrained(net, folder)
    return {k: v.detach().numpy() for k, v in peft.merge_and_unload().state_dict().items()}


def compared(title, folder, base, expected):
    found = merged(folder, base)
    worst = 0.0
    for k in base:
        change = expected.get(k, np.zeros_like(base[k]))
        worst = max(worst, np.abs(found[k] - base[k] - change).max() / max(1e-3, np.abs(change).max()))
    # What PEFT adds to the base is known to as many digits as the base leaves.
    good = set(found) == set(base) and worst < 1e-5
    return title, "f32", "equal" if good else "DIFFERENT", f"largest difference {worst:.1e} of the change", good


def rows(_text, work, mergec, wanted):
    def asked(title):
        return not wanted or any(w in title for w in wanted)

    base = load_file(f"{GOLDEN}/base/model.safetensors")
    for name in sorted(os.listdir(GOLDEN)):
        if asked(f"golden: {name}") and os.path.exists(f"{GOLDEN}/{name}/adapter_config.json"):
            expected = load_file(f"{GOLDEN}/expected/{name}.safetensors")
            yield compared(f"golden: {name}", f"{GOLDEN}/{name}", base, expected)
    folder = os.path.join(work, "golden")
    shutil.copytree(GOLDEN, folder, dirs_exist_ok=True)
    for name in ("embedding", "convolution", "turned", "adalora", "vera", "other"):
        title = f"golden, as peft: {name}"
        if asked(title):
            mergec.run(folder, f'let base = checkpoint("base")\nsave adapter("{name}", on: base) to "out" as peft\n')
            expected = load_file(f"{GOLDEN}/expected/{name}.safetensors")
            yield compared(title, os.path.join(folder, "out-merge"), base, expected)
