"""The bias of truncation in words and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.errors import counted
from rnnkit.schedule.brief import brief
from rnnkit.view.plots import INITIAL, MODEL, NAIVE, TRUTH, legend, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnnkit.study.bias import GradientBias
    from rnnkit.study.reach import GradientReach

GOOD = 0.95
"""The cosine from which on windows are said to give the gradient's direction."""

SAME = 1e-3
"""Relative difference of two mean losses below which they are said to be the same."""

LITTLE = 0.01
"""The share of its first value below which a gradient is said to have died away."""

PARAMETER = "#BBBBBB"
"""The colour of single parameters behind all of them together."""

DEPTH = 1e-9
"""The share of the largest gradient down to which a picture shows it."""

STATES = (MODEL, INITIAL, "#009E73", NAIVE, "#CC79A7", "#56B4E9")

LINES = ("-", "--", ":", "-.")
"""A style for each state array of a layer, in turn."""


def as_text(bias: GradientBias) -> str:
    """The table of all parameters together, a line a length, and what the numbers say."""
    schedule, rows = bias.schedule, bias.of()
    drawn = any(row["epochs"] > 1 for row in rows)
    width = 22 if drawn else 12
    lines = [
        f"{brief(schedule.splitter)} with {brief(schedule.policy)} over {schedule.series!r}",
        f"its gradient beside the whole one, over {counted(len(schedule.series), 'row')} with nothing cut; all "
        "parameters",
        "",
        f"{'window':>10}{'cosine':>{width}}{'norm ratio':>{width}}{'mean loss':>12}",
    ]
    for row in rows:
        cosine, ratio = (_with_error(row, name) for name in ("cosine", "norm_ratio"))
        own = "   this schedule" if row["length"] == bias.own else ""
        lines.append(f"{counted(row['length'], 'row'):>10}{cosine:>{width}}{ratio:>{width}}{row['loss']:>12.5g}{own}")
    lines.append(f"{'uncut':>10}{'1':>{width}}{'1':>{width}}{bias.loss:>12.5g}")
    if drawn:
        most = max(row["epochs"] for row in rows)
        lines.append(f"of the mean over the draws of {counted(most, 'epoch')}, ± one standard error")
    return "\n".join([*lines, "", *_sentences(bias)])


