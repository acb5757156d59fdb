"""A run as files: what stands in which, and how they prove that they belong together.

`run.json` ends in `, "digest": "..."}`, the SHA-256 of the bytes before, and has that of the other two files under
`"files"`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.errors import SourceError
from rnnkit.files import held, write_whole
from rnnkit.model.plain import chain_to_plain, to_plain
from rnnkit.train.exchange import UNFINISHED, begin, finish, standing

if TYPE_CHECKING:
    from rnnkit.train.run import Run, Seen

DESCRIPTION, PARAMETERS, STATE = "run.json", "params.safetensors", "state.safetensors"
"""The files of a run folder: JSON, the parameters by their keys, and the state of lanes and optimizer."""

FILES = (DESCRIPTION, PARAMETERS, STATE)


def save(run: Run, folder: Path, overwrite: bool) -> Path:
    """Write a run into a folder; see `Run.save`."""
    who = "Run.save"
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{who} expects a folder that can be made, got {str(folder)!r}: {error.strerror}; name another"
        ) from error
    try:
        with held(folder, who):
            if not overwrite and standing(folder, DESCRIPTION).exists():
                raise SourceError(f"{who} found a run in {str(folder)!r}; name another folder, or say overwrite=True")
            try:
                write_run(run, begin(folder, FILES))
                finish(folder)
            except BaseException:
                rmtree(folder / UNFINISHED, ignore_errors=True)
                raise
    except OSError as error:
        if made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{who} expects a folder that can be written, got {str(folder)!r}: {error.strerror or error}; name another"
        ) from error
    return folder


def write_run(run: Run, folder: Path) -> None:
    """Write the files of a run into an empty folder.

    Raises:
        OSError: it cannot be written.
    """
    states = {
        f"{label}.{index}.{name}": array
        for label, state in (("state", run.state), ("store", run.store or ()))
        for index, entry in enumerate(state)
        for name, array in zip(getattr(entry, "_fields", ()), entry, strict=True)
    }
    slots = {
        f"rule.{slot}.{key}": array for slot, arrays in run.rule_state.slots.items() for key, array in arrays.items()
    }
    tensors = {PARAMETERS: _tensors(run.params), STATE: _tensors(states | slots)}
    for name, content in tensors.items():
        write_whole(folder / name, content)
    description = {
        "model": chain_to_plain(run.model),
        "loss": to_plain(run.loss),
        "backend": run.backend.name,
        "scaler": None if run.scaler is None else run.scaler.to_dict(),
        "horizon": run.horizon,
        "features": run.features,
        "targets": run.targets,
        "epoch": run.epoch,
        "updates": run.rule_state.step,
        "lag": dict(sorted(run.rule_state.lag.items())),
        "sets": {name: _plain_seen(seen) for name, seen in run.sets.items()},
        "skipped": run.skipped,
        "transfer": None if run.transfer is None else run.transfer.to_plain(),
        "typical": run.typical,
        "history": {
            "steps": {name: numbers.tolist() for name, numbers in run.history.steps.items()},
            "epochs": run.history.epochs,
        },
        "files": {name: digest(content) for name, content in tensors.items()},
    }
    write_whole(folder / DESCRIPTION, sealed(description))


def sealed(description: Mapping[str, Any]) -> bytes:
    """A description as JSON that ends in the digest of itself."""
    body = json.dumps(description).encode()[:-1]
    return body + _seal(body)


def is_whole(content: bytes) -> bool:
    """Whether JSON that ends in a digest is what was written."""
    body = content[: -len(_seal(b""))]
    return content == body + _seal(body)


def digest(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _seal(body: bytes) -> bytes:
    return f', "digest": "{digest(body)}"}}'.encode()


def _plain_seen(seen: Seen) -> dict[str, Any]:
    return seen._asdict() | {"scaler": None if seen.scaler is None else seen.scaler.to_dict()}


def _tensors(arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    # safetensors writes the bytes of an array as they lie in memory, whatever its strides
    return save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
