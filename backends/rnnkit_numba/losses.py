"""Losses by number: the value of a window's loss, and its gradient.

The equations stand in `rnnkit.model.losses`. Every row function returns the loss of one row, summed in float64 over
its outputs, and writes `share` times the gradient of that sum.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import MAE, MSE, BinaryCrossEntropy, CrossEntropy, Huber
from rnnkit_numba.compiled import inlined, kernel
from rnnkit_numba.kernels.pointers import further
from rnnkit_numba.kernels.vectors import like
from rnnkit_numba.kernels.views import clear_vectors

CODE_MSE, CODE_MAE, CODE_HUBER, CODE_CROSS_ENTROPY, CODE_BINARY = range(5)


@singledispatch
def loss_code(loss: object) -> tuple[int, float]:
    """A loss as the number of its kind and its one setting (0 where it has none)."""
    raise ModelError(
        f"backend 'numba' cannot run the loss {loss!r}; it knows MSE, MAE, Huber, CrossEntropy, BinaryCrossEntropy"
    )


@loss_code.register
def _(loss: MSE) -> tuple[int, float]:
    return CODE_MSE, 0.0


@loss_code.register
def _(loss: MAE) -> tuple[int, float]:
    return CODE_MAE, 0.0


@loss_code.register
def _(loss: Huber) -> tuple[int, float]:
    return CODE_HUBER, float(loss.delta)


@loss_code.register
def _(loss: CrossEntropy) -> tuple[int, float]:
    return CODE_CROSS_ENTROPY, 0.0


@loss_code.register
def _(loss: BinaryCrossEntropy) -> tuple[int, float]:
    return CODE_BINARY, 0.0


@inlined
def mse(y, d, outputs, target_TBO, t, b, share, setting):
    """Squared errors of a row."""
    scale = like(y[0], share)
    total = 0.0
    for j in range(outputs):
        error = y[j] - target_TBO[t, b, j]
        total += np.float64(error) * np.float64(error)
        d[j] = scale * (error + error)
    return total


@inlined
def mae(y, d, outputs, target_TBO, t, b, share, setting):
    """Absolute errors of a row."""
    scale = like(y[0], share)
    total = 0.0
    for j in range(outputs):
        error = y[j] - target_TBO[t, b, j]
        total += abs(np.float64(error))
        if error > 0:
            d[j] = scale
        elif error < 0:
            d[j] = -scale
        else:
            d[j] = error  # 0, or NaN
    return total


@inlined
def huber(y, d, outputs, target_TBO, t, b, share, setting):
    """Huber's losses of a row."""
    scale, delta = like(y[0], share), like(y[0], setting)
    total = 0.0
    for j in range(outputs):
        error = y[j] - target_TBO[t, b, j]
        size = np.float64(abs(error))
        near = np.float64(delta) if size > delta else size  # NaN stays
        total += near * (size - 0.5 * near)
        if error > delta:
            d[j] = scale * delta
        elif error < -delta:
            d[j] = -scale * delta
        else:
            d[j] = scale * error
    return total


@inlined
def cross_entropy(y, d, outputs, target_TBO, t, b, share, setting):
    """Cross-entropy of a label under softmax(y)."""
    label, top = int(target_TBO[t, b, 0]), y[0]
    for j in range(outputs):
        top = max(top, y[j])
    chosen = y[label] - top
    total = 0.0
    for j in range(outputs):
        d[j] = math.exp(y[j] - top)
        total += np.float64(d[j])
    factor = like(top, np.float64(like(top, share)) / total)
    for j in range(outputs):
        d[j] = factor * d[j]
    d[label] -= like(top, share)
    return math.log(total) - np.float64(chosen)


@inlined
def binary_cross_entropy(y, d, outputs, target_TBO, t, b, share, setting):
    """Cross-entropies of a row of targets in [0, 1] under σ(y)."""
    scale, one = like(y[0], share), like(y[0], 1.0)
    total = 0.0
    for j in range(outputs):
        y_j, target = y[j], target_TBO[t, b, j]
        e = math.exp(-abs(y_j))
        positive = y_j if y_j >= 0 else y_j - y_j
        total += np.float64(positive) - np.float64(y_j) * np.float64(target) + math.log1p(np.float64(e))
        d[j] = scale * ((one if y_j >= 0 else e) / (one + e) - target)
    return total


class Aim(NamedTuple):
    """What is made small.

    Attributes:
        loss, setting: see `loss_code`.
        outputs: columns of the predictions that count.
    """

    loss: int
    setting: float
    outputs: int


class Targets(NamedTuple):
    """What predictions should have been.

    Attributes:
        y_TBO: the targets; for cross-entropy `(T, B, 1)` labels.
        weight_TB: how much they count.
        valid_TB: elsewhere the prediction is 0, and has no gradient.
    """

    y_TBO: Any
    weight_TB: Any
    valid_TB: Any


def make_rows(loss):
    """The function that adds up a loss over rows: see `add_loss`."""

    def rows(aim, y, d_y, width, targets, divisor, W):
        steps, lanes = targets.weight_TB.shape
        value = 0.0
        for t in range(steps):
            for b in range(lanes):
                weight, valid = targets.weight_TB[t, b], targets.valid_TB[t, b]
                clear_vectors(d_y, width, W)
                if weight > 0:
                    share = weight / divisor
                    value += share * loss(
                        y if valid else d_y, d_y, aim.outputs, targets.y_TBO, t, b, share, aim.setting
                    )
                    if not valid:
                        clear_vectors(d_y, width, W)
                y, d_y = further(y, width), further(d_y, width)
        return value

    rows.__qualname__ = f"rows_{loss.__name__}"  # symbols are told apart by this name
    return kernel(rows)


mse_rows, mae_rows, huber_rows = make_rows(mse), make_rows(mae), make_rows(huber)
cross_entropy_rows, binary_rows = make_rows(cross_entropy), make_rows(binary_cross_entropy)


@kernel
def add_loss(aim, y, d_y, width, targets, total, W):
    """What a lane group adds to a window's loss; its gradient is written, zero where nothing is scored.

    Args:
        y, d_y: pointers to the predictions and their gradient, rows of `width` numbers.
        total: sum of the weights of the whole window.
    """
    divisor = total * aim.outputs
    if aim.loss == CODE_MSE:
        return mse_rows(aim, y, d_y, width, targets, divisor, W)
    if aim.loss == CODE_MAE:
        return mae_rows(aim, y, d_y, width, targets, divisor, W)
    if aim.loss == CODE_HUBER:
        return huber_rows(aim, y, d_y, width, targets, divisor, W)
    if aim.loss == CODE_CROSS_ENTROPY:
        return cross_entropy_rows(aim, y, d_y, width, targets, total, W)
    return binary_rows(aim, y, d_y, width, targets, divisor, W)
