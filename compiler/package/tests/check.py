"""Holds exported packages against their schemas, ONNX's checker, and what our reference interpreter computes.

usage: check.py SCHEMAS FOLDER..   (each folder: the exported files, and in case.json inputs with what they should give; without
that file a model is only checked)
"""

import json
import os
import sys

import jsonschema
import numpy as np
import onnx
import referencing
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


class Module(OpRun):
    """A stand-in for a module of a base model: twice its input."""

    op_domain = "merge.base"

    def _run(self, x, name=None):
        assert name
        return (np.float32(2) * x,)


def validators(folder):
    schemas = {n: json.load(open(os.path.join(folder, n + ".schema.json"))) for n in ("graph", "trainable")}
    made = [(s["$id"], referencing.Resource.from_contents(s)) for s in schemas.values()]
    registry = referencing.Registry().with_resources(made)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    return {n: jsonschema.Draft202012Validator(s, registry=registry) for n, s in schemas.items()}


def array(entry):
    return np.array(entry["entries"], dtype=np.float64).astype(np.float32).reshape(entry["shape"])


def check(folder, valid):
    at = lambda name: os.path.join(folder, name)
    graph, manifest = (json.load(open(at(n))) for n in ("graph.json", "trainable.json"))
    case = json.load(open(at("case.json"))) if os.path.exists(at("case.json")) else None
    valid["graph"].validate(graph)
    valid["trainable"].validate(manifest)
    seen = set()
    for i, node in enumerate(graph["nodes"]):
        assert node["id"] == i and set(node["inputs"]) <= seen, node
        seen.add(i)
    for model in manifest["onnx"]:
        if model["file"] is None:
            assert model["reason"], model
            continue
        path = at(model["file"])
        onnx.checker.check_model(path, full_check="Module" not in open(path, "rb").read().decode("latin-1"))
        if case is None:
            continue
        session = ReferenceEvaluator(path, new_ops=[Module])
        names = [i.name for i in session.proto_.graph.input]
        got = session.run(None, {n: array(case["inputs"][n]) for n in names})[0]
        want = array(case["outputs"][model["network"]])
        assert got.shape == want.shape, (folder, got.shape, want.shape)
        assert np.allclose(got, want, rtol=1e-5, atol=1e-5, equal_nan=True), (folder, got, want)
        print("checked", model["file"], got.shape)
    print("valid", folder)


def main():
    valid = validators(sys.argv[1])
    for folder in sys.argv[2:]:
        try:
            check(folder, valid)
        except Exception as e:
            raise SystemExit(f"{folder}: {type(e).__name__}: {e}")


main()
