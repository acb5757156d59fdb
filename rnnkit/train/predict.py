"""What a trained model is for: predictions, their error beside naive ones, forecasts, and streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnkit.data import Sequence
from rnnkit.errors import DataError, ModelError
from rnnkit.model.initialisers import initial_state
from rnnkit.model.losses import BinaryCrossEntropy, CrossEntropy, Loss, row_loss
from rnnkit.train.passes import WARM_ROWS, outputs, scored_outputs
from rnnkit.train.run import Run
from rnnkit.train.targets import as_trained, check_targets, is_classification


def predict(run: Run, series: Sequence, *, warm: int = WARM_ROWS) -> np.ndarray:
    """Predict the target of every row, state carried within each run of rows.

    Args:
        run: a trained model.
        series: a sequence in the data's own units; it is scaled, and the predictions unscaled, as the run says.
        warm: rows before each part that warm the state, where the source has them; 0 starts cold.

    Returns:
        `(N, O)` float64, a row for each row of the source; `[t]` is the prediction made after row t was read, for row
        t + horizon. NaN where the series has no rows (outside its part, or where values are missing). The last
        `horizon` rows, whose targets lie in the future, are predicted too. Logits for the cross-entropies.

    Raises:
        ModelError: a feature count that does not fit the model.
    """
    series = seen_by("predict", run, series)
    predicted = np.full((series.rows, run.model.outputs), np.nan)
    for rows, y in outputs(run.backend, run.model, run.backend.from_numpy(run.params), series, warm):
        gapless = len(rows) and rows[-1] - rows[0] == len(rows) - 1  # they increase
        predicted[slice(rows[0], rows[-1] + 1) if gapless else rows] = run.in_units(y)
    return predicted


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


def forecast(run: Run, series: Sequence, steps: int, *, warm: int = WARM_ROWS) -> np.ndarray:
    """Continue a series by feeding predictions back in (closed loop).

    Args:
        run: a model trained to predict all columns of its input, `horizon` rows ahead.
        series: in the data's own units; the forecast continues its last run of rows.
        steps: rows to forecast.
        warm: rows at the end of the series that the state is warmed over.

    Returns:
        `(steps, F)`: the rows after the last one, in the data's own units. The first `horizon` of them are
        predictions from real rows alone.

    Raises:
        ModelError: a model that does not predict its own inputs.
        DataError: fewer than one step, or a series shorter than its horizon.
    """
    series = seen_by("forecast", run, series, ahead=True)
    if steps < 1:
        raise DataError(f"forecast expects steps >= 1, got {steps!r}")
    if series.target_columns != tuple(range(series.features)) or series.horizon < 1:
        raise ModelError(
            f"forecast expects a model that predicts all {series.features} input columns at least one row ahead, "
            f"but the targets of {series.name!r} are {_targets_named(series)}; train with every feature as target"
        )
    engine, params = run.backend, run.backend.from_numpy(run.params)
    _, _, stop = (int(v) for v in series.runs[-1])
    last = max(stop - max(warm, series.horizon), int(series.runs[-1][0]))
    x = series.read_x(last, stop, np.dtype(run.dtype))
    state = engine.from_numpy(initial_state(run.model, run.params, 1))
    y, state, _ = engine.forward(run.model, params, engine.from_numpy(x[:, None]), state)
    ahead = list(engine.to_numpy(y)[-series.horizon :])  # predictions of the next `horizon` rows, (1, F) each
    while len(ahead) < steps:
        x = engine.from_numpy(ahead[len(ahead) - series.horizon][None])
        y, state, _ = engine.forward(run.model, params, x, state)
        ahead.append(engine.to_numpy(y)[0])
    return run.in_units(np.concatenate(ahead[:steps]))


def seen_by(who: str, run: Run, series: Sequence, ahead: bool = False) -> Sequence:
    """The series scaled as the run was trained, if it has the same columns (and, with `ahead`, the same horizon)."""
    if not isinstance(run, Run) or not isinstance(series, Sequence):
        raise ModelError(
            f"{who} expects a Run and a Sequence, got {type(run).__name__} and {type(series).__name__}; "
            f"train one with rk.fit(...), and wrap values: rk.Sequence(values)"
        )
    run.check_one(series.name)
    for what, trained, given in (
        ("features", run.features, series.feature_names),
        ("targets", run.targets, series.target_names),
    ):
        if trained is not None and given is not None and trained != given:
            raise ModelError(
                f"the run was trained on the {what} {', '.join(trained)}, but {series.name!r} has {', '.join(given)}; "
                f"open it with the same columns in the same order"
            )
    if ahead and series.horizon != run.horizon:
        raise ModelError(
            f"the run was trained to predict {run.horizon} rows ahead, but {series.name!r} has "
            f"horizon={series.horizon}; open it with horizon={run.horizon}"
        )
    if run.model.inputs != series.features:
        raise ModelError(
            f"the model expects {run.model.inputs} features, but {series.name!r} has {series.features}; "
            f"open it with the columns that the run was trained on"
        )
    return series.with_scaler(None if run.scaler is None else run.scaler if ahead else run.scaler.of_inputs())


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


def _targets_named(series: Sequence) -> str:
    if series.target_columns is None:
        return "given apart from its inputs"
    return f"its columns {series.target_columns}, {series.horizon} rows ahead"
