"""Losses by number: the value of a window's loss, and its gradient written over the predictions.

The equations stand in `rnnkit.model.losses`. Every row function returns the loss ℓ of one row, summed in
float64, and writes a multiple of ∂ℓ/∂y over the row's predictions.
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import MAE, MSE, BinaryCrossEntropy, CrossEntropy, Huber
from rnnkit_numba.compiled import kernel
from rnnkit_numba.views import fill

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
def add_loss(code, setting, y_TBO, outputs, target_TBO, weight_TB, total):
    """What a block of lanes adds to a window's loss; `y` leaves as the gradient, zero where not scored.

    Args:
        code, setting: see `loss_code`.
        y_TBO: the predictions, `outputs` of them in a row that may be wider.
        target_TBO: the targets; for cross-entropy `(T, B, 1)` labels.
        total: sum of the weights of the whole window.
    """
    steps, lanes = weight_TB.shape
    value = 0.0
    for t in range(steps):
        for b in range(lanes):
            y, target = y_TBO[t, b, :outputs], target_TBO[t, b]
            if not weight_TB[t, b] > 0:
                fill(y, 0)
                continue
            share = np.float64(weight_TB[t, b]) / total
            scale = y.dtype.type(share) if code == CODE_CROSS_ENTROPY else y.dtype.type(share / y.size)
            if code == CODE_MSE:
                value += share * mse(y, target, scale)
            elif code == CODE_MAE:
                value += share * mae(y, target, scale)
            elif code == CODE_HUBER:
                value += share * huber(y, target, scale, y.dtype.type(setting))
            elif code == CODE_CROSS_ENTROPY:
                value += share * cross_entropy(y, int(target[0]), scale)
            else:
                value += share * binary_cross_entropy(y, target, scale)
    return value


@kernel
def mse(y, target, scale):
    """Mean squared error of a row."""
    total = 0.0
    for j in range(y.size):
        error = y[j] - target[j]
        total += np.float64(error) * np.float64(error)
        y[j] = scale * (error + error)
    return total / y.size


@kernel
def mae(y, target, scale):
    """Mean absolute error of a row."""
    total = 0.0
    for j in range(y.size):
        error = y[j] - target[j]
        total += abs(np.float64(error))
        if error > 0:
            y[j] = scale
        elif error < 0:
            y[j] = -scale
        else:
            y[j] = error  # 0, or NaN
    return total / y.size


@kernel
def huber(y, target, scale, delta):
    """Huber's loss of a row."""
    total = 0.0
    for j in range(y.size):
        error = y[j] - target[j]
        size = np.float64(abs(error))
        near = np.float64(delta) if size > delta else size  # NaN stays
        total += near * (size - 0.5 * near)
        if error > delta:
            y[j] = scale * delta
        elif error < -delta:
            y[j] = -scale * delta
        else:
            y[j] = scale * error
    return total / y.size


@kernel
def cross_entropy(y, label, scale):
    """Cross-entropy of a label under softmax(y)."""
    top = y[0]
    for j in range(y.size):
        top = max(top, y[j])
    chosen = y[label] - top
    total = 0.0
    for j in range(y.size):
        y[j] = math.exp(y[j] - top)
        total += np.float64(y[j])
    share = y.dtype.type(np.float64(scale) / total)
    for j in range(y.size):
        y[j] = share * y[j]
    y[label] -= scale
    return math.log(total) - np.float64(chosen)


@kernel
def binary_cross_entropy(y, target, scale):
    """Cross-entropy of a row of targets in [0, 1] under σ(y)."""
    total = 0.0
    for j in range(y.size):
        one = y.dtype.type(1)
        e = math.exp(-abs(y[j]))
        positive = y[j] if y[j] >= 0 else y[j] - y[j]
        total += np.float64(positive) - np.float64(y[j]) * np.float64(target[j]) + math.log1p(np.float64(e))
        y[j] = scale * ((one if y[j] >= 0 else e) / (one + e) - target[j])
    return total / y.size
