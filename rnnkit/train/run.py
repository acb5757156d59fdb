"""A finished (or interrupted) training run, as a value, and the folder that keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.backend import Backend
from rnnkit.backend import backend as find_backend
from rnnkit.data import Standard
from rnnkit.errors import SourceError
from rnnkit.model.initialisers import zero_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import LOSSES, Loss
from rnnkit.model.plain import chain_from_plain, chain_to_plain, from_plain, to_plain
from rnnkit.model.rules import RuleState
from rnnkit.model.state import State
from rnnkit.train.history import History

DESCRIPTION, PARAMETERS, STATE = "run.json", "params.safetensors", "state.safetensors"
"""The files of a run folder: JSON, the parameters by their keys, and the state of lanes and optimizer."""


@dataclass(frozen=True)
class Run:
    """What `fit` returns: everything that prediction needs, and what happened.

    Attributes:
        model: the `Chain`.
        params: NumPy arrays; the best ones of an early-stopped run, else the last.
        state: of each lane after the last row of the last epoch, NumPy arrays `(B, H)`.
        rule_state: what the optimizer remembers after the last step, NumPy arrays.
        history: measures by step and by epoch.
        scaler: how inputs and targets were scaled, or None.
        loss: the loss trained on.
        backend: the backend that trained it, which prediction uses too.
        horizon: rows between a row and its target.
        features, targets: what the training file called its columns, or None for arrays.
        epoch: the epoch, from 0, that `params` are from; None before the first epoch ended.
        store: the recorded states after the last step, NumPy arrays `(M, H)`, a row for each slot of the schedule's
            `slots()`; None under a policy that records none.
    """

    model: Chain
    params: dict[str, np.ndarray]
    state: State
    rule_state: RuleState
    history: History
    scaler: Standard | None
    loss: Loss
    backend: Backend
    horizon: int
    features: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    epoch: int | None
    store: State | None = None

    @property
    def dtype(self) -> str:
        """`"float32"` or `"float64"`."""
        return str(next(iter(self.params.values())).dtype)

    def __repr__(self) -> str:
        loss = f", loss {self.history.epochs['loss'][-1]:.6g}" if self.history.epochs["loss"] else ""
        return f"Run({self.model!r}, {type(self.loss).__name__}{loss}, {self.history!r}, backend {self.backend.name!r})"

    def in_units(self, y: np.ndarray) -> np.ndarray:
        """Outputs of the model `(..., O)` in the data's own units, float64; the entropies' logits as they are."""
        numbers = np.asarray(y, np.float64)
        return numbers if self.scaler is None else self.scaler.unscale_y(numbers)

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the run into a folder, which is made if need be; each file appears whole or not at all.

        Parameters go to `params.safetensors`, the state of the lanes and of the optimizer to `state.safetensors`,
        everything else to `run.json`.

        Raises:
            SourceError: the folder holds a run already and `overwrite` is false, or cannot be written.
        """
        folder = Path(folder)
        if not overwrite and (folder / DESCRIPTION).exists():
            raise SourceError(f"Run.save found a run in {str(folder)!r}; name another folder, or say overwrite=True")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(
                f"Run.save expects a folder that can be made, got {str(folder)!r}: {error.strerror}; name another"
            ) from error
        states = {
            f"{label}.{index}.{name}": array
            for label, state in (("state", self.state), ("store", self.store or ()))
            for index, entry in enumerate(state)
            for name, array in zip(getattr(entry, "_fields", ()), entry, strict=True)
        }
        slots = {
            f"rule.{slot}.{key}": array
            for slot, arrays in self.rule_state.slots.items()
            for key, array in arrays.items()
        }
        description = {
            "model": chain_to_plain(self.model),
            "loss": to_plain(self.loss),
            "backend": self.backend.name,
            "scaler": None if self.scaler is None else self.scaler.to_dict(),
            "horizon": self.horizon,
            "features": self.features,
            "targets": self.targets,
            "epoch": self.epoch,
            "updates": self.rule_state.step,
            "history": {"steps": self.history.steps, "epochs": self.history.epochs},
        }
        _write_tensors(folder / PARAMETERS, self.params)
        _write_tensors(folder / STATE, states | slots)
        write_whole(folder / DESCRIPTION, json.dumps(description).encode())
        return folder


def load(folder: str | Path, backend: str | Backend | None = None) -> Run:
    """Read a run that `Run.save` wrote.

    Args:
        folder: the run folder.
        backend: another backend to predict with; by default the one that trained it.

    Raises:
        SourceError: the folder or one of its files is not there, or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    missing = [name for name in (DESCRIPTION, PARAMETERS, STATE) if not (folder / name).is_file()]
    if missing:
        raise SourceError(
            f"load expects a folder with {DESCRIPTION}, {PARAMETERS} and {STATE}, but {folder} has no "
            f"{' and no '.join(missing)}; give the folder of a run that has ended"
        )
    try:
        plain = json.loads((folder / DESCRIPTION).read_text())
        params, states = load_file(folder / PARAMETERS), load_file(folder / STATE)
        missing = {
            "model",
            "loss",
            "backend",
            "scaler",
            "horizon",
            "features",
            "targets",
            "epoch",
            "updates",
            "history",
        }
        missing -= set(plain)
        if missing:
            raise ValueError(f"{DESCRIPTION} has no {', '.join(sorted(missing))}")
    except (ValueError, TypeError, SafetensorError) as error:
        raise SourceError(f"load cannot read the run in {folder}: {error}; the files are damaged") from error
    model = chain_from_plain(plain["model"])
    slots: dict[str, dict[str, np.ndarray]] = {}
    for name, array in states.items():
        if name.startswith("rule."):
            _, slot, key = name.split(".", 2)
            slots.setdefault(slot, {})[key] = array
    history = History(**plain["history"])
    return Run(
        model=model,
        params=params,
        state=tuple(_read_state(model, states, "state")),
        rule_state=RuleState(plain["updates"], slots),
        history=history,
        scaler=None if plain["scaler"] is None else Standard.from_dict(plain["scaler"]),
        loss=from_plain(plain["loss"], LOSSES.values()),
        backend=find_backend(plain["backend"] if backend is None else backend),
        horizon=plain["horizon"],
        features=None if plain["features"] is None else tuple(plain["features"]),
        targets=None if plain["targets"] is None else tuple(plain["targets"]),
        epoch=plain["epoch"],
        store=tuple(_read_state(model, states, "store")) if any(name.startswith("store.") for name in states) else None,
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all: beside it first, then moved into place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, path)


def _write_tensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    # safetensors writes the bytes of an array as they lie in memory, whatever its strides
    write_whole(path, save({key: np.ascontiguousarray(array) for key, array in arrays.items()}))


def _read_state(model: Chain, states: dict[str, np.ndarray], label: str) -> Iterator[Any]:
    for index, layer in enumerate(model.layers):
        empty = zero_state(layer, 1, np.dtype("float32"))
        names = getattr(empty, "_fields", ())
        yield type(empty)(*(states[f"{label}.{index}.{name}"] for name in names)) if names else ()
