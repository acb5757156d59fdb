"""Splitter x policy over a sequence: what each step reads, where its state comes from, and the proof of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.data import Sequence
from rnnkit.data.joined import Joined
from rnnkit.data.survey import Facts, Part, facts_of
from rnnkit.errors import ScheduleError
from rnnkit.schedule.batch import BLOCK_ROWS, FRESH, Batch, Block
from rnnkit.schedule.checks import check_whole, check_window
from rnnkit.schedule.coverage import Coverage, cover
from rnnkit.schedule.cut import CutSamples
from rnnkit.schedule.grid import Grid, Pieces, joined, spread, windows_of
from rnnkit.schedule.phase import Phase
from rnnkit.schedule.policies import StatePolicy, slots_of, widen
from rnnkit.schedule.proof import prove
from rnnkit.schedule.slots import SlotTable
from rnnkit.schedule.splitters import Splitter
from rnnkit.schedule.turn import Feed, Turn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Schedule:
    """The proof-carrying table of what each step reads and where its state comes from, and an iterator of batches.

    Args:
        series: a `Sequence`.
        splitter: which rows stand in which window: `Sliding`, `Chunked`, `Continuation`, or your own.
        policy: where each window's state comes from: `Reset`, `Carry`, `BurnIn`, `Stored`, or your own.
        seed: from which the order of shuffled windows, lengths and resets are drawn, anew each epoch.

    All of them are values: a splitter or policy of your own must not change once it stands here, as windows that have
    been cut and proven are kept.

    Raises:
        ContinuityError: the policy would carry state into a window that does not continue what the state has seen.
        ScheduleError: a splitter that does not fit the series.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.arange(100.0))
        >>> schedule = rk.Schedule(series, rk.Continuation(length=8, lanes=2), rk.Carry())
        >>> len(schedule), next(schedule.batches()).x.shape
        (7, (8, 2, 1))
    """

    series: Sequence
    splitter: Splitter
    policy: StatePolicy
    seed: int = 0
    _proven: dict[int, Grid] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.series, Sequence | Joined):
            raise ScheduleError(
                f"Schedule expects a Sequence first, got {type(self.series).__name__}; wrap it: rk.Sequence(values)"
            )
        if not hasattr(self.splitter, "grid") or isinstance(self.splitter, type):
            raise ScheduleError(
                f"Schedule expects a splitter second, got {self.splitter!r}; write rk.Continuation(length=64)"
            )
        if not hasattr(self.policy, "origins") or isinstance(self.policy, type):
            raise ScheduleError(f"Schedule expects a policy third, got {self.policy!r}; write rk.Carry() or rk.Reset()")
        check_whole(self, "seed", self.seed, 0, most=None)
        self.grid(0)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_proven": {}}

    def __len__(self) -> int:
        """Steps of an epoch; of the first one, where lengths are drawn."""
        return self.steps()

    def steps(self, epoch: int = 0) -> int:
        """Steps of an epoch; they differ between epochs only where lengths are drawn."""
        return self.grid(epoch).steps

    @property
    def lanes(self) -> int:
        """Lanes of every step."""
        return self.grid(0).lanes

    def __repr__(self) -> str:
        return f"Schedule({self.series!r}, {self.splitter!r}, {self.policy!r})"

    def grid(self, epoch: int = 0) -> Grid:
        """The windows of an epoch, proven continuous wherever the policy carries.

        Those of the first epoch and of the last one that was asked for are kept: one proof serves whoever asks next.
        """
        grid = self._proven.get(epoch)
        if grid is None:
            grid = self._cut(epoch)
            prove(self, grid)
            for other in self._proven.keys() - {0}:
                self._proven.pop(other, None)  # another thread may have been here
            self._proven[epoch] = grid
        return grid

    def batches(self, epoch: int = 0, dtype: str = "float32") -> Iterator[Batch]:
        """The steps of an epoch, one after the other; the arrays are views of a block, do not change them."""
        for block in self.blocks(epoch, dtype):
            for k in range(len(block.x)):
                yield block.batch(k)

    def blocks(
        self, epoch: int = 0, dtype: str = "float32", rows: int = BLOCK_ROWS, first: int = 0, stop: int | None = None
    ) -> Iterator[Block]:
        """The steps of an epoch in blocks of at most `rows` rows times lanes (at least one step); new arrays each.

        Args:
            epoch: from 0.
            dtype: of the numbers.
            rows: rows times lanes of a block at most.
            first, stop: of these steps alone; lanes would go on at the first of them, and start anew instead.
        """
        grid = self.grid(epoch)
        stop = grid.steps if stop is None else min(stop, grid.steps)
        steps = max(1, rows // (grid.length * grid.lanes))
        for begin in range(first, stop, steps):
            block = self._assemble(grid, begin, min(begin + steps, stop), np.dtype(dtype))
            if begin == first > 0:
                block.origin[0] = FRESH
            yield block

    def slots(self, epoch: int = 0) -> SlotTable | None:
        """What an epoch records and starts from, under a policy such as `Stored`; else None."""
        return slots_of(self.policy, self.grid(epoch))

    @property
    def sets(self) -> tuple[str, ...]:
        """The data sets that are told apart by name: none, as all rows are of one series."""
        return ()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of training: none, as every epoch is over the whole series."""
        return ()

    def phase(self, epoch: int) -> tuple[int, Phase]:
        """The phase that an epoch belongs to, and its place: the only one."""
        return 0, Phase()

    @property
    def epochs(self) -> None:
        """Epochs of all phases; None without phases."""

    @property
    def skipped(self) -> dict[str, str]:
        """Why data sets were left out, by name: none is."""
        return {}

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What is known of the series, by its name; its targets are read for that, once."""
        return {self.series.name: facts_of(self.series)}

    def head(self, name: str) -> None:
        """The output head that a data set trains: None, the model's only one."""

    def turns(self, epoch: int = 0) -> list[Turn]:
        """What an epoch trains on: one turn over the whole series."""
        series = self.series
        feed = Feed((series.name,), (series,), (1.0,), (None,), OneEpoch(self, epoch, 0))
        return [Turn(feed.names, self.steps(epoch), 0, (), lambda see, skipped: nullcontext(feed))]

    def held_out(self, skipped: dict[str, str], *parts: Part) -> Iterator[tuple[str, Sequence]]:
        """The series, if its training part is asked for: a schedule knows no other part."""
        if "training" in parts:
            yield self.series.name, self.series

    def panels(self) -> Iterator[CutSamples]:
        """The series itself, if it is scored at its samples' last rows, as the first epoch cuts it."""
        if self.series.score == "last":
            yield CutSamples(self.series.name, self.series.lengths, self.splitter, self.policy, self.grid(0))

    def coverage(self, epoch: int = 0) -> Coverage:
        """What an epoch reads and scores, how far back state and gradient reach, how old recorded states are."""
        grid = self.grid(epoch)
        before = self.slots(epoch - 1) if epoch and slots_of(self.policy, grid) is not None else None
        return cover(grid, self.policy, self.series, before)

    def describe(self, steps: int = 6) -> str:
        """The schedule in words: its coverage and a timeline of the first steps, a line a lane."""
        from rnnkit.view.timeline import timeline

        head = f"{self.splitter!r} with {self.policy!r} over {self.series!r}"
        return "\n".join([head, str(self.coverage()), "", timeline(self, steps)])

    def plot(self, steps: int = 12) -> Figure:
        """The first steps as a picture: a row a lane, coloured by where the state comes from."""
        from rnnkit.view.plots import plot_schedule

        return plot_schedule(self, steps)

    def _scale(self, grid: Grid, weight: np.ndarray) -> np.ndarray:
        """The scored rows of each step over those that are expected, `(K,)`; 1 where none is scored."""
        assert grid.mean_rows is not None  # else nobody asks
        lengths = self.series.lengths
        share = 1.0 if self.series.score == "all" else len(lengths) / lengths.sum()
        rows = weight.sum((1, 2), dtype=np.float64)
        return np.where(rows > 0, rows / (grid.mean_rows * grid.lanes * share), 1.0)

    def _weigh(self, weight: np.ndarray, pieces: Pieces, head: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
        """Multiply row weights `(K, T, B)` by those of the sequence, in place.

        Returns:
            `(K,)`, the scale of each step's loss with which its gradient is that of the weighted sum over its rows,
            divided by their number: a mean alone would not notice a weight that all rows of a step share.
        """
        assert self.series.weights is not None  # else nobody asks
        rows = weight.sum((1, 2), dtype=np.float64)
        which, nth = spread(pieces.rows)
        weight.reshape(-1)[head[which] + nth * weight.shape[2]] *= self.series.weights[pieces.segment][which]
        weighted = weight.sum((1, 2), dtype=np.float64)
        own = np.ones(len(weight)) if scale is None else scale
        return np.where(rows > 0, own * weighted / np.maximum(rows, 1), own)

    def _cut(self, epoch: int) -> Grid:
        """The windows of an epoch, before they are proven."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
        grid = self.splitter.grid(self.series.lengths, rng, self.series.name)
        grid = widen(self.policy, replace(grid, epoch=epoch, seed=self.seed))
        columns = self.series.features + self.series.outputs
        check_window(grid.length, grid.lanes, columns, f"{self.splitter!r} with {self.policy!r}")
        return replace(grid, pieces=lru_cache(maxsize=2)(grid.pieces))  # the proof and the policy ask for the same ones

    def _assemble(self, grid: Grid, first: int, stop: int, dtype: np.dtype) -> Block:
        pieces = joined(grid.pieces(first, stop))
        length = int((pieces.at + pieces.rows).max(initial=1)) if grid.varies else grid.length
        shape = (stop - first, length, grid.lanes)
        head = ((pieces.step - first) * length + pieces.at) * grid.lanes + pieces.lane
        start = self.series.starts[pieces.segment] + pieces.offset
        whole = pieces.rows == length  # most windows are, and need no index for each row
        first_row = np.full((stop - first, grid.lanes), -1)
        first_row[(pieces.step - first)[whole], pieces.lane[whole]] = start[whole]
        rows = first_row[:, None] + np.arange(length)[:, None]
        rows.swapaxes(1, 2)[first_row < 0] = -1
        which, nth = spread(pieces.rows[~whole])
        rows.reshape(-1)[head[~whole][which] + nth * grid.lanes] = start[~whole][which] + nth
        windows = windows_of(pieces, first, stop, grid.lanes)
        reset = np.zeros(shape, bool)
        inner = np.ones(len(head), bool)
        inner[windows.piece[windows.piece >= 0]] = False
        reset.reshape(-1)[head[inner]] = True
        valid = rows >= 0
        weight = valid.astype(dtype)
        if self.series.score == "last":
            ending = pieces.offset + pieces.rows == self.series.lengths[pieces.segment]
            weight[:] = 0
            weight.reshape(-1)[(head + (pieces.rows - 1) * grid.lanes)[ending]] = 1
        weight[:, : grid.lead] = 0
        scale = None if grid.mean_rows is None else self._scale(grid, weight)
        if self.series.weights is not None:
            scale = self._weigh(weight, pieces, head, scale)
        origin = np.full((len(reset) + 1, grid.lanes), length)
        known = min(stop + 1, grid.steps)
        origin[: known - first] = self.policy.origins(grid, first, known)
        origin[1:] = np.minimum(origin[1:], length)  # the first row counts in the windows of the block before
        x, y = self.series.take(rows, dtype)
        row = np.where(windows.piece >= 0, self.series.starts[windows.segment] + windows.offset, -1)
        table = slots_of(self.policy, grid)
        return Block(
            x,
            y,
            reset,
            valid,
            weight,
            origin,
            rows,
            windows.segment,
            row,
            detached=grid.detached,
            reweight=None if grid.reweight is None else grid.reweight[:length].copy(),
            scale=scale,
            slots=None if table is None else table.block(first, stop, grid.epoch),
        )


@dataclass(frozen=True, eq=False)
class OneEpoch:
    """The windows of one epoch of a schedule, as a turn reads them.

    Args:
        schedule: whose windows; over `Joined` sequences it holds data sets side by side.
        epoch: from 0.
        member: the place of the data set that the windows are from; -1 where several share a batch.
    """

    schedule: Schedule
    epoch: int
    member: int

    @property
    def series(self) -> Sequence | Joined:
        """What is read."""
        return self.schedule.series

    @property
    def slots(self) -> int | None:
        """How many states are recorded; None where nothing ever is."""
        table = self.schedule.slots(self.epoch)
        return None if table is None else len(table)

    def blocks(self, dtype: str, rows: int) -> Iterator[tuple[Block, np.ndarray]]:
        """The steps in blocks of at most `rows` rows times lanes, and the place of their data set, `(K,)`."""
        for block in self.schedule.blocks(self.epoch, dtype, rows):
            yield block, np.full(len(block.x), self.member)
