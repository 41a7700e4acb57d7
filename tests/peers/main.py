"""Compares Merge with mergekit and PEFT on small random models.

    main.py --mergec PROGRAM --page docs/mergekit.md --work FOLDER [NAME..]

`cargo xtask peers` starts it. Prints a line for each comparison; the exit status says whether all came out as
docs/mergekit.md has it. Names leave only the comparisons whose title has one of them in it.
"""
import argparse
import os
import sys
import warnings

# Nothing is fetched: all models are made here.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import adapters  # noqa: E402
import differences  # noqa: E402
import golden_adapters  # noqa: E402
import models  # noqa: E402
import translations  # noqa: E402
from run import Mergec  # noqa: E402


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mergec", required=True)
    arguments.add_argument("--page", required=True)
    arguments.add_argument("--work", required=True)
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_args()
    with open(given.page) as f:
        text = f.read()
    models.make(given.work)
    mergec = Mergec(os.path.abspath(given.mergec))
    parts = [translations, differences, adapters, golden_adapters]
    counts = {True: 0, False: 0}
    for part in parts:
        title, _ = part.__doc__.split("\n", 1)
        print(f"\n{title}\n", flush=True)
        for name, dtype, verdict, detail, good in part.rows(text, given.work, mergec, given.names):
            counts[good] += 1
            print(f"  {name:36} {dtype:5} {verdict:10} {detail}", flush=True)
    print(f"\n{counts[True]} as expected, {counts[False]} not")
    return 1 if counts[False] or not counts[True] else 0


if __name__ == "__main__":
    sys.exit(main())
