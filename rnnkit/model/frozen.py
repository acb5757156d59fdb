"""Parameters that updates leave out: how many updates each has seen, and flat buffers cut accordingly."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from rnnkit.errors import ModelError, counted, did_you_mean
from rnnkit.model.rules import RuleState


class Stretch(NamedTuple):
    """Consecutive parameters, laid end to end in one buffer, that are treated alike.

    Attributes:
        first, last: their numbers are `first` to `last - 1`.
        lag: of the updates made before, how many they have missed.
        frozen: whether they miss the next ones, too.
    """

    first: int
    last: int
    lag: int
    frozen: bool


def stretches(
    shapes: Mapping[str, tuple[int, ...]], rule_state: RuleState, frozen: Collection[str] = frozenset()
) -> list[Stretch]:
    """Cut the parameters, in the order of `shapes`, where their lag changes or a frozen one meets one that is not.

    Raises:
        ModelError: a frozen parameter or a lag of none of these parameters, or a lag that cannot be.
    """
    check_frozen(shapes, frozen)
    lags = lag_of(rule_state, shapes)
    found: list[Stretch] = []
    last = 0
    for key, shape in shapes.items():
        first, last = last, last + math.prod(shape)
        here = Stretch(first, last, lags[key], key in frozen)
        if found and found[-1][2:] == here[2:]:
            here = here._replace(first=found.pop().first)
        found.append(here)
    return found


def lag_of(rule_state: RuleState, keys: Collection[str]) -> dict[str, int]:
    """How many updates each parameter has missed, 0 where `rule_state.lag` does not say.

    Raises:
        ModelError: a lag of another parameter, or one that is no whole number from 0 to `rule_state.step`.
    """
    for key, missed in rule_state.lag.items():
        if key not in keys:
            raise ModelError(
                f"a rule state expects no lag of {key!r}, got {missed!r}; the parameters are {_list(keys)}"
            )
        if not isinstance(missed, int | np.integer) or not 0 <= missed <= rule_state.step:
            raise ModelError(
                f"a rule state expects the lag of {key!r} between 0 and its {counted(rule_state.step, 'step')}, got "
                f"{missed!r}"
            )
    return {key: int(rule_state.lag.get(key, 0)) for key in keys}


def lag_after(rule_state: RuleState, frozen: Iterable[str], updates: int) -> dict[str, int]:
    """The lags after so many updates that the frozen parameters have missed."""
    before = {key: int(missed) for key, missed in rule_state.lag.items()}
    return {**before, **{key: before.get(key, 0) + updates for key in frozen if updates}}


def check_frozen(keys: Collection[str], frozen: Iterable[str]) -> None:
    """Raises ModelError for a frozen parameter that is none of a model's."""
    for key in frozen:
        if key not in keys:
            raise ModelError(
                f"train_block expects frozen parameters among {_list(keys)}, got {key!r}{did_you_mean(str(key), keys)}"
            )


def _list(keys: Iterable[str]) -> str:
    return ", ".join(keys)
