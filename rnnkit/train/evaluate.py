"""Errors of a trained model beside those of naive predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnkit.data import Sequence
from rnnkit.errors import DataError
from rnnkit.model.losses import BinaryCrossEntropy, CrossEntropy, Loss, row_loss
from rnnkit.train.passes import WARM_ROWS, scored_outputs
from rnnkit.train.predict import seen_by
from rnnkit.train.run import Run
from rnnkit.train.targets import as_trained, check_targets, is_classification


@dataclass(frozen=True)
class Errors:
    """Error of predictions over some rows, in the data's own units.

    Attributes:
        rows: how many rows.
        mae: mean absolute error; for the cross-entropies the share of classes that are wrong.
        rmse: root of the mean squared error; NaN for the cross-entropies.
    """

    rows: int
    mae: float
    rmse: float


@dataclass(frozen=True)
class Evaluation:
    """A model beside naive predictions, on the same rows.

    Attributes:
        model: the model's errors.
        persistence: those of the last known value of the target; None where there is none.
        seasonal_naive: those of the value one period before; None without a period.
        loss: the mean training loss, in the model's units.
    """

    model: Errors
    persistence: Errors | None
    seasonal_naive: Errors | None
    loss: float

    def __str__(self) -> str:
        named = {"model": self.model, "persistence": self.persistence, "seasonal naive": self.seasonal_naive}
        labels = np.isnan(self.model.rmse) and not np.isnan(self.model.mae)
        error, naive = "share wrong" if labels else "MAE", self.persistence.mae if self.persistence else 0.0
        ratio = f"{error} / persistence"
        columns: dict[str, tuple[int, Callable[[Errors], str]]] = {error: (12, lambda found: f"{found.mae:.5g}")}
        if not labels:
            columns["RMSE"] = 12, lambda found: f"{found.rmse:.5g}"
        if naive:
            columns[ratio] = len(ratio) + 3, lambda found: f"{found.mae / naive:.3f}"
        columns["rows"] = 10, lambda found: f"{found.rows:,}"
        lines = [" " * 16 + "".join(f"{name:>{width}}" for name, (width, _) in columns.items())]
        for label, errors in named.items():
            if errors is not None:
                lines.append(f"{label:<16}" + "".join(f"{told(errors):>{width}}" for width, told in columns.values()))
        return "\n".join(lines)


def evaluate(run: Run, series: Sequence, *, period: int | None = None, warm: int = WARM_ROWS) -> Evaluation:
    """Errors of a model, of persistence and of seasonal-naive prediction, in the data's own units.

    Persistence predicts the last value of the target that is known when the prediction is made; seasonal-naive the
    last known value a whole number of periods before the predicted one. Each is scored on the rows where it has a
    value inside the same run of rows. Where the last row of each segment counts alone there is nothing to repeat.

    Args:
        run: a trained model.
        series: in the data's own units.
        period: rows of a season, such as 48 for half-hourly data with a daily cycle.
        warm: rows before each part that warm the state.

    Raises:
        ModelError: a series that does not fit the model.
        DataError: a period below 1.
    """
    if period is not None and period < 1:
        raise DataError(f"evaluate expects a period of at least 1 row, got {period!r}")
    series = seen_by("evaluate", run, series, ahead=True)
    series = as_trained(run.model, series, run.loss)
    known = series.horizon if series.horizon > 0 else 1  # the target of this many rows before is the last one known
    lags = {"persistence": known} if series.score == "all" else {}  # what ends a sample has no earlier value
    if period is not None and lags:
        lags["seasonal"] = period * -(-known // period)
    sums = {name: np.zeros(3) for name in ("model", *lags)}
    loss_sum = 0.0
    raw = series.with_scaler(None)
    for rows, y, trained_on in scored_outputs(run.backend, run.model, run.backend.from_numpy(run.params), series, warm):
        loss_sum += float(row_loss(run.loss, y, check_targets(run.loss, trained_on, run.model.outputs)).sum())
        target = _judged(run.loss, raw.take(rows, np.dtype("float64"))[1])
        sums["model"] += _sums(_judged(run.loss, run.in_units(y), logits=True), target, run.loss)
        for name, lag in lags.items():
            earlier, has = raw.earlier_targets(rows, lag)
            sums[name] += _sums(_judged(run.loss, earlier[has]), target[has], run.loss)
    errors = {name: _errors(run.loss, *totals) for name, totals in sums.items()}
    if errors["model"] is None:
        raise DataError(f"evaluate expects rows with a target, {series.name!r} has none")
    loss = loss_sum / errors["model"].rows
    return Evaluation(errors["model"], errors.get("persistence"), errors.get("seasonal"), loss)


def _judged(loss: Loss, values: np.ndarray, logits: bool = False) -> np.ndarray:
    """What is compared with the targets: for the entropies the class, else the numbers; `(n, O)`."""
    if isinstance(loss, CrossEntropy):
        return (values.argmax(-1) if logits else values)[:, None]
    if isinstance(loss, BinaryCrossEntropy):
        return values > (0 if logits else 0.5)
    return values


def _sums(predicted: np.ndarray, target: np.ndarray, loss: Loss) -> np.ndarray:
    """Number of rows, sum of absolute and of squared errors; for classes, of wrong ones."""
    error = (predicted != target).astype(float) if is_classification(loss) else np.abs(predicted - target)
    return np.array([len(error), error.mean(-1).sum(), (error**2).mean(-1).sum()])


def _errors(loss: Loss, rows: float, absolute: float, squared: float) -> Errors | None:
    if not rows:
        return None
    rmse = float("nan") if is_classification(loss) else (squared / rows) ** 0.5
    return Errors(int(rows), absolute / rows, rmse)
