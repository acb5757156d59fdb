"""What a training came to, in words, where it came to nothing."""

from __future__ import annotations

from math import log

import numpy as np

from rnnkit.model.losses import BinaryCrossEntropy, CrossEntropy
from rnnkit.train.run import Run

RISEN = 1000.0
"""How many times its first loss a loss has to be to have blown up."""

EARLY = 16
"""Rows scored at the beginning at least, whose mean loss is the first: that of a single one may be next to nothing."""

BLOWN_UP = "the loss has blown up"
"""How the line begins."""

USELESS = 10.0
"""How many times the loss of predicting the mean it has to be, where it has risen at all."""


def blown_up(run: Run) -> str:
    """A line about a loss that a learning rate has blown up; nothing where it has not.

    The loss of the epoch whose parameters are kept is held against that of the first steps, and against that of always
    predicting the mean, as far as that is known: 1 at most for scaled targets, and for the entropies that of equal
    chances.
    """
    losses, steps = run.history.epochs["loss"], run.history.steps
    weight = np.asarray(steps["weight"])
    before = np.cumsum(weight) - weight
    early = np.flatnonzero((weight > 0) & (before < EARLY))
    if not losses or not len(early):
        return ""
    first = float(np.average(np.asarray(steps["loss"])[early], weights=weight[early]))
    last = losses[-1 if run.epoch is None else run.epoch]
    mean = _loss_of_the_mean(run)
    risen = last > RISEN * first and (mean is None or last > mean)
    if not risen and not (mean is not None and last > max(first, USELESS * mean)):
        return ""
    beside = "" if mean is None else f"; always predicting the mean costs {mean:.3g}"
    begun = "the first step" if len(early) == 1 else "the first steps"
    return (
        f"{BLOWN_UP}: {first:.4g} in {begun}, {last:.4g} in the mean of the last epoch{beside}; "
        f"lower the learning rate, such as rule=Adam(1e-3)"
    )


def _loss_of_the_mean(run: Run) -> float | None:
    """The loss of predicting the mean of the training targets, or a bound of it; None where it is not known."""
    if isinstance(run.loss, BinaryCrossEntropy):
        return log(2)
    if isinstance(run.loss, CrossEntropy):
        chains = [run.model.head(name) for name in run.model.heads] or [run.model]
        return log(max(2, *(chain.outputs for chain in chains), 2))
    scalers = [seen.scaler for seen in run.sets.values()] or [run.scaler]
    return 1.0 if all(scaler is not None and scaler.y_mean for scaler in scalers) else None
