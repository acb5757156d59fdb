"""Losses by number: the value of a window's loss, and its gradient.

The equations stand in `rnnkit.model.losses`. Every row function returns the loss of one row, summed in float64 over
its outputs, and writes `share` times the gradient of that sum.
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import MAE, MSE, BinaryCrossEntropy, CrossEntropy, Huber
from rnnkit_numba.compiled import kernel
from rnnkit_numba.pointers import forward
from rnnkit_numba.vectors import like
from rnnkit_numba.views import clear_vectors

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


@kernel
def add_loss(code, setting, y, d_y, width, outputs, target_TBO, weight_TB, valid_TB, total, one):
    """What a block of lanes adds to a window's loss; its gradient is written, zero where nothing is scored.

    Args:
        code, setting: see `loss_code`.
        y, d_y: pointers to the predictions and their gradient, rows of `width` of which the first `outputs` count.
        target_TBO: the targets; for cross-entropy `(T, B, 1)` labels.
        valid_TB: elsewhere the prediction is 0, and has no gradient.
        total: sum of the weights of the whole window.
    """
    steps, lanes_B = weight_TB.shape
    parts = total if code == CODE_CROSS_ENTROPY else total * outputs
    value = 0.0
    for t in range(steps):
        for b in range(lanes_B):
            row = (t * lanes_B + b) * width
            d, valid = forward(d_y, row), valid_TB[t, b]
            clear_vectors(d, width, one)
            if weight_TB[t, b] > 0:
                share = weight_TB[t, b] / parts
                here = forward(y, row) if valid else d
                if code == CODE_MSE:
                    value += share * mse(here, d, outputs, target_TBO, t, b, share)
                elif code == CODE_MAE:
                    value += share * mae(here, d, outputs, target_TBO, t, b, share)
                elif code == CODE_HUBER:
                    value += share * huber(here, d, outputs, target_TBO, t, b, share, setting)
                elif code == CODE_CROSS_ENTROPY:
                    value += share * cross_entropy(here, d, outputs, int(target_TBO[t, b, 0]), share)
                else:
                    value += share * binary_cross_entropy(here, d, outputs, target_TBO, t, b, share)
                if not valid:
                    clear_vectors(d, width, one)
    return value


@kernel
def mse(y, d, outputs, target_TBO, t, b, share):
    """Squared errors of a row."""
    scale = like(y[0], share)
    total = 0.0
    for j in range(outputs):
        error = y[j] - target_TBO[t, b, j]
        total += np.float64(error) * np.float64(error)
        d[j] = scale * (error + error)
    return total


@kernel
def mae(y, d, outputs, target_TBO, t, b, share):
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


@kernel
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


@kernel
def cross_entropy(y, d, outputs, label, share):
    """Cross-entropy of a label under softmax(y)."""
    top = y[0]
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


@kernel
def binary_cross_entropy(y, d, outputs, target_TBO, t, b, share):
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
