"""A trace as flat arrays, as a long table, thinned to what can be looked at, and its units in an order for the eye."""

from __future__ import annotations

import csv
import html
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.errors import DataError, counted
from rnnkit.tracing.layers import Arrays, LayerTrace

if TYPE_CHECKING:
    from rnnkit.tracing.record import Trace

ROWS, UNITS = 4096, 512
"""Rows and units of a layer that are shown at most unless asked otherwise."""

WHOLE = ("param.", "gradient.")
"""What the names of arrays begin with that have no axis of rows."""

Order = Literal["index", "peak", "similar"]


class Thinned(NamedTuple):
    """What of a trace is shown.

    Attributes:
        places: `(n,)`; which of the traced rows, from 0.
        units: `(k,)` of each layer; which of its units.
        arrays: as `Trace.to_numpy` gives them, with these rows and units alone; parameters and their gradients whole.
        left_out: in words; empty where all is shown.
    """

    places: np.ndarray
    units: tuple[np.ndarray, ...]
    arrays: Arrays
    left_out: str

    def table(self) -> Arrays:
        """Lay out what is shown as text; units by their own numbers."""
        return table_of(self.arrays["rows"], self.arrays, self.units)


def arrays_of(trace: Trace) -> Arrays:
    """Gather every number of a trace in one dict, keys `"{layer}.{name}"`."""
    names = ("rows", "reset", "cut", "x", "y", "target", "weight", "loss", "d_loss", "d_y")
    found = {name: getattr(trace, name) for name in names}
    if trace.times is not None:
        found["times"] = trace.times
    numbers = trace.target[:, None] if trace.target.ndim == 1 else trace.target
    unscale = (lambda a: a) if trace.scaler is None else trace.scaler.unscale_y
    found |= {"observed": unscale(numbers), "predicted": unscale(trace.y)}
    for index, seen in enumerate(trace.layers):
        found |= {f"{index}.{name}": values for name, values in seen.items()}
    for key, p in trace.params.items():
        found[f"param.{key}"], found[f"gradient.{key}"] = p, trace.gradient[key]
        found[f"contribution.{key}"] = trace.contribution_norm(key)
    return found


def thin(trace: Trace, rows: int, units: int) -> Thinned:
    """Choose at most so many rows and units of a trace, the rows evenly, the units by how much they move."""
    for name, number in (("rows", rows), ("units", units)):
        if not is_whole(number) or number < 1:
            raise DataError(f"Trace.thinned expects {name} to be a whole number >= 1, got {number!r}")
    places = np.unique(np.linspace(0, len(trace) - 1, min(rows, len(trace))).round().astype(int))
    chosen = tuple(_liveliest(seen.output, units) for seen in trace.layers)
    arrays = {}
    for name, values in arrays_of(trace).items():
        if not name.startswith(WHOLE):
            values = values[places]
            kept = _units_of(name, chosen)
            values = values if kept is None else values[:, kept]
        arrays[name] = values
    left_out = []
    if len(places) < len(trace):
        left_out.append(f"{len(places):,} of {len(trace):,} rows, evenly spaced")
    for index, (seen, kept) in enumerate(zip(trace.layers, chosen, strict=True)):
        width = seen.output.shape[1]
        if len(kept) < width:
            left_out.append(f"the {len(kept):,} of {width:,} units of layer {index} whose output varies most")
    return Thinned(places, chosen, arrays, "; ".join(left_out))


def table_of(rows: np.ndarray, arrays: Arrays, units: tuple[np.ndarray, ...] | None = None) -> Arrays:
    """Lay out rows and units of a trace as text; `units` are those that the layers' arrays hold."""
    columns: dict[str, list[np.ndarray]] = {"row": [], "layer": [], "unit": [], "quantity": [], "value": []}
    shown = {
        name: values
        for name, values in arrays.items()
        if not name.startswith((*WHOLE, "contribution.")) and name not in ("rows", "times")
    }
    width = max(len(name) for name in shown)
    for name, values in shown.items():
        number, _, quantity = name.rpartition(".")
        values = values.reshape(len(rows), -1)
        kept = None if units is None else _units_of(name, units)
        kept = np.arange(values.shape[1]) if kept is None else kept
        columns["row"].append(np.repeat(rows, values.shape[1]))
        columns["layer"].append(np.full(values.size, int(number) if number else -1))
        columns["unit"].append(np.tile(kept, len(rows)))
        columns["quantity"].append(np.full(values.size, quantity, f"U{width}"))
        columns["value"].append(values.ravel().astype(np.float64))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def write_csv(path: Path, columns: Arrays) -> Path:
    """Write columns of one length as CSV, numbers in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return path


def html_summary(trace: Trace) -> str:
    """A trace as a small HTML table."""
    before = f"warmed over {counted(trace.warmed, 'row')}" if trace.warmed else "the initial state"
    lines = {
        "series": trace.name,
        "rows": f"{trace.rows[0]} to {trace.rows[-1]} ({len(trace):,})",
        "state before them": before,
        "resets": f"{int(trace.reset.sum()):,}",
        "model": repr(trace.model),
        "mean loss": f"{trace.mean_loss:.6g}",
        "gradient": "uncut" if trace.truncate is None else f"cut every {counted(trace.truncate, 'row')}",
    }
    for key, d in trace.gradient.items():
        lines[f"‖gradient‖ of {key}"] = f"{np.linalg.norm(d):.6g}"
    rows = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in lines.items())
    return f"<table><caption>Trace</caption>{''.join(rows)}</table>"


def unit_order(seen: LayerTrace | np.ndarray, by: Order = "similar") -> np.ndarray:
    """The units of a layer `(H,)` in an order that puts alike ones side by side.

    Args:
        seen: the trace of a layer, or what it gives, `(T, H)`.
        by: `"similar"`: by the angle that a unit's output, over time, makes in the plane of the two patterns that
            explain most of all outputs; `"peak"`: by the row at which it is furthest from its mean; `"index"`.
    """
    values = seen.output if isinstance(seen, LayerTrace) else seen
    centred = values - values.mean(0)
    if by == "peak":
        return np.argsort(np.abs(centred).argmax(0), kind="stable")
    if by == "similar" and min(centred.shape) > 1:
        size = np.sqrt((centred**2).sum(0))
        patterns = np.linalg.svd(centred / np.where(size > 0, size, 1), full_matrices=False)[2]
        patterns = patterns[:2] * np.sign(patterns[:2, :1] + 1e-300)  # which of the two signs is found means nothing
        return np.argsort(np.arctan2(patterns[1], patterns[0]), kind="stable")
    if by not in ("index", "similar"):
        raise DataError(f"unit_order expects 'similar', 'peak' or 'index', got {by!r}")
    return np.arange(values.shape[1])


def _liveliest(values: np.ndarray, count: int) -> np.ndarray:
    """The columns of `(T, O)` that vary most, in their own order."""
    return np.sort(np.argsort(-values.std(0), kind="stable")[:count])


def _units_of(name: str, units: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """Which units an array of a layer is of, by its name; None for what has none."""
    number, _, quantity = name.rpartition(".")
    if not number.isdigit():
        return None
    index = int(number) - (quantity in ("x", "d_x"))  # what a layer reads, the one below gives
    return units[index] if index >= 0 else None
