"""The transfer matrix as a heat map."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.view.plots import new_figure
from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from rnnkit.train.transfer import Transfer

WIDEST, HIGHEST = 20.0, 14.0
"""Inches that a picture is wide and high at most, however many data sets and stages there are."""

CELL = 0.46, 0.19
"""Inches that a cell is wide and high at least for its number to stand in it."""

LINE = 0.17
"""Inches that a name takes."""

SLANT = 0.57
"""The share of its width that a column leaves to a name that stands aslant below it."""

CHARACTERS = 28
"""Characters of a name that are shown at most."""


def plot_transfer(transfer: Transfer) -> Figure:
    """A row a stage of training, a column a data set; a frame where the data set was trained on in that stage.

    Colours compare each data set with itself: dark is its lowest error, light its highest, by ratios between them.
    """
    from matplotlib.patches import Rectangle

    stages, sets = transfer.errors.shape
    width, height = min(0.95, (WIDEST - 3.2) / sets), min(0.34, (HIGHEST - 2.2) / stages)  # of a cell
    figure, (axes,) = new_figure(3.2 + width * sets, 2.2 + height * stages)
    errors = transfer.errors
    level = errors if (errors <= 0).any() else np.log(errors)  # the first stages may be far above all others
    low, high = np.fmin.reduce(level), np.fmax.reduce(level)  # NaN: it could not be opened
    share = (level - low) / np.where(high > low, high - low, 1)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for stage, column in np.argwhere(transfer.trained):
        line = 2 if height > LINE else 1
        corner = column - 0.46, stage - 0.44
        axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor="white", linewidth=line))
    if width >= CELL[0] and height >= CELL[1]:
        for (stage, column), error in np.ndenumerate(errors):
            colour = "white" if share[stage, column] < 0.55 else "black"
            axes.text(column, stage, f"{error:.3g}", ha="center", va="center", fontsize=8, color=colour)
    _label(axes.xaxis, transfer.names, width * SLANT, rotation=35, ha="right", rotation_mode="anchor")
    _label(axes.yaxis, transfer.stages, height)
    axes.set_xlabel("error on")
    axes.set_ylabel("trained up to")
    parts = " or ".join(dict.fromkeys(transfer.parts))
    axes.set_title(f"Loss on the {parts} part of every data set", loc="left", fontsize=10)
    told = [f"mean at the end {transfer.average:.3g}"]
    if not np.isnan(transfer.backward):
        told.append(f"forgotten {transfer.backward:+.3g}")
    if not np.isnan(transfer.forward):
        told.append(f"forward transfer {transfer.forward:+.3g}")
    note = "; ".join(told) + ". Framed: trained on in that stage. Dark: the data set's own lowest error."
    wrapped = textwrap.fill(note, int(figure.get_figwidth() * 16))
    figure.supxlabel(wrapped, fontsize=8, x=0.01, ha="left")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    return figure


def _label(axis: Axis, names: tuple[str, ...], room: float, **options: Any) -> None:
    """Names along an axis, in inches apart: every second one or fewer where there is no room for all."""
    every = math.ceil(LINE / room)
    shown = range(0, len(names), every)
    axis.set_ticks(shown, [drawn(_short(names[k])) for k in shown], **options)


def _short(name: str) -> str:
    """A name, the middle of a long one left out."""
    return name if len(name) <= CHARACTERS else f"{name[: CHARACTERS // 2 - 1]}...{name[2 - CHARACTERS // 2 :]}"
