"""Pictures of a schedule and of a training run, in matplotlib; each function returns a new figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from rnnkit.errors import counted
from rnnkit.schedule.batch import FRESH, RECORDED
from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from rnnkit.schedule.schedule import Schedule
    from rnnkit.train.history import History

INITIAL, CARRIED, FROM_SLOT, UNSCORED, PADDING = "#D55E00", "#0072B2", "#009E73", "#BBBBBB", "#F2F2F2"
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

TRUTH, MODEL, NAIVE = "#222222", "#0072B2", "#E69F00"

LANES = 32
"""Lanes that a timeline shows at most."""

CHARACTERS = 140
"""Characters of a label that fit side by side across a timeline."""


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
            colour = {FRESH: INITIAL, RECORDED: FROM_SLOT}.get(int(batch.origin[lane]), CARRIED)
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
    axes.set_xlabel(f"step (windows of {counted(length, 'row')}; {counted(len(schedule), 'step')} in all)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    names = {
        "from the initial state": INITIAL,
        "carried from the window before": CARRIED,
        "from a recorded state": FROM_SLOT,
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
        plain_numbers(axes.yaxis)
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


def tidy(axes: Axes, grid: Literal["x", "y", "both"] = "y") -> None:
    """Two sides without a line, and a faint grid behind what is drawn."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color="#E5E5E5", linewidth=0.7)
    axes.set_axisbelow(True)


def plain_numbers(axis: Axis) -> None:
    """`0.3` and not `3 x 10⁻¹` at the ticks of a logarithmic axis; small ticks are named where there are few.

    Matplotlib parses a formula for each of the others, which takes half of the time of a picture.
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain(minor_thresholds=(2, 0.6)))
    axis.set_minor_formatter(Plain(minor_thresholds=(2, 0.6)))


def legend(axes: Axes, columns: int = 3) -> None:
    """What the lines are, in a row above the upper right corner."""
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=columns)
