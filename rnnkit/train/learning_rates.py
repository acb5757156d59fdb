"""How the learning rate moves over training, as data: factors on the rule's own rate, with PyTorch's conventions.

A schedule of rates is any object with `factors(epoch, epochs, steps, losses)`: a pure function, so that a run can
begin at any epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rnnkit.checks import check_kinds
from rnnkit.errors import ModelError


class LearningRate(Protocol):
    """What `fit` needs of a schedule of rates."""

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """Factors on the rule's learning rate for the steps of one epoch.

        Args:
            epoch: from 0.
            epochs: of the whole run.
            steps: of this epoch.
            losses: of every epoch before, on the validation part if there is one, else on the training part.

        Returns:
            `(steps,)` float64.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """The rule's learning rate throughout."""

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """Factor 1 for each of the `steps`, `(steps,)`."""
        return np.ones(steps)


@dataclass(frozen=True)
class StepDecay:
    """Multiply by `factor` after every `every` epochs (PyTorch's StepLR)."""

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_kinds(self)
        _check("StepDecay", "every", self.every >= 1, ">= 1", self.every)
        _check("StepDecay", "factor", self.factor > 0, "> 0", self.factor)

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """One factor for all steps of an epoch, lower every so many epochs, `(steps,)`."""
        return np.full(steps, self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to `floor` over the run, a step an epoch (PyTorch's CosineAnnealingLR).

    Source: Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        check_kinds(self)
        _check("Cosine", "floor", 0 <= self.floor <= 1, "between 0 and 1", self.floor)

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """One factor for all steps of an epoch, along a half cosine over the epochs, `(steps,)`."""
        return np.full(steps, _cosine(1.0, self.floor, np.asarray(epoch / epochs)))


@dataclass(frozen=True)
class OneCycle:
    """Up from 1/`start` to 1 during the first part `rise` of all steps, then down to 1/(`start` `end`).

    The rule's learning rate is the peak. A step a batch (PyTorch's OneCycleLR).

    Source: Smith and Topin, "Super-convergence" (2018).
    """

    rise: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        check_kinds(self)
        _check("OneCycle", "rise", 0 < self.rise < 1, "between 0 and 1", self.rise)
        _check("OneCycle", "start", self.start >= 1, ">= 1", self.start)
        _check("OneCycle", "end", self.end >= 1, ">= 1", self.end)

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """A factor for each step, up and down again over the steps of all epochs, `(steps,)`."""
        step = epoch * steps + np.arange(steps)
        peak, last = self.rise * epochs * steps - 1, epochs * steps - 1  # the steps at which each part ends
        up = _cosine(1 / self.start, 1.0, step / peak if peak > 0 else np.ones(steps))
        down = _cosine(1.0, 1 / (self.start * self.end), (step - peak) / max(last - peak, 1))
        return np.where(step <= peak, up, down)


@dataclass(frozen=True)
class Plateau:
    """Multiply by `factor` when the loss has not improved for more than `patience` epochs (ReduceLROnPlateau).

    Better means below the best so far by more than the share `threshold` of it.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4

    def __post_init__(self) -> None:
        check_kinds(self)
        _check("Plateau", "factor", 0 < self.factor < 1, "between 0 and 1", self.factor)
        _check("Plateau", "patience", self.patience >= 0, ">= 0", self.patience)

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """One factor for all steps of an epoch, lower once the `losses` so far have stopped falling, `(steps,)`."""
        best, bad, value = np.inf, 0, 1.0
        for loss in losses:
            better = loss < best * (1 - self.threshold) if np.isfinite(best) else loss < best
            best, bad = (loss, 0) if better else (best, bad + 1)
            if bad > self.patience:
                value, bad = value * self.factor, 0
        return np.full(steps, value)


def _cosine(start: float, end: float, share: np.ndarray) -> np.ndarray:
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2


def _check(kind: str, name: str, fits: bool, wanted: str, got: float) -> None:
    if not fits:
        raise ModelError(f"{kind} expects {name} {wanted}, got {got!r}")
