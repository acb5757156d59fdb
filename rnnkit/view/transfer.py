"""The transfer matrix as a heat map."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.view.plots import new_figure
from rnnkit.view.text import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnnkit.train.transfer import Transfer

CELLS = 400
"""Cells that are labelled with their number at most."""


def plot_transfer(transfer: Transfer) -> Figure:
    """A row a stage of training, a column a data set; a frame where the data set was trained on in that stage.

    Colours compare each data set with itself: dark is its lowest error, light its highest, by ratios between them.
    """
    from matplotlib.patches import Rectangle

    stages, sets = transfer.errors.shape
    figure, (axes,) = new_figure(3.2 + 0.95 * sets, 2.2 + 0.34 * stages)
    errors = transfer.errors
    height = errors if (errors <= 0).any() else np.log(errors)  # the first stages may be far above all others
    low, high = np.fmin.reduce(height), np.fmax.reduce(height)  # NaN: it could not be opened
    share = (height - low) / np.where(high > low, high - low, 1)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for stage, column in np.argwhere(transfer.trained):
        axes.add_patch(Rectangle((column - 0.46, stage - 0.44), 0.92, 0.88, fill=False, edgecolor="white", linewidth=2))
    if errors.size <= CELLS:
        for (stage, column), error in np.ndenumerate(errors):
            colour = "white" if share[stage, column] < 0.55 else "black"
            axes.text(column, stage, f"{error:.3g}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(sets), [*map(drawn, transfer.names)], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(stages), [*map(drawn, transfer.stages)])
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
