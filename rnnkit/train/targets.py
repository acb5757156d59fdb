"""Targets in the form that a loss expects, checked before a kernel sees them."""

from __future__ import annotations

import numpy as np

from rnnkit.data import Sequence
from rnnkit.errors import ModelError
from rnnkit.model.layers import Chain
from rnnkit.model.losses import BinaryCrossEntropy, CrossEntropy, Loss


def check_fit(model: Chain, series: Sequence, loss: Loss) -> None:
    """Check that a model, a series and a loss go together.

    Raises:
        ModelError: a feature, output or class count that does not fit, or labels where the loss wants numbers.
    """
    if model.inputs != series.features:
        raise ModelError(
            f"the model expects {model.inputs} features, but {series.name!r} has {series.features}; "
            f"let its first layer have inputs={series.features}"
        )
    if isinstance(loss, CrossEntropy):
        if not series.labels:
            raise ModelError(
                f"the loss cross_entropy expects whole-number labels, one a row, but the targets of {series.name!r} "
                f"are {series.outputs} real numbers a row; give y as a 1-D integer array, or use another loss"
            )
        return
    outputs = 1 if series.labels else series.outputs
    if model.outputs != outputs:
        raise ModelError(
            f"the model gives {model.outputs} outputs, but {series.name!r} has {outputs} targets a row; "
            f"let its last layer have outputs={outputs}"
        )


def targets_for(loss: Loss, y: np.ndarray, labels: bool, classes: int, dtype: np.dtype) -> np.ndarray:
    """Targets as a loss wants them: labels `(...)` int64 for cross-entropy, else numbers `(..., O)`.

    Args:
        loss: the loss.
        y: targets of a sequence.
        labels: whether they are labels `(...)`.
        classes: outputs of the model.
        dtype: of the numbers.

    Raises:
        ModelError: a label outside the classes, or a target outside [0, 1] for binary cross-entropy.
    """
    if isinstance(loss, CrossEntropy):
        if y.size and (int(y.max()) >= classes or int(y.min()) < 0):
            wrong = int(y.max()) if int(y.max()) >= classes else int(y.min())
            raise ModelError(
                f"the loss cross_entropy expects labels 0 to {classes - 1} for a model with {classes} outputs, "
                f"got {wrong}; give the last layer an output for each class"
            )
        return y
    numbers = y[..., None].astype(dtype) if labels else y
    if isinstance(loss, BinaryCrossEntropy) and numbers.size and not ((numbers >= 0) & (numbers <= 1)).all():
        raise ModelError(
            f"the loss binary_cross_entropy expects targets between 0 and 1, got {numbers.min():g} to "
            f"{numbers.max():g}; leave such targets unscaled"
        )
    return numbers
