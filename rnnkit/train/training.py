"""Training as it goes: what is carried between blocks, what was measured, and the best epoch so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnnkit.backend import Carried
from rnnkit.data.sequence import Sequence
from rnnkit.data.typical import all_together
from rnnkit.errors import DataError, ScheduleError
from rnnkit.model.initialisers import noise_generator
from rnnkit.model.patterns import match_parameters
from rnnkit.schedule.turn import Turn
from rnnkit.train.course import Course
from rnnkit.train.fold import Fold, copied
from rnnkit.train.history import History
from rnnkit.train.nonfinite import not_finite, overflow
from rnnkit.train.passes import mean_loss
from rnnkit.train.progress import Progress, Sums, Tally, TurnEnd
from rnnkit.train.run import Run
from rnnkit.train.settings import Settings
from rnnkit.train.stages import Stages


@dataclass(frozen=True)
class Told:
    """Who is told what: the callbacks of `fit`."""

    on_block: Callable[[Progress], None] | None
    on_turn: Callable[[TurnEnd], None] | None
    on_epoch: Callable[[History], None] | None
    stop: Callable[[Run], bool] | None


@dataclass
class Training:
    """A training run in progress.

    Attributes:
        course, fold: what is trained on, and how.
        settings: as for `fit`.
        told: the callbacks.
        carried: what stands now.
        stages: the transfer matrix so far, or None.
    """

    course: Course
    fold: Fold
    settings: Settings
    told: Told
    carried: Carried
    stages: Stages | None
    skipped: dict[str, str]
    history: History = field(default_factory=History)
    best: Carried | None = None
    best_epoch: int | None = None
    stopped: bool = False

    def run(self) -> Run:
        """All of it as a value, as it stands."""
        engine, course = self.fold.engine, self.course
        kept = self.carried if self.best is None else self.best
        params, rule_state, state = engine.to_numpy((kept.params, kept.rule_state, kept.state))
        store = kept.store if kept is self.best else copied(engine, kept.store)
        sets = course.sets
        first = next(iter(sets.values()))
        scalers = {seen.scaler for seen in sets.values()}
        return Run(
            model=course.model,
            params=params,
            state=state,
            rule_state=rule_state,
            history=self.history,
            scaler=first.scaler if len(scalers) == 1 else None,
            loss=course.loss,
            backend=engine,
            horizon=first.horizon,
            features=first.features,
            targets=first.targets,
            epoch=self.best_epoch,
            store=store,
            sets=sets if course.names else {},
            skipped=dict(self.skipped),
            transfer=None if self.stages is None else self.stages.matrix(),
            typical=all_together(seen.typical for seen in sets.values() if seen.typical is not None),
        )

    def go(self) -> None:
        """All epochs, unless something stops it."""
        if self.stages is not None:
            self.stages.measure("start", self.carried)
        for epoch in range(self.settings.epochs):
            self.epoch(epoch)
            patience = self.settings.early_stopping.patience if self.settings.early_stopping else None
            waited = epoch - (epoch if self.best_epoch is None else self.best_epoch)
            if self.stopped or (patience is not None and waited >= patience):
                break
        if self.stages is not None:
            self.stages.at_the_end(self.carried)

    def epoch(self, epoch: int) -> None:
        """An epoch: its turns, and what is measured after them."""
        began, tally = time.perf_counter(), Tally()
        turns = self.course.turns(epoch)
        steps = sum(turn.steps for turn in turns)
        factors = self.settings.learning_rate.factors(epoch, self.settings.epochs, steps, self.history.monitored)
        rates = self.fold.rule.learning_rate * factors
        rng = noise_generator(self.fold.model, self.settings.seed, epoch)
        opened = False
        for number, turn in enumerate(turns):
            entered = time.perf_counter()
            done = self.turn(turn, epoch, rates, rng, tally)
            if done is None:
                continue
            opened = True
            tally.add(done)
            if self.told.on_turn is not None and self.course.names:
                losses = {name: sums.mean for name, sums in done.sets.items()}
                spent = time.perf_counter() - entered
                self.told.on_turn(TurnEnd(epoch, self.settings.epochs, number, len(turns), losses, done.rows, spent))
            if self.stopped:
                break
            if self.stages is not None:
                self.stages.after_turn(epoch, tuple(done.sets), self.carried)
        if not opened:
            reasons = "; ".join(self.skipped.values())
            raise DataError(f"fit expects a data set that can be opened in epoch {epoch}: {reasons}")
        if self.stages is not None and not self.stopped:
            self.stages.after_epoch(epoch, self.carried)
        if not tally.all.weight and not self.stopped:  # one that is cut short may not have come to a scored row
            raise ScheduleError(
                f"fit expects a schedule that scores some row, {self.course.schedule!r} scores none in epoch {epoch}; "
                f"use tail='keep', or windows as long as the segments"
            )
        self._account(epoch, tally, time.perf_counter() - began)

    def turn(
        self, turn: Turn, epoch: int, rates: np.ndarray, rng: np.random.Generator | None, before: Tally
    ) -> Tally | None:
        """Train through a turn; None where none of its data sets can be opened."""
        fold = self.fold
        frozen = match_parameters(fold.model, self.settings.frozen) | match_parameters(fold.model, turn.frozen)
        tally = Tally()
        with turn.open(self.course.see, self.skipped) as feed:
            if feed is None:
                return None
            fresh = epoch == 0 or bool(self.course.names)
            for block, members in feed.blocks(fold.dtype, self.settings.block_rows):
                if fresh:
                    self.carried, fresh = fold.enter(self.carried, feed, block.x.shape[2]), False
                member, step = max(int(members[0]), 0), before.step + tally.step
                here = rates[step : step + len(block.x)] * np.array(feed.rates)[np.maximum(members, 0)]
                drawn = fold.draws(rng, block)
                after, report = fold.through(self.carried, block, feed.heads[member], here, drawn, frozen)
                if not fold.is_finite(after):
                    raise overflow(epoch, step, len(block.x), fold.is_finite(self.carried))
                self.carried, done = after, report.done
                loss = report.loss[:done]
                weight = tally.add_block(block, members, feed.names, loss)
                self.history.add_steps(loss=loss, weight=weight, norm=report.norm[:done], learning_rate=here[:done])
                if done < len(block.x):
                    raise not_finite(fold, self.carried, feed, block, int(members[done]), report, epoch, step, drawn)
                if self.told.on_block is not None:
                    loss_so_far = Sums(before.all.loss + tally.all.loss, before.all.weight + tally.all.weight).mean
                    place = before.step + tally.step, len(rates)
                    self.told.on_block(Progress(epoch, self.settings.epochs, *place, loss_so_far, feed.names))
                if self.told.stop is not None and self.told.stop(self.run()):
                    self.stopped = True
                    return tally
            for name, series in zip(feed.names, feed.series, strict=True):
                if name not in tally.sets:  # it shared its batches
                    tally.sets[name] = Sums(self.loss_of(name, series) * series.counted, series.counted)
        return tally

    def loss_of(self, name: str, series: Sequence) -> float:
        """The mean loss over an open data set, with the parameters as they stand."""
        head = self.course.head(name)
        chain, params = self.course.chain(head), self.fold.parameters(self.carried, head)
        return mean_loss(self.fold.engine, chain, params, series, self.course.loss, self.settings.warm)

    def _account(self, epoch: int, tally: Tally, seconds: float) -> None:
        """What is measured after an epoch, and whether it is the best."""
        sets = {f"{name}/loss": tally.sets[name].mean if name in tally.sets else np.nan for name in self.course.names}
        self.history.add_epoch(loss=tally.all.mean, seconds=seconds, rows=tally.rows, steps=tally.step, **sets)
        if self.course.is_validated:
            sums, found = Sums(), dict.fromkeys(self.course.names, np.nan)
            for name, _, part in self.course.held_out(self.skipped, "validation"):
                found[name] = self.loss_of(name, part)
                weight = part.counted * part.weight
                sums.add(Sums(found[name] * weight, weight))
            own = {f"{name}/validation_loss": found[name] for name in self.course.names}
            whole = all(np.isfinite(found[name]) for name in self.course.validated)  # else it compares with no other
            self.history.add_epoch(validation_loss=sums.mean if whole else np.nan, **own)
        stopping = self.settings.early_stopping
        if self.best_epoch is None or not stopping or stopping.improved(self.history.monitored, self.best_epoch):
            self.best_epoch = epoch
            if stopping:
                self.best = self.carried._replace(store=copied(self.fold.engine, self.carried.store))
        if self.told.on_epoch is not None:
            self.told.on_epoch(self.history)
