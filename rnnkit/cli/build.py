"""From a config to the objects of the core: series, parts, model, schedule, backend."""

from __future__ import annotations

import os
from dataclasses import fields

from rnnkit.backend import Backend
from rnnkit.cli.build_many import ManyBuilder, Told
from rnnkit.cli.builder import Builder, no_file, started
from rnnkit.cli.chain import build_chain, end_of
from rnnkit.cli.experiment import Experiment, Parts
from rnnkit.cli.problems import mentioned
from rnnkit.cli.read import Draft
from rnnkit.cli.sets import OPENED
from rnnkit.data import Sequence, Standard
from rnnkit.errors import ContinuityError, RnnkitError
from rnnkit.model import Chain, CrossEntropy, Loss
from rnnkit.schedule import Schedule
from rnnkit.schedule.cut import warn_of_lost
from rnnkit.train.baselines import chosen_columns
from rnnkit.train.targets import as_trained, check_logits, check_range, check_targets, is_classification

SLICE = 65_536
"""Targets that are looked at in one slice."""


def build(draft: Draft, told: Told | None = None) -> Experiment:
    """Open the data and make the objects of the core; no backend is loaded.

    Args:
        draft: a config.
        told: takes what is being done with which of many data sets.

    Raises:
        ConfigError: everything that is wrong, in the file and between the file and its data.
    """
    return _build(Builder(draft), told)


def build_with_backend(draft: Draft, told: Told | None = None) -> tuple[Experiment, Backend]:
    """Open the data, make the objects of the core, and load the backend.

    Raises:
        ConfigError: everything that is wrong, a backend that cannot be had included.
    """
    builder, engine = started(draft)
    return _build(builder, told), engine()


def open_series(draft: Draft) -> Sequence:
    """Open the data alone.

    Raises:
        ConfigError: everything that is wrong with the config, and with the data.
    """
    builder = Builder(draft)
    series = _open_series(builder) if draft.usable(("data",)) else None
    builder.draft.refuse()
    assert series is not None  # else there was a problem
    return series


def open_parts(draft: Draft) -> Parts:
    """Open the data and split them.

    Raises:
        ConfigError: everything that is wrong with the config, and with the data.
    """
    builder = Builder(draft)
    parts = _open_parts(builder) if draft.usable(("data",)) else None
    builder.draft.refuse()
    assert parts is not None  # else there was a problem
    return parts


def build_pieces(builder: Builder) -> tuple[Parts | None, Chain | None, Loss]:
    """Parts, model and loss; None for what has a problem."""
    loss, model = builder.config.train.loss.build(), None
    parts = _open_parts(builder) if builder.draft.usable(("data",)) else None
    if parts is not None and not parts.series.outputs:
        with builder.blaming(("data", "target")):
            parts.series.expect_target("training")
        parts = None
    if parts is not None and builder.draft.usable(("model",)):
        model = _build_model(builder, parts.training, loss)
        if model is not None and builder.draft.usable(("train", "loss")):
            _check_targets(builder, loss, model, parts[1:])
    return parts, model, loss


def _build(builder: Builder, told: Told | None) -> Experiment:
    draft, config = builder.draft, builder.config
    if draft.many is not None:
        return ManyBuilder(builder, draft.many, told).build()
    (parts, model, loss), schedule = build_pieces(builder), None
    if parts is not None and draft.usable(("splitter",), ("policy",)):
        schedule = _build_schedule(builder, parts.training)
    builder.draft.refuse()
    assert parts is not None  # else there was a problem
    assert model is not None
    assert schedule is not None
    return Experiment(config, model, loss, schedule, draft.data_path, parts)


def _open_series(builder: Builder) -> Sequence | None:
    path, data = builder.draft.data_path, builder.config.data
    if not os.path.exists(path):
        builder.add(("data", "path"), no_file(path, "--data.path"))
        return None
    unsaid = [key for key in ("array", "only") if getattr(data, key) is None]  # plain words of other messages, too
    with builder.blaming(("data",), tuple(key for key in ("path", *OPENED) if key not in unsaid)):
        return Sequence.open(path, **{key: getattr(data, key) for key in OPENED})
    return None


def _open_parts(builder: Builder) -> Parts | None:
    data, series = builder.config.data, _open_series(builder)
    if series is None:
        return None
    with builder.blaming(("data",), ("train", "validation", "by", "baseline")):
        chosen_columns(series, data.baseline)
        training, *others = series.split(data.train, data.validation, data.by)
        scaler = Standard.fit(training) if data.scale else None
        validation, test = (None if part is None else part.with_scaler(scaler) for part in others)
        return Parts(series, training.with_scaler(scaler), validation, test)
    return None


def _build_model(builder: Builder, series: Sequence, loss: Loss) -> Chain | None:
    """The chain, if it and the data go together."""
    model = build_chain(builder, series.features, {None: series.outputs}, loss)
    if model is not None and builder.draft.usable(("train", "loss")):
        end = end_of(builder.config, None)
        with builder.blaming(*((("train", "loss"), ()) if isinstance(loss, CrossEntropy) else end)):
            seen = as_trained(model, series, loss)
            with builder.blaming(*end):
                check_logits(model, loss)
                if builder.config.train.check_range:
                    check_range(model, seen, loss, "scale=False")
    return model


def _build_schedule(builder: Builder, series: Sequence) -> Schedule | None:
    config = builder.config
    splitter, policy = config.splitter.build(), config.policy.build()
    try:
        schedule = Schedule(series, splitter, policy, config.seed)
        warn_of_lost(schedule.panels())
        return schedule
    except ContinuityError as error:
        builder.add(("policy",), str(error))
    except RnnkitError as error:
        key = mentioned(str(error), [field.name for field in fields(splitter)])
        builder.add(("splitter",) if key is None else ("splitter", key), str(error))
    return None


def _check_targets(builder: Builder, loss: Loss, model: Chain, parts: tuple[Sequence | None, ...]) -> None:
    """Whether the loss can be taken of every target, so that a class out of range shows before training."""
    if not is_classification(loss):
        return
    with builder.blaming(("train", "loss")):
        for part in filter(None, parts):
            seen = as_trained(model, part, loss)
            for segment in part.segments:
                for start in range(segment.start, segment.stop, SLICE):
                    check_targets(loss, seen.read_y(start, min(start + SLICE, segment.stop)), model.outputs)
