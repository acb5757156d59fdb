"""Pictures of predictions beside what was observed, and of forecasts; each function returns a new figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnnkit.view.plots import MODEL, TRUTH, legend, new_figure, tidy
from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnnkit.data import Sequence
    from rnnkit.train.prediction import Forecast, Prediction

POINTS = 400
"""Rows that a forecast plot shows unless asked otherwise."""

FEW = 200
"""Rows that it shows of each of many data sets."""

PANELS = 8
"""Targets that a picture shows at most: the first, the last, and some between."""


class ShownRows(NamedTuple):
    """What a picture shows of a series.

    Attributes:
        place: where each row stands, `(n,)`: the time that is predicted, else the row, or the number of
            the sample.
        target, predicted: `(n, O)`.
        segment: `(n,)`, the segment of each row: no line is drawn from one to the next.
        unit: `"row"` or `"sample"`.
        axis: what the places are called.
        classes: whether they are numbers of classes, which have nothing between them.
    """

    place: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    segment: np.ndarray
    unit: str
    axis: str
    classes: bool


def plot_forecast(series: Sequence, predicted: np.ndarray | Prediction, rows: int = POINTS) -> Figure:
    """The last rows of a series that count, and what was predicted for them; a panel a target, eight at most.

    Where the last row of a sample counts alone, a sample is a mark. Classes are marks, too.

    Args:
        series: in the data's own units.
        predicted: `(N, O)` as `predict` returns it; of logits the likeliest class is shown.
        rows: how many of the last rows.
    """
    series.expect_target("plot_forecast")
    shown = _shown(series, predicted, rows)
    columns = _columns(series.outputs)
    figure, panels = _panels(len(columns))
    for column, axes in zip(columns, panels, strict=True):
        _compare(axes, shown, column, series.horizon)
        _name(axes, series.target_names, column, series.outputs)
    rows_or_samples = f"{len(shown.place)} {shown.unit}s{' with a target' if shown.unit == 'row' else ''}"
    panels[0].set_title(f"{drawn(series.name)}: the last {rows_or_samples}{_some(columns, series.outputs)}", loc="left")
    panels[-1].set_xlabel(shown.axis)
    return figure


def plot_forecasts(parts: Mapping[str, tuple[Sequence, np.ndarray | Prediction]], rows: int = FEW) -> Figure:
    """The first target of several data sets and what was predicted for it, a panel a data set.

    Args:
        parts: by name, a series in its own units, and `(N, O)` as `predict` returns it.
        rows: how many of the last rows.
    """
    from matplotlib.figure import Figure

    across = min(len(parts), 2)
    down = -(-len(parts) // across)
    figure = Figure(figsize=(6.5 * across, 0.6 + 2.4 * down), layout="constrained", dpi=110)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, (series, predicted)) in zip(panels, parts.items(), strict=False):
        shown = _shown(series, predicted, rows)
        _compare(axes, shown, 0, series.horizon)
        _name(axes, series.target_names, 0, series.outputs)
        axes.set_title(f"{drawn(name)}: the last {len(shown.place)} {shown.unit}s", loc="left", fontsize=9)
        if axes is not panels[0]:
            axes.get_legend().remove()
    for axes in panels[len(parts) :]:
        axes.set_visible(False)
    return figure


def plot_continuation(series: Sequence, ahead: np.ndarray | Forecast, rows: int = 200) -> Figure:
    """The last rows of a series and a closed-loop forecast after them; a panel a column, eight at most.

    Args:
        series: in the data's own units.
        ahead: `(steps, F)` as `forecast` returns it; it stands where it says, an array at the end of the series.
        rows: how many rows of the series.
    """
    begins = getattr(ahead, "rows", None)
    stop = int(series.runs[-1, 2]) if begins is None else int(begins[0])
    segment = int(np.searchsorted(series.starts, stop - 1, side="right")) - 1
    start = max(int(series.runs[segment, 0]), stop - rows)
    known = series.with_scaler(None).read_x(start, stop, np.dtype("float64"))
    before, after, axis = np.arange(start, stop), np.arange(stop - 1, stop + len(ahead)), "row"
    later = getattr(ahead, "times", None)
    if series.times is not None and later is not None:
        before, axis = series.times[start:stop], _time_axis(series.zone)
        after = np.concatenate([before[-1:], later])
    columns = _columns(known.shape[1])
    figure, panels = _panels(len(columns))
    for column, axes in zip(columns, panels, strict=True):
        axes.plot(before, known[:, column], color=TRUTH, linewidth=1.1, label="observed")
        joint = np.concatenate([known[-1:, column], ahead[:, column]])
        marker = "." if len(ahead) < 3 else None  # a line of a step or two is hardly seen
        axes.plot(after, joint, color=MODEL, linewidth=1.3, marker=marker, label="forecast")
        _name(axes, series.feature_names, column, known.shape[1])
        tidy(axes)
        legend(axes)
    ids = series.series_ids
    of = drawn(series.name) if ids is None or len(set(ids)) < 2 else f"{drawn(series.name)}, {drawn(ids[segment])}"
    title = f"{of}: {len(ahead)} {'row' if len(ahead) == 1 else 'rows'} ahead, predictions fed back in"
    panels[0].set_title(title + _some(columns, known.shape[1]), loc="left")
    panels[-1].set_xlabel(axis)
    return figure


def _shown(series: Sequence, predicted: np.ndarray | Prediction, rows: int) -> ShownRows:
    """The last rows of a series that count, with targets and predictions."""
    values = np.asarray(predicted)
    if series.labels and values.shape[1] > 1:
        values = np.where(np.isnan(values).any(1), np.nan, values.argmax(1))[:, None]
    samples = series.score == "last"
    if samples:
        last = (series.starts + series.lengths - 1)[-rows:]
    else:
        last = np.concatenate([np.arange(s.start, s.stop) for s in series.segments[-rows:]])[-rows:]
    count, times = len(series.runs), getattr(predicted, "times", None)
    place, axis = last + series.horizon, "row"
    if samples:
        place, axis = np.arange(count - len(last), count), "sample"
    elif times is not None and times.ndim == 1:
        place, axis = times[last], _time_axis(series.zone)
    return ShownRows(
        place=place,
        target=series.with_scaler(None).take(last, np.float64)[1].reshape(len(last), -1).astype(float),
        predicted=values[last],
        segment=np.searchsorted(series.starts, last, side="right") - 1,
        unit="sample" if samples else "row",
        axis=axis,
        classes=series.labels,
    )


def _compare(axes: Axes, shown: ShownRows, column: int, horizon: int) -> None:
    """Draw a column of the targets and of what was predicted for them."""
    ahead = f" {horizon} {'row' if horizon == 1 else 'rows'} ahead" if horizon else ""
    truth, model = shown.target[:, column], shown.predicted[:, column]
    broken = np.flatnonzero(np.diff(shown.segment)) + 1
    truth, model = (np.insert(each.astype(float), broken, np.nan) for each in (truth, model))
    dated = shown.place.dtype.kind == "M"
    place = shown.place if dated else shown.place.astype(float)
    place = np.insert(place, broken, np.datetime64("NaT") if dated else np.nan)
    alone = np.diff(np.concatenate(([0], broken, [len(shown.place)]))).min() == 1  # a line of one row is not seen
    if shown.unit == "sample":
        axes.plot(place, truth, "o", color=TRUTH, markersize=5, fillstyle="none", label="observed")
        axes.plot(place, model, "x", color=MODEL, markersize=5, label=f"predicted{ahead}")
    else:
        style = {"marker": "." if alone else None, "linewidth": 1.1}
        steps = "steps-mid" if shown.classes else None
        axes.plot(place, truth, color=TRUTH, drawstyle=steps, label="observed", **style)
        style = {"marker": ".", "markersize": 4, "linewidth": 0} if shown.classes else style
        axes.plot(place, model, color=MODEL, alpha=0.9, label=f"predicted{ahead}", **style)
    if shown.classes:
        from matplotlib.ticker import MaxNLocator

        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.15)
    tidy(axes)
    legend(axes)


def _time_axis(zone: str | None) -> str:
    """What an axis of times is called."""
    return "time" if zone is None else "time (UTC)"


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, lower where there are many."""
    return new_figure(11, 1.4 + (2.6 if count < 4 else 1.8) * count, count)


def _columns(count: int) -> list[int]:
    """Which of so many columns are shown."""
    return np.unique(np.linspace(0, count - 1, min(count, PANELS)).round().astype(int)).tolist()


def _some(columns: list[int], count: int) -> str:
    """That not all columns are shown."""
    return f"; {len(columns)} of {count} targets" if len(columns) < count else ""


def _name(axes: Axes, names: tuple[str, ...] | None, column: int, columns: int) -> None:
    """Say which column a panel shows, where there is more than one."""
    if columns > 1:
        axes.set_ylabel(drawn(names[column]) if names is not None and len(names) == columns else f"column {column}")
