"""Pictures of a schedule, of a training run and of a forecast, in matplotlib; each function returns a new figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from rnnkit.data import Sequence
    from rnnkit.schedule.schedule import Schedule
    from rnnkit.train.history import History
    from rnnkit.train.prediction import Forecast, Prediction

INITIAL, CARRIED, RECORDED, UNSCORED, PADDING = "#D55E00", "#0072B2", "#009E73", "#BBBBBB", "#F2F2F2"
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

TRUTH, MODEL, NAIVE = "#222222", "#0072B2", "#E69F00"

LANES = 32
"""Lanes that a timeline shows at most."""

CHARACTERS = 140
"""Characters of a label that fit side by side across a timeline."""

POINTS = 400
"""Rows that a forecast plot shows unless asked otherwise."""

FEW = 200
"""The same for each of many data sets."""


def plot_schedule(schedule: Schedule, steps: int = 12) -> Figure:
    """The first steps of a schedule: a row a lane, a bar a window, coloured by where its state comes from.

    Windows are labelled with the rows that they score, where there is room.

    Args:
        schedule: any schedule.
        steps: how many of its first steps.
    """
    lanes = min(schedule.lanes, LANES)
    figure, (axes,) = new_figure(11, 1.7 + 0.42 * lanes)
    batches = []
    for batch in schedule.batches():
        batches.append(batch)
        if len(batches) == steps:
            break
    length = len(batches[0].x)
    occurs: set[str] = set()
    labels: list[tuple[float, int, str, float]] = []  # place, lane, text, characters that it has room for
    for step, batch in enumerate(batches):
        for lane in range(lanes):
            left = step * length * 1.06
            axes.broken_barh([(left, length)], (lane - 0.4, 0.8), color=PADDING)
            occurs |= set() if batch.valid[:, lane].all() else {PADDING}
            colour = {-1: INITIAL, -2: RECORDED}.get(int(batch.origin[lane]), CARRIED)
            stretches = _stretches(batch.valid, batch.reset, batch.weight, lane, colour)
            for start, stop, source, scored in stretches:
                shade = source if scored else UNSCORED
                occurs |= {source, shade}
                axes.broken_barh([(left + start, stop - start)], (lane - 0.4, 0.8), color=shade)
                axes.plot([left + start] * 2, [lane - 0.4, lane + 0.4], color=source, linewidth=2.5)
            at = np.flatnonzero(batch.valid[:, lane] & (batch.weight[:, lane] > 0))
            if len(at):
                first, last = (int(batch.rows[t, lane]) for t in (at[0], at[-1]))
                room = CHARACTERS / len(batches) * (at[-1] + 1 - at[0]) / length
                labels.append((left + (at[0] + at[-1] + 1) / 2, lane, f"{first}-{last}", room))
    widest = max((room for *_, room in labels), default=0.0)
    if lanes <= 16 and all(len(text) <= room for *_, text, room in labels if room == widest):
        for place, lane, text, room in labels:  # a tail may be too short for its label; whole windows all have one
            if len(text) <= room:
                axes.text(place, lane, text, ha="center", va="center", fontsize=7, color="white")
    axes.set_yticks(range(lanes), [f"lane {lane}" for lane in range(lanes)])
    axes.invert_yaxis()
    axes.set_xticks(
        [(step + 0.5) * length * 1.06 for step in range(len(batches))], [str(s) for s in range(len(batches))]
    )
    axes.set_xlabel(f"step (windows of {length} rows; {len(schedule):,} steps in all)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    names = {
        "from the initial state": INITIAL,
        "carried from the window before": CARRIED,
        "from a recorded state": RECORDED,
        "read again, not scored": UNSCORED,
        "padding": PADDING,
    }
    axes.set_title(drawn(f"{schedule.splitter!r} with {schedule.policy!r}"), loc="left", fontsize=10)
    handles = [_patch(colour, label) for label, colour in names.items() if colour in occurs]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=8)
    return figure


def plot_history(history: History) -> Figure:
    """Loss by step and by epoch, on a logarithmic scale where it is positive."""
    figure, (axes,) = new_figure(9, 4.2)
    losses = np.array(history.steps["loss"])
    scored = np.array(history.steps["weight"]) > 0
    epochs = len(history.epochs["loss"])
    place = _in_epochs(history, len(losses))
    axes.plot(place[scored], losses[scored], color=MODEL, alpha=0.25, linewidth=0.7, label="training, each step")
    ends = np.arange(1, epochs + 1)
    axes.plot(
        ends,
        history.epochs["loss"],
        color=MODEL,
        marker="o",
        markersize=3,
        label="training, mean of the epoch",
    )
    if "validation_loss" in history.epochs:
        validation = history.epochs["validation_loss"]
        axes.plot(ends[: len(validation)], validation, color=INITIAL, marker="o", markersize=3, label="validation")
    if len(losses[scored]) and (losses[scored] > 0).all():
        axes.set_yscale("log")
    axes.set_xlabel("epoch" if epochs else "step")
    axes.set_ylabel("loss (scaled units)")
    axes.set_title("Loss", loc="left")
    tidy(axes)
    legend(axes)
    return figure


def _in_epochs(history: History, steps: int) -> np.ndarray:
    """Where each step stands, counted in epochs, which may have different numbers of steps; without one, in steps."""
    counts = np.array(history.epochs.get("steps", []), int)
    if not len(counts):
        return np.arange(steps)
    counts = np.append(counts, max(steps - int(counts.sum()), 0))  # those of an epoch that was cut short
    return np.concatenate([k + np.arange(count) / max(count, 1) for k, count in enumerate(counts)])[:steps]


def plot_forecast(series: Sequence, predicted: np.ndarray | Prediction, rows: int = POINTS) -> Figure:
    """The last rows of a series that have a target, and what was predicted for them; a panel a target.

    Args:
        series: in the data's own units.
        predicted: `(N, O)` as `predict` returns it.
        rows: how many of the last rows.
    """
    series.expect_target("plot_forecast")
    figure, panels = new_figure(11, 1.4 + 2.6 * series.outputs, series.outputs)
    shown = 0
    for column, axes in enumerate(panels):
        shown = _compare(axes, series, predicted, column, rows)
    panels[0].set_title(f"{drawn(series.name)}: the last {shown} rows with a target", loc="left")
    panels[-1].set_xlabel("row")
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
        shown = _compare(axes, series, predicted, 0, rows)
        axes.set_ylabel("")
        axes.set_title(f"{drawn(name)}: the last {shown} rows", loc="left", fontsize=9)
        if axes is not panels[0]:
            axes.get_legend().remove()
    for axes in panels[len(parts) :]:
        axes.set_visible(False)
    return figure


def _compare(axes: Axes, series: Sequence, predicted: np.ndarray | Prediction, column: int, rows: int) -> int:
    """Draw a column of the targets and of what was predicted for them; returns how many rows."""
    last = np.concatenate([np.arange(s.start, s.stop) for s in series.segments[-rows:]])[-rows:]
    target = series.with_scaler(None).take(last, np.dtype("float64"))[1].reshape(len(last), -1).astype(float)
    broken = np.flatnonzero(np.diff(last) > 1) + 1  # no line is drawn across a boundary between segments
    ahead = "1 row" if series.horizon == 1 else f"{series.horizon} rows"
    place = np.insert((last + series.horizon).astype(float), broken, np.nan)
    truth, model = (np.insert(values[:, column], broken, np.nan) for values in (target, predicted[last]))
    axes.plot(place, truth, color=TRUTH, linewidth=1.1, label="observed")
    axes.plot(place, model, color=MODEL, linewidth=1.1, alpha=0.9, label=f"predicted {ahead} ahead")
    _name(axes, series.target_names, column, target.shape[1])
    tidy(axes)
    legend(axes)
    return len(last)


def plot_continuation(series: Sequence, ahead: np.ndarray | Forecast, rows: int = 200) -> Figure:
    """The last rows of a series and a closed-loop forecast after them; a panel a column.

    Args:
        series: in the data's own units.
        ahead: `(steps, F)` as `forecast` returns it.
        rows: how many rows of the series.
    """
    first, stop = int(series.runs[-1, 0]), int(series.runs[-1, 2])
    start = max(first, stop - rows)
    known = series.with_scaler(None).read_x(start, stop, np.dtype("float64"))
    figure, panels = new_figure(11, 1.4 + 2.6 * known.shape[1], known.shape[1])
    for column, axes in enumerate(panels):
        axes.plot(np.arange(start, stop), known[:, column], color=TRUTH, linewidth=1.1, label="observed")
        joint = np.concatenate([known[-1:, column], ahead[:, column]])
        axes.plot(np.arange(stop - 1, stop + len(ahead)), joint, color=MODEL, linewidth=1.3, label="forecast")
        _name(axes, series.feature_names, column, known.shape[1])
        tidy(axes)
        legend(axes)
    panels[0].set_title(f"{drawn(series.name)}: {len(ahead)} rows ahead, predictions fed back in", loc="left")
    panels[-1].set_xlabel("row")
    return figure


def _stretches(
    valid: np.ndarray, reset: np.ndarray, weight: np.ndarray, lane: int, colour: str
) -> list[tuple[int, int, str, bool]]:
    """Maximal runs of rows of a lane that share state source and score: start, stop, colour, scored."""
    found: list[tuple[int, int, str, bool]] = []
    for t in range(len(valid)):
        colour = INITIAL if reset[t, lane] else colour
        scored = bool(weight[t, lane] > 0)
        if not valid[t, lane]:
            continue
        if found and not reset[t, lane] and found[-1][1] == t and found[-1][3] == scored:
            found[-1] = (found[-1][0], t + 1, colour, scored)
        else:
            found.append((t, t + 1, colour, scored))
    return found


def new_figure(width: float, height: float, panels: int = 1, across: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure, its size in inches, with panels below or beside each other that share the axis between them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    if across:
        return figure, list(figure.subplots(1, panels, squeeze=False, sharey=True)[0])
    return figure, list(figure.subplots(panels, squeeze=False, sharex=True)[:, 0])


def _patch(colour: str, label: str) -> Patch:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)


def _name(axes: Axes, names: tuple[str, ...] | None, column: int, columns: int) -> None:
    """Say which column a panel shows, where there is more than one."""
    if columns > 1:
        axes.set_ylabel(drawn(names[column]) if names is not None and len(names) == columns else f"column {column}")


def tidy(axes: Axes, grid: Literal["x", "y", "both"] = "y") -> None:
    """Two sides without a line, and a faint grid behind what is drawn."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color="#E5E5E5", linewidth=0.7)
    axes.set_axisbelow(True)


def legend(axes: Axes, columns: int = 3) -> None:
    """What the lines are, in a row above the upper right corner."""
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=columns)
