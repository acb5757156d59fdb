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
    """Trained with everything else: parameters `initial_h (H,)` and `initial_c (H,)` of each recurrent layer.

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


@dataclass(frozen=True)
class Given:
    """Fixed numbers, the same for every lane.

    Args:
        h, c: for each recurrent layer a tuple of its H hidden states and one of its H cell states.

    Example:
        >>> import rnnkit as rk
        >>> rk.Chain(rk.LSTM(1, 2), initial=rk.Given(h=((0.1, 0.2),), c=((0.0, -1.0),))).initial.c
        ((0.0, -1.0),)
    """

    h: Numbers
    c: Numbers

    def __post_init__(self) -> None:
        for name in ("h", "c"):
            try:
                rows = tuple(tuple(float(v) for v in row) for row in getattr(self, name))
            except (TypeError, ValueError, OverflowError) as error:
                raise ModelError(
                    f"Given expects {name} to be a tuple of numbers for each recurrent layer, got "
                    f"{getattr(self, name)!r}; write Given.of(state) to take them from a state"
                ) from error
            if not all(np.isfinite(row).all() for row in rows):
                raise ModelError(f"Given expects finite numbers, got {name}={rows!r}")
            object.__setattr__(self, name, rows)

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
        return cls(*(tuple(tuple(np.asarray(entry[k])[lane].tolist()) for entry in entries) for k in range(2)))


Initial = Zeros | Learned | Noise | Given
