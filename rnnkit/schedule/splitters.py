"""How a series is cut into windows: segment lengths in, a grid of step x lane out. No data is touched.

A splitter is any object with `grid(lengths, rng, name) -> Grid`; those here are frozen dataclasses. The proof that
state may be carried looks at the windows and not at the splitter, so that a splitter of your own is proven too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from rnnkit.checks import check_kinds, is_whole
from rnnkit.errors import ScheduleError, counted
from rnnkit.schedule.brief import brief
from rnnkit.schedule.checks import check_whole
from rnnkit.schedule.grid import Grid, Pieces, spread
from rnnkit.schedule.lengths import Geometric, Lengths, Uniform

Tail = Literal["keep", "drop"]

SEGMENT = "segment"
"""A length: the rows of the longest segment."""


class Splitter(Protocol):
    """What a schedule needs of a splitter."""

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str) -> Grid:
        """Cut segments of `lengths (S,)` rows; `rng` belongs to the epoch, `name` is for messages."""
        ...


@dataclass(frozen=True)
class Sliding:
    """Overlapping windows; consecutive windows fill the lanes of a batch.

    Each segment has windows at its rows 0, stride, 2 stride, ... until every row is covered. With a stride below the
    length rows are scored more than once. Nothing is copied `length / stride` times: a batch is read when it is due.

    Args:
        length: rows of a window, T.
        stride: rows from the start of a window to that of the next.
        lanes: windows side by side in a batch, B.
        shuffle: draw a new order of the windows each epoch. State cannot be carried then.
        tail: `"keep"` pads the last window of each segment and the last batch; `"drop"` leaves them out.

    Raises:
        ScheduleError: a size below 1, more lanes than rows, or `tail="drop"` with a segment shorter than a window.
    """

    length: int
    stride: int = 1
    lanes: int = 1
    shuffle: bool = False
    tail: Tail = "keep"

    def __post_init__(self) -> None:
        _check(self, length=self.length, stride=self.stride, lanes=self.lanes)

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str = "the series") -> Grid:
        """Windows that begin every `stride` rows of segments of these `lengths`, dealt out to the lanes."""
        return _windows(self, lengths, rng, name, self.length, stride=self.stride)


@dataclass(frozen=True)
class Chunked:
    """Windows without overlap, side by side: consecutive chunks fill the lanes of a batch.

    Args:
        length: rows of a chunk, T; or `"segment"`, those of the longest segment, so that each is one chunk. Every batch
            then takes the memory of `lanes` chunks as long as that, shorter ones padded: where one segment is far
            longer than the others, use fewer lanes or `fit(..., remat="sqrt")`.
        lanes: chunks side by side in a batch, B. State can be carried with one lane only.
        shuffle: draw a new order of the chunks each epoch. State cannot be carried then.
        tail: `"keep"` pads the last chunk of each segment and the last batch; `"drop"` leaves them out.

    Raises:
        ScheduleError: a size below 1, more lanes than rows, or `tail="drop"` with a segment shorter than a chunk.
    """

    length: int | Literal["segment"]
    lanes: int = 1
    shuffle: bool = False
    tail: Tail = "keep"

    def __post_init__(self) -> None:
        if self.length != SEGMENT:
            check_whole(self, "length", self.length, also=" or 'segment'")
        _check(self, lanes=self.lanes)
        if self.length == SEGMENT and self.tail == "drop":
            raise ScheduleError("Chunked(length='segment') expects tail='keep', got 'drop': no segment leaves a tail")

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str = "the series") -> Grid:
        """Windows end to end in segments of these `lengths`, dealt out to the lanes, shuffled if asked for."""
        length = int(lengths.max()) if isinstance(self.length, str) else self.length
        return _windows(self, lengths, rng, name, length, stride=length)


@dataclass(frozen=True)
class Continuation:
    """Each lane walks its own contiguous strip, so that state can be carried in every lane.

    The segments are laid end to end and cut into `lanes` strips of equal length (to one row). A step is the next
    `length` rows of every strip. Segments shorter than a window are packed without padding; the state resets where a
    new one starts. A strip that starts inside a segment starts from the initial state.

    Args:
        length: new rows of each window; the k1 of truncated back-propagation through time. `Uniform(...)` or
            `Geometric(...)` draws one for each step, anew each epoch, the same for all lanes.
        lanes: strips, B.
        lookback: rows before them that each window reads again, so that the gradient reaches them, without scoring
            them: k2 = length + lookback. A window has T = lookback + length rows.
        tail: `"keep"` pads where a strip has run out; `"drop"` stops when the first strip cannot fill a window.
        reweight: for lengths that are drawn: weigh the gradient up where it gets through a place that might have cut
            it, and divide each window's loss by the rows of the mean window, so that truncation leaves no bias (see
            `rnnkit.schedule.lengths`).

    Raises:
        ScheduleError: a size below 1, more lanes than rows, `tail="drop"` and strips shorter than a window, or
            `reweight` without lengths that are drawn, or with lookback.

    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories" (1990), for truncation with k1 and k2; Tallec and Ollivier (2017) for `reweight`.
    """

    length: int | Uniform | Geometric
    lanes: int = 1
    lookback: int = 0
    tail: Tail = "keep"
    reweight: bool = False

    def __repr__(self) -> str:
        return brief(self)

    def __post_init__(self) -> None:
        drawn = isinstance(self.length, Lengths)
        _check(self, lanes=self.lanes, **({} if isinstance(self.length, Lengths) else {"length": self.length}))
        if drawn and self.tail == "drop":
            raise ScheduleError(
                "Continuation expects tail='keep' with lengths that are drawn, got 'drop': an epoch may have no window"
            )
        check_kinds(self, ScheduleError)
        if self.reweight and not drawn:
            raise ScheduleError(
                f"Continuation expects reweight=True with a length that is drawn, got length={self.length!r}; "
                f"write length=Geometric(32)"
            )
        if self.reweight and self.lookback:
            raise ScheduleError(
                f"Continuation expects lookback=0 with reweight=True, got {self.lookback}: either the gradient reaches "
                f"back a fixed number of rows or one that is drawn; leave one of the two out"
            )
        if not is_whole(self.lookback) or self.lookback < 0:
            raise ScheduleError(f"Continuation expects lookback >= 0, got {self.lookback!r}")
        check_whole(self, "lookback", self.lookback, 0)

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str = "the series") -> Grid:
        """Segments of these `lengths` end to end in one strip a lane, cut into windows that continue each other."""
        ends = np.cumsum(lengths)
        total = int(ends[-1])
        _check_lanes(self, self.lanes, total, name)
        strips = np.full(self.lanes, total // self.lanes)
        strips[: total % self.lanes] += 1
        starts = np.cumsum(strips) - strips
        cuts = self._cuts(int(strips.max()), rng)
        steps = len(cuts) - 1
        if self.tail == "drop":
            steps = int(np.searchsorted(cuts, strips.min(), side="right")) - 1
            if steps == 0:
                raise ScheduleError(
                    f"{self}: a strip of {name!r} has {counted(strips.min(), 'row')}, fewer than one window; "
                    f"use length <= {strips.min()}, fewer lanes, or tail='keep'"
                )

        def pieces(first: int, stop: int) -> Pieces:
            step, lane = (a.ravel() for a in np.mgrid[first : min(stop, steps), : self.lanes])
            begin = np.maximum(cuts[step] - self.lookback, 0)
            end = np.minimum(cuts[step + 1], strips[lane])
            alive = cuts[step] < strips[lane]
            step, lane, begin, end = step[alive], lane[alive], begin[alive], end[alive]
            low, high = starts[lane] + begin, starts[lane] + end
            head = np.searchsorted(ends, low, side="right")
            which, nth = spread(np.searchsorted(ends, high - 1, side="right") - head + 1)
            segment = head[which] + nth
            segment_start = ends[segment] - lengths[segment]
            row = np.maximum(low[which], segment_start)
            count = np.minimum(high[which], ends[segment]) - row
            at = row - starts[lane[which]] - (cuts[step[which]] - self.lookback)
            return Pieces(step[which], lane[which], at, segment, row - segment_start, count)

        length = int(np.diff(cuts[: steps + 1]).max())
        drawn = isinstance(self.length, Lengths)
        grid = Grid(length + self.lookback, self.lookback, self.lanes, steps, pieces, varies=drawn)
        if not (self.reweight and isinstance(self.length, Lengths)):
            return grid
        return replace(grid, reweight=self.length.factors(length), mean_rows=float(self.length.mean))

    def _cuts(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Where the windows of a strip of so many rows start, and the last one ends: `(steps + 1,)`."""
        if not isinstance(self.length, Lengths):
            length = min(self.length, rows) if self.tail == "keep" else self.length  # more would be padding
            return np.arange(0, rows + length, length)
        ends = np.zeros(1, np.int64)
        while ends[-1] < rows:
            more = np.minimum(self.length.draw(rng, int((rows - ends[-1]) / self.length.mean) + 16), rows)
            ends = np.concatenate([ends, ends[-1] + np.cumsum(more)])
        return ends[: int(np.searchsorted(ends, rows)) + 1]


