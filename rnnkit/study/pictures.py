"""Pictures of a comparison, in matplotlib; each is a new figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.study.judging import baseline, error_name, judged, label
from rnnkit.view.plots import new_figure, plain_numbers, tidy
from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnnkit.study.compare import Comparison

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#999933")
"""Okabe and Ito's colours, which the colour-blind can tell apart; one a policy."""

MARKERS, STROKES = "osD^vP*X", ("-", "--", ":", "-.")
"""One a splitter."""

POLICIES, TIME, CURVES = "error_by_policy.png", "error_against_time.png", "learning_curves.png"

Rows = list[dict[str, Any]]


def pictures(comparison: Comparison) -> dict[str, tuple[Figure, str]]:
    """The figures of a report by their files' names, each with its caption; none where no trial is done."""
    rows = [row for row in comparison.rows if row["status"] == "done"]
    part, error = judged(rows), error_name(comparison.study)
    drawn: dict[str, tuple[Figure, str]] = {}
    if part is not None:
        said = f"Error ({error}) on the {part} part"
        drawn[POLICIES] = (
            plot_policies(rows, part, error),
            f"{said}: a dot a seed, the bar their mean; dashed, {baseline(rows)}.",
        )
        drawn[TIME] = plot_time(rows, part, error), f"{said} against the seconds of training: a dot a seed."
    if any(row.get("curve") for row in rows):
        said = "Learning curves against rows scored and against seconds: the mean of the seeds, and the band they fill."
        drawn[CURVES] = plot_curves(rows, error), said
    return drawn


def plot_policies(rows: Rows, part: str, error: str = "MAE") -> Figure:
    """Error of every seed, a line for each splitter, policy and backend, the best at the top."""
    groups = _groups(rows)
    errors = {name: [row[f"{part}_mae"] for row in group] for name, group in groups.items()}
    ranked = sorted(groups, key=lambda name: np.mean(errors[name]))
    figure, (axes,) = new_figure(10, 1.4 + 0.38 * len(groups))
    looks = _Looks(rows)
    for place, name in enumerate(ranked):
        colour = looks.colour(groups[name][0])
        axes.plot(errors[name], [place] * len(errors[name]), "o", color=colour, alpha=0.55, markersize=6)
        axes.plot([np.mean(errors[name])] * 2, [place - 0.32, place + 0.32], color=colour, linewidth=2.5)
    naive = _naive(rows, part)
    if naive is not None:
        axes.axvline(naive, color="#888888", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(ranked)), [*map(drawn, ranked)], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(_error_axis(error, part) + (" (the data's own units)" if error == "MAE" else ""))
    tidy(axes, "x")
    return figure


def plot_time(rows: Rows, part: str, error: str = "MAE") -> Figure:
    """Error against the seconds of training, a dot a trial."""
    figure, (axes,) = new_figure(10, 5)
    looks = _Looks(rows)
    for name, group in _groups(rows).items():
        x, y = ([row[key] for row in group] for key in ("seconds", f"{part}_mae"))
        axes.plot(x, y, looks.marker(group[0]), color=looks.colour(group[0]), alpha=0.75, label=drawn(name))
    naive = _naive(rows, part)
    if naive is not None:
        axes.axhline(naive, color="#888888", linestyle="--", linewidth=1, label=baseline(rows))
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel(_error_axis(error, part))
    tidy(axes, "both")
    _legend(figure, axes)
    return figure


def plot_curves(rows: Rows, error: str = "MAE") -> Figure:
    """Validation error, or training loss where there is no validation part, against rows scored and seconds."""
    figure, panels = new_figure(11, 5, 2, across=True)
    looks = _Looks(rows)
    measure = "validation_mae" if any("validation_mae" in point for row in rows for point in row["curve"]) else "loss"
    for axes, (key, name) in zip(panels, (("rows", "rows scored"), ("seconds", "seconds of training")), strict=True):
        for group_name, group in _groups(rows).items():
            place, seeds = _side_by_side(group, key, measure)
            colour, stroke = looks.colour(group[0]), looks.stroke(group[0])
            if len(seeds) > 1:
                axes.fill_between(place, seeds.min(0), seeds.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(place, seeds.mean(0), stroke, color=colour, linewidth=1.4, label=drawn(group_name))
        axes.set_xlabel(name)
        if measure == "loss" or error == "MAE":  # a share of wrong classes may be 0
            axes.set_yscale("log")
            plain_numbers(axes.yaxis)
        tidy(axes, "both")
    panels[0].set_ylabel(_error_axis(error, "validation") if measure == "validation_mae" else "training loss")
    _legend(figure, panels[0])
    return figure


def _side_by_side(group: Rows, key: str, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """The curves of some seeds at the places that all of them reached: the places, and `(seeds, places)`."""
    curves = [
        np.array([(point[key], point[measure]) for point in row["curve"] if point.get(measure) is not None], float)
        for row in group
    ]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return np.zeros(0), np.zeros((1, 0))
    place = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    first, last = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    if first <= last:
        place = place[(first <= place) & (place <= last)]
    return place, np.array([np.interp(place, curve[:, 0], curve[:, 1]) for curve in curves])


def _error_axis(error: str, part: str) -> str:
    return f"{'share of wrong classes' if error == 'share wrong' else error} on the {part} part"


class _Looks:
    """A colour for each policy, a marker and a stroke for each splitter."""

    def __init__(self, rows: Rows) -> None:
        self.policies = list(dict.fromkeys(row["policy"] for row in rows))
        self.splitters = list(dict.fromkeys(row["splitter"] for row in rows))

    def colour(self, row: dict[str, Any]) -> str:
        return COLOURS[self.policies.index(row["policy"]) % len(COLOURS)]

    def marker(self, row: dict[str, Any]) -> str:
        return MARKERS[self.splitters.index(row["splitter"]) % len(MARKERS)]

    def stroke(self, row: dict[str, Any]) -> str:
        return STROKES[self.splitters.index(row["splitter"]) % len(STROKES)]


def _groups(rows: Rows) -> dict[str, Rows]:
    """Rows by splitter, policy and backend: the seeds of each."""
    groups: dict[str, Rows] = {}
    for row in rows:
        groups.setdefault(label(row, rows), []).append(row)
    return groups


def _naive(rows: Iterable[dict[str, Any]], part: str) -> float | None:
    """The error of the naive prediction, which is the same for every trial."""
    return next((row[f"{part}_mae"] / row[f"{part}_ratio"] for row in rows if row.get(f"{part}_ratio")), None)


def _legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=7)
