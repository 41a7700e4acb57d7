"""Optuna's TPE and CMA-ES on the problems of `cargo xtask bench --search`: same spaces, same scores, same budgets.

    search.py EXAMPLES [NAME..] [--quick] [--seeds=FROM] [--count=N]

Prints the rows of the tables that compiler/search/examples/bench prints for Merge's algorithms.
"""
import argparse
import csv
import os
import statistics

import cma
import cmaes
import numpy as np
import optuna
from safetensors.numpy import load_file

TRIALS, SEEDS, DIGITS = 64, 20, 250
MODELS = ["nw", "ne", "sw", "se"]
CORNERS = [(0, 0), (0, 14), (14, 0), (14, 14)]
GROUPS = ["embed", "norm.0", "hidden", "norm.1"]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def architectures(folder):
    """The table of trained networks; as Optuna's users write a conditional space."""
    with open(os.path.join(folder, "architectures/accuracies.csv")) as f:
        rows = list(csv.reader(f))[1:]
    table = {tuple(row[:-1]): 100 * float(row[-1]) for row in rows}

    def score(trial):
        rates = ["0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1.0", "3.0"]
        # Ordered lists as integers, so that TPE knows the order, as Merge's does.
        row = [
            rates[trial.suggest_int("rate", 0, 7)],
            trial.suggest_categorical("optimiser", ["sgd", "momentum"]),
            trial.suggest_categorical("dropout", ["off", "on"]),
        ]
        depth = trial.suggest_int("depth", 1, 2)
        row.append(str(depth))
        for i in range(2):
            if i < depth:
                row.append(str(8 << trial.suggest_int(f"width{i}", 0, 3)))
                row.append(trial.suggest_categorical(f"activation{i}", ["relu", "tanh", "sigmoid"]))
            else:
                row += ["", ""]
        return table[tuple(row)]

    return score


class Zoo:
    """Merging the networks of examples/quadrants, on 250 digits."""

    def __init__(self, folder):
        folder = os.path.join(folder, "quadrants")
        read = lambda name: load_file(os.path.join(folder, name, "model.safetensors"))
        self.base = read("base")
        self.deltas = [{k: v - self.base[k] for k, v in read(name).items()} for name in MODELS]
        self.sizes = [{k: np.sort(np.abs(v), axis=None)[::-1] for k, v in delta.items()} for delta in self.deltas]
        data = load_file(os.path.join(folder, "data/test.safetensors"))
        self.images = data["images"][:DIGITS].reshape(DIGITS, -1).astype(np.float32) / 255
        self.labels = data["labels"][:DIGITS]

    def ties(self, name, density, lam):
        kept = []
        for delta, sizes in zip(self.deltas, self.sizes):
            keep = min(max(round(density * sizes[name].size), 1), sizes[name].size)
            kept.append(np.where(np.abs(delta[name]) >= sizes[name][keep - 1], delta[name], 0))
        kept = np.stack(kept)
        agree = kept * kept.sum(0) > 0
        return lam * (kept * agree).sum(0) / np.maximum(agree.sum(0), 1)

    def accuracy(self, change):
        """`change(name, group)` is what is added to a tensor of the base."""
        model = dict(self.base)
        for name in model:
            group = next((g for g in GROUPS if name.startswith(g)), None)
            if group:
                model[name] = (model[name] + change(name, group)).astype(np.float32)
        right = 0
        for top, left in CORNERS:
            columns = [(top + r) * 28 + left + c for r in range(14) for c in range(14)]
            h = self.images @ model["embed.weight"][:, columns].T + model["embed.bias"]
            h = norm(gelu(h), model, "norm.0")
            h = norm(gelu(h @ model["hidden.weight"].T + model["hidden.bias"]), model, "norm.1")
            logits = h @ model["classifier.weight"].T + model["classifier.bias"]
            right += int((logits.argmax(1) == self.labels).sum())
        return 100 * right / (4 * DIGITS)

    def weights(self, trial):
        """A weight for each group of tensors and each fine-tune."""
        w = {g: [trial.suggest_float(f"{g}.{m}", 0.0, 1.5) for m in MODELS] for g in GROUPS}
        return self.accuracy(lambda name, g: sum(w * d[name] for w, d in zip(w[g], self.deltas)))

    def methods(self, trial):
        """For each group: weights, TIES, or the base."""
        how = {}
        for g in GROUPS:
            method = trial.suggest_categorical(f"{g}.method", ["task", "ties", "base"])
            if method == "task":
                how[g] = [trial.suggest_float(f"{g}.task.{m}", 0.0, 1.5) for m in MODELS]
            elif method == "ties":
                how[g] = (trial.suggest_float(f"{g}.density", 0.05, 1.0), trial.suggest_float(f"{g}.lambda", 0.0, 3.0))

        def change(name, g):
            if g not in how:
                return 0.0
            if isinstance(how[g], tuple):
                return self.ties(name, *how[g])
            return sum(w * d[name] for w, d in zip(how[g], self.deltas))

        return self.accuracy(change)


