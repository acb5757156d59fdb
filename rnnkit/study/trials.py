"""What a study is made of: what its trials have in common, and each of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np

from rnnkit.checks import check_count
from rnnkit.data import Sequence
from rnnkit.data.source import SLICE
from rnnkit.errors import ConfigError, ModelError
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss
from rnnkit.model.rules import Clip, Rule
from rnnkit.schedule import Schedule, Splitter, StatePolicy
from rnnkit.schedule.brief import brief
from rnnkit.study.equal import Equal
from rnnkit.train.baselines import Baseline
from rnnkit.train.learning_rates import LearningRate
from rnnkit.train.targets import as_trained, check_logits, check_range

FORMAT = 1
"""Counted up when a trial is trained or measured in another way, so that no older result stands for a newer one."""

Parts = tuple[Sequence, Sequence | None, Sequence | None]
"""Training, validation and test part, as `Sequence.split` gives them."""


@dataclass(frozen=True)
class Study:
    """What all trials have in common: data, model, how long and how they are trained, what is measured.

    Attributes:
        model: the `Chain`.
        parts: training part (which carries the scaler), validation and test part or None.
        equal: how long each trial is trained.
        rule, loss, dtype, clip, learning_rate: as for `fit`.
        warm: rows before the validation and test part that warm their state.
        period: rows of a season, as for `evaluate`.
        baseline: the column that the targets are the future of, as for `evaluate`.
        bias: whether the bias of each trial's gradient is measured.
        remat: as for `fit`.
    """

    model: Chain
    parts: Parts
    equal: Equal
    rule: Rule
    loss: Loss
    dtype: str
    clip: Clip | None
    learning_rate: LearningRate
    warm: int
    period: int | None
    bias: bool
    remat: int | Literal["sqrt"] | None = None
    baseline: Baseline = None

    def check(self, in_range: bool = True) -> None:
        """Check what would fail in every trial.

        Args:
            in_range: whether the range of the model's last activation is held against the training targets, too.

        Raises:
            ModelError: a model or loss that does not fit the parts.
            ConfigError: parts that are none, nothing to choose by, or a learning rate that cannot move alike in all
                trials.
        """
        if not isinstance(self.parts, tuple) or len(self.parts) != 3 or not isinstance(self.parts[0], Sequence):
            raise ConfigError(
                f"compare expects parts as series.split(0.7, 0.15) gives them: training, validation, test; "
                f"got {self.parts!r}"
            )
        if self.parts[1] is None and self.parts[2] is not None:
            raise ConfigError(
                "compare expects a validation part to choose by, got a test part alone: the test error of what was "
                "chosen by it flatters; use both, series.split(0.7, 0.15), or [data] validation = 0.15"
            )
        if not isinstance(self.model, Chain):
            raise ModelError(f"compare expects a Chain first, got {self.model!r}; write rk.Chain(rk.LSTM(1, 10), ...)")
        check_count("compare", "warm", self.warm, 0, ConfigError)
        if not isinstance(self.equal, Equal):
            raise ConfigError(f"compare expects equal to be an Equal, got {self.equal!r}; write rk.Equal(rows=100_000)")
        for part in self.parts:
            if part is not None:
                as_trained(self.model, part, self.loss)
        check_logits(self.model, self.loss)
        if in_range:
            check_range(self.model, as_trained(self.model, self.parts[0], self.loss), self.loss)
        self.equal.check_rate(self.learning_rate)

    def fingerprint(self) -> str:
        """A digest of everything here, the rows of the parts included; where they come from does not count."""
        from importlib.metadata import version

        settings = {field.name: plain(getattr(self, field.name)) for field in fields(self) if field.name != "parts"}
        parts = [None if part is None else rows_digest(part, self.warm) for part in self.parts]
        return digest_of({**settings, "parts": parts, "format": FORMAT, "version": version("rnnkit")})


@dataclass(frozen=True)
class Trial:
    """One training of a study: a place in the grid.

    Attributes:
        splitter, policy: the schedule's.
        backend: the name of a backend.
        seed: of the first parameters and of shuffled windows.
    """

    splitter: Splitter
    policy: StatePolicy
    backend: str
    seed: int

    def schedule(self, series: Sequence) -> Schedule:
        """The schedule of this trial.

        Raises:
            ScheduleError: a splitter that does not fit, or (`ContinuityError`) state that cannot be carried.
        """
        return Schedule(series, self.splitter, self.policy, self.seed)

    def named(self) -> dict[str, Any]:
        """The first columns of its row."""
        return {
            "splitter": brief(self.splitter),
            "policy": brief(self.policy),
            "backend": self.backend,
            "seed": self.seed,
        }

    def digest(self, study: str) -> str:
        """What its results are kept under: a digest of the study's fingerprint and of this place."""
        return digest_of({"study": study, "cell": plain(self)})  # the word of results that are kept already


def plain(value: Any) -> Any:
    """A description as plain values for a digest: every field, defaults included; arrays by their own digest."""
    if is_dataclass(value):
        return {
            "type": type(value).__name__,
            **{field.name: plain(getattr(value, field.name)) for field in fields(value)},
        }
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.blake2b(value.tobytes()).hexdigest()]
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def digest_of(plain: Any) -> str:
    """A digest of plain values, the same in every process."""
    return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=10).hexdigest()


def rows_digest(series: Sequence, warm: int) -> str:
    """A digest of the rows of a part and of those that warm it, of its targets, its segments and its scaler."""
    found = hashlib.blake2b(digest_size=16)
    about = (series.horizon, series.labels, series.target_columns, repr(series.scaler), series.runs.tolist())
    found.update(repr(about).encode())
    raw = series.with_scaler(None)
    for before, start, stop in series.runs.tolist():
        for first in range(max(before, start - warm), stop, SLICE):
            last = min(first + SLICE, stop)
            found.update(raw.read_x(first, last, np.float64).tobytes())
            if series.target_columns is None:
                found.update(raw.read_y(first, last, np.float64).tobytes())
    return found.hexdigest()
