"""A trained model one row at a time."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from rnnkit.backend import map_arrays, shapes_in, state_shapes
from rnnkit.backend.lanes import select
from rnnkit.checks import COUNTED, as_numbers, is_masked_array, is_whole
from rnnkit.errors import DataError, ModelError, counted
from rnnkit.model.initialisers import DTYPES, initial_state
from rnnkit.model.state import State
from rnnkit.train.run import Run

FLOATS = tuple(np.dtype(name) for name in DTYPES)
"""Of rows that are read as they are."""


class Stream:
    """One row in, one prediction out, the state kept in between.

    Args:
        run: a trained model.
        lanes: independent streams side by side, B.

    Attributes:
        state: what the model remembers, the backend's arrays; replace it to continue from elsewhere, such as from
            `rk.state_after(run, series)`, by these or by NumPy arrays.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(100) / 5))
        >>> schedule = rk.Schedule(series, rk.Continuation(length=16), rk.Carry())
        >>> run = rk.fit(rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1)), schedule, backend="numpy", epochs=1)
        >>> stream = rk.Stream(run)
        >>> stream.step([[0.5]]).shape
        (1, 1)
    """

    def __init__(self, run: Run, lanes: int = 1) -> None:
        if not isinstance(run, Run):
            raise ModelError(f"Stream expects a Run, got {type(run).__name__}; write rk.Stream(rk.fit(...))")
        if not is_whole(lanes) or not 1 <= lanes < COUNTED:
            raise ModelError(f"Stream expects at least one lane, a whole number, got lanes={lanes!r}")
        run.check_one()
        self.run, self.lanes = run, lanes
        self._shape, self._scaler = (lanes, run.model.inputs), run.scaler
        self._zeros = np.zeros(lanes * run.model.inputs)
        params = run.backend.from_numpy(run.params)
        self._stepper = run.backend.stepper(run.model, params, lanes, self._initial_state())

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "lanes": self.lanes, "state": self.run.backend.to_numpy(self.state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["run"], state["lanes"])  # a stepper is made of addresses, which nobody else can read
        self.state = self.run.backend.from_numpy(state["state"])

    @property
    def state(self) -> State:
        """What the model remembers."""
        return self._stepper.state

    @state.setter
    def state(self, state: State) -> None:
        expected = state_shapes(self.run.model, self.lanes)
        found = shapes_in(state)
        if found != expected:
            raise ModelError(
                f"Stream.state expects a state of {counted(self.lanes, 'lane')}, arrays of the shapes {expected}, "
                f"got {found}; take one of this model and as many lanes, such as rk.state_after(run, series) for one"
            )
        if all(isinstance(array, np.ndarray) for entry in state for array in entry):
            state = self.run.backend.from_numpy(map_arrays(lambda array: array.astype(self.run.dtype), state))
        self._stepper.state = state

    def reset(self, lane: int | Sequence[int] | None = None) -> None:
        """Start again from the initial state.

        Args:
            lane: which lane, from 0, or which lanes; left out, all. The others go on.

        Raises:
            ModelError: no such lane.
        """
        fresh = initial_state(self.run.model, self.run.params, self.lanes)
        if lane is not None:
            fresh = select(self._chosen(lane), fresh, self.run.backend.to_numpy(self.state))
        self.state = fresh

    def _chosen(self, lane: int | Sequence[int]) -> np.ndarray:
        """Which lanes `(B,)` bool are meant."""
        given = [lane] if np.ndim(lane) == 0 else list(lane)  # pyright: ignore[reportArgumentType]
        for one in given:
            if not is_whole(one) or not 0 <= one < self.lanes:
                raise ModelError(
                    f"Stream.reset expects lanes, whole numbers from 0 to {self.lanes - 1}, got {one!r}; "
                    f"leave it out to reset all"
                )
        return np.isin(np.arange(self.lanes), given)

    def step(self, x: np.ndarray) -> np.ndarray:
        """Read one row a lane, `(B, F)`, in the data's own units, and predict `(B, O)` in those units.

        Raises:
            ModelError: another shape, or no numbers.
            DataError: a value that is missing or infinite; the state stays as it was. (One that only the run's
                dtype cannot hold becomes infinite, with NumPy's warning.)
        """
        row = x if type(x) is np.ndarray and x.dtype in FLOATS else _numbers(x)
        if row.shape != self._shape:
            raise ModelError(
                f"Stream.step expects a row of shape {self._shape} (lanes, features), got {row.shape}; "
                f"write [[value]] for one number"
            )
        # NaN or infinity times zero; NumPy's isfinite takes longer than the whole step
        if not (isfinite(row.item()) if row.size == 1 else row.ravel().dot(self._zeros) == 0):
            raise DataError(
                f"Stream.step expects finite numbers, got {row.tolist()}; the state would never be finite again, "
                f"so fill the value in, or reset() the stream after a gap"
            )
        scaler = self._scaler
        if scaler is None:
            return self._stepper.step(row)
        return scaler.unscale_y(self._stepper.step(scaler.scale_x(row)))

    def _initial_state(self) -> State:
        return self.run.backend.from_numpy(initial_state(self.run.model, self.run.params, self.lanes))


def _numbers(x: Any) -> np.ndarray:
    if is_masked_array(x) and x.mask.any():
        raise DataError(f"Stream.step expects no masked number, got {x}; fill it in, or reset() the stream after a gap")
    return as_numbers(x, "Stream.step", "a row", np.float64)
