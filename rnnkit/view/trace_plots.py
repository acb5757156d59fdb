"""Pictures of a trace, in matplotlib: its rows, its gates, its gradient, and how far that reaches.

Time goes from left to right, a place a row; a tick says which row of the source it is. Where the state was reset and
where a truncated gradient is cut, there are lines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.errors import counted
from rnnkit.model import BinaryCrossEntropy, CrossEntropy
from rnnkit.model.layers import Labels
from rnnkit.tracing.display import ROWS, Order, Thinned, unit_order
from rnnkit.tracing.reach import check_recurrent
from rnnkit.view.plots import INITIAL, MODEL, NAIVE, TRUTH, legend, new_figure, tidy
from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnnkit.tracing import Trace

SIGNED, SHARE, SIZE = "RdBu_r", "cividis", "viridis"
"""Colour maps that the colour-blind can read: white at zero, from 0 to 1, and for sizes on a logarithmic scale."""

UNITS, LOSSES, OUTPUTS, MARKS = 128, 512, 4, 100
"""Units, rows of the reach matrix, outputs, and lines for resets or cuts that a picture shows at most."""

DEPTH = 1e-6
"""The share of the largest value down to which a logarithmic scale goes."""

CUT = "#666666"

CELL, OWN, LOSS = "#CC79A7", "#009E73", "#888888"

STATES = (MODEL, CELL, NAIVE, "#56B4E9")
"""A colour for each state array of a cell, in turn."""

LINES = (MODEL, CELL, OWN, NAIVE, "#56B4E9", TRUTH, "#999933")


def plot_rows(trace: Trace, layer: int | None = None) -> Figure:
    """What was to be predicted and what was, in the data's own units, and the loss of each row.

    Classes are shown as such for the cross-entropies; the loss is in the units of training. A picture of every row;
    `layer` has no say in it.
    """
    shown = trace.thinned(ROWS, UNITS)
    observed, predicted = judged_values(trace, shown)
    count = min(observed.shape[1], OUTPUTS)
    left_out = f"the first {count} of {observed.shape[1]} targets" if count < observed.shape[1] else ""
    figure, panels = new_figure(11, 2.6 + 2.2 * count, count + 1)
    ahead = "" if not trace.horizon else f", {_rows(trace.horizon)} later"
    pieces = _unbroken(trace, shown)
    for column, axes in enumerate(panels[:-1]):
        _line(axes, *pieces(observed[:, column]), color=TRUTH, linewidth=1.2, label=f"what comes{ahead}")
        _line(axes, *pieces(predicted[:, column]), color=MODEL, linewidth=1.2, label="predicted")
        if observed.shape[1] > 1:
            axes.set_ylabel(f"target {column}")
    loss = np.where(shown.arrays["weight"] > 0, shown.arrays["loss"], np.nan)
    panels[-1].stairs(loss, _edges(shown.places), fill=True, color=LOSS)
    panels[-1].axhline(trace.mean_loss, color=TRUTH, linewidth=0.8, linestyle=":", label="mean")
    panels[-1].set_ylabel("loss of the row")
    for axes in panels:
        tidy(axes)
        _mark(axes, trace, named=axes is panels[0])
    legend(panels[0], 4)
    legend(panels[-1])
    _finish(panels, trace, shown, f"{trace.name}: what comes, what was predicted, and the loss", left_out)
    return figure


def plot_gates(trace: Trace, layer: int | None = None, order: Order = "similar") -> Figure:
    """Every gate and every state array of every unit over time, a line a unit.

    Args:
        trace: what `rk.trace` returned.
        layer: a recurrent layer; left out, the first.
        order: which unit stands beside which, see `rnnkit.tracing.unit_order`.
    """
    index = check_recurrent("plot_gates", trace.model, layer)
    shown = trace.thinned(ROWS, UNITS)
    units = _ordered(trace, shown, index, order)
    labels = _labels(trace, index)
    figure, panels = new_figure(11, 13 * (1 + len(labels.shown)) / 7, 1 + len(labels.shown))
    for column in range(min(shown.arrays[f"{index}.x"].shape[1], OUTPUTS) if index == 0 else 0):
        panels[0].plot(shown.places, shown.arrays["0.x"][:, column], color=LINES[column], linewidth=1.1)
    if index:
        panels[0].plot(shown.places, shown.arrays[f"{index}.x"], color=MODEL, linewidth=0.6, alpha=0.5)
    scaled = " (scaled)" if trace.scaler is not None and index == 0 else ""
    panels[0].set_title(f"x, what the layer reads{scaled}", loc="left", fontsize=9)
    tidy(panels[0])
    for axes, (name, said, low, high) in zip(panels[1:], labels.shown, strict=True):
        values = shown.arrays[f"{index}.{name}"][:, units]
        _heat(figure, axes, shown, values, high, signed=low is None or low < 0)
        axes.set_title(f"{name}, {said}", loc="left", fontsize=9)
        axes.set_ylabel("unit")
    for axes in panels:
        _mark(axes, trace, named=False)
    by = {"similar": "alike ones together", "peak": "by the row of their peak", "index": "by number"}[order]
    width = trace.layers[index].output.shape[1]
    _finish(panels, trace, shown, f"{trace.name}, layer {index}: {counted(width, 'unit')}, {by}")
    return figure


def plot_gradient(trace: Trace, layer: int | None = None) -> Figure:
    """The gradient on its way back: its size at every row, what it says to every unit, and what every row adds.

    Args:
        trace: what `rk.trace` returned.
        layer: a recurrent layer; left out, the first.
    """
    index = check_recurrent("plot_gradient", trace.model, layer)
    shown = trace.thinned(ROWS, UNITS)
    figure, (sizes, cells, added) = new_figure(11, 9, 3)
    seen = trace.layers[index]
    pieces = _unbroken(trace, shown)
    states = _labels(trace, index).states
    sized = [
        (f"d_{part}", f"‖d_{part}‖, {said}", colour)
        for (part, said), colour in zip(states.items(), STATES, strict=False)
    ]
    for name, label, colour in (*sized, ("d_y", "‖d_y‖, through the row's own output", OWN)):
        norm = np.sqrt((seen[name] ** 2).sum(-1))[shown.places]
        _line(sizes, *pieces(_positive(norm)), color=colour, linewidth=1.3, label=label)
    sizes.set_title("Its size", loc="left", fontsize=9)
    units = _ordered(trace, shown, index, "similar")
    part, said = list(states.items())[-1]  # of an LSTM the cell
    _heat(figure, cells, shown, shown.arrays[f"{index}.d_{part}"][:, units], None, signed=True)
    cells.set_title(f"d_{part} of every unit; red: less in the {said} would lower the loss", loc="left", fontsize=9)
    cells.set_ylabel("unit")
    keys = [key for key in trace.params if key.startswith(f"{index}.") and "initial" not in key]
    names = {key: "both biases" if key.endswith("bias_ih") else key for key in keys if not key.endswith("bias_hh")}
    for colour, (key, name) in zip(LINES, names.items(), strict=False):
        norm = _positive(shown.arrays[f"contribution.{key}"])
        _line(added, *pieces(norm), color=colour, linewidth=1.2, label=name)
    added.set_title("What each row adds to the gradient of each parameter (norm)", loc="left", fontsize=9)
    for axes in (sizes, added):
        _logarithmic(axes)
        tidy(axes)
    for axes in (sizes, cells, added):
        _mark(axes, trace, named=axes is sizes)
    legend(sizes, 5)
    legend(added, 4)
    _finish(
        [sizes, cells, added],
        trace,
        shown,
        f"{trace.name}, layer {index}: the gradient of the mean loss, which goes from right to left",
    )
    return figure


def plot_reach(trace: Trace, layer: int | None = None) -> Figure:
    """How strongly the loss of each row depends on the state at each row before it, and the mean of that by lag.

    Drawn in: where windows of `truncate` rows cut the gradient. What lies left of the stairs is lost.

    Args:
        trace: what `rk.trace` returned.
        layer: a recurrent layer; left out, the first.
    """
    from matplotlib.colors import LogNorm

    index = check_recurrent("plot_reach", trace.model, layer)
    steps = len(trace)
    at = np.unique(np.linspace(0, steps - 1, min(steps, LOSSES)).round().astype(int))
    reach = trace.reach(index, at)
    figure, _ = new_figure(12, 5.6)
    figure.clear()
    matrix, lags = figure.subplots(1, 2)  # two axes of their own
    first, whole = next(iter(reach.norms.items()))
    largest = max(float(whole.max()), np.finfo(float).tiny)
    image = matrix.pcolormesh(
        np.arange(steps + 1) - 0.5,
        _edges(at),
        np.ma.masked_less_equal(whole, 0),
        cmap=SIZE,
        norm=LogNorm(DEPTH * largest, largest),
        rasterized=True,
    )
    matrix.invert_yaxis()
    figure.colorbar(image, ax=matrix, pad=0.01).set_label(f"‖∂ loss(t) / ∂ {first}(s)‖", fontsize=8)
    edges = np.flatnonzero(trace.cut)
    if len(edges):
        stairs = np.concatenate([[0], np.repeat(edges, 2), [steps]]) - 0.5
        starts = np.concatenate([[0, 0], np.repeat(edges, 2)])[: len(stairs)] - 0.5
        matrix.plot(starts, stairs, color="white", linewidth=2.4)
        matrix.plot(
            starts, stairs, color=TRUTH, linewidth=1.4, label=f"gradient cut every {_rows(trace.truncate or 0)}"
        )
        legend(matrix)
    matrix.set_xlabel("row s of the state")
    matrix.set_ylabel("row t of the loss")
    matrix.set_title(f"Reach, layer {index}", loc="left")
    _row_ticks(matrix.xaxis, trace)
    _row_ticks(matrix.yaxis, trace)
    last = 1.2 * (trace.truncate or 1)
    for part, colour in zip(reach.norms, STATES, strict=False):
        profile = _positive(reach.by_lag(part))
        seen = profile > DEPTH * np.nanmax(profile, initial=0)
        last = max(last, float(np.flatnonzero(seen).max(initial=1)))
        lags.plot(np.arange(steps), profile, color=colour, linewidth=1.4, label=f"{part}, mean over t")
    if trace.truncate is not None and len(edges):
        lags.axvspan(trace.truncate - 0.5, steps, color="#F2F2F2", zorder=0)
        lags.axvline(trace.truncate - 0.5, color=CUT, linewidth=1, linestyle="--", label="every longer lag is cut")
    _logarithmic(lags)
    lags.set_xlim(0, min(last, max(steps - 1, 1)))
    lags.set_xlabel("lag t - s (rows)")
    lags.set_ylabel("‖∂ loss(t) / ∂ state(s)‖")
    lags.set_title("Its mean by lag", loc="left")
    tidy(lags, "both")
    lags.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


KINDS: dict[str, Callable[[Any, int | None], Any]] = {
    "rows": plot_rows,
    "gates": plot_gates,
    "gradient": plot_gradient,
    "reach": plot_reach,
}
"""The pictures of `Trace.plot`."""


def judged_values(trace: Trace, shown: Thinned) -> tuple[np.ndarray, np.ndarray]:
    """What is compared, `(T, O)` each: numbers in their own unit; for the entropies classes and probabilities."""
    observed, predicted = shown.arrays["observed"], shown.arrays["predicted"]
    if isinstance(trace.loss_function, CrossEntropy):
        return observed.astype(float), predicted.argmax(-1)[:, None].astype(float)
    if isinstance(trace.loss_function, BinaryCrossEntropy):
        return observed, 1 / (1 + np.exp(-np.clip(predicted, -50, 50)))
    return observed, predicted


def _ordered(trace: Trace, shown: Thinned, index: int, order: Order) -> np.ndarray:
    """Places, among the units of a layer that are shown, in an order for the eye."""
    return unit_order(trace.layers[index].output[:, shown.units[index]], order)


def _labels(trace: Trace, index: int) -> Labels:
    """What people read about the cell of a recurrent layer."""
    layer: Any = trace.model.layers[index]
    return layer.labels


def _heat(figure: Figure, axes: Axes, shown: Thinned, values: np.ndarray, most: float | None, *, signed: bool) -> None:
    """A line a unit, time from left to right; where signed, zero is white."""
    if most is None:
        most = float(np.quantile(np.abs(values), 0.98)) or float(np.abs(values).max()) or 1.0
    image = axes.pcolormesh(
        _edges(shown.places),
        np.arange(values.shape[1] + 1) - 0.5,
        values.T,
        cmap=SIGNED if signed else SHARE,
        vmin=-most if signed else 0,
        vmax=most,
        rasterized=True,
    )
    beyond = "both" if np.abs(values).max(initial=0) > most else "neither"
    figure.colorbar(image, ax=axes, pad=0.01, extend=beyond, aspect=12)
    axes.invert_yaxis()
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def _mark(axes: Axes, trace: Trace, named: bool) -> None:
    """Lines where the state was reset and where the gradient is cut, unless there are too many to see anything else."""
    for (label, at), colour, line in zip(_marks(trace).items(), (INITIAL, CUT), ("-", (0, (2, 2))), strict=True):
        for nth, place in enumerate(at if len(at) <= MARKS else ()):
            said = label if named and not nth else None
            axes.axvline(place - 0.5, color=colour, linestyle=line, linewidth=1.1, label=said)


def _marks(trace: Trace) -> dict[str, np.ndarray]:
    """Places of the lines, by what they mean."""
    return {"state reset": np.flatnonzero(trace.reset), "gradient cut": np.flatnonzero(trace.cut & ~trace.reset)}


def _finish(panels: list[Axes], trace: Trace, shown: Thinned, title: str, also: str = "") -> None:
    """Title, and the rows' numbers at the last axis."""
    panels[0].figure.suptitle(drawn(title), x=0.01, ha="left", fontsize=11)  # type: ignore[union-attr]
    panels[-1].set_xlim(-0.5, len(trace) - 0.5)
    _row_ticks(panels[-1].xaxis, trace)
    many = "; ".join(f"no line at a {label}" for label, at in _marks(trace).items() if len(at) > MARKS)
    left_out = "; ".join(filter(None, (shown.left_out, also, many)))
    panels[-1].set_xlabel(f"row of {drawn(trace.name)}" + (f" (shown: {left_out})" if left_out else ""))


