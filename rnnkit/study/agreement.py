"""How one gradient agrees with another: the angle between them, and their lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

WHOLE = "all"
"""What all parameters together are called among them."""


class Agreement(NamedTuple):
    """How a gradient agrees with the whole one.

    Attributes:
        cosine: of the angle between them; 1: the same direction. NaN where one of them is zero.
        norm_ratio: its 2-norm, divided by that of the whole one; NaN where that is zero.
    """

    cosine: float
    norm_ratio: float


def agreement(gradient: np.ndarray, whole: np.ndarray) -> Agreement:
    """How a gradient agrees with the whole one, each a vector."""
    norm, reference = np.linalg.norm(gradient), np.linalg.norm(whole)
    if not reference:
        return Agreement(float("nan"), float("nan"))
    cosine = gradient @ whole / (norm * reference) if norm else float("nan")
    return Agreement(float(np.clip(cosine, -1, 1)), float(norm / reference))


def vector(gradient: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """One parameter's gradient, or all of them, as a vector in float64."""
    arrays = gradient.values() if name == WHOLE else [gradient[name]]
    return np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])


def with_error(found: np.ndarray, whole: np.ndarray) -> tuple[Agreement, Agreement]:
    """How the mean of K gradients `(K, P)` agrees with the whole one, and the standard errors by the jackknife.

        error² = (K - 1) / K Σ_k (value without gradient k - their mean)²

    Source: Tukey, "Bias and confidence in not quite large samples" (1958).
    """
    count, value = len(found), agreement(found.mean(0), whole)
    if count == 1:
        return value, Agreement(0.0, 0.0)
    without = np.array([agreement(np.delete(found, k, axis=0).mean(0), whole) for k in range(count)])
    return value, Agreement(*np.sqrt((count - 1) / count * ((without - without.mean(0)) ** 2).sum(0)).tolist())
