"""What happened during training: a list a measure, by step and by epoch."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import DTypeLike

from rnnkit.errors import counted


class Numbers(Sequence[float]):
    """A list of float64 numbers that takes eight bytes for each: a long run has millions of steps."""

    def __init__(self, numbers: Iterable[float] = ()) -> None:
        self._numbers = array("d", numbers)

    def extend(self, numbers: np.ndarray) -> None:
        """Append some."""
        self._numbers.frombytes(np.ascontiguousarray(numbers, np.float64).tobytes())

    def tolist(self) -> list[float]:
        """A plain list, for JSON."""
        return self._numbers.tolist()

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        found = self._numbers[index]
        return found.tolist() if isinstance(found, array) else found

    def __len__(self) -> int:
        return len(self._numbers)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Numbers | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._numbers, dtype)

    def __repr__(self) -> str:
        return repr(self.tolist())


@dataclass(frozen=True)
class History:
    """Measures of a run.

    Attributes:
        steps: `"loss"` (before the step's update), `"weight"` (sum of the row weights it is a mean over), `"norm"`
            (global 2-norm of the gradient before clipping), `"learning_rate"`: a list each, one entry a step.
        epochs: `"loss"` (mean over all scored rows of the epoch), `"seconds"` (training alone), `"rows"` (rows
            consumed), `"steps"`, and `"validation_loss"` where there is a validation part; for a curriculum
            `"<data set>/loss"` and `"<data set>/validation_loss"`, too: a list each, one entry an epoch.
    """

    steps: dict[str, Numbers] = field(
        default_factory=lambda: {name: Numbers() for name in ("loss", "weight", "norm", "learning_rate")}
    )
    epochs: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "seconds": [], "rows": []})

    def add_steps(self, **measures: np.ndarray) -> None:
        """Append the measures of some steps, an array `(K,)` each."""
        for name, values in measures.items():
            self.steps[name].extend(values)

    def add_epoch(self, **measures: float) -> None:
        """Append the measures of an epoch."""
        for name, value in measures.items():
            self.epochs.setdefault(name, []).append(float(value))

    @property
    def monitored(self) -> list[float]:
        """The loss that decides about learning rate and stopping: validation where there is one, else training."""
        return self.epochs.get("validation_loss", self.epochs["loss"])

    def __repr__(self) -> str:
        return f"History({counted(len(self.steps['loss']), 'step')}, {counted(len(self.epochs['loss']), 'epoch')})"
