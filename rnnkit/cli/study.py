"""The schema of a study: a config with lists of splitters, policies, backends and seeds, and what its trials share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field as field_of

from rnnkit.cli.build import build_pieces
from rnnkit.cli.builder import Builder
from rnnkit.cli.config import Data, Described, Model, PolicyTable, SplitterTable, Table, Train, table_of
from rnnkit.cli.problems import Problem
from rnnkit.cli.read import STAND_IN, Draft, read
from rnnkit.errors import BackendError, ConfigError, ModelError
from rnnkit.study import Equal, Study
from rnnkit.study.plan import StudyPlan, make_plan

if TYPE_CHECKING:
    EqualTable = Described
else:
    EqualTable = table_of(Equal, tagged=False)

GRID = ("splitters", "policies", "backends", "seeds")


class StudyConfig(Table):
    """The whole file of a study."""

    name: str = field_of(min_length=1)
    out: str
    dtype: Literal["float32", "float64"] = "float32"
    splitters: list[SplitterTable] = field_of(min_length=1)
    policies: list[PolicyTable] = field_of(min_length=1)
    backends: list[str] = field_of(default=["numba"], min_length=1)
    seeds: int | list[int] = 1
    equal: EqualTable | None = None
    bias: bool = False
    data: Data
    model: Model
    train: Train = field_of(default_factory=lambda: Train())

    @property
    def budget(self) -> Equal:
        """What every trial gets the same of: the epochs of `[train]` unless `equal` says something else."""
        return Equal(epochs=self.train.epochs) if self.equal is None else self.equal.build()


WHOLE = STAND_IN | {"splitters": [{"type": "Continuation", "length": 1}], "policies": [{"type": "Carry"}]}


def read_study(file: str | Path, tokens: Sequence[str] = ()) -> Draft:
    """Read the file of a study and apply overrides to it; its `config` is a `StudyConfig`.

    Raises:
        SourceError, ConfigError: as `read`.
    """
    draft = read(file, tokens, StudyConfig, WHOLE)
    problems = draft.problems
    if ("data", 0) in draft.lines:
        several = Problem(
            ("data",), "a study compares on one data set, got a list; write it as [data], and a study each"
        )
        problems = (*(problem for problem in problems if problem.path != ("data",)), several)
    return replace(draft, problems=(*problems, *_between_keys(draft)))


def build_plan(draft: Draft, fresh: bool) -> StudyPlan:
    """Open the data, make the objects of the core, and plan the trials.

    Args:
        draft: as `read_study` gives it.
        fresh: whether trials that are finished are planned again.

    Raises:
        ConfigError: everything that is wrong, in the file and between the file and its data.
        ScheduleError: every pair of splitter and policy is refused.
    """
    builder, config = Builder(draft), _config(draft)
    parts, model, loss = build_pieces(builder)
    builder.draft.refuse()
    assert parts is not None  # else there was a problem
    assert model is not None
    settings = config.train
    study = Study(
        model=model,
        parts=(parts.training, parts.validation, parts.test),
        equal=config.budget,
        rule=settings.rule.build(),
        loss=loss,
        dtype=config.dtype,
        clip=None if settings.clip is None else settings.clip.build(),
        learning_rate=settings.learning_rate.build(),
        warm=config.data.warm,
        period=config.data.period,
        bias=config.bias,
        remat=settings.remat,
        baseline=config.data.baseline,
    )
    splitters, policies = ([table.build() for table in tables] for tables in (config.splitters, config.policies))
    try:
        return make_plan(study, splitters, policies, config.backends, config.seeds, config.out, fresh, False)
    except (ConfigError, BackendError, ModelError) as error:
        key = next((key for key in GRID if f" {key} " in str(error)), None)
        no_choice = parts.validation is None and parts.test is not None
        builder.add(("data", "validation") if no_choice else (key or "backends",), str(error))
        builder.draft.refuse()
        raise


def _config(draft: Draft) -> StudyConfig:
    return cast(StudyConfig, draft.config)


def _between_keys(draft: Draft) -> list[Problem]:
    """What is wrong between keys that are right by themselves."""
    config, given = _config(draft), {path[:2] for path in draft.lines} | {o.path[:2] for o in draft.overrides}
    found = []
    if config.equal is not None and ("train", "epochs") in given:
        message = (
            f"equal says how long a trial is trained; leave it out, or write equal = {{epochs = {config.train.epochs}}}"
        )
        found.append(Problem(("train", "epochs"), message))
    if config.train.early_stopping is not None:
        message = "a study trains every trial alike; leave it out: the learning curves show where each was best"
        found.append(Problem(("train", "early_stopping"), message))
    if config.train.frozen:
        found.append(Problem(("train", "frozen"), "a study trains all parameters; leave it out"))
    if draft.usable(("equal",), ("train",)):
        try:
            config.budget.check_rate(config.train.learning_rate.build())
        except ConfigError as error:
            found.append(Problem(("train", "learning_rate"), str(error)))
    return found
