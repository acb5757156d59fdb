"""Losses as data, and their values and gradients in NumPy.

Each loss gives a number for every row (the mean over its outputs); a window's loss is the weighted mean over rows:

    L = Σ w[t,b] ℓ(y[t,b], target[t,b]) / Σ w[t,b]          d_y[t,b] = w[t,b] / Σ w · ∂ℓ/∂y

Targets are `(..., O)` like the predictions, or `(...)` integer labels for `CrossEntropy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from rnnkit.checks import check_kinds
from rnnkit.errors import ModelError, did_you_mean
from rnnkit.model.checks import check_float32


@dataclass(frozen=True)
class MSE:
    """Mean squared error, `(y - target)²`."""


@dataclass(frozen=True)
class MAE:
    """Mean absolute error, `|y - target|`; its gradient at 0 is 0."""


@dataclass(frozen=True)
class Huber:
    """Huber's loss (1964): with e = y - target, `e²/2` where |e| <= delta, `delta (|e| - delta/2)` beyond."""

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.delta > 0:
            raise ModelError(f"Huber expects delta > 0, got {self.delta!r}")
        check_float32(self, "delta", self.delta)


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of integer labels under `softmax(y)`: `log Σ exp(y) - y[label]`."""


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Cross-entropy of targets in [0, 1] under `σ(y)`: `max(y, 0) - y target + log(1 + exp(-|y|))`.

    The predictions are logits: let the last layer be `identity`, not `sigmoid`.
    """


Loss = MSE | MAE | Huber | CrossEntropy | BinaryCrossEntropy

LOSSES: dict[str, type[Loss]] = {
    "mse": MSE,
    "mae": MAE,
    "huber": Huber,
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
}


def as_loss(loss: str | Loss) -> Loss:
    """The loss that a name stands for, with its default settings; a loss comes back as it is.

    Raises:
        ModelError: an unknown name.
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ModelError(f"expected a loss among {', '.join(LOSSES)}, got {loss!r}{did_you_mean(str(loss), LOSSES)}")
    return LOSSES[loss]()


@singledispatch
def row_loss(loss: object, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Loss of each row: predictions `(..., O)` and targets in, `(...)` out."""
    raise ModelError(f"expected a loss among {', '.join(LOSSES)}, got {type(loss).__name__}")


@row_loss.register
def _(loss: MSE, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return ((y - target) ** 2).mean(-1)


@row_loss.register
def _(loss: MAE, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.abs(y - target).mean(-1)


@row_loss.register
def _(loss: Huber, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    error = np.abs(y - target)
    near = np.minimum(error, loss.delta)
    return (near * (error - near / 2)).mean(-1)


@row_loss.register
def _(loss: CrossEntropy, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    shifted = y - y.max(-1, keepdims=True)
    chosen = np.take_along_axis(shifted, target[..., None], -1)[..., 0]
    return np.log(np.exp(shifted).sum(-1)) - chosen


@row_loss.register
def _(loss: BinaryCrossEntropy, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return (np.maximum(y, 0) - y * target + np.log1p(np.exp(-np.abs(y)))).mean(-1)


@singledispatch
def row_gradient(loss: object, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Derivative of each row's loss with respect to its predictions, `(..., O)`."""
    raise ModelError(f"expected a loss among {', '.join(LOSSES)}, got {type(loss).__name__}")


@row_gradient.register
def _(loss: MSE, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return 2 * (y - target) / y.shape[-1]


@row_gradient.register
def _(loss: MAE, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.sign(y - target) / y.shape[-1]


@row_gradient.register
def _(loss: Huber, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.clip(y - target, -loss.delta, loss.delta) / y.shape[-1]


@row_gradient.register
def _(loss: CrossEntropy, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    e = np.exp(y - y.max(-1, keepdims=True))
    softmax = e / e.sum(-1, keepdims=True)
    return softmax - (np.arange(y.shape[-1]) == target[..., None])


@row_gradient.register
def _(loss: BinaryCrossEntropy, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(y))
    return (np.where(y >= 0, 1, e) / (1 + e) - target) / y.shape[-1]


def window_loss(loss: Loss, y: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean loss of a window and its gradient.

    Args:
        loss: a loss.
        y: predictions `(T, B, O)`.
        target: `(T, B, O)`, or labels `(T, B)` for `CrossEntropy`.
        weight: `(T, B)`, 0 where a row is not scored; such rows may hold anything, NaN too.

    Returns:
        `(L, d_y)`: the loss, a scalar array, and `d_y (T, B, O)`, zero where a row is not scored. Both are zero
        when no row is scored.
    """
    scored = weight > 0
    total = weight.sum()
    share = np.where(scored, weight / np.where(total > 0, total, 1), 0).astype(np.real(y).dtype)
    value = (share * np.where(scored, row_loss(loss, y, target), 0)).sum()
    d_y = share[..., None] * np.where(scored[..., None], row_gradient(loss, y, target), 0)
    return value, d_y
