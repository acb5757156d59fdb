"""`Trace`: every number of a pass over some rows, forward and back, as a value."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rnnkit.data import Standard
from rnnkit.errors import ModelError, counted, did_you_mean
from rnnkit.model import Chain, Loss, State, state_type
from rnnkit.tracing.display import ROWS, UNITS, Thinned, arrays_of, html_summary, table_of, thin, write_csv
from rnnkit.tracing.layers import Arrays, LayerTrace, explained, factors
from rnnkit.tracing.reach import TraceReach, check_recurrent, reach_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnnkit.schedule import Schedule


@dataclass(frozen=True, repr=False, eq=False)
class Trace:
    """T rows of a series through a model and back, in float64; what is derived is the mean loss of the scored rows.

    Attributes:
        model, params, loss_function: what was traced.
        name, horizon, scaler: of the series.
        rows: `(T,)`; rows of the source, those of no target left out.
        times: `(T,)` of these rows, or None.
        zone: what the times are written in, as of `Sequence`.
        reset: `(T,)` bool; the row starts from the initial state, and no gradient goes further back.
        cut: `(T,)` bool; a window of `truncate` rows begins: the state goes on, the gradient does not go back.
        truncate: rows of such a window, or None.
        warmed: rows before the first one that warmed its state.
        state: before the first row, an entry a layer, `(1, H)` each.
        x, y, target: what is read `(T, F)`, predicted `(T, O)` and wanted `(T, O)`, or labels `(T,)`; scaled.
        weight: `(T,)`; 1 where the row counts in the loss, else 0.
        loss: `(T,)`; of each row by itself.
        d_loss: `(T, O)`; the derivative of each row's own loss with respect to y.
        d_y: `(T, O)`; the derivative of the mean loss with respect to y.
        layers: a `LayerTrace` a layer.
    """

    model: Chain
    params: Arrays
    loss_function: Loss
    name: str
    horizon: int
    scaler: Standard | None
    rows: np.ndarray
    times: np.ndarray | None
    zone: str | None
    reset: np.ndarray
    cut: np.ndarray
    truncate: int | None
    warmed: int
    state: State
    x: np.ndarray
    y: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    loss: np.ndarray
    d_loss: np.ndarray
    d_y: np.ndarray
    layers: tuple[LayerTrace, ...]

    def __len__(self) -> int:
        """Rows T."""
        return len(self.rows)

    def __repr__(self) -> str:
        cut = "uncut" if self.truncate is None else f"cut every {counted(self.truncate, 'row')}"
        before = f"warmed over {counted(self.warmed, 'row')}" if self.warmed else "from the initial state"
        count = counted(len(self), "row")
        return (
            f"Trace({self.name!r}, rows {self.rows[0]} to {self.rows[-1]}: {count}, {before}, {self.model!r}, "
            f"mean loss {self.mean_loss:.6g}, gradient {cut})"
        )

    @property
    def recurrent(self) -> tuple[int, ...]:
        """Which layers are recurrent."""
        return tuple(index for index, layer in enumerate(self.model.layers) if state_type(layer) is not None)

    @property
    def mean_loss(self) -> float:
        """The mean loss of the scored rows, which all derivatives are of."""
        return float((self.weight * np.where(self.weight > 0, self.loss, 0)).sum() / self.weight.sum())

    @cached_property
    def gradient(self) -> Arrays:
        """The gradient of the mean loss with respect to every parameter: what its rows add up to."""
        return {key: left.sum(0) if right is None else left.T @ right for key, (left, right) in self._factors().items()}

    @property
    def d_x(self) -> np.ndarray:
        """With respect to what the model reads, `(T, F)`."""
        return self.layers[0].d_x

    @property
    def d_state(self) -> State:
        """With respect to the state before the first row, an entry a layer, `(1, H)`; zero where that row resets."""
        share = 0.0 if self.reset[0] else 1.0
        entries: list[Any] = []
        for layer, seen in zip(self.model.layers, self.layers, strict=True):
            state = state_type(layer)
            handed = () if state is None else (share * seen[f"d_{field}_before"][:1] for field in state._fields)
            entries.append(() if state is None else state(*handed))
        return tuple(entries)

    def contribution(self, key: str) -> np.ndarray:
        """What each row adds to the gradient of a parameter: a new array `(T, *shape)`, which sums to `gradient[key]`.

        Raises:
            ModelError: no such parameter.
        """
        left, right = self._factors_of(key)
        return left.copy() if right is None else left[:, :, None] * right[:, None, :]

    def contribution_norm(self, key: str) -> np.ndarray:
        """The 2-norm of what each row adds to the gradient of a parameter, `(T,)`; cheap, whatever the shape.

        Raises:
            ModelError: no such parameter.
        """
        left, right = (None if f is None else np.sqrt((f**2).sum(-1)) for f in self._factors_of(key))
        assert left is not None  # the left one is always there
        return left if right is None else left * right

    def reach(self, layer: int | None = None, at: np.ndarray | None = None) -> TraceReach:
        """How strongly the loss of every row t depends on the state after every row s before it.

        The gradient is not cut here, but for resets; `cut` says what a truncated one would lose. T steps back on arrays
        `(n, H)`: seconds for a thousand rows, so that `at` may name some of them.

        Args:
            layer: whose state; left out, the first recurrent layer.
            at: places, from 0, of the rows t among the traced rows; left out, all of them.

        Raises:
            ModelError: a layer that is not recurrent, or places that are not among the rows.
        """
        index = check_recurrent("Trace.reach", self.model, layer)
        places = np.arange(len(self)) if at is None else np.unique(np.asarray(at))
        if not len(places) or places.dtype.kind not in "iu" or places[0] < 0 or places[-1] >= len(self):
            raise ModelError(f"Trace.reach expects places from 0 to {len(self) - 1}, got {at!r}")
        forward = [seen.forward for seen in self.layers]
        passes = explained(self.model, self.params)
        return reach_of(self.model, passes, forward, self.d_loss, self.reset, index, places)

    def to_numpy(self) -> Arrays:
        """All of it by flat names: `"rows"`, `"loss"`, `"0.f"`, `"0.d_f_pre"`, `"gradient.0.weight_ih"`; no copies.

        `"param."` and `"gradient."` stand before the key of a parameter, and `"contribution."` for the norms `(T,)` of
        what each row adds to its gradient. `"observed"` and `"predicted"` are in the data's own units.
        """
        return arrays_of(self)

    def table(self) -> Arrays:
        """In long form: columns `row`, `layer` (-1: of the model), `unit`, `quantity`, `value`, each of one length.

        A long trace of many units makes millions of lines; `thinned().table()` makes fewer.
        """
        return table_of(self.rows, self.to_numpy())

    def write_table(self, path: str | os.PathLike[str]) -> Path:
        """Write `table()` as CSV."""
        return write_csv(Path(path), self.table())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_numpy()` as `.npz`, compressed; `numpy.load` reads it."""
        path = Path(path)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **self.to_numpy())
        return path

    def thinned(self, rows: int = ROWS, units: int = UNITS) -> Thinned:
        """Fewer rows and units, to look at: rows evenly spaced, of each layer the units whose output varies most.

        Args:
            rows, units: how many at most; units of each layer.
        """
        return thin(self, rows, units)

    def plot(self, kind: Literal["rows", "gates", "gradient", "reach"] = "gates", layer: int | None = None) -> Figure:
        """A picture: of the rows, of every gate over time, of the gradient on its way back, or of its reach.

        Args:
            kind: see `rnnkit.view.trace_plots`.
            layer: the recurrent layer that is shown; left out, the first.

        Raises:
            ModelError: another kind, or a layer that is not recurrent.
        """
        from rnnkit.view.trace_plots import KINDS

        if kind not in KINDS:
            raise ModelError(f"Trace.plot expects one of {', '.join(KINDS)}, got {kind!r}{did_you_mean(kind, KINDS)}")
        return KINDS[kind](self, layer)

    def write_page(
        self, path: str | os.PathLike[str], schedules: Iterable[Schedule] = (), *, overwrite: bool = False
    ) -> Path:
        """Write all of it as one HTML page to look at; see `rnnkit.view.page.write_page`."""
        from rnnkit.view.page import write_page

        return write_page(self, path, schedules, overwrite=overwrite)

    def _repr_html_(self) -> str:
        """What a notebook shows: a small table."""
        return html_summary(self)

    def _factors(self) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        found = {
            f"{index}.{name}": pair
            for index, (layer, seen) in enumerate(zip(self.model.layers, self.layers, strict=True))
            for name, pair in factors(layer, seen, self.reset).items()
        }
        return {key: found[key] for key in self.params}

    def _factors_of(self, key: str) -> tuple[np.ndarray, np.ndarray | None]:
        found = self._factors()
        if key not in found:
            raise ModelError(
                f"the trace expects a parameter among {', '.join(found)}, got {key!r}{did_you_mean(str(key), found)}"
            )
        return found[key]
