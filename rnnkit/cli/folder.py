"""The run folder: what stands in it, and the config as it was trained."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.cli.config import LOSS_NAMES
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.files import write_csv
from rnnkit.cli.toml import to_toml
from rnnkit.errors import SourceError
from rnnkit.files import write_whole
from rnnkit.train import Evaluation, History, Transfer
from rnnkit.train.saving import DESCRIPTION, PARAMETERS, STATE

CONFIG, METRICS, LOSS, FORECAST = "config.toml", "metrics.jsonl", "loss.png", "forecast.png"
EVALUATION, TRANSFER, MATRIX = "evaluation.json", "transfer.csv", "transfer.png"
OURS = (CONFIG, METRICS, LOSS, FORECAST, EVALUATION, TRANSFER, MATRIX, DESCRIPTION, PARAMETERS, STATE)
"""What a run writes; nothing else in a folder is ever taken away."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the system says against a run folder into an error that tells what to do."""
    try:
        yield
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(
            f"train expects a run folder that can be written, got {str(folder)!r}: {error.strerror or error}; "
            f"name another with --out"
        ) from error


def write_config(unfinished: Path, folder: Path, experiment: Experiment) -> None:
    """Write the config of a run that is going to stand in a folder into the one where it is unfinished."""
    with writing(folder):
        write_whole(unfinished / CONFIG, resolved(experiment, folder).encode())


def resolved(experiment: Experiment, folder: Path) -> str:
    """The config, overrides applied and defaults written out; its data paths count from the folder."""
    if experiment.entries:
        plain = _plain_many(experiment, folder)
    else:
        plain = experiment.config.model_dump(exclude_none=True)
        plain["data"] = {"path": ""} | plain["data"] | {"path": _path_from(folder, experiment.path)}
    plain["out"] = folder.as_posix()
    plain["train"]["loss"]["type"] = LOSS_NAMES[plain["train"]["loss"]["type"]]
    if not plain["train"]["frozen"]:
        del plain["train"]["frozen"]
    return to_toml(plain)


def _plain_many(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """A data set a table, globs taken apart; what is the same for all stands in `[common]`."""
    config = experiment.config
    plain = config.model_dump(exclude_none=True)
    plain["train"]["epochs"] = experiment.epochs
    plain["data"] = [
        {"name": entry.name, "path": _path_from(folder, entry.path)}
        | ({} if entry.only is None else {"only": entry.only})
        | {key: value for key, value in config.data[entry.place].model_dump(exclude_none=True).items() if key in rest}
        for entry in experiment.entries
        for rest in [entry.own - {"name", "path", "each", *(("only",) if entry.only else ())}]
    ]
    for phase, built in zip(plain["curriculum"]["phases"], experiment.schedule.phases, strict=True):
        if built.names is not None:
            phase["names"] = list(built.names)
    heads = plain["model"]["heads"]
    heads |= {name: {"layers": head["layers"]} for name, head in heads.items() if "layers" in head}
    for table, key in (("curriculum", "phases"), ("model", "heads")):
        if not plain[table][key]:
            del plain[table][key]
    return plain


def _path_from(folder: Path, file: Path) -> str:
    """A file as seen from a folder."""
    try:
        path = os.path.relpath(file.resolve(), folder.resolve())
    except ValueError:  # another drive
        path = str(file.resolve())
    return Path(path).as_posix()


def add_metrics(folder: Path, history: History) -> None:
    """Append the last epoch's measures as a line of JSON; epochs count from 1."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(_metrics(history, len(history.epochs["loss"]) - 1))


def write_metrics(folder: Path, history: History) -> None:
    """Write every epoch's measures anew: Ctrl-C may have come between an epoch's end and its line."""
    lines = [_metrics(history, epoch) for epoch in range(len(history.epochs["loss"]))]
    write_whole(folder / METRICS, "".join(lines).encode())


def write_evaluation(file: Path, evaluations: Mapping[str, Any]) -> None:
    """Write errors by part (of many data sets: by data set and part) and by prediction as JSON.

    They are in the data's own units; labels have no RMSE.
    """
    write_whole(file, (json.dumps(_plain(evaluations), indent=2) + "\n").encode())


def _plain(found: Mapping[str, Any] | Evaluation) -> dict[str, Any]:
    return dict(_errors(found)) if isinstance(found, Evaluation) else {key: _plain(e) for key, e in found.items()}


def write_transfer(file: Path, transfer: Transfer) -> None:
    """Write a transfer matrix: a row a stage, which data sets were trained on in it, and the error on each."""
    columns = {"stage": np.array(transfer.stages)}
    columns["trained"] = np.array([" + ".join(np.array(transfer.names)[marks]) for marks in transfer.trained])
    write_csv(file, columns | dict(zip(transfer.names, transfer.errors.T, strict=True)))


def _errors(found: Evaluation) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, errors in {"model": found.model, **found.naive}.items():
        rmse = None if math.isnan(errors.rmse) else errors.rmse
        yield name.replace(" ", "_"), {"mae": errors.mae, "rmse": rmse, "rows": errors.rows}


def _metrics(history: History, epoch: int) -> str:
    known = {name: values[epoch] for name, values in history.epochs.items() if epoch < len(values)}
    known = {name: value for name, value in known.items() if not math.isnan(value)}  # not trained on in this epoch
    return json.dumps({"epoch": epoch + 1} | known) + "\n"
