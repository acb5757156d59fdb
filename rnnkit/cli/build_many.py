"""From a config with many data sets to the objects of the core: curriculum, model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial

import numpy as np

from rnnkit.cli.builder import Builder, no_file
from rnnkit.cli.chain import build_chain, end_of
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.locate import Keys
from rnnkit.cli.many import ManyConfig
from rnnkit.cli.problems import mentioned
from rnnkit.cli.sets import OPENED, Entry, entries
from rnnkit.data.survey import Opening
from rnnkit.errors import ContinuityError, RnnkitError, counted, did_you_mean
from rnnkit.model import Chain, Loss
from rnnkit.model.patterns import match_parameters
from rnnkit.schedule import Curriculum, Phase, Schedule, SideBySide
from rnnkit.train.baselines import chosen_columns
from rnnkit.train.course import check_frozen, course
from rnnkit.train.targets import as_trained, check_logits, check_range

Told = Callable[[str, Opening], None]


class ManyBuilder:
    """Builds what it can and collects what the core refuses."""

    def __init__(self, builder: Builder, config: ManyConfig, told: Told | None) -> None:
        self.builder, self.config = builder, config
        self.told: Told = told or (lambda doing, at: None)
        self.entries: list[Entry] = []

    def build(self) -> Experiment:
        """The experiment, or one error with all that is wrong."""
        builder, config = self.builder, self.config
        loss, model = config.train.loss.build(), None
        curriculum = self.curriculum()
        if curriculum is not None and builder.draft.usable(("model",)):
            model = self.model(curriculum, loss)
        if curriculum is not None and model is not None:
            self.rehearse(curriculum, model, loss)
        builder.draft.refuse()
        assert curriculum is not None  # else there was a problem
        assert model is not None
        return Experiment(config, model, loss, curriculum, entries=tuple(self.entries))

    def curriculum(self) -> Curriculum | None:
        """The data sets and the way through them, each data set measured."""
        builder, config = self.builder, self.config
        if not builder.draft.usable(("data",), ("common",)):
            return None
        self.entries, problems = entries(config, builder.draft.file.parent)
        for problem in problems:
            builder.add(problem.path, problem.message)
        if problems or not builder.draft.usable(("curriculum",), ("splitter",), ("policy",)):
            return None
        table = config.curriculum
        phases = tuple(self.phase(index) for index in range(len(table.phases)))
        self.epochs(phases)
        if not builder.draft.usable(("curriculum",)):
            return None
        try:
            made = Curriculum(
                tuple(entry.data_set() for entry in self.entries),
                config.splitter.build(),
                config.policy.build(),
                order=table.order,
                interleave=table.interleave.build(),
                phases=phases,
                on_error=table.on_error,
                seed=config.seed,
                on_open=partial(self.told, "measuring"),
            )
        except RnnkitError as error:
            key = "order" if isinstance(table.order, list) and mentioned(str(error), ("order",)) else "interleave"
            builder.add(("curriculum", key), str(error))
            return None
        return made if self.measured(made) else None

    def phase(self, index: int) -> Phase:
        """A phase, patterns of names taken apart."""
        table, known = self.config.curriculum.phases[index], [entry.name for entry in self.entries]
        phase: Phase = table.build()
        names: list[str] = []
        for pattern in phase.names or ():
            found = [name for name in known if fnmatchcase(name, pattern)]
            if not found:
                self.builder.add(
                    ("curriculum", "phases", index, "names"),
                    f"expects data sets among {', '.join(known)}, got {pattern!r}{did_you_mean(pattern, known)}",
                )
            names += [name for name in found if name not in names]
        chosen = None if phase.names is None else tuple(names) or tuple(known)
        return Phase(chosen, phase.epochs, phase.learning_rate, phase.frozen, phase.name)

    def epochs(self, phases: tuple[Phase, ...]) -> None:
        """Whether `[train]` and the phases say the same."""
        train, total = self.config.train, sum(phase.epochs for phase in phases)
        if phases and "epochs" in train.model_fields_set and train.epochs != total:
            message = f"the phases have {counted(total, 'epoch')} together, but this says {train.epochs}; leave it out"
            self.builder.add(("train", "epochs"), message)

    def measured(self, curriculum: Curriculum) -> bool:
        """Open every data set once; say of each that cannot be opened what is wrong with it."""
        try:
            facts = curriculum.facts
        except RnnkitError as error:
            reasons = list(self.unopened())
            for entry, reason in reasons:
                if not os.path.exists(entry.path):
                    self.builder.add(entry.at("path"), no_file(entry.path, f"--data.{entry.place}.path"))
                else:
                    key = mentioned(reason, ("path", *OPENED, "train", "validation", "by"))
                    self.builder.add(entry.at(key), reason)
            if not reasons:
                self.blame(error, ("features", "scaler"))
            return False
        for entry in self.entries:
            if entry.name in facts:
                with self.builder.blaming(entry.at("baseline")):
                    chosen_columns(facts[entry.name], entry.table.baseline)
        return True

    def unopened(self) -> Iterator[tuple[Entry, str]]:
        """Each data set that cannot be opened, and why."""
        for entry in self.entries:
            try:
                entry.data_set().open()
            except RnnkitError as error:
                yield entry, str(error)

    def model(self, curriculum: Curriculum, loss: Loss) -> Chain | None:
        """The chain, if it has the heads and classes that the data sets want."""
        builder, heads = self.builder, self.config.model.heads
        outputs: dict[str | None, int] = {}
        for name, facts in curriculum.facts.items():
            outputs.setdefault(curriculum[name].head if heads else None, facts.outputs)
        features = next(iter(curriculum.facts.values())).features
        model = build_chain(builder, features, outputs, loss)
        if model is None or not builder.draft.usable(("train", "loss")):
            return model
        if not self.reaches(curriculum, model, loss):
            return None
        for index, phase in enumerate(curriculum.phases):
            with builder.blaming(("curriculum", "phases", index, "frozen")):
                match_parameters(model, phase.frozen)
        if builder.draft.usable(("train", "frozen"), ("curriculum",)):
            with builder.blaming(("train", "frozen")):
                check_frozen(model, curriculum, self.config.train.frozen)
        return model if builder.draft.usable(("data",), ("curriculum",)) else None

    def reaches(self, curriculum: Curriculum, model: Chain, loss: Loss) -> bool:
        """Whether the data sets, and what they are scaled to, fit the ends of the model."""
        builder, before = self.builder, len(self.builder.draft.problems)
        for head in dict.fromkeys(curriculum[name].head for name in curriculum.facts):
            if head in (model.heads or (None,)):
                with builder.blaming(*end_of(self.config, head)):
                    check_logits(model if head is None else model.head(head), loss)
        if len(builder.draft.problems) > before:
            return False
        with self.blaming(("head",)):
            what = course(model, curriculum, None, loss)
            if self.config.train.check_range:
                for head, chain, part in what.bounded({}):
                    with builder.blaming(*end_of(self.config, head)):
                        check_range(chain, part, loss, "scaler='none'")
        return len(builder.draft.problems) == before

    def rehearse(self, curriculum: Curriculum, model: Chain, loss: Loss) -> None:
        """Make the schedules of training, as far as they differ: what is refused shows before it starts."""
        side_by_side, seen = isinstance(curriculum.interleave, SideBySide), set()
        by_name = {entry.name: entry for entry in self.entries}
        for place, (name, facts) in enumerate(curriculum.facts.items()):
            self.told("planning", Opening(name, place, len(curriculum.facts)))
            own, entry = curriculum[name], by_name[name]
            splitter, policy = own.splitter or curriculum.splitter, own.policy or curriculum.policy
            with self.blaming_schedule(entry, splitter):
                if not side_by_side:
                    splitter.grid(facts.lengths, np.random.default_rng(0), name)
                key = splitter, policy, own.head, facts.outputs, facts.labels
                if key in seen:
                    continue
                seen.add(key)
                series = curriculum.open(name).training
                chain = model if own.head is None else model.head(own.head)
                with self.blaming(("target",), entry):
                    as_trained(chain, series, loss)
                if not side_by_side:
                    Schedule(series, splitter, policy, curriculum.seed)
        if side_by_side:
            with self.blaming_schedule(None, curriculum.splitter), curriculum.turns(0)[0].open():
                pass

    @contextmanager
    def blaming_schedule(self, entry: Entry | None, splitter: object) -> Iterator[None]:
        """Turn an error of the core into a problem of the splitter or policy that a data set has."""
        own = () if entry is None else entry.own
        try:
            yield
        except ContinuityError as error:
            self.builder.add(entry.at("policy") if entry and "policy" in own else ("policy",), str(error))
        except RnnkitError as error:
            path: Keys = entry.at("splitter") if entry and "splitter" in own else ("splitter",)
            key = mentioned(str(error), vars(splitter))
            self.builder.add(path if key is None else (*path, key), str(error))

    @contextmanager
    def blaming(self, keys: tuple[str, ...], entry: Entry | None = None) -> Iterator[None]:
        """Turn an error of the core into a problem of the data set that it names, or of one of its settings."""
        try:
            yield
        except RnnkitError as error:
            self.blame(error, keys, entry)

    def blame(self, error: RnnkitError, keys: tuple[str, ...], entry: Entry | None = None) -> None:
        """Note an error at the data set that it names last, at the setting that it complains about."""
        message = str(error)
        named = {message.rfind(repr(each.name)): each for each in self.entries}
        entry = entry or (named[max(named)] if max(named) >= 0 else None)
        key = mentioned(message, keys)
        self.builder.add(("data",) if entry is None else entry.at(key), message)
