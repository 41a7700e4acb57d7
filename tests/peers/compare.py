"""Two results side by side."""
import math

import torch

# bfloat16 keeps 8 bits, so neighbouring numbers are at most this far apart, relative to the larger.
STEP = 2.0**-7
# Of the largest entry of a tensor: f32 arithmetic in another order, f32 against f64 for sums and norms.
CLOSE = 1e-6
# The share of entries of a bf16 result that may round the other way. Averages of bf16 numbers are often midpoints of two
# others, where the last digit of the f32 arithmetic decides.
ROUNDED = 0.02


class Comparison:
    """How far `ours` is from `theirs`. Entries where `excused` (a mask per tensor) is set are counted apart; what is within
    `close` of the tensor's largest entry is no more than a step of bfloat16."""

    def __init__(self, ours, theirs, excused=None, close=CLOSE):
        self.missing = sorted(set(ours) ^ set(theirs))
        self.shapes = [n for n in ours if n in theirs and ours[n].shape != theirs[n].shape]
        self.dtypes = [n for n in ours if n in theirs and ours[n].dtype != theirs[n].dtype]
        self.worst, self.steps = 0.0, 0.0
        self.entries = self.unequal = self.excused = 0
        self.finite = True
        for name in sorted(set(ours) & set(theirs) - set(self.shapes)):
            a, b = ours[name].double(), theirs[name].double()
            self.finite &= bool(torch.isfinite(a).all() and torch.isfinite(b).all())
            far = (a - b).abs()
            if excused is not None:
                self.excused += int((excused[name] & (far > 0)).sum())
                far = torch.where(excused[name], 0.0, far)
            self.entries += a.numel()
            self.unequal += int((far > 0).sum())
            scale = float(b.abs().max())
            self.worst = max(self.worst, float(far.max()) / scale if scale else float(far.max()))
            # Where terms cancel, an entry is as far off as the terms' last digits, which may be many of its own steps.
            step = torch.maximum(torch.maximum(a.abs(), b.abs()) * STEP, torch.full_like(a, close * scale + 1e-30))
            self.steps = max(self.steps, float((far / step).max()))

    @property
    def same_tensors(self):
        return not self.missing and not self.shapes and not self.dtypes

    def within(self, tolerance):
        """No entry is further off than `tolerance` times the tensor's largest entry."""
        return self.same_tensors and self.finite and self.worst <= tolerance

    def within_one_rounding(self, share):
        """Entries are equal or neighbours in bfloat16, and no more than `share` of them neighbours."""
        return self.same_tensors and self.finite and self.steps <= 1.0 and self.unequal <= math.ceil(share * self.entries)

    def trouble(self):
        if self.missing:
            return f"only one side has {', '.join(self.missing[:3])}"
        if self.shapes or self.dtypes:
            return f"shapes or dtypes differ in {', '.join((self.shapes or self.dtypes)[:3])}"
        return "" if self.finite else "not finite"
