"""Predictions and forecasts of a trained model."""

from __future__ import annotations

import numpy as np

from rnnkit.checks import check_count
from rnnkit.data import Sequence, Standard
from rnnkit.errors import DataError, ModelError, counted, listed
from rnnkit.model.losses import CrossEntropy
from rnnkit.train.labels import labels_after, labels_ahead, last_segment
from rnnkit.train.passes import WARM_ROWS, outputs, read_through
from rnnkit.train.prediction import Forecast, Prediction
from rnnkit.train.run import Run


@np.errstate(all="ignore")  # what is not finite shows in the values
def predict(run: Run, series: Sequence, *, warm: int = WARM_ROWS) -> Prediction:
    """Predict the target of every row, state carried within each run of rows.

    Args:
        run: a trained model.
        series: a sequence in the data's own units; it is scaled, and the predictions unscaled, as the run says. It
            needs no targets: `Sequence.open("new.csv", features=[...], target=[])`.
        warm: rows before each part that warm the state, where the source has them; 0 starts cold.

    Returns:
        A `Prediction`, which goes where an array goes: `(N, O)` float64, a row for each row of the source; `[t]` is the
        prediction made after row t was read, for row t + horizon. NaN where the series has no rows (outside its part,
        or where values are missing). The last `horizon` rows, whose targets lie in the future, are predicted too, and
        marked. Logits for the cross-entropies.

    Raises:
        ModelError: a feature count that does not fit the model.
    """
    series = seen_by("predict", run, series)
    predicted = np.full((series.rows, run.model.outputs), np.nan)
    for rows, y in outputs(run.backend, run.model, run.backend.from_numpy(run.params), series, warm):
        gapless = len(rows) and rows[-1] - rows[0] == len(rows) - 1  # they increase
        predicted[slice(rows[0], rows[-1] + 1) if gapless else rows] = run.in_units(y)
    return Prediction(predicted, _axes(run), **labels_after(series))


@np.errstate(all="ignore")
def forecast(
    run: Run, series: Sequence, steps: int, *, only: str | int | None = None, warm: int = WARM_ROWS
) -> Forecast:
    """Continue a series by feeding predictions back in (closed loop).

    It starts after the last row of the series that can be read and whose target is known; where rows follow that one,
    because the newest values are missing, a warning says so.

    Args:
        run: a model trained to predict all columns of its input, `horizon` rows ahead.
        series: in the data's own units; the forecast continues its last run of rows.
        steps: rows to forecast.
        only: of a table of several series, the id of the one to continue; left out, the last one, with a warning.
        warm: rows at the end of the series that the state is warmed over.

    Returns:
        A `Forecast`, which goes where an array goes: `(steps, F)`, the rows after the last one, in the data's own
        units, with their `rows`, `times` and `series`. The first `horizon` of them are predictions from real rows
        alone.

    Raises:
        ModelError: a model that does not predict its own inputs.
        DataError: fewer than one step, a series shorter than its horizon, or no such series.
    """
    series = seen_by("forecast", run, series, ahead=True)
    check_count("forecast", "steps", steps, 1, DataError)
    check_count("forecast", "warm", warm, 0, DataError)
    if not _predicts_inputs(run, series) or series.horizon < 1:
        raise ModelError(
            f"forecast expects a model that predicts all {counted(series.features, 'input column')} at least one row "
            "ahead, "
            f"but the targets of {series.name!r} are {_targets_named(series)}; train with every feature as target"
        )
    segment = last_segment("forecast", series, only)
    engine, params, horizon = run.backend, run.backend.from_numpy(run.params), series.horizon
    _, start, stop = (int(v) for v in series.runs[segment])
    state, y = read_through(engine, run.model, params, series, max(stop - max(warm, horizon), start), stop, horizon)
    ahead = list(y[:, None])  # predictions of the next `horizon` rows, (1, F) each
    while len(ahead) < steps:
        x = engine.from_numpy(_as_inputs(run.scaler, ahead[len(ahead) - horizon])[None])
        y, state, _ = engine.forward(run.model, params, x, state)
        ahead.append(engine.to_numpy(y)[0])
    values = run.in_units(np.concatenate(ahead[:steps]))
    return Forecast(values, _axes(run), **labels_ahead(series, segment, steps))


