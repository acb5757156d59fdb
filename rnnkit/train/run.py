"""A finished (or interrupted) training run, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnkit.backend import CompleteBackend
from rnnkit.backend import backend as find_backend
from rnnkit.data import Standard
from rnnkit.data.typical import Typical
from rnnkit.errors import ModelError, did_you_mean, listed
from rnnkit.model.heads import head_parameters, head_rule_state, state_of
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss
from rnnkit.model.rules import RuleState
from rnnkit.model.state import State
from rnnkit.train.history import History
from rnnkit.train.saving import save
from rnnkit.train.transfer import Transfer

NAMES = 8
"""Names that a message lists at most."""


class Seen(NamedTuple):
    """How a data set was seen in training.

    Attributes:
        scaler: how inputs and targets were scaled, or None.
        head: the output head that it trained, or None.
        horizon: rows between a row and its target.
        features, targets: what the file called its columns, or None for arrays.
        typical: what the targets of its training part are like; None where that is not known.
    """

    scaler: Standard | None
    head: str | None
    horizon: int
    features: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    typical: Typical | None = None


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
        typical: what the training targets are like, their mean above all; of several data sets, of all together. None
            where that is not known.
    """

    model: Chain
    params: dict[str, np.ndarray]
    state: State
    rule_state: RuleState
    history: History
    scaler: Standard | None
    loss: Loss
    backend: CompleteBackend
    horizon: int
    features: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    epoch: int | None
    store: State | None = None
    sets: dict[str, Seen] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    transfer: Transfer | None = None
    typical: Typical | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", find_backend(self.backend))

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
            typical=seen.typical,
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
        """Write the run into a folder, which is made if need be: it appears there whole or not at all.

        Parameters go to `params.safetensors`, the state of the lanes and of the optimizer to `state.safetensors`,
        everything else to `run.json`, which proves that the three belong together. A process that is killed meanwhile
        leaves the run that was there; other files in the folder stay.

        Raises:
            SourceError: the folder holds a run already and `overwrite` is false, is in use by another process, or
                cannot be written; what it held is there still.
        """
        return save(self, Path(folder), overwrite)
