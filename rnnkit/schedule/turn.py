"""What is trained on in one go: planned as a `Turn`, open as a `Feed`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from rnnkit.data import Sequence
from rnnkit.schedule.batch import Batch, Block
from rnnkit.schedule.interleave import Interleaved
from rnnkit.schedule.schedule import BLOCK_ROWS, Schedule

See = Callable[[str, Sequence], Sequence]
"""How a data set, by name, is seen by whoever trains on it: its labels as numbers, for one."""


@dataclass(frozen=True, eq=False)
class Feed:
    """Open data sets and the windows in which they are read.

    Attributes:
        names: of the data sets.
        series: the rows of each that are trained on.
        rates: factor on the learning rate while each is trained on.
        heads: the output head that each trains, or None.
        source: the windows; a `Schedule` of several data sets holds them side by side.
        epoch: of a schedule, which one.
    """

    names: tuple[str, ...]
    series: tuple[Sequence, ...]
    rates: tuple[float, ...]
    heads: tuple[str | None, ...]
    source: Schedule | Interleaved
    epoch: int = 0

    @property
    def slots(self) -> int | None:
        """How many states are recorded; None where nothing ever is."""
        if isinstance(self.source, Interleaved):
            return int(self.source.first_slot[-1])
        table = self.source.slots(self.epoch)
        return None if table is None else len(table)

    def blocks(self, dtype: str = "float32", rows: int = BLOCK_ROWS) -> Iterator[tuple[Block, np.ndarray]]:
        """The steps in blocks, and which data set each step is from, `(K,)`; -1 where several stand in one batch."""
        if isinstance(self.source, Interleaved):
            yield from self.source.blocks(dtype, rows)
            return
        member = 0 if len(self.names) == 1 else -1
        for block in self.source.blocks(self.epoch, dtype, rows):
            yield block, np.full(len(block.x), member)


@dataclass(frozen=True, eq=False)
class Turn:
    """Steps of an epoch over one data set, or over those that are open together.

    Attributes:
        names: of the data sets.
        steps: how many.
        phase: the place of its phase, from 0.
        frozen: patterns of parameters that are left as they are.
        opening: `opening(see, skipped)` opens the data sets for as long as its context lasts.
    """

    names: tuple[str, ...]
    steps: int
    phase: int
    frozen: str | tuple[str, ...]
    opening: Callable[[See, dict[str, str]], AbstractContextManager[Feed | None]]

    def open(
        self, see: See = lambda _, series: series, skipped: dict[str, str] | None = None
    ) -> AbstractContextManager[Feed | None]:
        """Open its data sets: a context, after which nothing of them is held here.

        Args:
            see: how each is seen.
            skipped: where data sets are written that could not be opened, under `on_error="skip"`; then what is opened
                is without them, or None where none is left.
        """
        return self.opening(see, {} if skipped is None else skipped)

    def batches(self, dtype: str = "float32") -> Iterator[Batch]:
        """Its steps, one after the other; open meanwhile. The arrays are views of a block, do not change them."""
        with self.open() as feed:
            if feed is not None:
                for block, _ in feed.blocks(dtype):
                    for k in range(len(block.x)):
                        yield block.batch(k)
