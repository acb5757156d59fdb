"""What training on one data set does to the errors on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 120
"""Characters of a line of the table at most: further data sets stand in a table below."""


@dataclass(frozen=True, eq=False)
class Transfer:
    """The error on every data set at every stage of training: trained up to here, evaluated on that.

    Attributes:
        names: of the data sets, N.
        stages: what was trained on last before each measurement, S; the first is `"start"`, before any training.
        trained: `(S, N)` bool, which data sets were trained on since the stage before.
        errors: `(S, N)` float64, the mean loss on each data set, in the units of its scaler;
            NaN where it could not be opened.
        parts: by data set, which part it is the loss of: its test part, else its validation part, else its training
            part.

    Source: the measures are those of Lopez-Paz and Ranzato, "Gradient episodic memory" (2017), with errors in place of
    accuracies: what falls is better.
    """

    names: tuple[str, ...]
    stages: tuple[str, ...]
    trained: np.ndarray
    errors: np.ndarray
    parts: tuple[str, ...]

    @property
    def average(self) -> float:
        """Mean error over all data sets at the end."""
        return _mean(self.errors[-1])

    @property
    def backward(self) -> float:
        """What was forgotten: by how much errors rose from right after a data set was last trained on to the end.

        The mean over the data sets that others were trained after; NaN where there is none. Below 0: what came later
        helped.
        """
        last = [int(np.flatnonzero(column)[-1]) for column in self.trained.T if column.any()]
        index = np.flatnonzero(self.trained.any(0))
        rises = [self.errors[-1, n] - self.errors[s, n] for n, s in zip(index, last, strict=True) if s < self._end]
        return _mean(rises)

    @property
    def forward(self) -> float:
        """What others gave beforehand: how errors changed from the start to right before a data set's first turn.

        The mean over the data sets that others were trained before; NaN where there is none. Below 0: it helped.
        """
        index = np.flatnonzero(self.trained.any(0))
        first = [int(np.flatnonzero(self.trained[:, n])[0]) for n in index]
        gains = [self.errors[s - 1, n] - self.errors[0, n] for n, s in zip(index, first, strict=True) if s > 1]
        return _mean(gains)

    @property
    def _end(self) -> int:
        return len(self.stages) - 1

    def __str__(self) -> str:
        wide = max(map(len, (*self.stages, "trained up to"))) + 2
        widths = [max(len(name), 8) + 2 for name in self.names]
        parts = " or ".join(dict.fromkeys(self.parts))
        lines = [f"mean loss on the {parts} part, in scaled units"]
        for some in _side_by_side(widths, WIDTH - wide):
            named = "".join(f"{self.names[n]:>{widths[n]}}" for n in some)
            lines += [*([""] if some[0] else []), f"{'trained up to':<{wide}}" + named]
            for stage, marks, row in zip(self.stages, self.trained, self.errors, strict=True):
                cells = (f"{'*' if marks[n] else ''}{row[n]:.4g}" for n in some)
                own = (f"{cell:>{widths[n]}}" for n, cell in zip(some, cells, strict=True))
                lines.append(f"{stage:<{wide}}" + "".join(own))
        lines += ["* trained on since the line before", ""]
        told = {
            "average error at the end": f"{self.average:.4g}",
            "forgotten (backward transfer), from the last turn on a data set to the end": f"{self.backward:+.4g}",
            "forward transfer, from the start to before the first turn on a data set": f"{self.forward:+.4g}",
        }
        lines += [f"{label}: {value}" for label, value in told.items() if "nan" not in value]
        if not np.isnan([self.backward, self.forward]).all():
            lines.append("below 0: training on the others helped")
        return "\n".join(lines)

    def to_plain(self) -> dict[str, Any]:
        """Lists of names and numbers, for JSON."""
        return {
            "names": self.names,
            "stages": self.stages,
            "trained": self.trained.tolist(),
            "errors": self.errors.tolist(),
            "parts": self.parts,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Transfer:
        """What `to_plain` wrote."""
        shape = len(plain["stages"]), len(plain["names"])
        trained = np.array(plain["trained"], bool).reshape(shape)
        errors = np.array(plain["errors"], np.float64).reshape(shape)
        return cls(tuple(plain["names"]), tuple(plain["stages"]), trained, errors, tuple(plain["parts"]))

    def plot(self) -> Figure:
        """The matrix as a heat map."""
        from rnnkit.view.transfer import plot_transfer

        return plot_transfer(self)


def _side_by_side(widths: list[int], room: int) -> list[list[int]]:
    """Columns of some widths in rows that have room for them, one at least in each."""
    rows: list[list[int]] = [[]]
    for place, width in enumerate(widths):
        if rows[-1] and sum(widths[n] for n in rows[-1]) + width > room:
            rows.append([])
        rows[-1].append(place)
    return rows


def _mean(values: Any) -> float:
    """The mean of the numbers among some; NaN where there is none."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")
