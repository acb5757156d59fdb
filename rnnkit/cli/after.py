"""`rnnkit predict`, `forecast` and `evaluate`: what a run folder is for."""

from __future__ import annotations

import re
from collections.abc import Sequence as Tokens
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from rnnkit.cli.build import open_parts, open_series
from rnnkit.cli.builder import load_backend
from rnnkit.cli.files import check_new, check_picture, save_picture, write_csv, writing
from rnnkit.cli.folder import CONFIG, write_evaluation
from rnnkit.cli.overrides import parse_overrides
from rnnkit.cli.read import Draft, read
from rnnkit.cli.report import error_table, say
from rnnkit.cli.report_many import errors_by_set
from rnnkit.cli.sets import alone, known_names, listed
from rnnkit.cli.train import evaluations, predicted_values
from rnnkit.data import Sequence
from rnnkit.data.times import write_times
from rnnkit.errors import ConfigError, DataError, SourceError, counted
from rnnkit.train import Evaluation, Forecast, Prediction, Run, forecast, load
from rnnkit.train.exchange import settle_held
from rnnkit.train.saving import DESCRIPTION
from rnnkit.train.targets import is_classification
from rnnkit.view.forecasts import plot_continuation

Part = Literal["test", "validation", "train", "all"]

NO_TARGET = "asked for as target"
"""What the message says of a file that has not the column of the target."""


def read_run(folder: Path, backend: str | None, tokens: Tokens[str], data_set: str | None = None) -> Draft:
    """The config of a run, with overrides.

    Args:
        folder: a run folder.
        backend: another backend than the one that trained it.
        tokens: overrides, such as `["--data.path", "new.csv"]`.
        data_set: which of many, whose config it is then; left out, the only one, or the draft is of all.

    Raises:
        SourceError: no run folder.
        ConfigError: overrides that are no options, or no such data set.
    """
    file = folder / CONFIG
    settle_held(folder, "the command")
    if not file.is_file():
        saved = (folder / DESCRIPTION).is_file()  # by `Run.save`, which knows of no data
        remedy = "read it in Python, with rk.load" if saved else "give the folder that `train` named"
        raise SourceError(f"found no run of `rnnkit train` in {str(folder)!r}: it has no {CONFIG}; {remedy}")
    tokens = [*([] if backend is None else ["--backend", backend, "--device", "none", "--threads", "none"]), *tokens]
    draft = read(file)
    if draft.many is None:
        if data_set is not None:
            raise ConfigError(f"the run in {str(folder)!r} was trained on one data set; leave --data-set out")
        return read(file, tokens)
    names = known_names(draft)
    if data_set is None and len(names) > 1:
        if any(override.path[0] == "data" and not _is_place(override.path) for override in parse_overrides(tokens)):
            raise ConfigError(
                f"the run in {str(folder)!r} was trained on {listed(names)}: say which of them the data are like, "
                f"for its scaler and head: --data-set {names[0]}"
            )
        return read(file, tokens)
    return alone(draft, data_set or names[0], tokens)


def _is_place(path: tuple[str | int, ...]) -> bool:
    """Whether a path leads to one of many data sets."""
    return len(path) > 1 and isinstance(path[1], int)


def of_one(draft: Draft) -> Draft:
    """A draft of one data set as it is.

    Raises:
        ConfigError: it is of many.
    """
    if draft.many is not None:
        names = known_names(draft)
        raise ConfigError(
            f"the run in {str(draft.file.parent)!r} was trained on {listed(names)}; choose one: --data-set {names[0]}"
        )
    return draft


def open_part(draft: Draft, part: Part) -> Sequence:
    """A part of a run's data, or all of them.

    Raises:
        ConfigError: data that are not where they were, or cannot be used.
        DataError: no such part.
    """
    if part == "all":
        return open_series(draft)
    parts = open_parts(draft).named
    if part not in parts:
        has = ", ".join(parts)
        raise DataError(f"the run in {str(draft.file.parent)!r} has no {part} part, only {has}; choose with --part")
    return parts[part]


def open_for(run: Run, draft: Draft, part: Part, console: Console) -> Sequence:
    """The data of a run, or new ones: the features that it was trained on, and the target where there is one.

    Raises:
        ConfigError, DataError: as `open_part`.
    """
    draft = _reading_features(run, draft)
    try:
        return open_part(draft, part)
    except ConfigError as error:
        if NO_TARGET not in str(error):
            raise
    series = open_part(_changed(draft, target=[]), part)
    say(console, f"{series.name} has no column of the target: predictions alone")
    return series


def _reading_features(run: Run, draft: Draft) -> Draft:
    """The draft, naming the features of the run where it leaves them to the file, which may have others now."""
    data = draft.config.data
    names = run.features or ()
    if data.features is not None or not names or all(name.isdigit() for name in names):  # columns of an array
        return draft
    return _changed(draft, features=list(names))


def _changed(draft: Draft, **changes: Any) -> Draft:
    """The draft with other settings of `[data]`."""
    data = draft.config.data.model_copy(update=changes)
    return replace(draft, config=draft.config.model_copy(update={"data": data}))


