"""A finished (or interrupted) training run, as a value, and the folder that keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import Backend
from rnnkit.backend import backend as find_backend
from rnnkit.data import Standard
from rnnkit.errors import ModelError, SourceError, did_you_mean, listed
from rnnkit.model.heads import head_parameters, head_rule_state, state_of
from rnnkit.model.initialisers import zero_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import LOSSES, Loss
from rnnkit.model.plain import chain_from_plain, chain_to_plain, from_plain, to_plain
from rnnkit.model.rules import RuleState
from rnnkit.model.state import State
from rnnkit.train.history import History, Numbers
from rnnkit.train.transfer import Transfer

DESCRIPTION, PARAMETERS, STATE = "run.json", "params.safetensors", "state.safetensors"
"""The files of a run folder: JSON, the parameters by their keys, and the state of lanes and optimizer."""

NAMES = 8
"""Names that a message lists at most."""


class Seen(NamedTuple):
    """How a data set was seen in training.

    Attributes:
        scaler: how inputs and targets were scaled, or None.
        head: the output head that it trained, or None.
        horizon: rows between a row and its target.
        features, targets: what the file called its columns, or None for arrays.
    """

    scaler: Standard | None
    head: str | None
    horizon: int
    features: tuple[str, ...] | None
    targets: tuple[str, ...] | None


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
            `slots()`, of a curriculum those of its last turn; None where none are recorded.
        sets: by name, how each data set of a curriculum was seen; empty for one series. `scaler` is theirs where all
            share it, else None; `on` chooses one.
        skipped: by name, why data sets of a curriculum were left out.
        transfer: the errors on every data set at every stage, if they were measured.
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
    sets: dict[str, Seen] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    transfer: Transfer | None = None

    def on(self, name: str) -> Run:
        """The run as it is for one data set of its curriculum: with its scaler, and its head as the model's end.

        Recorded states, which are those of the data sets trained on last, are left out.

        Raises:
            ModelError: no such data set.
        """
        if name not in self.sets:
            known = ", ".join(self.sets) or "none: it was trained on one series"
            raise ModelError(f"the run has the data sets {known}; got {name!r}{did_you_mean(name, self.sets)}")
        seen, own = self.sets[name], {}
        if seen.head is not None:
            chain = self.model.head(seen.head)
            own = {
                "model": chain,
                "state": state_of(self.state, chain),
                "params": head_parameters(self.model, self.params, seen.head),
                "rule_state": head_rule_state(self.model, self.rule_state, seen.head),
            }
        return replace(
            self,
            **own,
            scaler=seen.scaler,
            horizon=seen.horizon,
            features=seen.features,
            targets=seen.targets,
            sets={},
            store=None,
        )

    def check_one(self, like: str = "") -> None:
        """That there is one way in which data are seen, one scaler and one head.

        Args:
            like: what the data are called, if they have a name.

        Raises:
            ModelError: the data sets that it was trained on have their own; `on` chooses one.
        """
        if self.model.heads or len({seen.scaler for seen in self.sets.values()}) > 1:
            names = listed(self.sets, NAMES, "in all")
            raise ModelError(
                f"the run was trained on the data sets {names}, which have scalers or heads of their own; say"
                f" which one {like or 'what it reads'} is like: "
                f"run.on({like if like in self.sets else next(iter(self.sets))!r})"
            )

    @property
    def dtype(self) -> str:
        """`"float32"` or `"float64"`."""
        return str(next(iter(self.params.values())).dtype)

    def __repr__(self) -> str:
        loss = f", loss {self.history.epochs['loss'][-1]:.6g}" if self.history.epochs["loss"] else ""
        return f"Run({self.model!r}, {type(self.loss).__name__}{loss}, {self.history!r}, backend {self.backend.name!r})"

    def in_units(self, y: np.ndarray) -> np.ndarray:
        """Outputs of the model `(..., O)` in the data's own units, float64; the entropies' logits as they are."""
        self.check_one()
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
            "lag": dict(self.rule_state.lag),
            "sets": {name: _plain_seen(seen) for name, seen in self.sets.items()},
            "skipped": self.skipped,
            "transfer": None if self.transfer is None else self.transfer.to_plain(),
            "history": {
                "steps": {name: numbers.tolist() for name, numbers in self.history.steps.items()},
                "epochs": self.history.epochs,
            },
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
    steps = {name: Numbers(numbers) for name, numbers in plain["history"]["steps"].items()}
    history = History(steps, plain["history"]["epochs"])
    return Run(
        model=model,
        params=params,
        state=tuple(_read_state(model, states, "state")),
        rule_state=RuleState(plain["updates"], slots, plain.get("lag", {})),
        history=history,
        scaler=None if plain["scaler"] is None else Standard.from_dict(plain["scaler"]),
        loss=from_plain(plain["loss"], LOSSES.values()),
        backend=find_backend(plain["backend"] if backend is None else backend),
        horizon=plain["horizon"],
        features=None if plain["features"] is None else tuple(plain["features"]),
        targets=None if plain["targets"] is None else tuple(plain["targets"]),
        epoch=plain["epoch"],
        store=tuple(_read_state(model, states, "store")) if any(name.startswith("store.") for name in states) else None,
        sets={name: _seen(values) for name, values in plain.get("sets", {}).items()},
        skipped=plain.get("skipped", {}),
        transfer=None if plain.get("transfer") is None else Transfer.from_plain(plain["transfer"]),
    )


def _plain_seen(seen: Seen) -> dict[str, Any]:
    return seen._asdict() | {"scaler": None if seen.scaler is None else seen.scaler.to_dict()}


def _seen(plain: dict[str, Any]) -> Seen:
    names = (None if plain[key] is None else tuple(plain[key]) for key in ("features", "targets"))
    scaler = None if plain["scaler"] is None else Standard.from_dict(plain["scaler"])
    return Seen(scaler, plain["head"], plain["horizon"], *names)


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
