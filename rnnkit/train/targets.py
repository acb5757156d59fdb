"""A series as a loss wants to see it, and targets checked before a kernel sees them."""

from __future__ import annotations

import numpy as np

from rnnkit.data import Sequence
from rnnkit.data.survey import Facts
from rnnkit.errors import ModelError, listed
from rnnkit.model.layers import Chain
from rnnkit.model.losses import BinaryCrossEntropy, CrossEntropy, Loss


def is_classification(loss: Loss) -> bool:
    """Whether predictions are logits of classes, which have no unit to be scaled back to."""
    return isinstance(loss, CrossEntropy | BinaryCrossEntropy)


def as_trained(model: Chain, series: Sequence, loss: Loss) -> Sequence:
    """The series as a loss wants it: labels for cross-entropy, numbers for all others, unscaled for the entropies.

    Raises:
        DataError: a series without targets.
        ModelError: a feature, output or class count that does not fit, or no labels where the loss wants them.
    """
    check_fit(model, series, loss)
    if is_classification(loss) and series.scaler is not None:
        series = series.with_scaler(series.scaler.of_inputs())
    return series if isinstance(loss, CrossEntropy) else series.as_numbers()


def check_fit(model: Chain, series: Sequence | Facts, loss: Loss) -> None:
    """Whether a model and a loss fit a series, or what is known of a data set.

    Raises:
        DataError: a series without targets.
        ModelError: a feature, output or class count that does not fit, or no labels where the loss wants them.
    """
    if isinstance(series, Sequence):  # a data set without is refused when it is opened
        series.expect_target("the loss")
    if model.inputs != series.features:
        columns = series.feature_names
        found = f"{series.features} ({listed(columns, 12, 'in all')})" if columns else f"{series.features}"
        raise ModelError(
            f"the model expects {model.inputs} features, but {series.name!r} has {found}; "
            f"let its first layer have inputs={series.features}{', or choose other columns' if columns else ''}"
        )
    if isinstance(loss, CrossEntropy) and not series.labels:
        raise ModelError(
            f"the loss cross_entropy expects whole-number labels, one a row, but the targets of {series.name!r} "
            f"are {series.outputs} real numbers a row; give y as a 1-D integer array, or use another loss"
        )
    if not isinstance(loss, CrossEntropy) and model.outputs != series.outputs:
        raise ModelError(
            f"the model gives {model.outputs} outputs, but {series.name!r} has {series.outputs} targets a row; "
            f"let its last layer have outputs={series.outputs}"
            f"{', or say loss=' + repr('cross_entropy') + ' for these labels' if series.labels else ''}"
        )


def check_targets(loss: Loss, y: np.ndarray, classes: int) -> np.ndarray:
    """Targets of a series that is seen `as_trained`, as they are, if the loss can be taken of them.

    Args:
        loss: the loss.
        y: labels `(...)` int64 for cross-entropy, else numbers `(..., O)`.
        classes: outputs of the model.

    Raises:
        ModelError: a label outside the classes, or a target outside [0, 1] for binary cross-entropy.
    """
    if not y.size:
        return y
    low, high = y.min(), y.max()
    if isinstance(loss, CrossEntropy) and not 0 <= low <= high < classes:
        raise ModelError(
            f"the loss cross_entropy expects labels 0 to {classes - 1} for a model with {classes} outputs, "
            f"got {high if high >= classes else low}; give the last layer an output for each class"
        )
    if isinstance(loss, BinaryCrossEntropy) and not 0 <= low <= high <= 1:
        raise ModelError(
            f"the loss binary_cross_entropy expects targets between 0 and 1, got {low:g} to {high:g}; "
            f"use another loss, or let 0 and 1 stand for the classes"
        )
    return y
