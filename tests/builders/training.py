"""Training through a block, with everything that it takes and leaves behind laid out flat."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import rnnkit as rk
from rnnkit.backend import Block, Carried, Draws, Update
from rnnkit.backend.block import train_block
from rnnkit.model import RuleState, State


class TrainedBlock(NamedTuple):
    """The fields of `Carried` and `Report`."""

    params: dict[str, Any]
    rule_state: RuleState
    state: State
    store: State | None
    loss: np.ndarray
    norm: np.ndarray
    done: int


def train_through(
    engine: Any,
    model: rk.Chain,
    params: dict[str, Any],
    state: State,
    rule_state: RuleState,
    block: Block,
    *,
    noise: State | None = None,
    store: State | None = None,
    composed: bool = False,
    **update: Any,
) -> TrainedBlock:
    """Train through a block by the backend's own function, or by the one that is composed from its five.

    Args:
        engine: a backend; `params`, `state`, `rule_state` and `store` are its arrays.
        update: fields of `Update`.
    """
    given = model, Carried(params, rule_state, state, store), block, Update(**update), Draws(noise)
    carried, report = train_block(engine, *given) if composed else rk.backend(engine).train_block(*given)
    return TrainedBlock(*carried, *report)
