"""Errors of a trained model beside those of naive predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnkit.checks import check_count
from rnnkit.data import Sequence
from rnnkit.errors import DataError
from rnnkit.model.losses import BinaryCrossEntropy, CrossEntropy, Loss, row_loss
from rnnkit.train.baselines import Baseline, known_columns
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

    Naive predictions use what was known when the prediction was made, and nothing later.

    Attributes:
        model: the model's errors.
        persistence: those of the value that the target's column has in the row that is predicted from; None where no
            such column is known.
        seasonal_naive: those of the value a whole number of periods before; None without a period or such a column.
        loss: the mean training loss, in the model's units.
        mean: those of the mean of the training targets, or for the cross-entropies of their most frequent class; None
            where the run does not know it.
    """

    model: Errors
    persistence: Errors | None
    seasonal_naive: Errors | None
    loss: float
    mean: Errors | None = None

    @property
    def naive(self) -> dict[str, Errors]:
        """The errors of the naive predictions to compare with, by name: the mean only where there is no persistence."""
        mean = "most frequent class" if self.of_classes else "training mean"
        known = {"persistence": self.persistence, "seasonal naive": self.seasonal_naive}
        found = {name: errors for name, errors in known.items() if errors is not None}
        return found or ({} if self.mean is None else {mean: self.mean})

    @property
    def baseline(self) -> str | None:
        """The first of `naive`, which the model's error is divided by: `"persistence"`, say; None for none."""
        return next(iter(self.naive), None)

    @property
    def ratio(self) -> float | None:
        """The model's error over that of the baseline; None without one, and where it makes no error."""
        errors = self.naive[self.baseline].mae if self.baseline is not None else 0.0
        return self.model.mae / errors if errors else None

    @property
    def of_classes(self) -> bool:
        """Whether errors are shares of classes that are wrong."""
        return bool(np.isnan(self.model.rmse) and not np.isnan(self.model.mae))

    def __str__(self) -> str:
        error = "share wrong" if self.of_classes else "MAE"
        columns: dict[str, tuple[int, Callable[[Errors], str]]] = {error: (12, lambda found: f"{found.mae:.5g}")}
        if not self.of_classes:
            columns["RMSE"] = 12, lambda found: f"{found.rmse:.5g}"
        if self.baseline is not None and (base := self.naive[self.baseline].mae):
            over = f"{error} / {self.baseline}"
            columns[over] = len(over) + 3, lambda found: f"{found.mae / base:.3f}"
        columns["rows"] = 10, lambda found: f"{found.rows:,}"
        named = {"model": self.model, **self.naive}
        first = max(16, *(len(name) + 2 for name in named))
        lines = [" " * first + "".join(f"{name:>{width}}" for name, (width, _) in columns.items())]
        for label, errors in named.items():
            lines.append(f"{label:<{first}}" + "".join(f"{told(errors):>{width}}" for width, told in columns.values()))
        return "\n".join(lines)


@np.errstate(all="ignore")  # what is not finite shows in the errors
def evaluate(
    run: Run,
    series: Sequence,
    *,
    period: int | None = None,
    baseline: Baseline = None,
    warm: int = WARM_ROWS,
) -> Evaluation:
    """Errors of a model and of naive predictions, in the data's own units.

    Persistence repeats the value that the target's column has in the row that is predicted from; seasonal-naive the
    last known one a whole number of periods before the predicted row. Each is scored on the rows where it has a value
    inside the same run of rows. Targets that are no columns of the input have neither, unless `baseline` names the
    column that they are the future of: what they were a row before was not known. Then there is the mean of the
    training targets, or for the cross-entropies the most frequent class.

    Args:
        run: a trained model.
        series: in the data's own units.
        period: rows of a season, such as 48 for half-hourly data with a daily cycle. Targets given apart have a season
            where they are exactly the values of their column some rows later.
        baseline: the feature that persistence repeats, by name or number, or a list with one for each target; left
            out, the targets' own columns.
        warm: rows before each part that warm the state.

    Raises:
        ModelError: a series that does not fit the model.
        DataError: a period below 1, a baseline that is no feature, or a series without targets.
    """
    if period is not None:
        check_count("evaluate", "period", period, 1, DataError)
    series = seen_by("evaluate", run, series, ahead=True)
    series.expect_target("evaluate")
    series = as_trained(run.model, series, run.loss)
    raw = series.with_scaler(None)
    known = known_columns(raw, baseline)
    usual = _usual(run)
    totals: dict[str, np.ndarray] = {}
    loss_sum = 0.0
    for rows, y, trained_on in scored_outputs(run.backend, run.model, run.backend.from_numpy(run.params), series, warm):
        loss_sum += float(row_loss(run.loss, y, check_targets(run.loss, trained_on, run.model.outputs)).sum())
        x, wanted = raw.take(rows, np.dtype("float64"))
        target = _judged(run.loss, wanted)
        everywhere = np.ones(len(rows), bool)
        guesses = {"model": (_judged(run.loss, run.in_units(y), logits=True), everywhere)}
        if known is not None:
            guesses["persistence"] = _judged(run.loss, known.last(x), column=True), everywhere
        if known is not None and known.ahead is not None and period is not None:
            earlier, has = known.season(raw, rows, period)
            guesses["seasonal"] = _judged(run.loss, earlier, column=True), has
        if usual is not None:
            guesses["mean"] = np.broadcast_to(usual, target.shape), everywhere
        for name, (guess, has) in guesses.items():
            totals[name] = totals.get(name, np.zeros(3)) + _sums(guess[has], target[has], run.loss)
    errors = {name: _errors(run.loss, *sums) for name, sums in totals.items()}
    model = errors.get("model")
    if model is None:
        raise DataError(f"evaluate expects rows with a target, {series.name!r} has none")
    loss = loss_sum / model.rows
    return Evaluation(model, errors.get("persistence"), errors.get("seasonal"), loss, errors.get("mean"))


def _usual(run: Run) -> np.ndarray | None:
    """What is predicted without looking at anything, `(O,)`: the training mean, or the most frequent class."""
    if run.typical is None:
        return None
    if isinstance(run.loss, CrossEntropy):
        return None if run.typical.label is None else np.array([run.typical.label])
    return _judged(run.loss, np.array(run.typical.mean))


def _judged(loss: Loss, values: np.ndarray, logits: bool = False, column: bool = False) -> np.ndarray:
    """What is compared with the targets: for the entropies the class, else the numbers; `(n, O)`.

    Args:
        loss: the loss.
        values: targets; or what the model gives (`logits`), or values of columns of x (`column`).
    """
    if isinstance(loss, CrossEntropy):
        return values if column else (values.argmax(-1) if logits else values)[:, None]
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
