"""What a study is going to train: its trials, those that are finished, and those that are refused."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Values
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnkit.backend import backend as find_backend
from rnnkit.errors import ConfigError, ScheduleError
from rnnkit.schedule import Splitter, StatePolicy
from rnnkit.schedule.cut import warn_of_lost
from rnnkit.study.results import read_trial
from rnnkit.study.trials import Study, Trial

Row = dict[str, Any]

SEEDS = 10_000
"""So many trainings of one splitter, policy and backend are enough."""


@dataclass(frozen=True)
class Planned:
    """A trial before it is trained.

    Attributes:
        trial: the trial.
        digest: what its results are kept under.
        row: its row, where it has been trained before or is refused; else None.
    """

    trial: Trial
    digest: str
    row: Row | None

    @property
    def status(self) -> str:
        """`"to run"`, `"refused"`, or how it ended before."""
        return "to run" if self.row is None else self.row["status"]


@dataclass(frozen=True)
class StudyPlan:
    """A study and its trials: what is done, what is refused, what remains.

    Attributes:
        study: what all trials have in common.
        trials: every trial, seeds innermost.
        folder: where results are kept, or None.
    """

    study: Study
    trials: tuple[Planned, ...]
    folder: Path | None

    @property
    def remaining(self) -> tuple[Planned, ...]:
        """The trials that are still to be trained."""
        return tuple(planned for planned in self.trials if planned.row is None)

    @property
    def refused(self) -> dict[tuple[str, str], str]:
        """What the schedule says against a splitter and a policy, for the pairs that it refuses."""
        rows = (planned.row for planned in self.trials)
        return {(r["splitter"], r["policy"]): r["message"] for r in rows if r is not None and r["status"] == "refused"}


def make_plan(
    study: Study,
    splitters: Iterable[Splitter],
    policies: Iterable[StatePolicy],
    backends: Iterable[str],
    seeds: int | Iterable[int],
    out: str | Path | None = None,
    fresh: bool = False,
    check_range: bool = True,
) -> StudyPlan:
    """Which trials there are, which are refused, and which are finished; nothing is trained or written.

    Raises:
        ConfigError, ModelError, BackendError, ScheduleError: as `compare`.
    """
    if out is not None and not isinstance(out, str | Path):
        raise ConfigError(f"compare expects out to be a folder, got {out!r}; write out='runs/study'")
    if not isinstance(check_range, bool):
        raise ConfigError(f"compare expects check_range to be True or False, got {check_range!r}")
    study.check(check_range)
    kinds = [_different("splitters", splitters), _different("policies", policies), _different("backends", backends)]
    for name in kinds[2]:
        find_backend(name)
    folder, fingerprint, planned = None if out is None else Path(out), study.fingerprint(), []
    if type(seeds) is int and seeds > SEEDS:
        raise ConfigError(f"compare expects seeds to be at most {SEEDS:,}, got {seeds:,}; make it smaller")
    numbers = _different("seeds", range(seeds) if type(seeds) is int else seeds)
    for splitter in kinds[0]:
        for policy in kinds[1]:
            refusal = _refusal(study, Trial(splitter, policy, "", numbers[0]))
            for name in kinds[2]:
                for seed in numbers:
                    trial = Trial(splitter, policy, name, seed)
                    digest, row = trial.digest(fingerprint), None
                    if refusal is not None:
                        row = {**trial.named(), "status": "refused", "message": refusal, "digest": digest}
                    elif folder is not None and not fresh:
                        row = read_trial(folder, digest)
                    planned.append(Planned(trial, digest, row))
    plan = StudyPlan(study, tuple(planned), folder)
    if all(planned.status == "refused" for planned in plan.trials):
        told = "\n".join(dict.fromkeys(plan.refused.values()))
        raise ScheduleError(f"compare expects at least one splitter and policy that can be trained, got none:\n{told}")
    return plan


def _refusal(study: Study, trial: Trial) -> str | None:
    try:
        warn_of_lost(trial.schedule(study.parts[0]).panels())
    except ScheduleError as error:
        return str(error)
    return None


def _different(name: str, values: Any) -> Values[Any]:
    """The values as a list: at least one, all different."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"compare expects {name} to be a list, got {values!r}; write [{values!r}]")
    listed = list(values)
    if not listed:
        raise ConfigError(f"compare expects {name} to have at least one entry, got none")
    for index, value in enumerate(listed):
        if value in listed[:index]:
            raise ConfigError(f"compare expects {name} to differ, got {value!r} more than once; leave one out")
        if name == "seeds" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ConfigError(f"compare expects seeds to be whole numbers from 0 on, got {value!r}")
    return listed
