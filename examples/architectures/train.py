"""Trains every network of a small search space on the digits of ../quadrants and writes accuracies.csv.

    python train.py          # numpy and safetensors; some minutes on one core

The space, in DeepArchitect's terms: a choice of learning rate, optimiser and dropout; one or two hidden layers (Repeat), each with a
width and an activation of its own. 8 * 2 * 2 * (12 + 144) = 4,992 points. All points of one architecture are trained together,
as one stack of matrices. 1,200 digits to train on, 800 to measure.
"""

import itertools
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
OPTIMISERS = ["sgd", "momentum"]
DROPOUT = ["off", "on"]
WIDTHS = [8, 16, 32, 64]
ACTIVATIONS = ["relu", "tanh", "sigmoid"]
EPOCHS, BATCH, TRAINING = 8, 32, 1200

HERE = Path(__file__).parent


def activate(name, z):
    """The activation and its derivative."""
    if name == "relu":
        return np.maximum(z, 0), (z > 0).astype(z.dtype)
    if name == "tanh":
        y = np.tanh(z)
        return y, 1 - y * y
    y = 1 / (1 + np.exp(-np.clip(z, -60, 60)))
    return y, y * (1 - y)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def accuracies(layers, x, labels):
    """The accuracy of each variant (rate, optimiser, dropout) of one architecture."""
    variants = list(itertools.product(RATES, OPTIMISERS, DROPOUT))
    rate = np.array([v[0] for v in variants], np.float32)[:, None, None]
    momentum = np.array([0.9 if v[1] == "momentum" else 0.0 for v in variants], np.float32)[:, None, None]
    drop = np.array([0.3 if v[2] == "on" else 0.0 for v in variants], np.float32)[:, None, None]
    rng = np.random.default_rng(0)
    sizes = [x.shape[1], *[width for width, _ in layers], 10]
    weights = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        start = rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)
        weights.append(np.repeat(start[None].astype(np.float32), len(variants), 0))
    biases = [np.zeros((len(variants), 1, n), np.float32) for n in sizes[1:]]
    speeds = [np.zeros_like(p) for p in weights + biases]

    def forward(batch, train):
        inputs, slopes, h = [], [], np.broadcast_to(batch, (len(variants), *batch.shape))
        for i, (_, name) in enumerate(layers):
            inputs.append(h)
            h, slope = activate(name, h @ weights[i] + biases[i])
            if train:
                keep = (rng.random(h.shape[1:], dtype=np.float32) >= drop) / (1 - drop)
                h, slope = h * keep, slope * keep
            slopes.append(slope)
        inputs.append(h)
        return inputs, slopes, h @ weights[-1] + biases[-1]

    for _ in range(EPOCHS):
        order = rng.permutation(TRAINING)
        for start in range(0, TRAINING, BATCH):
            rows = order[start : start + BATCH]
            inputs, slopes, logits = forward(x[rows], True)
            error = softmax(logits)
            error[:, np.arange(len(rows)), labels[rows]] -= 1
            error /= len(rows)
            steps_w, steps_b = [], []
            for i in reversed(range(len(weights))):
                steps_w.append(inputs[i].transpose(0, 2, 1) @ error)
                steps_b.append(error.sum(1, keepdims=True))
                if i:
                    error = (error @ weights[i].transpose(0, 2, 1)) * slopes[i - 1]
            for parameter, speed, step in zip(weights + biases, speeds, steps_w[::-1] + steps_b[::-1]):
                speed *= momentum
                speed -= rate * step
                parameter += speed
    right = forward(x[TRAINING:], False)[2].argmax(-1) == labels[TRAINING:]
    return variants, right.mean(-1)


def main():
    data = load_file(HERE / "../quadrants/data/test.safetensors")
    x = data["images"].reshape(len(data["labels"]), -1).astype(np.float32) / 255
    labels = data["labels"].astype(int)
    layer = list(itertools.product(WIDTHS, ACTIVATIONS))
    lines = ["rate,optimiser,dropout,depth,width0,activation0,width1,activation1,accuracy"]
    with np.errstate(all="ignore"):  # the largest rate diverges, which is what a search has to find out
        for layers in [(one,) for one in layer] + list(itertools.product(layer, layer)):
            described = [f"{width},{name}" for width, name in layers] + ["," for _ in range(2 - len(layers))]
            for (rate, optimiser, dropout), accuracy in zip(*accuracies(layers, x, labels)):
                lines.append(f"{rate},{optimiser},{dropout},{len(layers)},{','.join(described)},{accuracy:.5f}")
            print(lines[-1], flush=True)
    (HERE / "accuracies.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
