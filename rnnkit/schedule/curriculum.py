"""Many data sets, one model: which are trained on when, in what order, how they take turns."""

from __future__ import annotations

import fnmatch
import glob
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from rnnkit.data import Sequence as Rows
from rnnkit.data.dataset import DataSet, OpenParts, data_sets
from rnnkit.data.joined import Joined
from rnnkit.data.parts import By
from rnnkit.data.survey import Facts, OnError, Opening, Part, Survey, survey
from rnnkit.errors import RnnkitError, ScheduleError, SourceError, counted, did_you_mean
from rnnkit.schedule.batch import Batch
from rnnkit.schedule.coherence import check_settings
from rnnkit.schedule.cut import CutSamples
from rnnkit.schedule.grid import Grid
from rnnkit.schedule.interleave import Interleaving, Member, OneByOne, Sampling, SideBySide, Span, interleaved
from rnnkit.schedule.phase import Phase
from rnnkit.schedule.policies import Carry, StatePolicy, widen
from rnnkit.schedule.schedule import OneEpoch, Schedule
from rnnkit.schedule.splitters import Splitter
from rnnkit.schedule.turn import Feed, See, Turn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Order = Literal["listed", "shuffled", "name", "rows"] | Sequence[str] | Callable[[Facts], Any]


@dataclass(frozen=True, eq=False)
class Curriculum:
    """Named data sets, each opened when its turn comes and closed after it, again in every epoch.

    State never goes from one data set to another: each begins from the initial state. Before the first epoch each
    data set is opened once to be measured (rows, features, labels, scaler), one at a time.

    Args:
        datasets: a list, or a dict by name, of paths, globs, functions that open a `Sequence`, sequences, or `DataSet`
            values that say how each is trained on.
        splitter, policy: as for `Schedule`, for all data sets that have none of their own.
        order: `"listed"`; `"shuffled"` anew each epoch; by `"name"`; by `"rows"`, the shortest first; the names in
            their order; or a function that gives a key to sort by, of what is known of a data set (`Facts`).
        interleave: how they take turns: `OneByOne()`, window by window (`RoundRobin`, `Sampling`), or `SideBySide` in
            the lanes of one batch. Where `open_at_once` is given, so many are open together, in their order.
        phases: epochs over some of the data sets each, one phase after the other; left out, each epoch is over all.
        options: what `Sequence.open` takes, for all paths: `{"time": "timestamp", "target": "value"}`.
        split: the training and validation part of each data set that does not say so itself, as `DataSet` takes it.
        on_error: `"stop"` at a data set that cannot be opened, or `"skip"` it, which `skipped` and `Run.skipped` tell.
        seed: from which orders, shuffled windows, lengths and resets are drawn, anew each epoch.
        on_open: called with an `Opening` before each data set is opened to be measured, so that it can be shown how far
            that is.

    Raises:
        SourceError, DataError: a data set that is none.
        ScheduleError: an order, a phase or a way to take turns that does not fit the data sets.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> waves = {name: rk.Sequence(np.sin(np.arange(rows) / 5)) for name, rows in (("a", 100), ("b", 60))}
        >>> curriculum = rk.Curriculum(waves, rk.Continuation(length=16), rk.Carry())
        >>> [(turn.names, turn.steps) for turn in curriculum.turns(epoch=0)]
        [(('a',), 7), (('b',), 4)]
    """

    datasets: Any
    splitter: Splitter
    policy: StatePolicy = Carry()  # noqa: RUF009 - frozen
    _: KW_ONLY
    order: Order = "listed"
    interleave: Interleaving = OneByOne()  # noqa: RUF009 - frozen
    phases: tuple[Phase, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    split: tuple[float, float] | tuple[float, float, By | None] | None = None
    on_error: OnError = "stop"
    seed: int = 0
    on_open: Callable[[Opening], None] | None = None

    def __post_init__(self) -> None:
        found = data_sets(self.datasets, self.options)
        if self.split is not None:
            found = tuple(each if each.split is not None else replace(each, split=self.split) for each in found)
        object.__setattr__(self, "datasets", found)
        if not isinstance(self.phases, list | tuple):
            raise ScheduleError(f"Curriculum expects phases as a list, got {self.phases!r}; write [{self.phases!r}]")
        object.__setattr__(self, "phases", tuple(self.phases))
        check_settings(self)

    def __repr__(self) -> str:
        names = ", ".join(each.name for each in self.datasets)
        return f"Curriculum({names}; {self.splitter!r}, {self.policy!r}, {self.interleave!r})"

    def __getitem__(self, name: str) -> DataSet:
        """The data set of a name."""
        if name in self._by_name:
            return self._by_name[name]
        known = list(self._by_name)
        raise ScheduleError(
            f"the curriculum has the data sets {', '.join(known)}, not {name!r}{did_you_mean(name, known)}"
        )

    @cached_property
    def survey(self) -> Survey:
        """What is known of each data set: all are opened once, one after the other, at the first call."""
        return survey(self.datasets, self.on_error, self.on_open)

    @property
    def facts(self) -> dict[str, Facts]:
        """What is known of the data sets that can be opened, by name."""
        return self.survey.facts

    @property
    def skipped(self) -> dict[str, str]:
        """Why the others cannot, by name."""
        return self.survey.skipped

    @property
    def sets(self) -> tuple[str, ...]:
        """The data sets that can be opened, by name."""
        return tuple(self.facts)

    @property
    def lanes(self) -> int:
        """Lanes before the first turn: 1; each turn has its own."""
        return 1

    def head(self, name: str) -> str | None:
        """The output head that a data set trains, or None."""
        return self[name].head

    @property
    def epochs(self) -> int | None:
        """Epochs of all phases; None without phases."""
        return sum(phase.epochs for phase in self.phases) if self.phases else None

    def phase(self, epoch: int) -> tuple[int, Phase]:
        """The phase that an epoch belongs to, and its place; after the last phase, the last."""
        left = epoch
        for index, phase in enumerate(self.phases):
            if left < phase.epochs or index == len(self.phases) - 1:
                return index, phase
            left -= phase.epochs
        return 0, Phase()

    def names(self, epoch: int = 0) -> tuple[str, ...]:
        """The data sets of an epoch in their order."""
        wanted = self.phase(epoch)[1].names
        names = list(self.facts)
        if wanted is not None:
            exact, patterns = frozenset(wanted), [each for each in wanted if glob.has_magic(each)]
            names = [
                name for name in names if name in exact or any(fnmatch.fnmatchcase(name, each) for each in patterns)
            ]
        if callable(self.order):
            key = self.order
            return tuple(sorted(names, key=lambda name: key(self.facts[name])))
        if self.order == "shuffled":
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, 2)))
            return tuple(names[index] for index in rng.permutation(len(names)))
        if self.order == "name":
            return tuple(sorted(names))
        if self.order == "rows":
            return tuple(sorted(names, key=lambda name: self.facts[name].rows))
        if self.order == "listed":
            return tuple(names)
        here = frozenset(names)
        return tuple(name for name in self.order if name in here)

    def groups(self, epoch: int = 0) -> list[tuple[str, ...]]:
        """The data sets of an epoch in their order, those together that are open together."""
        names = self.names(epoch)
        most = self.interleave.open_at_once or max(len(names), 1)
        return [names[first : first + most] for first in range(0, len(names), most)]

    def turns(self, epoch: int = 0) -> list[Turn]:
        """What an epoch trains on, in order: a turn for each pass over a data set, or for those open together."""
        place, phase = self.phase(epoch)
        groups = self.groups(epoch)
        if isinstance(self.interleave, OneByOne):
            groups = [group for group in groups for _ in range(self[group[0]].passes)]
        turns, seen = [], Counter[str]()
        for group in groups:
            spans = self._spans(epoch, group, seen[group[0]])
            seen.update(group)
            steps = sum(span.stop - span.first for each in spans.values() for span in each)
            if isinstance(self.interleave, SideBySide):
                lengths, seed = self._side_by_side(group), self._seed(group[0], epoch)
                steps = self._grid(self.splitter, lengths, seed, " + ".join(group)).steps
            opening = partial(self._opened, epoch, phase, spans)
            turns.append(Turn(group, steps, place, phase.frozen, opening))
        return turns

    def steps(self, epoch: int = 0) -> int:
        """Steps of an epoch."""
        return sum(turn.steps for turn in self.turns(epoch))

    def __len__(self) -> int:
        """Steps of the first epoch."""
        return self.steps()

    def batches(self, epoch: int = 0, dtype: str = "float32") -> Iterator[Batch]:
        """The steps of an epoch, one after the other; the arrays are views of a block, do not change them."""
        for turn in self.turns(epoch):
            yield from turn.batches(dtype)

    def open(self, name: str) -> OpenParts:
        """Open a data set and its parts, seen through its scaler.

        Raises:
            SourceError: it is not what it was when it was measured.
        """
        dataset, facts = self[name], self.facts.get(name)
        if facts is None:
            raise SourceError(f"{self.skipped[name]}; it was left out")
        opened = dataset.open(facts.scaler)
        if dataset.fingerprint(opened.series) != facts.fingerprint:
            raise SourceError(
                f"data set {name!r} has changed since it was measured: it has {counted(len(opened.training), 'row')} "
                f"to train on, and had {facts.rows:,}; make the curriculum anew, which measures it again"
            )
        return opened

    def held_out(self, skipped: dict[str, str], *parts: Part) -> Iterator[tuple[str, Rows]]:
        """Each data set that has one of these parts: its name, and the first of them that it has, open meanwhile.

        Args:
            skipped: where data sets are written that cannot be opened, under `on_error="skip"`.
            parts: the part that is wanted most first.

        Raises:
            SourceError: one that cannot be opened, under `on_error="stop"`.
        """
        for name, facts in self.facts.items():
            chosen = next((part for part in parts if part in facts.parts), None)
            if chosen is None:
                continue
            try:
                opened = self.open(name)
            except RnnkitError as error:
                if self.on_error == "stop":
                    raise
                skipped[name] = str(error)
                continue
            part = getattr(opened, chosen)
            yield name, part
            del opened, part  # so that the next is opened when this one is closed

    def describe(self, epoch: int = 0) -> str:
        """An epoch in words: a line for each turn."""
        from rnnkit.view.curriculum import describe

        return describe(self, epoch)

    def plot(self, epoch: int = 0, steps: int | None = None) -> Figure:
        """The first steps of an epoch's turns, lane by lane, coloured by data set, resets marked."""
        from rnnkit.view.curriculum import plot_curriculum

        return plot_curriculum(self, epoch, steps)

    def panels(self) -> Iterator[CutSamples]:
        """The data sets that are scored at their samples' last rows, as their first pass cuts them."""
        groups = [(name,) for name in self.facts]
        if isinstance(self.interleave, SideBySide):
            groups = self.groups(0)
        for group in groups:
            own, facts = self[group[0]], self.facts[group[0]]
            if facts.score == "last":
                splitter, policy = own.splitter or self.splitter, own.policy or self.policy
                lengths, seed, name = self._side_by_side(group), self._seed(group[0], 0), " + ".join(group)
                grid = widen(policy, self._grid(splitter, lengths, seed, name))
                yield CutSamples(name, lengths, splitter, policy, grid)

    def _seed(self, name: str, number: int) -> int:
        """The seed of a pass over a data set, passes counted through all epochs."""
        spawn_key = number, 3, self._places[name]
        return int(np.random.SeedSequence(self.seed, spawn_key=spawn_key).generate_state(1)[0])

    def _pass(self, name: str, series: Rows, number: int) -> Schedule:
        """The schedule of a pass over an open data set."""
        own = self[name]
        return Schedule(series, own.splitter or self.splitter, own.policy or self.policy, self._seed(name, number))

    def _grid(self, splitter: Splitter, lengths: np.ndarray, seed: int, name: str) -> Grid:
        """The windows of a pass, from what is known of it: those of epoch 0 of its schedule."""
        return splitter.grid(lengths, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))), name)

    def _spans(self, epoch: int, group: tuple[str, ...], nth: int) -> dict[str, tuple[Span, ...]]:
        """Which steps of which passes each data set is trained on in a turn of an epoch, its `nth` turn there."""
        way, spans = self.interleave, {}
        if isinstance(way, Sampling) and way.temperature != 1:
            counts, before = self._counts(way, frozenset(group)), Counter[str]()
            for earlier in range(epoch):
                for others in self.groups(earlier):
                    before.update(self._counts(way, frozenset(others)))
            return {name: _spans_from(before[name], counts[name], self._steps(name, 0)) for name in group}
        for name in group:
            passes = self[name].passes
            numbers = range(epoch * passes, (epoch + 1) * passes)
            chosen = numbers[nth : nth + 1] if isinstance(way, OneByOne) else numbers
            spans[name] = tuple(Span(number, 0, self._steps(name, number)) for number in chosen)
        return spans

    def _counts(self, way: Sampling, group: frozenset[str]) -> dict[str, int]:
        """How many windows an epoch has of each of the data sets that are open together."""
        if group not in self._known_counts:
            names = [name for name in self.facts if name in group]
            steps = np.array([self._steps(name, 0) * self[name].passes for name in names])
            rows = np.array([self.facts[name].rows * self[name].passes for name in names])
            counts = way.counts(steps, rows).tolist()
            self._known_counts[group] = dict(zip(names, counts, strict=True))
        return self._known_counts[group]

    @cached_property
    def _known_counts(self) -> dict[frozenset[str], dict[str, int]]:
        return {}

    @cached_property
    def _by_name(self) -> dict[str, DataSet]:
        return {each.name: each for each in self.datasets}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._by_name)}

    def _steps(self, name: str, number: int) -> int:
        splitter = self[name].splitter or self.splitter
        grid = self._grid(splitter, self.facts[name].lengths, self._seed(name, number), name)
        way = self.interleave
        if grid.varies and isinstance(way, Sampling) and way.temperature != 1:
            raise ScheduleError(
                f"{way!r} expects the same windows in every epoch, but {splitter!r} draws those of "
                f"{name!r}; use a length in rows and tail='keep', or temperature=1"
            )
        return grid.steps

    def _side_by_side(self, group: tuple[str, ...]) -> np.ndarray:
        """The segments' lengths of data sets end to end, each as often as it is gone through."""
        return np.concatenate([self.facts[name].lengths for name in group for _ in range(self[name].passes)])

    @contextmanager
    def _opened(
        self, epoch: int, phase: Phase, spans: dict[str, tuple[Span, ...]], see: See, skipped: dict[str, str]
    ) -> Iterator[Feed | None]:
        """Open the data sets of a turn; see `Turn.open`."""
        series: dict[str, Rows] = {}
        for name in spans:
            try:
                opened = self.open(name)
            except RnnkitError as error:
                if self.on_error == "stop":
                    raise
                skipped[name] = str(error)
                continue
            series[name] = see(name, opened.training)
            del opened
        if not series:
            yield None
            return
        names = tuple(series)
        if isinstance(self.interleave, SideBySide):
            rows = Joined(tuple(series[name] for name in names for _ in range(self[name].passes)))
            schedule = Schedule(cast(Any, rows), self.splitter, self.policy, self._seed(next(iter(spans)), epoch))
            source = OneEpoch(schedule, 0, 0 if len(names) == 1 else -1)
        elif isinstance(self.interleave, OneByOne):
            ((name, (span,)),) = spans.items()
            source = OneEpoch(self._pass(name, series[name], span.number), 0, 0)
        else:
            members = tuple(
                Member(cache(partial(self._pass, name, series[name])), spans[name], self[name].head) for name in names
            )
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, 4)))
            source = interleaved(members, self.interleave, rng)
        rates = tuple(self[name].learning_rate * phase.learning_rate for name in names)
        yield Feed(names, tuple(series.values()), rates, tuple(self[name].head for name in names), source)


def _spans_from(place: int, count: int, steps: int) -> tuple[Span, ...]:
    """So many steps from a place on that is counted through passes of `steps` each."""
    spans = []
    while count:
        number, first = divmod(place, steps)
        stop = min(steps, first + count)
        spans.append(Span(number, first, stop))
        place, count = place + stop - first, count - (stop - first)
    return tuple(spans)
