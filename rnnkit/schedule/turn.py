"""What is trained on in one go: planned as a `Turn`, open as a `Feed`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rnnkit.data import Sequence
from rnnkit.schedule.batch import BLOCK_ROWS, Batch, Block

See = Callable[[str, Sequence], Sequence]
"""How a data set, by name, is seen by whoever trains on it: its labels as numbers, for one."""


class WindowSource(Protocol):
    """Windows in the order in which they are trained on."""

    @property
    def slots(self) -> int | None:
        """How many states are recorded; None where nothing ever is."""
        ...

    def blocks(self, dtype: str, rows: int) -> Iterator[tuple[Block, np.ndarray]]:
        """The steps in blocks of at most `rows` rows times lanes, and which data set each step is from, `(K,)`.

        -1 stands where several data sets share a batch.
        """
        ...


@dataclass(frozen=True, eq=False)
class Feed:
    """Open data sets and the windows in which they are read.

    Attributes:
        names: of the data sets.
        series: the rows of each that are trained on.
        rates: factor on the learning rate while each is trained on.
        heads: the output head that each trains, or None.
        source: the windows.
    """

    names: tuple[str, ...]
    series: tuple[Sequence, ...]
    rates: tuple[float, ...]
    heads: tuple[str | None, ...]
    source: WindowSource

    @property
    def slots(self) -> int | None:
        """How many states are recorded; None where nothing ever is."""
        return self.source.slots

    def blocks(self, dtype: str = "float32", rows: int = BLOCK_ROWS) -> Iterator[tuple[Block, np.ndarray]]:
        """The steps in blocks, and which data set each step is from, `(K,)`; -1 where several stand in one batch."""
        return self.source.blocks(dtype, rows)


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
