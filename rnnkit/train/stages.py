"""The errors on every data set, measured while training goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from rnnkit.backend import Carried
from rnnkit.train.course import Course
from rnnkit.train.fold import Fold
from rnnkit.train.passes import mean_loss
from rnnkit.train.transfer import Transfer

Every = Literal["turn", "phase", "epoch"]
EVERY: tuple[str, ...] = get_args(Every)


@dataclass
class Stages:
    """The measurements so far."""

    course: Course
    fold: Fold
    every: Every
    warm: int
    skipped: dict[str, str]
    labels: list[str] = field(default_factory=list)
    trained: list[set[str]] = field(default_factory=list)
    errors: list[list[float]] = field(default_factory=list)
    since: set[str] = field(default_factory=set)

    def after_turn(self, epoch: int, names: tuple[str, ...], carried: Carried) -> None:
        """Measure after a turn, if after each; `names` were trained on in it."""
        self.since |= set(names)
        if self.every == "turn":
            self.measure(f"epoch {epoch + 1}, {' + '.join(names)}", carried)

    def after_epoch(self, epoch: int, carried: Carried) -> None:
        """Measure after an epoch, if it is one to measure after."""
        schedule = self.course.schedule
        place, phase = schedule.phase(epoch)
        if self.every == "epoch":
            self.measure(f"epoch {epoch + 1}", carried)
        elif self.every == "phase" and (epoch + 1 == schedule.epochs or schedule.phase(epoch + 1)[0] != place):
            self.measure(phase.name or f"phase {place + 1}", carried)

    def at_the_end(self, carried: Carried) -> None:
        """Measure what was trained on since the last time, where training ended in between."""
        if self.since:
            self.measure("end", carried)

    def measure(self, label: str, carried: Carried) -> None:
        """Take the loss on every data set."""
        course, engine = self.course, self.fold.engine
        row = dict.fromkeys(course.names, float("nan"))
        for name, head, part in course.held_out(self.skipped, "test", "validation", "training"):
            chain, params = course.chain(head), self.fold.parameters(carried, head)
            row[name] = mean_loss(engine, chain, params, part, course.loss, self.warm)
        self.labels.append(label)
        self.trained.append(self.since)
        self.errors.append(list(row.values()))
        self.since = set()

    def matrix(self) -> Transfer:
        """What was measured, as a value."""
        names = self.course.names
        trained = np.array([[name in each for name in names] for each in self.trained]).reshape(-1, len(names))
        errors = np.array(self.errors, np.float64).reshape(-1, len(names))
        return Transfer(names, tuple(self.labels), trained, errors, self.course.measured)
