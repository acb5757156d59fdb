"""What a trained model is for: predictions, their error beside naive ones, forecasts, and streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnnkit.backend import Backend
from rnnkit.data import Sequence
from rnnkit.errors import DataError, ModelError
from rnnkit.model.initialisers import initial_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import CrossEntropy, row_loss
from rnnkit.model.state import State
from rnnkit.train.passes import WARM_ROWS, outputs, scored_outputs
from rnnkit.train.run import Run
from rnnkit.train.targets import check_fit, targets_for


def predict(run: Run, series: Sequence, *, warm: int = WARM_ROWS) -> np.ndarray:
    """Predict the target of every row, state carried within each run of rows.

    Args:
        run: a trained model.
        series: a sequence in the data's own units; it is scaled, and the predictions unscaled, as the run says.
        warm: rows before each part that warm the state, where the source has them; 0 starts cold.

    Returns:
        `(N, O)`, a row for each row of the source; `[t]` is the prediction made after row t was read, for row
        t + horizon. NaN where the series has no rows (outside its part, or where values are missing). The last
        `horizon` rows, whose targets lie in the future, are predicted too. Logits for the cross-entropies.

    Raises:
        ModelError: a feature count that does not fit the model.
    """
    series = _seen_by(run, series)
    predicted = np.full((series.rows, run.model.outputs), np.nan, run.dtype)
    for rows, y in outputs(run.backend, run.model, run.backend.from_numpy(run.params), series, warm):
        predicted[rows] = y if series.scaler is None else series.scaler.unscale_y(y)
    return predicted


@dataclass(frozen=True)
class Errors:
    """Error of predictions over some rows, in the data's own units.

    Attributes:
        rows: how many rows.
        mae: mean absolute error; for labels the share that is wrong.
        rmse: root of the mean squared error; NaN for labels.
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
        lines = [f"{'':<16}{'MAE':>12}{'RMSE':>12}{'MAE / persistence':>20}{'rows':>10}"]
        for label, errors in named.items():
            if errors is not None:
                share = f"{errors.mae / self.persistence.mae:.3f}" if self.persistence and self.persistence.mae else ""
                lines.append(f"{label:<16}{errors.mae:>12.5g}{errors.rmse:>12.5g}{share:>20}{errors.rows:>10,}")
        return "\n".join(lines)


