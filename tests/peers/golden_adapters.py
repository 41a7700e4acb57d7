"""Real PEFT against the adapters below tests/golden/adapters: what it merges is the base plus the expected change.

    python adapters.py [FOLDER]      (torch, peft, transformers and safetensors)

With FOLDER, every adapter folder in it is merged as well and compared with `FOLDER/expected`, so that what mergec
writes by `save .. as peft` can be held against what PEFT reads.
"""
import os
import sys
import warnings
import numpy as np
import torch
from peft import PeftModel
from safetensors.numpy import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

warnings.filterwarnings("ignore")
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


def main(folder):
    base = load_file(f"{GOLDEN}/base/model.safetensors")
    worst = 0.0
    for name in sorted(os.listdir(folder)):
        if not os.path.exists(f"{folder}/{name}/adapter_config.json"):
            continue
        found, want = merged(f"{folder}/{name}", base), load_file(f"{folder}/expected/{name}.safetensors")
        assert set(found) == set(base), set(found) ^ set(base)
        for k in base:
            change = want.get(k, np.zeros_like(base[k]))
            error = np.abs(found[k] - base[k] - change).max() / max(1e-3, np.abs(change).max())
            worst = max(worst, error)
            if error > 3e-5:
                print(f"{name} {k}: differs by {error:.2e}")
        print(f"{name}: {len(want)} tensors")
    print(f"largest difference, relative to the largest change of the tensor: {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else GOLDEN)
