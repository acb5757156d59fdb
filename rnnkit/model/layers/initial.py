"""What "the initial state" of a model is, as data: where its lanes start, and what a reset makes of them.

When a lane starts from the initial state is for the splitter and the state policy to say; every one of them can be
had with every value below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model.checks import check_float32

Numbers = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Zeros:
    """Zeros."""


@dataclass(frozen=True)
class Learned:
    """Trained with everything else: parameters of each recurrent layer, such as an LSTM's `initial_h` and `initial_c`.

    They begin as zeros. The gradient of every start and of every reset inside a window enters into them, summed over
    the lanes.
    """


@dataclass(frozen=True)
class Noise:
    """Normal noise around zero, drawn anew for each window and lane while training; prediction starts from zeros.

    A reset inside a window goes to the draw of its window and lane.

    Args:
        scale: standard deviation of every number.

    Raises:
        ModelError: a scale that is not positive.

    Source: Zimmermann, Tietz and Grothmann, "Forecasting with recurrent neural networks: 12 tricks" (2012), trick 3.
    """

    scale: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.scale, int | float | np.number) or not 0 < self.scale < float("inf"):
            raise ModelError(f"Noise expects a scale > 0, got {self.scale!r}; write Zeros() for none")
        check_float32(self, "scale", self.scale)


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Given:
    """Fixed numbers, the same for every lane.

    Args:
        **states: by the name of a state array, such as `h`, a tuple of numbers for each recurrent layer that has it: of
            an LSTM its H hidden states as `h` and its H cell states as `c`. They are attributes, too.

    Raises:
        ModelError: no numbers, or something else.

    Example:
        >>> import rnnkit as rk
        >>> rk.Chain(rk.LSTM(1, 2), initial=rk.Given(h=((0.1, 0.2),), c=((0.0, -1.0),))).initial.c
        ((0.0, -1.0),)
    """

    states: tuple[tuple[str, Numbers], ...]

    def __init__(self, *unnamed: Any, **states: Any) -> None:
        if unnamed or not states:
            got = "numbers without names" if unnamed else "none"
            raise ModelError(
                f"Given expects numbers by the names of the state's arrays, such as h=((0.1, 0.2),), got {got}; write "
                f"Given.of(state) to take them from a state"
            )
        object.__setattr__(self, "states", tuple((name, _numbers(name, rows)) for name, rows in states.items()))

    def __getattr__(self, name: str) -> Numbers:
        for field, rows in vars(self).get("states", ()):  # not there yet while a copy is made
            if field == name:
                return rows
        raise AttributeError(f"Given has no numbers {name!r}")

    def __repr__(self) -> str:
        return f"Given({', '.join(f'{name}={rows!r}' for name, rows in self.states)})"

    def __eq__(self, other: object) -> bool:
        return dict(self.states) == dict(other.states) if isinstance(other, Given) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.states))

    @classmethod
    def of(cls, state: tuple[Any, ...], lane: int = 0) -> Given:
        """What one lane of a state `(B, H)` remembers: to go on after training, of `rk.state_after(run, series)`, or of
        `Stream.state`. (In `run.state` each lane is where its own strip of the series ended.)
        """
        entries = [entry for entry in state if entry] if isinstance(state, tuple) else []
        if not entries:
            raise ModelError(
                f"Given.of expects a state, such as that of rk.state_after(run, series), got {type(state).__name__}"
            )
        rows: dict[str, list[tuple[float, ...]]] = {}
        for entry in entries:
            for name, array in zip(entry._fields, entry, strict=True):
                rows.setdefault(name, []).append(tuple(np.asarray(array)[lane].tolist()))
        return cls(**{name: tuple(found) for name, found in rows.items()})


def _numbers(name: str, given: Any) -> Numbers:
    """A tuple of numbers for each recurrent layer, or ModelError."""
    try:
        rows = tuple(tuple(float(v) for v in row) for row in given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"Given expects {name} to be a tuple of numbers for each recurrent layer, got {given!r}; write "
            f"Given.of(state) to take them from a state"
        ) from error
    if not all(np.isfinite(row).all() for row in rows):
        raise ModelError(f"Given expects finite numbers, got {name}={rows!r}")
    return rows


Initial = Zeros | Learned | Noise | Given
