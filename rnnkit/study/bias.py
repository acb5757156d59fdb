"""The bias of truncation, measured: the gradient that a schedule computes beside full back-propagation through time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.backend import Backend, check_parameters
from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.errors import ModelError, ScheduleError
from rnnkit.model.layers import Chain, Noise
from rnnkit.model.losses import Loss
from rnnkit.schedule import Carry, Continuation, Pieces, Schedule
from rnnkit.schedule.brief import brief
from rnnkit.study.agreement import WHOLE, Agreement, agreement, vector, with_error
from rnnkit.study.lengths import chosen_lengths, length_of, with_length
from rnnkit.study.reach import SAMPLE, GradientReach, gradient_reach
from rnnkit.train.gradient import epoch_gradient

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 4
"""Epochs that a schedule that draws is averaged over unless asked otherwise."""

ROWS = 8192
"""Rows that a quick measurement uses at most."""

TAPE_ROWS = 1024
"""Rows of a window beyond which its tape is computed again on the way back, to bound its memory."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientBias:
    """What windows of several lengths make of the gradient, and how far it reaches.

    Attributes:
        schedule: the schedule; each length was put into its splitter.
        loss: the mean loss with nothing cut.
        own: the window length of the schedule itself; the mean of one that draws, to a whole row.
        rows: a dict for each length and parameter: `"length"`; `"parameter"`, its key or `"all"`, and `"size"`,
            how many numbers it is; `"cosine"`, `"norm_ratio"`, and their standard errors `"cosine_error"`,
            `"norm_ratio_error"`, 0 where nothing is drawn; `"loss"`, the mean loss of these windows; `"epochs"`, how
            many were averaged.
        reach: how far the gradient reaches, whatever the schedule.
    """

    schedule: Schedule
    loss: float
    own: int
    rows: list[dict[str, Any]]
    reach: GradientReach

    def of(self, parameter: str = WHOLE) -> list[dict[str, Any]]:
        """The rows of one parameter, or of all together, by length.

        Raises:
            ModelError: no such parameter.
        """
        found = [row for row in self.rows if row["parameter"] == parameter]
        if not found:
            known = ", ".join(dict.fromkeys(row["parameter"] for row in self.rows))
            raise ModelError(f"GradientBias.of expects one of {known}, got {parameter!r}")
        return found

    def plot(self) -> Figure:
        """Two panels: cosine and norm ratio by window length, and the gradient's reach by lag."""
        from rnnkit.view.bias import plot_bias

        return plot_bias(self)

    def __str__(self) -> str:
        from rnnkit.view.bias import as_text

        return as_text(self)

    def __repr__(self) -> str:
        found = ", ".join(f"{row['length']}: {row['cosine']:.4f}" for row in self.of())
        pair = f"{brief(self.schedule.splitter)}, {brief(self.schedule.policy)}"
        return f"GradientBias({pair}, cosine by window length {{{found}}})"


