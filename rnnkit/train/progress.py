"""What `fit` tells while it trains, and the sums behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rnnkit.errors import counted
from rnnkit.schedule import Block


class Progress(NamedTuple):
    """Where training stands, told after every block.

    Attributes:
        epoch, epochs: the epoch, from 0, and how many there are.
        step, steps: steps of the epoch done, of how many.
        loss: mean loss of the epoch so far.
        names: of the data sets that are open.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    names: tuple[str, ...] = ()


class TurnEnd(NamedTuple):
    """A turn of a curriculum that is over: one data set, or those that were open together, trained on.

    Attributes:
        epoch, epochs: the epoch, from 0, and how many there are.
        turn, turns: the turn in it, from 0, and how many there are.
        losses: by data set, the mean loss while it was trained on; where data sets share batches, that after the turn.
        rows: consumed.
        seconds: in all, opening included.
    """

    epoch: int
    epochs: int
    turn: int
    turns: int
    losses: dict[str, float]
    rows: int
    seconds: float

    def __str__(self) -> str:
        place = f"epoch {self.epoch + 1}/{self.epochs}, turn {self.turn + 1}/{self.turns}"
        losses = ", ".join(f"{name} {loss:.6g}" for name, loss in self.losses.items())
        return f"{place}: loss {losses} ({counted(self.rows, 'row')}, {self.seconds:.2f} s)"


@dataclass
class Sums:
    """Weighted sum of losses, and sum of their weights."""

    loss: float = 0.0
    weight: float = 0.0

    def add(self, other: Sums) -> None:
        """Add what another has."""
        self.loss += other.loss
        self.weight += other.weight

    @property
    def mean(self) -> float:
        """Mean loss over the scored rows."""
        return self.loss / self.weight if self.weight else 0.0


@dataclass
class Tally:
    """Sums over a turn or an epoch so far: of all steps, and of those of each data set."""

    step: int = 0
    rows: int = 0
    all: Sums = field(default_factory=Sums)
    sets: dict[str, Sums] = field(default_factory=dict)

    def add_block(self, block: Block, members: np.ndarray, names: tuple[str, ...], loss: np.ndarray) -> np.ndarray:
        """Add the first steps of a block, those with a loss; returns the sum of the row weights of each, `(K,)`."""
        done = len(loss)
        weight = block.weight[:done].sum((1, 2), dtype=np.float64)
        self.all.add(Sums(float((loss * weight).sum()), float(weight.sum())))
        for index in np.unique(members[:done]):
            if index >= 0:  # else data sets share the batch
                here = members[:done] == index
                found = Sums(float((loss * weight)[here].sum()), float(weight[here].sum()))
                self.sets.setdefault(names[index], Sums()).add(found)
        self.step += done
        self.rows += int(np.count_nonzero(block.valid[:done]))
        return weight

    def add(self, other: Tally) -> None:
        """Add what another has."""
        self.step += other.step
        self.rows += other.rows
        self.all.add(other.all)
        for name, sums in other.sets.items():
            self.sets.setdefault(name, Sums()).add(sums)
