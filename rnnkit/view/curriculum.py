"""A curriculum in words and as a picture: the order of an epoch, and which data set stands in which lane."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from rnnkit.errors import counted
from rnnkit.schedule.batch import FRESH, RECORDED
from rnnkit.schedule.brief import brief
from rnnkit.schedule.interleave import Interleaved
from rnnkit.view.plots import LANES, PADDING, new_figure
from rnnkit.view.text import drawn
from rnnkit.view.timeline import MARKS, first_and_last, grid_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnnkit.data.joined import Joined
    from rnnkit.schedule import Batch
    from rnnkit.schedule.curriculum import Curriculum
    from rnnkit.schedule.turn import Feed, Turn

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666")
"""Okabe and Ito's colours, which the colour-blind can tell apart; beyond them the same with hatches."""

HATCHES = ("", "///", "...", "xxx", "+++")

TURNS = 3
"""Turns of which a timeline is shown in words."""

DRAWN, STEPS = 12, 36
"""Turns that a picture shows at most, and steps of all of them unless asked otherwise."""

CHARACTERS = 170
"""Characters of a label that fit side by side across a picture."""


class TurnStep(NamedTuple):
    """A step of a turn.

    Attributes:
        batch: its windows; RECORDED is the origin of a state that was recorded under the policy alone.
        member: the place of its data set in the turn, -1 where several stand in one batch.
    """

    batch: Batch
    member: int


def describe(curriculum: Curriculum, epoch: int = 0, steps: int = 6, turns: int = TURNS) -> str:
    """An epoch in words: what it goes through, and the first steps of its first turns, a line a lane.

    Args:
        curriculum: any.
        epoch: from 0.
        steps: how many steps of a turn.
        turns: of how many turns; the others are told in a line each.
    """
    place, phase = curriculum.phase(epoch)
    plan = curriculum.turns(epoch)
    told = f", phase {phase.name or place + 1}" if curriculum.phases else ""
    total = sum(turn.steps for turn in plan)
    turned = counted(len(plan), "turn")
    lines = [f"epoch {epoch + 1}{told}: {turned}, {counted(total, 'step')}, {brief(curriculum.interleave)}"]
    for number, turn in enumerate(plan):
        lines.append(f"{number + 1:>3}. {' + '.join(turn.names)}: {counted(turn.steps, 'step')}")
        if number < turns:
            lines += ["", *_timeline(turn, steps), ""]
    return "\n".join([*lines, *([MARKS] if turns > 0 else [])])


def _timeline(turn: Turn, steps: int) -> list[str]:
    """The first steps of a turn, a line a lane."""
    with turn.open() as feed:
        if feed is None:
            return ["     none of them can be opened"]
        first = list(islice(steps_of(feed), steps))
        shared = len(feed.names) == 1 or any(step.member < 0 for step in first)
        heads = [f"step {k}" if shared else f"step {k} {feed.names[step.member]}" for k, step in enumerate(first)]
        where = [partial(_where, feed, step.member) for step in first]
        lines = grid_of([step.batch for step in first], heads, where)
    more = [f"... and {counted(turn.steps - len(first), 'more step')}"] if turn.steps > len(first) else []
    return [f"     {line}" for line in (*lines, *more)]


def steps_of(feed: Feed) -> Iterator[TurnStep]:
    """The steps of an open turn; a state that waited while other data sets trained counts as carried."""
    for block, members in feed.blocks():
        for k in range(len(block.x)):
            batch, member = block.batch(k), int(members[k])
            slots, source = batch.slots, feed.source
            if isinstance(source, Interleaved) and slots is not None:
                own = int(source.first_slot[member]) + len(batch.row)
                carried = (batch.origin == RECORDED) & (slots.read < own)
                batch = batch._replace(origin=np.where(carried, len(batch.x), batch.origin))
            yield TurnStep(batch, member)


def members_of(feed: Feed, member: int, rows: np.ndarray) -> np.ndarray:
    """The place of the data set of each row of a step; -1 for padding.

    Args:
        feed: the open turn.
        member: the place of the step's data set, -1 where several stand in one batch.
        rows: as the step reads them.
    """
    if member >= 0:
        return np.where(rows < 0, -1, member)
    joined = _joined(feed)
    places = np.array([next(i for i, own in enumerate(feed.series) if own is each) for each in joined.members])
    found = joined.member_of(rows)
    return np.where(found < 0, -1, places[found])


def _joined(feed: Feed) -> Joined:
    """What is read where several data sets stand in one batch."""
    return cast(Any, feed.source).series


