"""Whether the settings of a curriculum fit each other and its data sets, before any is opened."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnkit.errors import ScheduleError, did_you_mean
from rnnkit.schedule.checks import check_whole
from rnnkit.schedule.interleave import Interleaving, Sampling, SideBySide
from rnnkit.schedule.phase import Phase
from rnnkit.schedule.policies import Stored

if TYPE_CHECKING:
    from rnnkit.schedule.curriculum import Curriculum

ORDERS = ("listed", "shuffled", "name", "rows")


def check_settings(curriculum: Curriculum) -> None:
    """Settings that do not fit the data sets, before any is opened."""
    names = [each.name for each in curriculum.datasets]
    order, way = curriculum.order, curriculum.interleave
    if not isinstance(way, Interleaving):
        raise ScheduleError(
            f"Curriculum expects interleave to be OneByOne(), RoundRobin(), Sampling() or SideBySide(), got {way!r}"
        )
    if curriculum.on_error not in ("stop", "skip"):
        raise ScheduleError(f"Curriculum expects on_error to be 'stop' or 'skip', got {curriculum.on_error!r}")
    check_whole(curriculum, "seed", curriculum.seed, 0, None)
    for each in (curriculum, *curriculum.datasets):
        for what, has in (("splitter", "grid"), ("policy", "origins")):
            value = getattr(each, what)
            if (value is None and each is not curriculum) or (hasattr(value, has) and not isinstance(value, type)):
                continue
            example = "rk.Continuation(length=64)" if what == "splitter" else "rk.Carry() or rk.Reset()"
            raise ScheduleError(f"{type(each).__name__} expects a {what}, got {value!r}; write {example}")
    if not isinstance(order, str | list | tuple) and not callable(order):
        raise ScheduleError(
            f"Curriculum expects order to be one of {', '.join(ORDERS)}, a list of names or a function, got {order!r}"
        )
    if isinstance(order, str):
        if order not in ORDERS:
            raise ScheduleError(
                f"Curriculum expects order to be one of {', '.join(ORDERS)}, a list of names or a function, got "
                f"{order!r}{did_you_mean(order, ORDERS)}"
            )
    elif not callable(order):
        _check_names("order", order, names)
        ordered = set(order)
        left_out = [name for name in names if name not in ordered]
        if left_out or len(ordered) < len(order):
            what = f"leaves out {left_out[0]!r}" if left_out else "names a data set twice"
            raise ScheduleError(
                f"Curriculum expects an order of all its data sets, but this one {what}; leave a data set out of the "
                f"curriculum or of a phase, and say DataSet(..., passes=2) for more of one"
            )
    known = set(names)
    evened = isinstance(way, Sampling) and way.temperature != 1
    for phase in curriculum.phases:
        if not isinstance(phase, Phase):
            raise ScheduleError(f"Curriculum expects phases to be Phase values, got {phase!r}")
        if phase.names is not None:
            unknown = [each for each in phase.names if each not in known and not fnmatch.filter(names, each)]
            _check_names("a phase", unknown, names)
    for each in curriculum.datasets:
        policy = each.policy or curriculum.policy
        if getattr(policy, "across_epochs", False):
            raise ScheduleError(
                f"Curriculum expects policies that begin each data set from the initial state, got {policy!r} for "
                f"{each.name!r}; leave across_epochs out"
            )
        if isinstance(policy, Stored) and evened:
            raise ScheduleError(f"{way!r} expects a policy other than {policy!r}, for {each.name!r}: use Carry()")
        if not isinstance(way, SideBySide):
            continue
        own = [what for what in ("splitter", "policy") if getattr(each, what) is not None]
        first = curriculum.datasets[0]
        own += [what for what in ("head", "learning_rate") if getattr(each, what) != getattr(first, what)]
        if own:
            whose = (
                f"{each.name!r} has its own"
                if own[0] in ("splitter", "policy")
                else (f"{first.name!r} has {getattr(first, own[0])!r} and {each.name!r} {getattr(each, own[0])!r}")
            )
            raise ScheduleError(
                f"SideBySide expects data sets that share batches to share the {own[0]}, too, but {whose}; "
                f"leave {own[0]} out, weigh data sets with weight=, or use RoundRobin()"
            )


def _check_names(what: str, names: Sequence[str], known: list[str]) -> None:
    every = set(known)
    for name in names:
        if name not in every:
            raise ScheduleError(
                f"Curriculum expects {what} to name data sets among {', '.join(known)}, got {name!r}"
                f"{did_you_mean(str(name), known)}"
            )
