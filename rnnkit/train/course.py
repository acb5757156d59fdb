"""What `fit` trains on: one schedule or a curriculum, seen as the model and the loss want it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Patterns
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rnnkit.data import Sequence
from rnnkit.data.survey import Facts, Part
from rnnkit.errors import ModelError, counted, did_you_mean
from rnnkit.model.layers import Chain, parameter_shapes
from rnnkit.model.losses import CrossEntropy, Loss
from rnnkit.model.patterns import match_parameters
from rnnkit.model.ranges import output_range
from rnnkit.schedule import Curriculum, Schedule
from rnnkit.schedule.cut import warn_of_lost
from rnnkit.schedule.turn import Turn
from rnnkit.train.run import Seen
from rnnkit.train.targets import as_trained, check_fit, check_logits


@dataclass(frozen=True)
class Course:
    """The turns of each epoch, and the parts that are only looked at.

    Attributes:
        model, loss: what sees the data.
        schedule: a `Schedule`, whose series is already seen as it is trained on, or a `Curriculum`.
        validation: the part that was given beside the schedule, likewise.
    """

    model: Chain
    loss: Loss
    schedule: Schedule | Curriculum
    validation: Sequence | None

    @property
    def names(self) -> tuple[str, ...]:
        """The data sets that are told apart; none for a schedule."""
        return self.schedule.sets

    def turns(self, epoch: int) -> list[Turn]:
        """What an epoch trains on, in order."""
        return self.schedule.turns(epoch)

    @property
    def lanes(self) -> int:
        """Lanes that training starts with."""
        return self.schedule.lanes

    def see(self, name: str, series: Sequence) -> Sequence:
        """A data set as it is trained on."""
        return as_trained(self.chain(self.head(name)), series, self.loss)

    @cached_property
    def sets(self) -> dict[str, Seen]:
        """How each data set is seen, or the one series."""
        return {
            name: Seen(f.scaler, self.head(name), f.horizon, f.feature_names, f.target_names, f.typical)
            for name, f in self.schedule.facts.items()
        }

    @property
    def measured(self) -> tuple[Part, ...]:
        """Which part of each data set `held_out("test", "validation", "training")` takes."""
        return tuple(self.schedule.facts[name].parts[-1] for name in self.names)

    def head(self, name: str) -> str | None:
        """The head of a data set."""
        return self.schedule.head(name)

    def chain(self, head: str | None) -> Chain:
        """The plain chain that ends with a head."""
        return self.model if head is None else self.model.head(head)

    def held_out(self, skipped: dict[str, str], *parts: Part) -> Iterator[tuple[str, str | None, Sequence]]:
        """Each data set that has one of these parts: its name, its head and the first of them, open meanwhile.

        Under `on_error="skip"` one that cannot be opened is left out, and said in `skipped`.
        """
        if self.validation is not None and "validation" in parts:
            yield self.validation.name, None, self.validation
            return
        for name, part in self.schedule.held_out(skipped, *parts):
            yield name, self.head(name), self.see(name, part)
            del part  # so that the next is opened when this one is closed

    def bounded(self, skipped: dict[str, str]) -> Iterator[tuple[str | None, Chain, Sequence]]:
        """What is trained on through a last layer that cannot give every number: head, plain chain, training part.

        Data sets are opened for it, those that cannot be as `held_out` says; none is where no last layer is bounded.
        """
        chains = (self.chain(self.head(name)) for name in self.schedule.facts)
        if any(output_range(chain).is_bounded for chain in chains):
            for _, head, part in self.held_out(skipped, "training"):
                yield head, self.chain(head), part

    @property
    def validated(self) -> tuple[str, ...]:
        """The data sets that have a validation part of their own."""
        return tuple(name for name in self.names if "validation" in self.schedule.facts[name].parts)

    @property
    def is_validated(self) -> bool:
        """Whether there is a validation part."""
        return self.validation is not None or bool(self.validated)


def course(
    model: Chain,
    schedule: Schedule | Curriculum,
    validation: Sequence | None,
    loss: Loss,
) -> Course:
    """What a model is trained on, checked against it.

    Raises:
        ModelError: features, targets, labels, heads or a scaler that do not fit.
    """
    if schedule.sets:
        _check_sets(model, schedule, validation, loss)
    else:
        schedule, validation = _seen(model, schedule, validation, loss)
    warn_of_lost(schedule.panels())
    made = Course(model, loss, schedule, validation)
    assert made.sets  # its targets are looked at now: they may be gone when a run that was cut short is put together
    return made


def _seen(model: Chain, schedule: Any, validation: Sequence | None, loss: Loss) -> tuple[Schedule, Sequence | None]:
    """A schedule of one series, and the validation part beside it, as they are trained on."""
    series = schedule.series
    if model.heads:
        raise ModelError(
            f"fit expects a Curriculum for a model with the heads {', '.join(model.heads)}, whose data sets say which "
            f"they train; choose one with model.head({model.heads[0]!r}), or write DataSet(..., head=...)"
        )
    seen = as_trained(model, series, loss)
    check_logits(model, loss)
    if validation is not None:
        if validation.scaler != series.scaler:
            raise ModelError(
                "fit expects the validation part to be scaled like the training part, got another scaler; "
                "write validation.with_scaler(training.scaler)"
            )
        validation = as_trained(model, validation, loss)
    return schedule if seen is series else replace(schedule, series=seen), validation


def check_frozen(model: Chain, schedule: Schedule | Curriculum, frozen: str | Patterns[str]) -> None:
    """Patterns that fit no parameter, or that leave none to train, here or in a phase.

    Raises:
        ModelError: such patterns.
    """
    for patterns in (frozen, *((*_listed(frozen), *_listed(phase.frozen)) for phase in schedule.phases)):
        if match_parameters(model, patterns) == set(parameter_shapes(model)):
            raise ModelError(f"fit expects some parameters to train, but frozen={patterns!r} leaves none; name fewer")


def _listed(patterns: str | Patterns[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _check_sets(model: Chain, curriculum: Any, validation: Sequence | None, loss: Loss) -> None:
    """Data sets whose heads, sizes or labels do not fit the model, before any training."""
    if validation is not None:
        raise ModelError(
            "fit expects no validation part beside a Curriculum, whose data sets have theirs; "
            "write DataSet(..., split=(0.7, 0.15))"
        )
    for name, facts in curriculum.facts.items():
        head = curriculum[name].head
        if head not in (model.heads or (None,)):
            known = f"one of the model's heads ({', '.join(model.heads)})" if model.heads else "no head"
            remedy = "give the model heads: rk.Heads(...)" if not model.heads else "say DataSet(..., head=...)"
            raise ModelError(
                f"data set {name!r} expects {known}, got {head!r}{did_you_mean(str(head), model.heads)}; {remedy}"
            )
        chain = model if head is None else model.head(head)
        check_fit(chain, facts, loss)
        _check_labels(facts, head, chain.outputs, loss)
        check_logits(chain, loss)


def _check_labels(facts: Facts, head: str | None, classes: int, loss: Loss) -> None:
    """Labels that the classes do not have, before any training."""
    if facts.highest is None or not isinstance(loss, CrossEntropy):
        return
    label, row, segment = facts.highest
    if label >= classes:
        who = "the model" if head is None else f"head {head!r}"
        raise ModelError(
            f"data set {facts.name!r} has the label {label} in sample {segment} (row {row:,}), but {who} has "
            f"{counted(classes, 'output')}, for labels 0 to {classes - 1}; give it an output for each class"
        )