def _where(feed: Feed, member: int, rows: np.ndarray) -> str:
    """The first and last row of each data set that a lane reads, rows counted in the data set."""
    if member >= 0:
        return first_and_last(rows)
    joined, told = _joined(feed), []
    found = joined.member_of(rows)
    for first, stop in _stretches(found):
        name = feed.names[int(members_of(feed, member, rows[first : first + 1])[0])]
        told.append(f"{name} {first_and_last(rows[first:stop] - joined.offsets[found[first]])}")
    return " ".join(told)


def plot_curriculum(curriculum: Curriculum, epoch: int = 0, steps: int | None = None) -> Figure:
    """The first steps of an epoch's turns: a row a lane, a bar a window, coloured by data set, resets marked.

    Args:
        curriculum: any.
        epoch: from 0.
        steps: how many of each turn; left out, as many as there is room for.
    """
    from matplotlib.patches import Patch

    names, turns = list(curriculum.facts), curriculum.turns(epoch)
    plan = turns[:DRAWN]
    most = max(1, STEPS // len(plan)) if steps is None else steps
    looks: dict[str, dict[str, Any]] = {
        name: {"facecolor": COLOURS[i % len(COLOURS)], "hatch": HATCHES[i // len(COLOURS) % len(HATCHES)]}
        for i, name in enumerate(names)
    }
    bars: list[tuple[float, int, float, str | None]] = []  # place, lane, width, data set or padding
    resets: list[tuple[float, int]] = []
    edges: list[tuple[float, float, Turn]] = []
    left, lanes = 0.0, 1
    for turn in plan:
        start = left
        with turn.open() as feed:
            for step in islice(steps_of(feed), most) if feed is not None else ():
                assert feed is not None
                found, batch = members_of(feed, step.member, step.batch.rows), step.batch
                length, width = found.shape
                lanes = max(lanes, width)
                for lane in range(min(width, LANES)):
                    for first, stop in _stretches(found[:, lane]):
                        member = int(found[first, lane])
                        name = None if member < 0 else feed.names[member]
                        bars.append((left + first / length, lane, (stop - first) / length, name))
                    if batch.origin[lane] == FRESH and batch.valid[0, lane]:
                        resets.append((left, lane))
                    resets += [(left + t / length, lane) for t in np.flatnonzero(batch.reset[:, lane])]
                left += 1.06
        edges.append((start, left, turn))
        left += 0.35
    lanes = min(lanes, LANES)
    figure, (axes,) = new_figure(12, 2.4 + 0.42 * lanes)
    for place, lane, width, name in bars:
        look: dict[str, Any] = {"facecolor": PADDING} if name is None else looks[name]
        axes.broken_barh([(place, width)], (lane - 0.4, 0.8), edgecolor="white", linewidth=0, **look)
    for place, lane in resets:
        axes.plot([place] * 2, [lane - 0.46, lane + 0.46], color="black", linewidth=2.2, solid_capstyle="butt")
    for first, last, turn in edges:
        label = _label(turn, most, int(CHARACTERS * (last - first) / left))
        axes.text((first + last) / 2, -0.65, drawn(label), ha="center", va="bottom", fontsize=7)
    axes.set_yticks(range(lanes), [f"lane {lane}" for lane in range(lanes)])
    axes.set_ylim(lanes - 0.45, -0.62)
    axes.set_xlim(-0.1, left)
    axes.set_xticks([])
    more = len(turns) - len(plan)
    rest = f"; {counted(more, 'more turn')}" if more else ""
    axes.set_xlabel(f"steps of epoch {epoch + 1}, from left to right: turn by turn, the first of each{rest}")
    title = f"{curriculum.splitter!r} with {curriculum.policy!r}, {brief(curriculum.interleave)}"
    figure.suptitle(drawn(title), x=0.01, ha="left", fontsize=10)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    used = [name for name in names if any(name in turn.names for turn in plan)]
    handles = [Patch(label=drawn(name), edgecolor="white", linewidth=0, **looks[name]) for name in used]
    handles.append(Patch(color="black", label="reset: from the initial state"))
    if any(name is None for *_, name in bars):
        handles.append(Patch(color=PADDING, label="padding"))
    figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 5), frameon=False, fontsize=8)
    return figure


def _label(turn: Turn, shown: int, room: int) -> str:
    """What stands above a turn, of a name that is too long its end."""
    name = turn.names[0] if len(turn.names) == 1 else counted(len(turn.names), "data set")
    name = name if len(name) <= room else f"…{name[-max(room - 1, 1) :]}"
    return f"{name}\n+ {counted(turn.steps - shown, 'step')}" if turn.steps > shown else f"{name}\n"


def _stretches(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Maximal runs of equal values: start, stop."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from pairwise(edges)
