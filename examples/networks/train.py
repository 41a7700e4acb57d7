"""Trains a candidate of `digits.merge` with numpy alone and prints its accuracy as a line of JSON.

usage: train.py MODEL DATA [EPOCHS]

Nothing here knows the space: `graph.json` lists the network's nodes, operands before users, and each op below has a forward
rule and a backward rule. A trainer for another framework would map the same nodes to its own layers, or read `model.onnx`.
"""

import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file


def shrunk(gradient, shape):
    """The gradient of a tensor of this shape that was stretched: sums over what it was stretched along."""
    if shape == ():
        return gradient.sum()
    for axis, (have, want) in enumerate(zip(gradient.shape, shape)):
        if have != want:
            gradient = gradient.sum(axis, keepdims=True)
    return gradient


# op -> (value from operands and node, gradients of the operands from the result's g, the value y, operands and node)
OPS = {
    "add": (lambda n, a, b: a + b, lambda g, y, n, a, b: (g, g)),
    "sub": (lambda n, a, b: a - b, lambda g, y, n, a, b: (g, -g)),
    "mul": (lambda n, a, b: a * b, lambda g, y, n, a, b: (g * b, g * a)),
    "div": (lambda n, a, b: a / b, lambda g, y, n, a, b: (g / b, -g * y / b)),
    "max": (lambda n, a, b: np.maximum(a, b), lambda g, y, n, a, b: (g * (a >= b), g * (a < b))),
    "sqrt": (lambda n, a: np.sqrt(a), lambda g, y, n, a: (g / (2 * y),)),
    "tanh": (lambda n, a: np.tanh(a), lambda g, y, n, a: (g * (1 - y * y),)),
    "sigmoid": (lambda n, a: 1 / (1 + np.exp(-a)), lambda g, y, n, a: (g * y * (1 - y),)),
    "reshape": (lambda n, a: a.reshape(n["shape"]), lambda g, y, n, a: (g.reshape(a.shape),)),
    "transpose": (
        lambda n, a: a.transpose(n["attributes"]["perm"]),
        lambda g, y, n, a: (g.transpose(np.argsort(n["attributes"]["perm"])),),
    ),
    "reduce_sum": (
        lambda n, a: a.sum(-1, keepdims=True) if n["attributes"]["over"] == "rows" else a.sum(),
        lambda g, y, n, a: (np.broadcast_to(g, a.shape),),
    ),
    "matmul": (lambda n, a, b: a @ b, lambda g, y, n, a, b: (g @ b.T, a.T @ g)),
}


class Network:
    def __init__(self, folder):
        graph = json.load(open(os.path.join(folder, "graph.json")))
        assert graph["format"] == "merge.graph/1", graph["format"]
        self.nodes = graph["nodes"]
        (network,) = graph["networks"]
        self.output, (self.input,) = network["output"]["node"], network["inputs"]
        self.weights = {}
        for p in graph["parameters"]:
            self.weights[p["name"]] = load_file(os.path.join(folder, p["file"]))[p["name"]]
        self.trained = [p["name"] for p in graph["parameters"] if p["trainable"]]

    def rules(self, node):
        op = node["attributes"]["routine"] if node["op"] == "call" else node["op"]
        if op not in OPS:
            raise SystemExit(f"{node['place']}: this trainer does not know `{op}`")
        return OPS[op]

    def forward(self, x):
        values = []
        for node in self.nodes:
            if node["op"] == "input":
                value = x
            elif node["op"] == "parameter":
                value = self.weights[node["attributes"]["name"]]
            elif node["op"] == "const":
                value = np.float32(node["attributes"]["value"])
            else:
                value = self.rules(node)[0](node, *(values[i] for i in node["inputs"]))
            values.append(np.broadcast_to(value, node["shape"]))
        return values

    def gradients(self, values, gradient):
        """The gradients of all parameters, from that of the output."""
        of = {self.output: gradient}
        found = {}
        for node in reversed(self.nodes):
            g = of.pop(node["id"], None)
            if g is None or node["op"] in ("input", "const"):
                continue
            if node["op"] == "parameter":
                found[node["attributes"]["name"]] = g
                continue
            operands = [values[i] for i in node["inputs"]]
            for i, part in zip(node["inputs"], self.rules(node)[1](g, values[node["id"]], node, *operands)):
                of[i] = of.get(i, 0) + shrunk(part, values[i].shape)
        return found


def main():
    folder, data = sys.argv[1:3]
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    network = Network(folder)
    choices = json.load(open(os.path.join(folder, "trainable.json")))["choices"]
    rate = choices["digits._rate"]
    tensors = load_file(data)
    images = tensors["images"].reshape(len(tensors["images"]), -1).astype(np.float32) / 255
    images, labels = images - images.mean(), tensors["labels"].astype(int)
    batch, train = network.input["shape"][0], 1200
    draw = np.random.default_rng(0)
    speed = {name: np.zeros_like(network.weights[name]) for name in network.trained}
    for _ in range(epochs):
        order = draw.permutation(train)
        for at in range(0, train - batch + 1, batch):
            take = order[at : at + batch]
            values = network.forward(images[take])
            logits = values[network.output]
            odds = np.exp(logits - logits.max(1, keepdims=True))
            odds /= odds.sum(1, keepdims=True)
            odds[np.arange(batch), labels[take]] -= 1
            found = network.gradients(values, odds / batch)
            for name in network.trained:
                speed[name] = 0.9 * speed[name] + found[name]
                network.weights[name] = network.weights[name] - np.float32(rate) * speed[name]
    right, of = 0, 0
    for at in range(train, len(images) - batch + 1, batch):
        said = network.forward(images[at : at + batch])[network.output].argmax(1)
        right, of = right + (said == labels[at : at + batch]).sum(), of + batch
    print(json.dumps({"accuracy": 100 * right / of}))


main()
