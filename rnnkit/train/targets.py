"""A series as a loss wants to see it, and targets checked before a kernel sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from rnnkit.data import Sequence
from rnnkit.data.source import SLICE
from rnnkit.data.survey import Facts
from rnnkit.errors import ModelError, counted, listed, warn
from rnnkit.model.layers import Chain
from rnnkit.model.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, Loss
from rnnkit.model.ranges import Range, linear_end, named_last, output_range

TOLERATED = 0.01
"""Share of targets out of a model's reach up to which it is trained, with a warning."""

ROUNDED = 1e-6
"""How far beyond its range's end a target may lie: that much is rounding in float32."""


def is_classification(loss: Loss) -> bool:
    """Whether predictions are logits of classes, which have no unit to be scaled back to."""
    return isinstance(loss, CrossEntropy | BinaryCrossEntropy)


def as_trained(model: Chain, series: Sequence, loss: Loss) -> Sequence:
    """The series as a loss wants it: labels for cross-entropy, numbers for all others, unscaled for the entropies.

    Raises:
        DataError: a series without targets.
        ModelError: a feature, output or class count that does not fit, or no labels where the loss wants them.
    """
    check_fit(model, series, loss)
    if is_classification(loss) and series.scaler is not None:
        series = series.with_scaler(series.scaler.of_inputs())
    return series if isinstance(loss, CrossEntropy) else series.as_numbers()


def check_fit(model: Chain, series: Sequence | Facts, loss: Loss) -> None:
    """Whether a model and a loss fit a series, or what is known of a data set.

    Raises:
        DataError: a series without targets.
        ModelError: a feature, output or class count that does not fit, or no labels where the loss wants them.
    """
    if isinstance(series, Sequence):  # a data set without is refused when it is opened
        series.expect_target("the loss")
    if model.inputs != series.features:
        columns = series.feature_names
        found = f"{series.features} ({listed(columns, 12, 'in all')})" if columns else f"{series.features}"
        raise ModelError(
            f"the model expects {counted(model.inputs, 'feature')}, but {series.name!r} has {found}; "
            f"let its first layer have inputs={series.features}{', or choose other columns' if columns else ''}"
        )
    if isinstance(loss, CrossEntropy) and not series.labels:
        raise ModelError(
            f"the loss cross_entropy expects whole-number labels, one a row, but the targets of {series.name!r} "
            f"are {counted(series.outputs, 'real number')} a row; give y as a 1-D integer array, or use another loss"
        )
    if not isinstance(loss, CrossEntropy) and model.outputs != series.outputs:
        raise ModelError(
            f"the model gives {counted(model.outputs, 'output')}, but {series.name!r} has "
            f"{counted(series.outputs, 'target')} a row; let its last layer have outputs={series.outputs}"
            f"{', or say loss=' + repr('cross_entropy') + ' for these labels' if series.labels else ''}"
        )


def check_targets(loss: Loss, y: np.ndarray, classes: int) -> np.ndarray:
    """Targets of a series that is seen `as_trained`, as they are, if the loss can be taken of them.

    Args:
        loss: the loss.
        y: labels `(...)` int64 for cross-entropy, else numbers `(..., O)`.
        classes: outputs of the model.

    Raises:
        ModelError: a label outside the classes, or a target outside [0, 1] for binary cross-entropy.
    """
    if not y.size:
        return y
    low, high = y.min(), y.max()
    if isinstance(loss, CrossEntropy) and not 0 <= low <= high < classes:
        raise ModelError(
            f"the loss cross_entropy expects labels 0 to {classes - 1} for a model with {counted(classes, 'output')}, "
            f"got {high if high >= classes else low}; number the classes from 0, or give the last layer an output for "
            f"each class"
        )
    if isinstance(loss, BinaryCrossEntropy) and not 0 <= low <= high <= 1:
        raise ModelError(
            f"the loss binary_cross_entropy expects targets between 0 and 1, got {low:g} to {high:g}; "
            f"use another loss, or let 0 and 1 stand for the classes"
        )
    return y


def check_logits(model: Chain, loss: Loss) -> None:
    """Whether the outputs of a model may be logits, for a loss that takes them as such.

    Raises:
        ModelError: a last activation, or a recurrent layer at the end, that cannot give every number.
    """
    found = output_range(model)
    if is_classification(loss) and found.is_bounded:
        name = next(name for name, kind in LOSSES.items() if isinstance(loss, kind))
        own = "softmax" if isinstance(loss, CrossEntropy) else "sigmoid"
        raise ModelError(
            f"the loss {name} expects logits, any real numbers, and takes their {own} itself, but {named_last(model)} "
            f"gives {found} alone; {linear_end(model)}"
        )