def gelu(x):
    # numpy has no erf; this one (Abramowitz and Stegun 7.1.26) is within 1.5e-7, below what f32 shows here.
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - poly * np.exp(-z * z))
    return (0.5 * x * (1 + erf)).astype(np.float32)


def norm(x, model, name):
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return x * model[f"{name}.weight"] + model[f"{name}.bias"]


def with_optuna(sampler, score, seed):
    study = optuna.create_study(direction="maximize", sampler=sampler(seed))
    study.optimize(score, n_trials=TRIALS)
    return study.best_value


def row(name, found):
    rng = np.random.default_rng(0)
    medians = np.sort([np.median(rng.choice(found, len(found))) for _ in range(2000)])
    print(f"| {name} | {statistics.median(found):.2f} | {medians[50]:.2f} to {medians[1949]:.2f} | |", flush=True)


def check_cmaes():
    """What `cma` and `cmaes` need to reach 1e-8 on the functions that compiler/search tests its CMA-ES with: evaluations."""
    functions = {
        "sphere": lambda x: sum((v - 0.3) ** 2 for v in x),
        "ellipsoid": lambda x: sum(10 ** (4 * i / 9) * (v - 0.6) ** 2 for i, v in enumerate(x)),
        "rosenbrock": lambda x: rosenbrock([4 * v - 2 for v in x]),
    }
    print("evaluations to 1e-8 in 10 dimensions, medians of 5 seeds")
    print("| function | `cma` | `cmaes` |")
    print("|---|---|---|")
    for name, f in functions.items():
        one, other = ([needs(f, seed) for seed in range(1, 6)] for needs in (with_cma, with_cmaes))
        print(f"| {name} | {statistics.median(one):.0f} | {statistics.median(other):.0f} |", flush=True)


def with_cma(f, seed):
    options = {"seed": seed, "ftarget": 1e-8, "popsize": 10, "bounds": [0, 1], "verbose": -9, "maxfevals": 30000}
    return cma.fmin2(f, 10 * [0.5], 0.2, options)[1].result.evaluations


def with_cmaes(f, seed):
    strategy = cmaes.CMA(mean=np.full(10, 0.5), sigma=0.2, bounds=np.array([[0.0, 1.0]] * 10), population_size=10, seed=seed)
    for generation in range(1, 3000):
        points = [strategy.ask() for _ in range(10)]
        scored = [(point, f(point)) for point in points]
        if min(value for _, value in scored) < 1e-8:
            return 10 * generation
        strategy.tell(scored)
    return 30000


def rosenbrock(y):
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(y, y[1:]))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("examples")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seeds", type=int, default=0, metavar="FROM")
    arguments.add_argument("--count", type=int, default=SEEDS)
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_args()
    zoo = Zoo(given.examples)
    tpe = lambda seed: optuna.samplers.TPESampler(seed=seed)
    problems = {
        "architectures": (architectures(given.examples), False),
        "quadrants, methods": (zoo.methods, False),
        "quadrants, weights": (zoo.weights, True),
    }
    for name, (score, reals) in problems.items():
        if given.names and not any(n in name for n in given.names):
            continue
        seeds = range(given.seeds, given.seeds + (5 if given.quick else given.count))
        print(f"{name}, best of {TRIALS} trials, seeds {seeds[0]} to {seeds[-1]}")
        row("Optuna, TPE", [with_optuna(tpe, score, seed) for seed in seeds])
        if reals:
            cmaes = lambda seed: optuna.samplers.CmaEsSampler(seed=seed + 1)
            row("Optuna, CMA-ES", [with_optuna(cmaes, score, seed) for seed in seeds])
    if not given.names or "cma" in given.names:
        check_cmaes()


if __name__ == "__main__":
    main()