def gradient_bias(
    model: Chain,
    params: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    lengths: Iterable[int] | None = None,
    backend: str | Backend = "numba",
    loss: str | Loss = "mse",
    draws: int = DRAWS,
    lags: int | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> GradientBias:
    """Compare the gradient that a schedule computes with full back-propagation through time, at fixed parameters.

    The whole gradient is the derivative of the mean loss over all rows, each segment from the initial state, with
    nothing cut. That of the schedule is what its windows' gradients add up to over an epoch, with their scored rows
    as weight. Windows that start from another state than the whole pass differ in their loss, too.

    Args:
        model: the `Chain`.
        params: NumPy arrays, such as `rk.setup(model)[0]` or `run.params`; their dtype is that of everything.
        schedule: its splitter is measured with every length in place of its own, its policy as it is. Lengths that
            are drawn keep their kind and get the length as their mean; a stride beyond the length becomes the length.
        lengths: rows of a window (without look-back and burn-in); left out, 8, 16 ... 256 and the schedule's own, as
            far as the longest segment goes.
        backend: a name or a backend.
        loss: as for `fit`.
        draws: epochs that are averaged where epochs differ, by their lengths, resets, order or noise. The standard
            errors are the jackknife's.
        lags: how far back the reach is measured, in rows; left out, twice the longest window, or half the longest
            segment where that is less.
        sample: rows that the reach is averaged over.
        seed: of this sample, and of the noise of a model with `initial=Noise(...)`; the whole gradient has no noise.

    Returns:
        A `GradientBias`: print it, or look at its `rows`, `reach` and `plot()`.

    Raises:
        ModelError: a model, loss, target or parameters that do not fit.
        ScheduleError: lengths that do not fit the series, or a splitter without one.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> schedule = rk.Schedule(rk.Sequence(np.sin(np.arange(200) / 5)), rk.Continuation(length=16), rk.Carry())
        >>> model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
        >>> found = rk.gradient_bias(model, rk.setup(model)[0], schedule, lengths=(4, 199), backend="numpy")
        >>> [round(row["cosine"], 4) for row in found.of()][1]
        1.0
    """
    _check(model, params, schedule, draws)
    own = round(length_of(schedule))
    chosen = chosen_lengths(schedule, own, lengths)
    cut = {n: schedule if n == own else replace(schedule, splitter=with_length(schedule.splitter, n)) for n in chosen}
    total, whole = whole_gradient(model, params, schedule.series, backend=backend, loss=loss)
    rows = []
    for length, windows in cut.items():
        mean, found = _gradients(model, params, windows, backend, loss, draws, seed)
        for name in (WHOLE, *whole):
            reference = vector(whole, name)
            value, error = with_error(np.stack([vector(g, name) for g in found]), reference)
            rows.append(
                {
                    "length": length,
                    "parameter": name,
                    "size": len(reference),
                    "cosine": value.cosine,
                    "cosine_error": error.cosine,
                    "norm_ratio": value.norm_ratio,
                    "norm_ratio_error": error.norm_ratio,
                    "loss": mean,
                    "epochs": len(found),
                }
            )
    longest = int(schedule.series.lengths.max())
    lags = max(1, min(2 * chosen[-1], longest // 2)) if lags is None else lags
    reach = gradient_reach(model, params, schedule.series, lags, sample=sample, backend=backend, loss=loss, seed=seed)
    return GradientBias(schedule, total, own, rows, reach)


def bias_of(
    model: Chain,
    params: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    backend: str | Backend = "numba",
    loss: str | Loss = "mse",
    rows: int = ROWS,
    draws: int = 1,
    seed: int = 0,
) -> Agreement:
    """Cosine and norm ratio of one schedule's gradient, all parameters together, on the first rows of its series.

    Args:
        rows: at most so many rows of the series are used, for both gradients.
        draws: epochs that are averaged where epochs differ.

    The other arguments are those of `gradient_bias`.
    """
    _check(model, params, schedule, draws)
    schedule = replace(schedule, series=first_rows(schedule.series, rows))
    _, whole = whole_gradient(model, params, schedule.series, backend=backend, loss=loss)
    _, found = _gradients(model, params, schedule, backend, loss, draws, seed)
    return agreement(np.mean([vector(g, WHOLE) for g in found], axis=0), vector(whole, WHOLE))


def whole_gradient(
    model: Chain,
    params: Mapping[str, np.ndarray],
    series: Sequence,
    *,
    backend: str | Backend = "numba",
    loss: str | Loss = "mse",
) -> tuple[float, dict[str, np.ndarray]]:
    """Mean loss over all rows of a series and its derivative, by full back-propagation through each segment.

    All segments stand in one window, one after the other, with a reset between them; its memory grows with the square
    root of the rows.
    """
    still = Chain(*model.layers) if isinstance(model.initial, Noise) else model
    uncut = Schedule(series, Continuation(length=len(series)), Carry())
    return epoch_gradient(still, params, uncut, backend=backend, loss=loss, remat="sqrt")


def first_rows(series: Sequence, rows: int) -> Sequence:
    """The first rows of a series, those without a target at the ends of its runs counted; all if there are no more.

    Raises:
        DataError: so few that none has a target.
    """
    total = int((series.runs[:, 2] - series.runs[:, 1]).sum())
    return series if total - rows <= series.horizon else series.first_rows(rows)


def _check(model: Any, params: Any, schedule: Any, draws: Any) -> None:
    if not isinstance(model, Chain):
        raise ModelError(f"gradient_bias expects a Chain first, got {type(model).__name__}; write rk.Chain({model!r})")
    if not isinstance(params, Mapping):
        raise ModelError(
            f"gradient_bias expects parameters second, got {type(params).__name__}; "
            f"give rk.setup(model)[0] or run.params"
        )
    check_parameters(model, params)
    if not isinstance(schedule, Schedule):
        raise ScheduleError(
            f"gradient_bias expects a Schedule third, got {type(schedule).__name__}; write "
            f"rk.Schedule(series, rk.Continuation(length=64), rk.Carry())"
        )
    if not is_whole(draws) or draws < 1:
        raise ScheduleError(f"gradient_bias expects draws to be a whole number >= 1, got {draws!r}")


def _gradients(
    model: Chain,
    params: Mapping[str, np.ndarray],
    schedule: Schedule,
    backend: str | Backend,
    loss: str | Loss,
    draws: int,
    seed: int,
) -> tuple[float, list[dict[str, np.ndarray]]]:
    """The mean loss of some epochs of a schedule, and the gradient of each.

    The first epoch is left out: states that go on from one epoch to the next are cold in it.
    """
    differ = isinstance(model.initial, Noise) or _differs(schedule)
    remat = "sqrt" if schedule.grid(1).length > TAPE_ROWS else None
    found = [
        epoch_gradient(model, params, schedule, backend=backend, loss=loss, epoch=1 + k, remat=remat, seed=seed)
        for k in range(draws if differ else 1)
    ]
    return float(np.mean([value for value, _ in found])), [gradient for _, gradient in found]


def _differs(schedule: Schedule) -> bool:
    """Whether two epochs read other windows or start them elsewhere; their order counts where state is carried."""
    grids = [schedule.grid(epoch) for epoch in (1, 2)]
    pieces = [grid.pieces(0, grid.steps) for grid in grids]
    origins = [schedule.policy.origins(grid, 0, grid.steps) for grid in grids]
    if all((origin == -1).all() for origin in origins):
        pieces = [_in_order(found) for found in pieces]
    return not all(
        np.array_equal(a, b) for a, b in zip((*pieces[0], origins[0]), (*pieces[1], origins[1]), strict=True)
    )


def _in_order(pieces: Pieces) -> Pieces:
    """Pieces in the order of their rows, wherever they stand."""
    order = np.lexsort((pieces.at, pieces.rows, pieces.offset, pieces.segment))
    nowhere = np.zeros_like(order)
    return Pieces(nowhere, nowhere, *(field[order] for field in pieces[2:]))
