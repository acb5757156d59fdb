"""How data sets that are open together take turns: window by window, or side by side in the lanes of a batch.

A way to take turns is a value; `picks` says, for data sets of so many steps each, which one the next window is from.
`Interleaved` makes the blocks: what a lane hands from a window of its data set to the next one is recorded in a slot
of its own, so that windows of other data sets in between never see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rnnkit.checks import is_number
from rnnkit.errors import ScheduleError
from rnnkit.schedule.batch import FRESH, RECORDED, Block, Slots
from rnnkit.schedule.brief import brief
from rnnkit.schedule.checks import check_whole
from rnnkit.schedule.grid import Grid
from rnnkit.schedule.schedule import Schedule


@dataclass(frozen=True)
class OneByOne:
    """Data sets one after the other: each is open alone."""

    open_at_once = 1


@dataclass(frozen=True)
class RoundRobin:
    """A window of each open data set in turn, until all are through; each keeps its state while others train.

    Windows of the same length and lanes that train the same head go through the backend many at a time, others one by
    one, which small models notice.

    Args:
        open_at_once: data sets that are open at a time; left out, all. The next ones follow when these are through.
    """

    open_at_once: int | None = None

    def __post_init__(self) -> None:
        _check_open(self, self.open_at_once)

    def __repr__(self) -> str:
        return brief(self)

    def counts(self, steps: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How many windows of each data set an epoch has, `(M,)`: all of them, once."""
        return steps

    def picks(self, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which data set each window of an epoch is from, `(K,)`."""
        turn = np.concatenate([np.arange(count) for count in counts])
        return np.repeat(np.arange(len(counts)), counts)[np.argsort(turn, kind="stable")]


@dataclass(frozen=True)
class Sampling:
    """The data set of each window is drawn; each keeps its state while others train.

    An epoch has as many windows as all open data sets together, and data set d has a share p[d] of them:

        p[d] proportional to rows[d] ** (1 / temperature)

    At temperature 1 every window is trained on once, in an order that is drawn. Higher temperatures even the shares
    out: small data sets are gone through several times, large ones go on in the next epoch where this one stops.

    Args:
        temperature: above 0; 1 is in proportion to the rows.
        open_at_once: data sets that are open at a time; left out, all.

    Source: the temperature is that of multilingual training (Arivazhagan et al., 2019).
    """

    temperature: float = 1.0
    open_at_once: int | None = None

    def __post_init__(self) -> None:
        _check_open(self, self.open_at_once)
        number = is_number(self.temperature)
        if not number or not self.temperature > 0:
            raise ScheduleError(f"Sampling expects temperature to be a number above 0, got {self.temperature!r}")

    def __repr__(self) -> str:
        return brief(self)

    def counts(self, steps: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How many windows of each data set an epoch has, `(M,)`: at least one each, together as many as all have."""
        if self.temperature == 1:
            return steps
        share = (rows / rows.max()) ** (1 / self.temperature)
        exact = share / share.sum() * steps.sum()
        counts = np.maximum(np.floor(exact), 1).astype(int)
        missing = int(steps.sum() - counts.sum())
        counts[np.argsort(counts - exact, kind="stable")[: max(missing, 0)]] += 1
        for _ in range(-missing):  # what the least shares were given is taken from the largest
            counts[counts.argmax()] -= 1
        return counts

    def picks(self, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which data set each window of an epoch is from, `(K,)`."""
        return rng.permutation(np.repeat(np.arange(len(counts)), counts))


@dataclass(frozen=True)
class SideBySide:
    """Open data sets in different lanes of one batch: end to end they are cut into windows as one sequence is.

    The loss that is told of each of them is that of a pass over its rows after the turn. With `Continuation(lanes=B)`
    each lane walks its strip; where a data set ends inside a lane, the next begins in the
    row after, from the initial state. All of them share splitter, policy, head and learning rate.

    Args:
        open_at_once: data sets that are open at a time; left out, all.
    """

    open_at_once: int | None = None

    def __post_init__(self) -> None:
        _check_open(self, self.open_at_once)

    def __repr__(self) -> str:
        return brief(self)


Interleaving = OneByOne | RoundRobin | Sampling | SideBySide


class Span(NamedTuple):
    """Steps `first` to `stop` of a pass over a data set, passes counted through all epochs."""

    number: int
    first: int
    stop: int


class Member(NamedTuple):
    """A data set among those that take turns.

    Attributes:
        schedule: `schedule(n)` is that of its n-th pass; its windows are those of epoch 0.
        spans: the steps it is trained on, in order; each span starts from the initial state.
        kind: only members of the same kind stand in one block, such as those with the same head.
    """

    schedule: Callable[[int], Schedule]
    spans: tuple[Span, ...]
    kind: Any = None


@dataclass(frozen=True, eq=False)
class Interleaved:
    """Windows of several schedules in one stream.

    Args:
        members: whose windows.
        picks: `(K,)`, which member each window is from; each as often as its spans have steps.
    """

    members: tuple[Member, ...]
    picks: np.ndarray

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedule of each member's first pass."""
        return tuple(member.schedule(member.spans[0].number) for member in self.members)

    @cached_property
    def first_slot(self) -> np.ndarray:
        """Where the slots of each member begin, and how many there are, `(M + 1,)`.

        A member has a slot for each lane that hands its state on, and those of its own policy.
        """
        return np.cumsum([0, *(_own_slots(schedule) + schedule.lanes for schedule in self.schedules)])

    @property
    def slots(self) -> int:
        """How many states are recorded."""
        return int(self.first_slot[-1])

    def blocks(self, dtype: str, rows: int) -> Iterator[tuple[Block, np.ndarray]]:
        """The windows in blocks of at most `rows` rows times lanes, and which member each is from, `(K,)`.

        A block ends where the next window has other lanes, another length or another kind.
        """
        grids = [schedule.grid() for schedule in self.schedules]
        kinds = [(member.kind, _form(grid)) for member, grid in zip(self.members, grids, strict=True)]
        share = max(rows // len(self.members), 1)
        streams = [_Stream(m, dtype, share, int(at)) for m, at in zip(self.members, self.first_slot, strict=False)]
        group = np.array([kinds.index(kind) for kind in kinds])[self.picks]
        edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
        for begin, end in pairwise(edges):
            grid = grids[self.picks[begin]]
            most = max(1, rows // (grid.length * grid.lanes))
            for start in range(begin, end, most):
                picks = self.picks[start : min(start + most, end)]
                places = [np.flatnonzero(picks == index) for index in range(len(streams))]
                parts = [(at, stream.take(len(at))) for at, stream in zip(places, streams, strict=True) if len(at)]
                yield _merged(len(picks), parts), picks


def interleaved(members: tuple[Member, ...], way: RoundRobin | Sampling, rng: np.random.Generator) -> Interleaved:
    """The windows of some members in the order that `way` says."""
    counts = np.array([sum(span.stop - span.first for span in member.spans) for member in members])
    return Interleaved(members, way.picks(counts, rng))


class _Stream:
    """The windows of one member, taken a few at a time; what they hand on goes through slots from `slot` on."""

    def __init__(self, member: Member, dtype: str, rows: int, slot: int) -> None:
        self.slot = slot
        self.blocks = (
            block
            for span in member.spans
            for block in member.schedule(span.number).blocks(0, dtype, rows, span.first, span.stop)
        )
        self.rest: Block | None = None

    def take(self, count: int) -> Block:
        """The next windows as a block, states handed on through slots."""
        parts = []
        while count:
            block = self.rest if self.rest is not None else self._through_slots(next(self.blocks))
            steps = len(block.x)
            parts.append(_steps_of(block, 0, min(count, steps)))
            self.rest = _steps_of(block, count, steps) if count < steps else None
            count -= min(count, steps)
        return parts[0] if len(parts) == 1 else _merged(0, [(None, part) for part in parts])

    def _through_slots(self, block: Block) -> Block:
        """A block in which lanes hand their states on by recording them, for their next window to read."""
        origin, hand_on = block.origin[:-1], block.origin[1:]
        lanes = origin.shape[1]
        own = self.slot + np.broadcast_to(np.arange(lanes), origin.shape)
        read, at, write = own, hand_on[..., None], np.where(hand_on >= 0, own, -1)[..., None]
        if block.slots is not None:
            shifted = self.slot + lanes
            read = np.where(origin == RECORDED, block.slots.read + shifted, own)
            at = np.concatenate([at, block.slots.at], axis=2)
            write = np.concatenate([write, np.where(block.slots.write >= 0, block.slots.write + shifted, -1)], axis=2)
        through = np.where(origin == FRESH, FRESH, RECORDED)
        end = np.full((1, lanes), FRESH)
        slots = Slots(read, np.maximum(at, 0), write)
        return block._replace(origin=np.concatenate([through, end]), slots=slots)


def _own_slots(schedule: Schedule) -> int:
    table = schedule.slots()
    return 0 if table is None else len(table)


def _form(grid: Grid) -> tuple[Any, ...]:
    """What the windows of one block have in common."""
    reweight = None if grid.reweight is None else grid.reweight.tobytes()
    return grid.lanes, grid.detached, reweight, 0 if grid.varies else grid.length


def _steps_of(block: Block, first: int, stop: int) -> Block:
    """Some steps of a block, as views."""
    cut = block._replace(
        **{name: getattr(block, name)[first:stop] for name in STEPPED},
        origin=block.origin[first : stop + 1],
    )
    slots = None if block.slots is None else Slots._make(field[first:stop] for field in block.slots)
    return cut._replace(scale=None if block.scale is None else block.scale[first:stop], slots=slots)


def _merged(steps: int, parts: list[tuple[Any, Block]]) -> Block:
    """One block of the steps of several: each part's at its places `(n,)`; without places, one after the other."""
    lengths = [len(part.x) for _, part in parts]
    if parts[0][0] is None:
        ends = np.cumsum(lengths)
        parts = [(np.arange(e - n, e), part) for (_, part), n, e in zip(parts, lengths, ends, strict=True)]
        steps = int(ends[-1])
    first = parts[0][1]
    rows, lanes = max(part.x.shape[1] for _, part in parts), first.x.shape[2]
    made: dict[str, Any] = {}
    for name in STEPPED:
        kind = getattr(first, name)
        tail = (lanes,) if name in BY_LANE else (rows, lanes, *kind.shape[3:])
        made[name] = np.full((steps, *tail), -1 if name in ("rows", "segment", "row") else 0, kind.dtype)
        for at, part in parts:
            value = getattr(part, name)
            made[name][(at,) if name in BY_LANE else (at, slice(value.shape[1]))] = value
    origin = np.full((steps + 1, lanes), FRESH)
    width = max(part.slots.at.shape[2] for _, part in parts if part.slots is not None)
    read, at_row = np.zeros((steps, lanes), np.int64), np.zeros((steps, lanes, width), np.int64)
    write = np.full((steps, lanes, width), -1)
    scale = None if all(part.scale is None for _, part in parts) else np.ones(steps)
    for at, part in parts:
        assert part.slots is not None  # `_through_slots` gave it some
        origin[at], read[at] = part.origin[:-1], part.slots.read
        at_row[at, :, : part.slots.at.shape[2]] = part.slots.at
        write[at, :, : part.slots.write.shape[2]] = part.slots.write
        if scale is not None and part.scale is not None:
            scale[at] = part.scale
    longest = max((part for _, part in parts), key=lambda part: part.x.shape[1])
    slots = Slots(read, at_row, write)
    return Block(**made, origin=origin, detached=first.detached, reweight=longest.reweight, scale=scale, slots=slots)


STEPPED = ("x", "y", "reset", "valid", "weight", "rows", "segment", "row")
"""Fields of a block with an axis of steps in front, and nothing else to know about them."""

BY_LANE = ("segment", "row")
"""Those of them that have no axis of rows."""


def _check_open(way: Any, value: Any) -> None:
    if value is not None:
        check_whole(way, "open_at_once", value, 1)
