"""What all trials of a study get the same of: scored rows, seconds or epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from rnnkit.errors import ConfigError, counted
from rnnkit.train.learning_rates import Constant, Cosine, LearningRate, OneCycle

STAIRS = 200
"""Steps in which a learning rate moves over the rows of a budget."""


@dataclass(frozen=True)
class Equal:
    """How long every trial is trained: exactly one of three.

    Args:
        rows: until so many rows have been scored, or a little more: to within a fiftieth of them or one step, mostly
            far less. Windows that overlap score a row again and again, so they get fewer epochs, or a part of one.
        seconds: for so many seconds of training; compiling, warming up and looking at the validation part do not
            count. Trials that run side by side share the machine: leave each a processor.
        epochs: so many passes over the schedule, whatever a pass costs.

    Raises:
        ConfigError: none or more than one of them, or one that is not positive.

    Example:
        >>> Equal(rows=100_000)
        Equal(rows=100000)
    """

    rows: int | None = None
    seconds: float | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        given = self.given
        if len(given) != 1:
            got = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "none"
            raise ConfigError(f"Equal expects exactly one of rows, seconds and epochs, got {got}")
        ((name, value),) = given.items()
        whole = name != "seconds"
        kind = int | np.integer if whole else int | float | np.integer | np.floating
        if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < float("inf"):
            raise ConfigError(
                f"Equal expects {name} to be a {'whole number >= 1' if whole else 'number > 0'}, got {value!r}"
            )

    @property
    def given(self) -> dict[str, float]:
        """The one that was given, by its name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def __repr__(self) -> str:
        return f"Equal({', '.join(f'{name}={value!r}' for name, value in self.given.items())})"

    def __str__(self) -> str:
        ((name, value),) = self.given.items()
        return counted(int(value), "scored row") if name == "rows" else f"{value:,g} {name}"

    def check_rate(self, rate: LearningRate) -> None:
        """Check that a learning rate can move over a trial alike in all trials.

        Raises:
            ConfigError: one that counts epochs, of which the trials see different numbers, or one that needs to know
                when training ends.
        """
        fits = isinstance(rate, Constant) or self.epochs or (self.rows and isinstance(rate, Cosine | OneCycle))
        if not fits:
            ((name, _),) = self.given.items()
            known = "Constant, Cosine or OneCycle" if self.rows else "Constant"
            raise ConfigError(
                f"a study with equal {name} expects learning_rate to be {known}, got {rate!r}: its trials see "
                f"different numbers of epochs; use Constant, or equal epochs"
            )


@dataclass(frozen=True)
class OverSteps:
    """A learning rate that moves over a number of steps, whatever epochs they are in.

    Args:
        rate: `Cosine(...)` or `OneCycle(...)`.
        total: steps until the budget is spent.
    """

    rate: LearningRate
    total: int

    def factors(self, epoch: int, epochs: int, steps: int, losses: Sequence[float]) -> np.ndarray:
        """A factor for each step of the budget, whatever epoch it falls into, `(steps,)`."""
        stairs = np.concatenate([self.rate.factors(stair, STAIRS, 1, losses) for stair in range(STAIRS)])
        here = (epoch * steps + np.arange(steps)) * STAIRS // self.total
        return stairs[np.minimum(here, STAIRS - 1)]