def _windows(
    splitter: Sliding | Chunked, lengths: np.ndarray, rng: np.random.Generator, name: str, length: int, stride: int
) -> Grid:
    lanes = splitter.lanes
    _check_lanes(splitter, lanes, int(lengths.sum()), name)
    if splitter.tail == "drop":
        short = np.flatnonzero(lengths < length)
        if len(short):
            shortest = int(lengths.argmin())
            others = f", and is the shortest of {len(short)} such" if len(short) > 1 else ""
            raise ScheduleError(
                f"{type(splitter).__name__}(length={length}): segment {shortest} of {name!r} has "
                f"{counted(lengths[shortest], 'row')}, fewer than one window{others}; use length <= "
                f"{lengths[shortest]} or tail='keep'"
            )
        windows = (lengths - length) // stride + 1
    else:
        covering = 1 - (-np.maximum(lengths - length, 0) // stride)
        windows = np.minimum(covering, -(-lengths // stride))
    ends = np.cumsum(windows)
    total = int(ends[-1])
    steps = total // lanes if splitter.tail == "drop" else -(-total // lanes)
    if steps == 0:
        raise ScheduleError(
            f"{type(splitter).__name__}(lanes={lanes}): {name!r} has {counted(total, 'window')}, fewer than lanes; "
            f"use lanes <= {total} or tail='keep'"
        )
    order = rng.permutation(total) if splitter.shuffle else None

    def pieces(first: int, stop: int) -> Pieces:
        place = np.arange(first * lanes, min(stop, steps) * lanes)
        place = place[place < total]
        window = place if order is None else order[place]
        segment = np.searchsorted(ends, window, side="right")
        offset = (window - (ends[segment] - windows[segment])) * stride
        count = np.minimum(length, lengths[segment] - offset)
        return Pieces(place // lanes, place % lanes, np.zeros_like(place), segment, offset, count)

    dropped = splitter.shuffle and steps * lanes < total  # others in every epoch
    rows = min(length, int(lengths.max()))  # more would be padding in every window
    return Grid(rows, 0, lanes, steps, pieces, varies=dropped)


def _check(splitter: Sliding | Chunked | Continuation, **sizes: int) -> None:
    if sizes.get("length") == SEGMENT:
        raise ScheduleError(
            f"{type(splitter).__name__} expects length in rows, got 'segment'; windows of whole segments are those of "
            f"Chunked(length='segment')"
        )
    for label, size in sizes.items():
        check_whole(splitter, label, size)
    if splitter.tail not in ("keep", "drop"):
        raise ScheduleError(f"{type(splitter).__name__} expects tail to be 'keep' or 'drop', got {splitter.tail!r}")


def _check_lanes(splitter: Sliding | Chunked | Continuation, lanes: int, rows: int, name: str) -> None:
    if lanes > rows:
        raise ScheduleError(
            f"{type(splitter).__name__}(lanes={lanes}): {name!r} has {counted(rows, 'row')}, fewer than lanes; use "
            f"lanes <= {rows}"
        )
