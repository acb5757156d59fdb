"""How `fit` is told to train, checked before anything else happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.errors import ModelError, ScheduleError
from rnnkit.model.initialisers import DTYPES, check_memory
from rnnkit.model.layers import Chain
from rnnkit.model.rules import Clip, Rule, slot_names
from rnnkit.schedule import Curriculum, Schedule
from rnnkit.train.learning_rates import LearningRate
from rnnkit.train.stages import EVERY, Every
from rnnkit.train.stopping import EarlyStopping


def check_schedule(schedule: Any) -> None:
    """Check that what `fit` is to train on says so turn by turn.

    Raises:
        ScheduleError: what is neither a Schedule nor a Curriculum.
    """
    if not isinstance(schedule, Schedule | Curriculum):
        raise ScheduleError(
            f"fit expects a Schedule or a Curriculum, got {type(schedule).__name__}; write "
            f"rk.Schedule(series, rk.Continuation(length=64), rk.Carry())"
        )


@dataclass(frozen=True)
class Settings:
    """How `fit` is told to train, beside what is trained and on what; as for `fit`."""

    rule: Rule
    clip: Clip | None
    remat: int | Literal["sqrt"] | None
    dtype: str
    epochs: int
    seed: int
    frozen: str | tuple[str, ...]
    learning_rate: LearningRate
    validation: Sequence | None
    warm: int
    early_stopping: EarlyStopping | None
    block_rows: int
    transfer: Every | None
    check_range: bool

    def check(self, model: Any, schedule: Schedule | Curriculum) -> None:
        """Check that every setting is of its kind, before anything else happens.

        Raises:
            ModelError: one that is not, such as a number for a description, or a model that does not fit into memory.
        """
        dtype, meant = self.dtype, 64 if "64" in str(self.dtype) else 32
        for fits, name, wanted, got, remedy in (
            (isinstance(model, Chain), "model", "a Chain", model, "rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1))"),
            self._is("validation", Sequence | None, "a Sequence", "rk.Sequence(values)"),
            self._counts("epochs", 1, "a whole number >= 1", "epochs=10"),
            self._is("rule", Rule, "an optimizer", "rule=rk.Adam(1e-3)"),
            self._is("clip", Clip | None, "ClipNorm, ClipValue or None", "clip=rk.ClipNorm(1.0)"),
            (
                dtype in DTYPES,
                "dtype",
                "'float32' or 'float64'",
                dtype,
                f"dtype='float{meant}'",
            ),
            (
                hasattr(self.learning_rate, "factors") and not isinstance(self.learning_rate, type),
                "learning_rate",
                "a schedule of rates",
                self.learning_rate,
                "rule=rk.Adam(1e-3) for the rate, and learning_rate=rk.Cosine() for how it moves",
            ),
            self._is(
                "early_stopping",
                EarlyStopping | None,
                "EarlyStopping or None",
                "early_stopping=rk.EarlyStopping(patience=5)",
            ),
            self._counts("warm", 0, "a number of rows >= 0", "warm=1024"),
            self._counts("block_rows", 1, "a number of rows >= 1", "block_rows=65_536"),
            (
                self.remat in (None, "sqrt") or (is_whole(self.remat) and int(self.remat) >= 1),
                "remat",
                "a number of rows >= 1, 'sqrt' or None",
                self.remat,
                'remat="sqrt"',
            ),
            (
                self.transfer is None or (self.transfer in EVERY and bool(schedule.sets)),
                "transfer",
                "'turn', 'phase', 'epoch' or None, with a Curriculum",
                self.transfer,
                "transfer='epoch'",
            ),
            self._counts("seed", 0, "a whole number >= 0", "seed=0"),
            self._is("check_range", bool | np.bool_, "True or False", "check_range=False"),
        ):
            if not fits:
                raise ModelError(f"fit expects {name} to be {wanted}, got {got!r}; write {remedy}")
        check_memory(model, dtype, 2 + len(slot_names(self.rule)))

    def _is(self, name: str, kind: Any, wanted: str, remedy: str) -> tuple[bool, str, str, Any, str]:
        """Whether a setting is of a kind, and what is said of one that is not."""
        got = getattr(self, name)
        return isinstance(got, kind), name, wanted, got, remedy

    def _counts(self, name: str, least: int, wanted: str, remedy: str) -> tuple[bool, str, str, Any, str]:
        """Whether a setting is a whole number of at least so much, and what is said of one that is not."""
        got = getattr(self, name)
        return is_whole(got) and got >= least, name, wanted, got, remedy
