"""Derivatives by the complex step: exact to rounding, and no backward pass to trust."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.backend import TEXTBOOK, Backend, Gradients, map_arrays
from rnnkit.backend import backend as find_backend
from rnnkit.model import State
from rnnkit.testing.cases import Case, leaves


def complex_step_gradients(case: Case, backend: str | Backend = TEXTBOOK, step: float = 1e-200) -> Gradients:
    """Gradients of `Σ d_y ⊙ y + Σ d_state ⊙ state` by the complex step: exact to rounding, and no backward pass.

        dL/dv = Im L(v + i ε) / ε,    ε = 1e-200

    Args:
        case: a window; every number of its parameters, those of a learned initial state included, of x and of
            the state is stepped in turn.
        backend: a backend whose forward pass runs on complex128.
        step: ε.

    Source: Squire and Trapp, "Using complex variables to estimate derivatives of real functions" (1998).
    """
    engine = find_backend(backend)

    def objective(params: Any, x: np.ndarray, state: State) -> complex:
        y, final, _ = engine.forward(case.model, params, x, state, case.reset, case.valid, case.initial)
        pairs = [(case.d_y, y), *zip(leaves(case.d_state), leaves(final), strict=True)]
        return sum(complex((d * value).sum()) for d, value in pairs)

    tree = map_arrays(lambda a: a.astype(complex), (case.params, case.x, case.state))
    gradient = map_arrays(lambda a: np.zeros(a.shape), tree)
    for values, slopes in zip(leaves(tree), leaves(gradient), strict=True):
        for place in np.ndindex(values.shape):
            values[place] += 1j * step
            slopes[place] = objective(*tree).imag / step
            values[place] = values[place].real
    params, x, state = gradient
    return Gradients(params, state, x)
