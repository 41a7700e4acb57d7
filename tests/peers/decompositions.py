"""Times singular value decompositions alone, by LAPACK.

    decompositions.py THREADS ROWSxCOLUMNS..

Prints the seconds that all of them take, in f64 and in f32: thin, with both sets of vectors. `cargo xtask bench --peers`
starts it and holds mergec's methods against it.
"""
import sys
import time

import torch


def seconds(shapes, dtype):
    total = 0.0
    for rows, columns in shapes:
        x = torch.randn(rows, columns, dtype=dtype)
        start = time.perf_counter()
        torch.linalg.svd(x, full_matrices=False)
        total += time.perf_counter() - start
    return total


torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(1)
wanted = [tuple(int(n) for n in word.split("x")) for word in sys.argv[2:]]
# The first call of a library loads and plans; that is not the decomposition's time.
seconds([(256, 256)], torch.float64)
print(seconds(wanted, torch.float64), seconds(wanted, torch.float32))
