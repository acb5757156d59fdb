"""Schedules followed row by row, slow and obvious."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import rnnkit as rk

lengths_of_segments = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def series_of(lengths, horizon=0):
    """A sequence of segments with one unused row before each, so that rows and offsets differ."""
    segments, start = [], 0
    for length in lengths:
        segments.append((start + 1, start + 1 + length))
        start += 1 + length
    x = np.arange(start, dtype=float)
    return rk.Sequence(x, x + 1000, horizon=horizon, segments=segments, name="made")


def segment_and_offset(series):
    """Row of the source -> (segment, offset)."""
    return {
        row: (index, row - segment.start)
        for index, segment in enumerate(series.segments)
        for row in range(segment.start, segment.stop)
    }


@dataclass
class Seen:
    """What a lane's state has seen: the rows since it was last the initial state."""

    rows: tuple[int, ...] = ()


def walk(schedule, epoch=0):
    """Follow every lane row by row: yields (row, rows that the state saw, rows that the gradient reaches, weight)."""
    after = {}
    for step, batch in enumerate(schedule.batches(epoch)):
        new_after = {}
        for lane in range(batch.x.shape[1]):
            origin = int(batch.origin[lane])
            seen = Seen() if origin < 0 else after[lane][origin]
            states, reach = [seen], ()
            for t in range(len(batch.x)):
                if batch.reset[t, lane]:
                    seen, reach = Seen(), ()
                if batch.valid[t, lane]:
                    row = int(batch.rows[t, lane])
                    yield step, lane, row, seen.rows, reach, float(batch.weight[t, lane])
                    seen, reach = Seen((*seen.rows, row)), (*reach, row)
                states.append(seen)
            new_after[lane] = states
        after = new_after


def check_state_is_contiguous(schedule):
    """Whatever a state has seen when a row is read are the rows directly before it, in its own segment."""
    where = segment_and_offset(schedule.series)
    for _, _, row, seen, reach, _ in walk(schedule):
        assert seen == tuple(range(row - len(seen), row))
        assert reach == tuple(range(row - len(reach), row))
        assert all(where[r][0] == where[row][0] for r in seen)


def times_scored(schedule, epoch=0):
    """How often each row is scored."""
    return Counter(row for _, _, row, _, _, weight in walk(schedule, epoch) if weight)


def all_rows(series):
    """Rows that lie in a segment."""
    return set(segment_and_offset(series))
