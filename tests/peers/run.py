"""Running the two sides on one recipe: mergekit in this process, mergec as the program it is."""
import contextlib
import io
import logging
import os
import shutil
import subprocess

import yaml
from safetensors.torch import load_file


class Failed(Exception):
    """One side gave no result; the text says why."""


def load(folder):
    """The tensors of a folder's safetensors files."""
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors |= load_file(os.path.join(folder, name))
    return tensors


@contextlib.contextmanager
def inside(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def mergekit(folder, text, seed=None, **changes):
    """Runs a YAML recipe whose models lie in `folder`; `changes` are laid over its keys."""
    from mergekit.config import MergeConfiguration
    from mergekit.io.tasks import LoaderCache
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    logging.getLogger().setLevel(logging.ERROR)
    out = os.path.join(folder, "out-mergekit")
    shutil.rmtree(out, ignore_errors=True)
    # It keeps files open by the models' names, which are those of other files in the next folder.
    LoaderCache().loaders.clear()
    with inside(folder), contextlib.redirect_stderr(io.StringIO()):
        recipe = MergeConfiguration.model_validate(yaml.safe_load(text) | changes)
        try:
            run_merge(recipe, out, MergeOptions(quiet=True, write_model_card=False, copy_tokenizer=False, random_seed=seed))
        except Exception as error:
            raise Failed(f"mergekit: {type(error).__name__}: {error}") from error
    return load(out)


class Mergec:
    def __init__(self, program):
        self.program = program

    def run(self, folder, text, *options):
        """Runs a recipe whose models lie in `folder` and that saves to `out`."""
        recipe = os.path.join(folder, "recipe.merge")
        with open(recipe, "w") as f:
            f.write(text)
        out = os.path.join(folder, "out-merge")
        shutil.rmtree(out, ignore_errors=True)
        done = subprocess.run([self.program, "run", recipe, "--out", out, *options], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"mergec:\n{done.stderr.strip()}")
        return load(out)

    def refuses(self, folder, text):
        """Whether `check` finds an error."""
        recipe = os.path.join(folder, "recipe.merge")
        with open(recipe, "w") as f:
            f.write(text)
        return subprocess.run([self.program, "check", recipe], capture_output=True).returncode != 0