def _as_inputs(scaler: Standard | None, y: np.ndarray) -> np.ndarray:
    """Outputs `(1, F)` that are to be read as inputs, which may be scaled in another way."""
    if scaler is None or (scaler.x_mean, scaler.x_std) == (scaler.y_mean, scaler.y_std):
        return y
    return scaler.scale_x(scaler.unscale_y(np.asarray(y, np.float64))).astype(y.dtype)


def seen_by(who: str, run: Run, series: Sequence, ahead: bool = False) -> Sequence:
    """The series scaled as the run was trained, if it has the same columns (and, with `ahead`, the same horizon)."""
    if not isinstance(run, Run) or not isinstance(series, Sequence):
        raise ModelError(
            f"{who} expects a Run and a Sequence, got {type(run).__name__} and {type(series).__name__}; "
            f"train one with rk.fit(...), and wrap values: rk.Sequence(values)"
        )
    run.check_one(series.name)
    if not series.outputs:
        series = series.with_horizon(run.horizon)
    for what, trained, given in (
        ("features", run.features, series.feature_names),
        ("targets", run.targets, series.target_names if ahead else None),
    ):
        if trained is not None and given is not None and trained != given:
            raise ModelError(f"{who}: {columns_differ(what, trained, given, series.name)}")
    if ahead and series.horizon != run.horizon:
        raise ModelError(
            f"the run was trained to predict {counted(run.horizon, 'row')} ahead, but {series.name!r} has "
            f"horizon={series.horizon}; open it with horizon={run.horizon}"
        )
    if run.model.inputs != series.features:
        raise ModelError(
            f"the model expects {counted(run.model.inputs, 'feature')}, but {series.name!r} has {series.features}; "
            f"open it with the columns that the run was trained on"
        )
    return series.with_scaler(None if run.scaler is None else run.scaler if ahead else run.scaler.of_inputs())


def _predicts_inputs(run: Run, series: Sequence) -> bool:
    """Whether what is predicted can be fed back in: all columns of x, as far as a series without targets shows."""
    if series.outputs:
        return series.target_columns == tuple(range(series.features))
    scaler = run.scaler
    scaled_alike = scaler is None or (scaler.x_mean, scaler.x_std) == (scaler.y_mean, scaler.y_std)
    return run.features == run.targets and run.model.outputs == series.features and scaled_alike


def columns_differ(what: str, trained: tuple[str, ...], given: tuple[str, ...], name: str) -> str:
    """What to say of columns that are not those a run was trained on, or in another order."""
    missing, more = ([c for c in a if c not in b] for a, b in ((trained, given), (given, trained)))
    if missing:
        also = f" and has {listed(more, 6, 'more')} instead" if more else ""
        advice = f"{name!r} lacks {listed(missing, 6, 'missing')}{also}; open it with the same columns"
    elif more:
        advice = f"{name!r} has {listed(more, 6, 'more')}, too; leave out what is too much"
    else:
        advice = f"{name!r} has them in another order ({listed(given, 12, what)}); give them in that of the run"
    return f"the run was trained on the {what} {listed(trained, 12, what)}, but {advice}"


def _targets_named(series: Sequence) -> str:
    if not series.outputs:
        return "others in its training"
    if series.target_columns is None:
        return "given apart from its inputs"
    chosen = series.target_names or tuple(map(str, series.target_columns))
    return f"its columns {listed(chosen, 12, 'targets')}, {counted(series.horizon, 'row')} ahead"


def _axes(run: Run) -> tuple[str, ...]:
    return ("rows", "levels" if isinstance(run.loss, CrossEntropy) else "targets")