def write_predictions(draft: Draft, out: Path | None, part: Part, overwrite: bool, console: Console) -> int:
    """Write what is predicted for every row that has a target, or lies in the future, beside what was observed.

    Columns are `row`, `time` and `series` where the data have them, predicted, observed where they have the target, and
    `is_future`; `row` is the row that is predicted, `horizon` rows after the last one that the model has read. Where
    only the last row of a sample counts, there is a row a sample, with its id under `sample`.
    """
    file = draft.file.parent / f"predicted_{_label(of_one(draft))}{part}.csv" if out is None else out
    check_new(file, "--out", overwrite)
    run = load_run(draft)
    series = open_for(run, draft, part, console)
    predicted = predicted_values(run, series, draft.config.data.warm)
    if predicted.ends is not None:
        read_last, told, noun = predicted.ends, predicted.by_sample(), "sample"
    else:
        segments = np.concatenate([np.arange(s.start, s.stop) for s in series.segments])
        read_last, noun = np.union1d(segments, np.flatnonzero(predicted.is_future)), "row"
        told = predicted.at(read_last)
    columns = _columns("predicted", run, told.values)
    if series.outputs:
        observed = series.with_scaler(None).take(read_last, np.dtype("float64"))[1].reshape(len(read_last), -1)
        columns |= _columns("observed", run, np.where(told.is_future[:, None], np.nan, observed))
    write_csv(
        file, _places(told, "series" if noun == "row" else noun) | columns | {"is_future": told.is_future.astype(int)}
    )
    ahead = int(told.is_future.sum())
    future = f", {ahead:,} of them in the future (is_future = 1)," if ahead else ""
    say(console, f"predictions of {counted(len(told), noun)} of the part {part!r}{future} are in {file}")
    return 0


def write_forecast(
    draft: Draft, steps: int, out: Path | None, picture: Path | None, overwrite: bool, console: Console
) -> int:
    """Write the rows after the last one, predictions fed back in, with `row`, and `time` and `series` where known."""
    file = draft.file.parent / f"forecast_{_label(of_one(draft))}{steps}.csv" if out is None else out
    check_new(file, "--out", overwrite)
    if picture is not None:
        check_picture(picture, overwrite)
    run = load_run(draft)
    series = open_for(run, draft, "all", console)
    ahead = forecast(run, series, steps, warm=draft.config.data.warm)
    write_csv(file, _places(ahead) | _columns("predicted", run, ahead.values))
    say(console, f"{_told(ahead)} are in {file}")
    if picture is not None:
        save_picture(plot_continuation(series, ahead), picture)
        say(console, f"they are drawn in {picture}")
    return 0


def print_evaluation(draft: Draft, part: Part | None, out: Path | None, overwrite: bool, console: Console) -> int:
    """Print the errors of a run beside the naive ones, and write them where a file is named."""
    if out is not None:
        check_new(out, "--out", overwrite)
    run = load(draft.file.parent, load_backend(draft.config))
    if draft.many is None:
        written = found = _evaluated(_seen_as(draft, run), draft, part)
        table = error_table(found, is_classification(run.loss))
    else:
        written = {name: _evaluated(run.on(name), alone(draft, name), part) for name in run.sets}
        table = errors_by_set(written, is_classification(run.loss))
    console.print(table)
    if out is not None:
        with writing(out):
            write_evaluation(out, written)
        say(console, f"they are in {out}")
    return 0


def _evaluated(run: Run, draft: Draft, part: Part | None) -> dict[str, Evaluation]:
    draft = _reading_features(run, draft)
    try:
        parts = open_parts(draft).named if part is None else {part: open_part(draft, part)}
    except ConfigError as error:
        if NO_TARGET not in str(error):
            raise
        raise ConfigError(f"{error}; evaluate compares with the target: name another, or use rnnkit predict") from error
    data = draft.config.data
    return evaluations(run, parts, data.period, data.baseline, data.warm)


def load_run(draft: Draft) -> Run:
    return _seen_as(draft, load(draft.file.parent, load_backend(draft.config)))


def _seen_as(draft: Draft, run: Run) -> Run:
    """The run as it is for the data set of a draft, where it was trained on many."""
    return run if draft.data_set is None else run.on(draft.data_set)


def _label(draft: Draft) -> str:
    """What tells the files of one of many data sets from those of the others."""
    if draft.data_set is None:
        return ""
    return re.sub(r"[^\w.-]", "_", draft.data_set) + "_"


def _places(predicted: Prediction, group: str = "series") -> dict[str, np.ndarray]:
    """The columns that say of what something is a prediction."""
    times = predicted.times
    if times is not None:
        whole = times.dtype.kind == "f" and bool((np.abs(times) < 2**53).all() and (times == np.floor(times)).all())
        times = write_times(times.astype(np.int64) if whole else times, predicted.zone)
    known = {"row": predicted.rows, "time": times, group: predicted.series}
    return {name: values for name, values in known.items() if values is not None}


def _told(ahead: Forecast) -> str:
    """Which rows a forecast holds, in words."""
    of = "" if ahead.series is None else f" of the series {ahead.series[0]!r}"
    when = "" if ahead.times is None else ", {} to {},".format(*write_times(ahead.times[[0, -1]], ahead.zone))
    return f"{counted(len(ahead), 'row')}{of} from row {ahead.rows[0]:,} on{when}"


def _columns(what: str, run: Run, values: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of `(n, O)` under names: `what` alone for one, else with the targets' names."""
    count = values.shape[1]
    if count == 1:
        return {what: values[:, 0]}
    names = run.targets if len(run.targets or ()) == count else range(count)
    return {f"{what}_{name}": values[:, index] for index, name in enumerate(names or ())}
