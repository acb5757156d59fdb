"""The run folder: what stands in it, when it may be used, and the config as it was trained."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rnnkit.cli.build import Experiment
from rnnkit.cli.config import LOSS_NAMES
from rnnkit.errors import SourceError
from rnnkit.train.history import History
from rnnkit.train.run import DESCRIPTION, PARAMETERS, STATE, write_whole

CONFIG, METRICS, LOSS, FORECAST = "config.toml", "metrics.jsonl", "loss.png", "forecast.png"
OURS = (CONFIG, METRICS, LOSS, FORECAST, DESCRIPTION, PARAMETERS, STATE)
"""What a run writes; nothing else in a folder is ever taken away."""


def check_free(folder: Path, overwrite: bool) -> None:
    """Check that a run may be written into a folder.

    Raises:
        SourceError: it is a file, it holds anything (without `overwrite`), or it holds no run of ours.
    """
    if folder.exists() and not folder.is_dir():
        raise SourceError(f"the run folder {str(folder)!r} is a file; name another folder with --out")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    ours = (folder / CONFIG).is_file() and ((folder / METRICS).is_file() or (folder / DESCRIPTION).is_file())
    if overwrite and not ours:
        raise SourceError(
            f"--overwrite replaces a run, but {str(folder)!r} holds other files and no {CONFIG} with "
            f"{METRICS}; name another folder with --out"
        )
    if not overwrite:
        advice = "name another with --out, or replace it with --overwrite" if ours else "name another with --out"
        raise SourceError(f"the run folder {str(folder)!r} is there already and not empty; {advice}")


def begin(folder: Path, experiment: Experiment) -> None:
    """Make the folder, take an old run's files out of it, and write the config."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        (folder / name).unlink(missing_ok=True)
    write_whole(folder / CONFIG, resolved(experiment, folder).encode())


def resolved(experiment: Experiment, folder: Path) -> str:
    """The config, overrides applied and defaults written out; its data path counts from the folder."""
    plain = experiment.config.model_dump(exclude_none=True)
    try:
        path = os.path.relpath(experiment.data_path.resolve(), folder.resolve())
    except ValueError:  # another drive
        path = str(experiment.data_path.resolve())
    plain["data"]["path"] = Path(path).as_posix()
    plain["train"]["loss"]["type"] = LOSS_NAMES[plain["train"]["loss"]["type"]]
    return to_toml(plain)


def add_metrics(folder: Path, history: History) -> None:
    """Append the last epoch's measures as a line of JSON."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(_metrics(history, len(history.epochs["loss"]) - 1))


def write_metrics(folder: Path, history: History) -> None:
    """Write every epoch's measures anew: Ctrl-C may have come between an epoch's end and its line."""
    lines = [_metrics(history, epoch) for epoch in range(len(history.epochs["loss"]))]
    write_whole(folder / METRICS, "".join(lines).encode())


def to_toml(plain: dict[str, Any]) -> str:
    """Nested dicts as TOML: a table for each at the top, inline tables below, `[[...]]` for lists of dicts."""
    lines = [f"{key} = {_inline(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for key, table in plain.items():
        if isinstance(table, dict):
            repeated = {name: rows for name, rows in table.items() if _is_tables(rows)}
            if len(repeated) < len(table):
                lines += ["", f"[{key}]"]
                lines += [f"{name} = {_inline(value)}" for name, value in table.items() if name not in repeated]
            for name, rows in repeated.items():
                for row in rows:
                    lines += ["", f"[[{key}.{name}]]", *(f"{k} = {_inline(v)}" for k, v in row.items())]
    return "\n".join(lines) + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _metrics(history: History, epoch: int) -> str:
    known = {name: values[epoch] for name, values in history.epochs.items() if epoch < len(values)}
    return json.dumps({"epoch": epoch} | known) + "\n"
