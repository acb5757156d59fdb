"""Everything that a config describes, as objects of the core: one data set is a list of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

from rnnkit.cli.sets import Entry
from rnnkit.data import Sequence
from rnnkit.model import Chain, Loss
from rnnkit.schedule import Curriculum, Schedule
from rnnkit.train.baselines import Baseline
from rnnkit.train.stages import Every


class Parts(NamedTuple):
    """A series and its parts: None for a part that has no rows.

    Attributes:
        series: the whole series, in the data's own units.
        training, validation, test: its parts, seen through the scaler of the config.
    """

    series: Sequence
    training: Sequence
    validation: Sequence | None
    test: Sequence | None

    @property
    def named(self) -> dict[str, Sequence]:
        """The parts that have rows, by name."""
        named = {"train": self.training, "validation": self.validation, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


@dataclass(frozen=True)
class Experiment:
    """Everything that a config describes.

    Attributes:
        config: a `Config`, or a `ManyConfig`.
        model: the chain, its sizes filled in.
        loss: the loss.
        schedule: a `Schedule` over the training part of a `[data]` table, or a `Curriculum` over those of `[[data]]`.
        path: the data file of `[data]`.
        opened: the series of `[data]` and its parts; None for `[[data]]`, which are opened when their turn comes.
        entries: the data sets of `[[data]]`, with their files.
    """

    config: Any
    model: Chain
    loss: Loss
    schedule: Schedule | Curriculum
    path: Path = Path()
    opened: Parts | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of its data sets; that of the one of a `[data]` table is empty."""
        return self.schedule.sets or ("",)

    @property
    def data(self) -> Parts:
        """The series of `[data]` and its parts."""
        assert self.opened is not None  # a command that takes one data set has asked for one
        return self.opened

    @property
    def alone(self) -> Schedule:
        """The schedule over the one data set of `[data]`."""
        return cast(Schedule, self.schedule)

    @property
    def curriculum(self) -> Curriculum:
        """The schedule over the data sets of `[[data]]`."""
        return cast(Curriculum, self.schedule)

    @property
    def epochs(self) -> int:
        """How many epochs it is trained for."""
        return self.schedule.epochs or self.config.train.epochs

    @property
    def warm(self) -> int:
        """Rows before a part that warm the state."""
        return (self.config.common if self.entries else self.config.data).warm

    @property
    def validation(self) -> Sequence | None:
        """The validation part of `[data]`; the data sets of `[[data]]` have their own."""
        return None if self.opened is None else self.opened.validation

    @property
    def transfer(self) -> Every | None:
        """When the errors on every data set of `[[data]]` are measured."""
        return self.config.curriculum.transfer if self.entries else None

    def parts(self, name: str = "") -> dict[str, Sequence]:
        """The parts of a data set that have rows, opened now where they are not open."""
        opened: Any = self.opened or self.curriculum.open(name)
        named = {"train": opened.training, "validation": opened.validation, "test": opened.test}
        return {part: rows for part, rows in named.items() if rows is not None}

    def period(self, name: str = "") -> int | None:
        """Rows of a season of a data set."""
        return self._table(name).period

    def baseline(self, name: str = "") -> Baseline:
        """The column that the targets of a data set are the future of."""
        return self._table(name).baseline

    def _table(self, name: str) -> Any:
        """The table of a data set."""
        return self._by_name[name].table if self.entries else self.config.data

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries}