def evaluate(run: Run, series: Sequence, *, period: int | None = None, warm: int = WARM_ROWS) -> Evaluation:
    """Errors of a model, of persistence and of seasonal-naive prediction, in the data's own units.

    Persistence predicts the last value of the target that is known when the prediction is made; seasonal-naive the
    last known value a whole number of periods before the predicted one. Each is scored on the rows where it has a
    value inside the same run of rows.

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
    series = _seen_by(run, series)
    check_fit(run.model, series, run.loss)
    params = run.backend.from_numpy(run.params)
    known = series.horizon if series.horizon > 0 else 1  # the target of this many rows before is the last one known
    lags = {"persistence": known}
    if period is not None:
        lags["seasonal"] = period * -(-known // period)
    sums = {name: np.zeros(3) for name in ("model", *lags)}
    raw = series.with_scaler(None)
    loss_sum = 0.0
    for rows, y, scaled_target in scored_outputs(run.backend, run.model, params, series, warm):
        wanted = targets_for(run.loss, scaled_target, series.labels, run.model.outputs, y.dtype)
        loss_sum += float(row_loss(run.loss, y, wanted).sum(dtype=np.float64))
        target = raw.take(rows, np.dtype("float64"))[1]
        if isinstance(run.loss, CrossEntropy):
            sums["model"] += _sums(y.argmax(-1), target, labels=True)
        else:
            y = y.astype(np.float64) if series.scaler is None else series.scaler.unscale_y(y)
            sums["model"] += _sums(y, target.reshape(y.shape), labels=False)
        for name, lag in lags.items():
            earlier, has = raw.earlier_targets(rows, lag)
            sums[name] += _sums(earlier[has], target[has], labels=series.labels)
    errors = {
        name: Errors(int(n), a / n, float("nan") if series.labels else (s / n) ** 0.5) if n else None
        for name, (n, a, s) in sums.items()
    }
    if errors["model"] is None:
        raise DataError(f"evaluate expects rows with a target, {series.name!r} has none")
    loss = loss_sum / errors["model"].rows
    return Evaluation(errors["model"], errors["persistence"], errors.get("seasonal"), loss)


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
    series = _seen_by(run, series)
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
    state = engine.from_numpy(tuple(initial_state(layer, 1, x.dtype) for layer in run.model.layers))
    y, state, _ = engine.forward(run.model, params, engine.from_numpy(x[:, None]), state)
    ahead = list(engine.to_numpy(y)[-series.horizon :])  # predictions of the next `horizon` rows, (1, F) each
    while len(ahead) < steps:
        x = engine.from_numpy(ahead[len(ahead) - series.horizon][None])
        y, state, _ = engine.forward(run.model, params, x, state)
        ahead.append(engine.to_numpy(y)[0])
    predicted = np.concatenate(ahead[:steps])
    return predicted if series.scaler is None else series.scaler.unscale_y(predicted)


class Stream:
    """One row in, one prediction out, the state kept in between.

    Args:
        run: a trained model.
        lanes: independent streams side by side, B.

    Attributes:
        state: what the model remembers, the backend's arrays; replace it to continue from elsewhere.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(100) / 5))
        >>> schedule = rk.Schedule(series, rk.Continuation(length=16), rk.Carry())
        >>> run = rk.fit(rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1)), schedule, backend="numpy", epochs=1)
        >>> stream = rk.Stream(run)
        >>> stream.step([[0.5]]).shape
        (1, 1)
    """

    def __init__(self, run: Run, lanes: int = 1) -> None:
        if lanes < 1:
            raise ModelError(f"Stream expects at least one lane, got lanes={lanes}")
        self.run, self.lanes = run, lanes
        self._shape, self._dtype = (lanes, run.model.inputs), np.dtype(run.dtype)
        params = run.backend.from_numpy(run.params)
        make = getattr(run.backend, "stepper", None) or partial(ForwardStepper, run.backend)
        self._stepper = make(run.model, params, lanes, self._initial_state())

    @property
    def state(self) -> State:
        """What the model remembers."""
        return self._stepper.state

    @state.setter
    def state(self, state: State) -> None:
        self._stepper.state = state

    def reset(self) -> None:
        """Start again from the initial state."""
        self.state = self._initial_state()

    def step(self, x: np.ndarray) -> np.ndarray:
        """Read one row a lane, `(B, F)`, in the data's own units, and predict `(B, O)` in those units.

        Raises:
            ModelError: another shape.
        """
        row, scaler = np.asarray(x, self._dtype), self.run.scaler
        if row.shape != self._shape:
            raise ModelError(f"Stream.step expects a row of shape {self._shape} (lanes, features), got {row.shape}")
        if scaler is None:
            return self._stepper.step(row)
        return scaler.unscale_y(self._stepper.step(scaler.scale_x(row).astype(self._dtype, copy=False)))

    def _initial_state(self) -> State:
        layers = self.run.model.layers
        return self.run.backend.from_numpy(tuple(initial_state(layer, self.lanes, self._dtype) for layer in layers))


class ForwardStepper:
    """A backend's `forward` as a stepper, for one that brings none: see `rnnkit.backend.Backend`."""

    def __init__(self, backend: Backend, model: Chain, params: Mapping[str, Any], lanes: int, state: State) -> None:
        self._backend, self._model, self._params = backend, model, params
        self.state = state

    def step(self, x: np.ndarray) -> np.ndarray:
        """One row of `lanes` lanes: `(B, I)` in, `(B, O)` out, NumPy arrays."""
        engine = self._backend
        y, self.state, _ = engine.forward(self._model, self._params, engine.from_numpy(x[None]), self.state)
        return engine.to_numpy(y)[0]


def _seen_by(run: Run, series: Sequence) -> Sequence:
    """The series scaled as the run was trained."""
    if run.model.inputs != series.features:
        raise ModelError(
            f"the model expects {run.model.inputs} features, but {series.name!r} has {series.features}; "
            f"open it with the columns that the run was trained on"
        )
    return series.with_scaler(run.scaler)


def _sums(predicted: np.ndarray, target: np.ndarray, labels: bool) -> np.ndarray:
    """Number of entries, sum of absolute and of squared errors; for labels, of wrong ones."""
    error = (predicted != target).astype(float) if labels else np.abs(predicted - target)
    per_row = error if error.ndim == 1 else error.mean(-1)
    squares = error**2 if error.ndim == 1 else (error**2).mean(-1)
    return np.array([len(error), per_row.sum(), squares.sum()])


def _targets_named(series: Sequence) -> str:
    if series.target_columns is None:
        return "given apart from its inputs"
    return f"its columns {series.target_columns}, {series.horizon} rows ahead"
