"""Several sequences as one: their segments one after the other, each row read and scaled by its own sequence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike

from rnnkit.data.sequence import Score, Sequence
from rnnkit.errors import DataError


@dataclass(frozen=True, eq=False)
class Joined:
    """Sequences end to end, for a schedule: state never flows from one to the next, since none shares a segment.

    Rows are counted through: those of a member begin where the rows of the one before end. Nothing is copied.

    Args:
        members: at least one sequence; with the same features, targets and score. One may stand there twice.

    Raises:
        DataError: members that do not go together.
    """

    members: tuple[Sequence, ...]

    def __post_init__(self) -> None:
        first = self.members[0]
        for other in self.members[1:]:
            for what in ("features", "outputs", "labels", "score"):
                if getattr(other, what) != getattr(first, what):
                    raise DataError(
                        f"{first.name!r} and {other.name!r} expect the same {what} to stand in one batch, got "
                        f"{getattr(first, what)} and {getattr(other, what)}; train them one after the other"
                    )

    def __repr__(self) -> str:
        return f"Joined({', '.join(map(repr, self.members))})"

    @property
    def name(self) -> str:
        """The names of the members."""
        return " + ".join(dict.fromkeys(member.name for member in self.members))

    @property
    def features(self) -> int:
        """Columns of x, F: as the members have them."""
        return self.members[0].features

    @property
    def outputs(self) -> int:
        """Columns of y, O: as the members have them."""
        return self.members[0].outputs

    @property
    def score(self) -> Score:
        """Which rows count: that of every member."""
        return self.members[0].score

    @cached_property
    def offsets(self) -> np.ndarray:
        """The first row of each member, and how many rows there are in all, `(M + 1,)`."""
        return np.cumsum([0, *(member.rows for member in self.members)])

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each segment, `(S,)` int64."""
        return np.concatenate([m.starts + at for m, at in zip(self.members, self.offsets, strict=False)])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Rows of each segment, `(S,)` int64."""
        return np.concatenate([member.lengths for member in self.members])

    @cached_property
    def weights(self) -> np.ndarray | None:
        """What a row of each segment counts, `(S,)`; None where all count 1."""
        if all(member.weight == 1 for member in self.members):
            return None
        return np.concatenate([np.full(len(member.runs), member.weight) for member in self.members])

    def member_of(self, rows: np.ndarray) -> np.ndarray:
        """Which member each row `(...)` belongs to; -1 for padding."""
        return np.where(rows < 0, -1, np.searchsorted(self.offsets, rows, side="right") - 1)

    def take(self, rows: np.ndarray, dtype: DTypeLike = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of any rows, each scaled by its own member: new arrays; as `Sequence.take`."""
        first, flat = self.members[0], np.asarray(rows).reshape(-1)
        x = np.zeros((flat.size, first.features), dtype)
        y = np.zeros(flat.size, np.int64) if first.labels else np.zeros((flat.size, first.outputs), dtype)
        member = self.member_of(flat)
        for index in np.unique(member[member >= 0]):
            here = np.flatnonzero(member == index)
            x[here], y[here] = self.members[index].take(flat[here] - self.offsets[index], dtype)
        shape = np.shape(rows)
        return x.reshape(*shape, first.features), y.reshape(*shape, *y.shape[1:])