def plot_bias(bias: GradientBias) -> Figure:
    """Cosine and norm ratio by window length; below, on the same axis, the gradient's reach by lag.

    Args:
        bias: what `gradient_bias` returned.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure, (above, below) = new_figure(9, 8, 2)
    # the cosine of a single number is its sign
    names = dict.fromkeys(row["parameter"] for row in bias.rows if row["size"] > 1 and row["parameter"] != "all")
    for number, name in enumerate(names):
        rows = bias.of(name)
        label = "cosine of each parameter" if number == 0 else None
        above.plot(_column(rows, "length"), _column(rows, "cosine"), color=PARAMETER, linewidth=0.8, label=label)
    rows = bias.of()
    for key, colour, label in (("cosine", MODEL, "cosine, all"), ("norm_ratio", INITIAL, "norm ratio, all")):
        errors = _column(rows, f"{key}_error")
        above.errorbar(
            _column(rows, "length"), _column(rows, key), errors, color=colour, marker="o", markersize=4, label=label
        )
    above.axhline(1, color=TRUTH, linewidth=0.8, linestyle=":")
    above.set_ylabel("beside the whole gradient")
    above.set_title("What windows make of the gradient", loc="left")
    tidy(above)
    legend(above)
    largest = _plot_reach(below, bias.reach)
    if largest:
        below.set_yscale("log")
        below.set_ylim(DEPTH * largest, 3 * largest)
    below.set_xscale("log", base=2)
    _mark(below, bias)
    below.set_ylabel("‖∂ loss(t) / ∂ state(t - lag)‖")
    below.set_xlabel("window length, and lag (rows)")
    below.set_title("How far the gradient reaches", loc="left")
    tidy(below)
    legend(below, 6)
    ticks = sorted({1, *(row["length"] for row in rows), int(bias.reach.lags[-1])})
    below.xaxis.set_major_locator(
        FixedLocator([n for n, m in zip(ticks, [*ticks[1:], np.inf], strict=True) if m >= 1.3 * n])
    )
    below.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    below.xaxis.set_minor_locator(NullLocator())
    return figure


def _plot_reach(axes: Axes, reach: GradientReach) -> float:
    """A line for each part of the state, a colour a layer; returns the largest value."""
    layers: dict[str, list[str]] = {}  # the parts of the state of each
    for name in reach.norms:
        if name != "all":
            layer, _, part = name.partition(".")
            layers.setdefault(layer, []).append(part)
    for name, norms in reach.norms.items():
        seen = norms > 0  # what has died away entirely has no place on a logarithmic axis
        if name == "all":
            axes.plot(reach.lags[seen], norms[seen], color=TRUTH, linewidth=1.8, label="all states")
            continue
        layer, _, part = name.partition(".")
        colour = STATES[list(layers).index(layer) % len(STATES)]
        line = LINES[layers[layer].index(part) % len(LINES)]
        axes.plot(reach.lags[seen], norms[seen], line, color=colour, linewidth=1.2, label=f"layer {layer}, {part}")
    return max(float(norms.max(initial=0)) for norms in reach.norms.values())


def _mark(axes: Axes, bias: GradientBias) -> None:
    """Lines where windows end: a gradient that has come so far is cut there, at the latest."""
    for row in bias.of():
        own = row["length"] == bias.own
        axes.axvline(row["length"], color=NAIVE if own else "#DDDDDD", linewidth=1.6 if own else 0.9, zorder=0)
    if any(row["length"] == bias.own for row in bias.of()):
        axes.annotate(
            "this schedule",
            (bias.own, 0.03),
            (-4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color=NAIVE,
            rotation=90,
            ha="right",
        )


def _column(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], float)


def _with_error(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.4f}" + (f" ± {row[name + '_error']:.4f}" if row["epochs"] > 1 else "")


def _percent(share: float) -> str:
    """A share in per cent to two digits; more where two would make it 100."""
    if share < 1e-4:
        return "less than 0.01 %"
    digits = f"{100 * share:.2g}"
    return f"{100 * share:.4g} %" if float(digits) >= 100 > 100 * share or share >= 1 else f"{float(digits):g} %"


def _sentences(bias: GradientBias) -> list[str]:
    rows = bias.of()
    if not np.isfinite(_column(rows, "norm_ratio")).all():
        return ["The whole gradient is zero or not finite at these parameters: there is no direction to compare with."]
    return [_direction(bias), _state(bias), _died_away(bias.reach, bias.own)]


def _direction(bias: GradientBias) -> str:
    """From which length on windows give the gradient's direction."""
    rows = bias.of()
    good = _column(rows, "cosine") >= GOOD
    if not good[-1]:
        best = max(rows, key=lambda row: -2 if np.isnan(row["cosine"]) else row["cosine"])
        return (
            f"None of these lengths gives {_percent(GOOD)} of the gradient's direction and stays there: the best has "
            f"{counted(best['length'], 'row')} and a cosine of {best['cosine']:.3g}."
        )
    first = len(good) - int(np.argmin(good[::-1])) if not good.all() else 0
    row = rows[first]
    from_on = "Even windows" if first == 0 else "Windows"
    text = (
        f"{from_on} of {row['length']:,} rows give {_percent(row['cosine'])} of the gradient's direction and "
        f"{_percent(row['norm_ratio'])} of its length"
    )
    if first:
        before = rows[first - 1]
        text += (
            f"; those of {counted(before['length'], 'row')} {_percent(before['cosine'])} and "
            f"{_percent(before['norm_ratio'])}"
        )
    return text + "."


def _state(bias: GradientBias) -> str:
    """Whether the windows see the states of the whole pass."""
    rows = bias.of()
    other = [row for row in rows if abs(row["loss"] - bias.loss) > SAME * abs(bias.loss)]
    if not other:
        return "Their loss is that of the uncut pass: the states are the same, and the gradient alone is cut."
    row = next((row for row in other if row["length"] == bias.own), other[-1])
    return (
        f"The mean loss of windows of {counted(row['length'], 'row')} is {row['loss']:.4g}, uncut it is "
        f"{bias.loss:.4g}: they "
        f"start from other states or score other rows, so not all of the difference is the cut of the gradient."
    )


def _died_away(reach: GradientReach, own: int) -> str:
    """How far the gradient reaches, and what is left of it where this schedule's windows end."""
    norms, last = reach.norms["all"], int(reach.lags[-1])
    over = f"in the mean over {counted(len(reach.rows), 'row')}"
    if not norms[0] or not np.isfinite(norms).all():
        return f"The losses of single rows do not reach the state before them, or not as finite numbers, {over}."
    share = norms / norms[0]
    here = f"; {_percent(share[own - 1])} of it is left at lag {own:,}, this schedule's window" if own <= last else ""
    lasting = np.flatnonzero(share >= LITTLE)[-1]
    if lasting == last - 1:
        return (
            f"The gradient of a row's loss with respect to the state reaches beyond the {counted(last, 'row')} "
            f"looked at: there it is {_percent(share[-1])} of that at lag 1, {over}{here}."
        )
    return (
        f"The gradient of a row's loss with respect to the state stays below {_percent(LITTLE)} of that at lag 1 from "
        f"lag {int(reach.lags[lasting]) + 1:,} on, {over}{here}."
    )
