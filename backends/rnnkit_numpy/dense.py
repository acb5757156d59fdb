"""One dense layer, row by row.

(1)  a = weight x[t] + bias             (1')  d_x = weightᵀ d_a;  d_weight = Σ d_a xᵀ;  d_bias = Σ d_a
(2)  y = activation(a)                  (2')  d_a = d_y ⊙ activation'(a)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnkit.model import Dense
from rnnkit_numpy.recurrence import sigmoid


class DenseTape(NamedTuple):
    """Inputs `(T, B, I)` and outputs `(T, B, O)`: each activation's derivative is a function of its output."""

    x: np.ndarray
    y: np.ndarray


ACTIVATE = {
    "identity": lambda a: a,
    "tanh": np.tanh,
    "relu": lambda a: np.where(np.real(a) <= 0, 0, a),  # NaN passes
    "sigmoid": sigmoid,
}

DERIVATIVE = {
    "identity": np.ones_like,
    "tanh": lambda y: 1 - y**2,
    "relu": lambda y: (np.real(y) > 0).astype(y.dtype),
    "sigmoid": lambda y: y * (1 - y),
}


def forward(layer: Dense, params: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, DenseTape]:
    """Run a layer over `x (T, B, I)`; returns `y (T, B, O)` and the tape."""
    a = x @ params["weight"].T + params["bias"]  # (1)
    y = ACTIVATE[layer.activation](a)  # (2)
    return y, DenseTape(x, y)


def backward(
    layer: Dense, params: dict[str, np.ndarray], tape: DenseTape, d_y: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the gradients with respect to the parameters and to x."""
    d_a = d_y * DERIVATIVE[layer.activation](tape.y)  # (2')
    d_params = {"weight": np.einsum("tbo,tbi->oi", d_a, tape.x), "bias": d_a.sum((0, 1))}  # (1')
    return d_params, d_a @ params["weight"]  # (1')