def _row_ticks(axis: Any, trace: Trace) -> None:
    """Which row of the source stands at a place."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(8, integer=True))
    axis.set_major_formatter(
        FuncFormatter(lambda place, _: f"{trace.rows[int(place)]}" if 0 <= place < len(trace) else "")
    )


def _unbroken(trace: Trace, shown: Thinned) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Places and values of a line that stops where a segment does."""
    broken = [int(np.searchsorted(shown.places, place)) for place in np.flatnonzero(trace.reset) if place]
    return lambda values: (np.insert(shown.places.astype(float), broken, np.nan), np.insert(values, broken, np.nan))


def _line(axes: Axes, places: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """A line, and a dot where a value stands alone, of which no line would be seen."""
    known = np.pad(np.isfinite(values), 1)
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()
    dots = {"marker": "o", "markersize": 3.5, "markevery": alone} if alone else {}
    axes.plot(places, values, **dots, **style)


def _edges(places: np.ndarray) -> np.ndarray:
    """Borders between places, one more than there are."""
    middle = (places[1:] + places[:-1]) / 2
    return np.concatenate([[places[0] - 0.5], middle, [places[-1] + 0.5]])


def _positive(values: np.ndarray) -> np.ndarray:
    """Without what has no place on a logarithmic axis."""
    return np.where(values > 0, values, np.nan)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis, as far down as it is worth a look, where anything is positive."""
    tops = [float(np.nanmax(y)) for line in axes.lines if np.isfinite(y := np.asarray(line.get_ydata(), float)).any()]
    if tops:
        axes.set_yscale("log")
        low = max(DEPTH * max(tops), axes.dataLim.ymin / 2)
        axes.set_ylim(low, 2 * max(tops))


def _rows(count: int) -> str:
    return counted(count, "row")