def check_range(model: Chain, series: Sequence, loss: Loss, scaling: str = "with_scaler({})") -> None:
    """Whether the outputs of a model can reach the targets of a series that is seen `as_trained`.

    The targets are read, slice by slice, where the model's last layer is bounded and the loss is taken of numbers.
    Under `TOLERATED` of them out of reach is a warning.

    Args:
        model, series, loss: what is trained.
        scaling: how a scaler is given where the user says so, `{}` for a `Standard`; without it how to use none.

    Raises:
        ModelError: more than that.
    """
    reach = output_range(model)
    if is_classification(loss) or not reach.is_bounded:
        return
    outside = count = 0
    low, high = np.full(series.outputs, np.inf), np.full(series.outputs, -np.inf)
    for y in scored_targets(series):
        outside += int(np.count_nonzero((y < reach.low - ROUNDED) | (y > reach.high + ROUNDED)))
        count += y.size
        low, high = np.minimum(low, y.min(0)), np.maximum(high, y.max(0))
    if not outside:
        return
    scaled = "scaled " if series.scaler is not None and series.scaler.y_mean else ""
    told = (
        f"{named_last(model)} gives {reach}, but {_percent(outside, count)} of the {scaled}training targets of "
        f"{series.name!r} lie outside"
    )
    if outside <= TOLERATED * count:
        farthest = max((low.min(), high.max()), key=lambda y: max(reach.low - y, y - reach.high))
        warn(f"{told}, the farthest at {farthest:.4g}; {linear_end(model)}, or say so with check_range=False")
        return
    raise ModelError(
        f"{told}: they run from {low.min():.4g} to {high.max():.4g}, and no training reaches those; "
        f"{linear_end(model)}, {_fitting_scaler(series, reach, low, high, scaling)}or train it as it is with "
        f"check_range=False"
    )


def tell_constant(facts: Facts) -> None:
    """Warn of targets that are the same in every row that is trained on: there is nothing to learn."""
    names = facts.target_names or tuple(map(str, range(facts.outputs)))
    still = [name for name, constant in zip(names, facts.constant, strict=False) if constant]
    if still:
        which = "its target" if facts.outputs == 1 else f"its targets {listed(still, 12, 'in all')}"
        verb = "is" if len(still) == 1 else "are"
        if facts.outputs > 1 and len(still) == 1:
            which = f"its target {still[0]!r}"
        warn(
            f"fit: {facts.name!r} has nothing to learn: {which} {verb} the same in all "
            f"{counted(facts.typical.rows, 'row')} that are trained on; choose another target, or other rows"
        )


def scored_targets(series: Sequence) -> Iterator[np.ndarray]:
    """The targets of the rows that count, in float64, slice by slice: `(n, O)`, or labels `(n,)`."""
    for rows in series.row_slices(SLICE):
        if series.score == "all" and rows[-1] - rows[0] == len(rows) - 1:
            yield series.read_y(int(rows[0]), int(rows[-1]) + 1, np.float64)
        elif len(scored := rows[series.scored(rows)]):
            yield series.take(scored, np.float64)[1]


def _percent(some: int, count: int) -> str:
    """A share in percent; never 0."""
    return f"{100 * some / count:.3g} %"


def _fitting_scaler(series: Sequence, reach: Range, low: np.ndarray, high: np.ndarray, scaling: str) -> str:
    """What to write so that targets lie in a range: the scaler that maps the lowest and highest of each to its ends,
    or none at all where they lie there without; nothing where the user can say neither."""
    scaler, ends = series.scaler, (low, high)
    if scaler is not None:
        low, high = (scaler.unscale_y(end) for end in ends)
    if "{}" not in scaling:
        fits = reach.low <= low.min() and high.max() <= reach.high
        return f"or leave the targets as they are, {low.min():.4g} to {high.max():.4g}: {scaling}, " if fits else ""
    std = np.where(high > low, high - low, 1.0) / (reach.high - reach.low if np.isfinite(reach.high) else 1.0)
    mean = low - reach.low * std
    if max(len(low), series.features) > 4:
        return f"or scale the targets to {reach} with a Standard of your own, "
    x = f"{[0] * series.features}, {[1] * series.features}"
    if scaler is not None:
        x = f"x_mean={_numbers(scaler.x_mean)}, x_std={_numbers(scaler.x_std)}"
    y = f"y_mean={_numbers(mean)}, y_std={_numbers(std)}"
    return f"or scale the targets to {reach}: {scaling.format(f'rk.Standard({x}, {y})')}, "


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{n:.9g}' for n in values)}]"
