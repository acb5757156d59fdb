"""What training carries from block to block, and how a block changes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from rnnkit.backend import Backend, BlockResult, check_parameters, map_arrays, packed_backend, unpacked_backend
from rnnkit.checks import as_numbers
from rnnkit.errors import ModelError
from rnnkit.model.heads import head_keys, head_parameters, head_rule_state, state_of, with_head, with_head_rule_state
from rnnkit.model.initialisers import draw_noise, initial_state, setup
from rnnkit.model.layers import Chain, parameter_shapes, zero_state
from rnnkit.model.losses import Loss
from rnnkit.model.rules import Clip, Rule, RuleState, initial_rule_state, slot_names
from rnnkit.model.state import State
from rnnkit.schedule import Block
from rnnkit.schedule.turn import Feed
from rnnkit.train.block import block_trainer
from rnnkit.train.targets import check_targets

Remat = int | Literal["sqrt"] | None


class Values(NamedTuple):
    """What stands between two blocks: the backend's arrays."""

    params: dict[str, Any]
    rule_state: RuleState
    state: State
    store: State | None = None


@dataclass(frozen=True)
class Fold:
    """How a block of windows changes parameters, state and optimizer; as `fit` was told.

    Attributes:
        engine, model, rule, loss, clip, remat, dtype: as for `fit`.
    """

    engine: Backend
    model: Chain
    rule: Rule
    loss: Loss
    clip: Clip | None
    remat: Remat
    dtype: str
    train: Callable[..., BlockResult] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", block_trainer(self.engine))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "engine": packed_backend(self.engine), "train": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, engine=unpacked_backend(state["engine"]))
        self.__post_init__()

    def chain(self, head: str | None) -> Chain:
        """The plain chain that ends with a head."""
        return self.model if head is None else self.model.head(head)

    def start(
        self, seed: int, lanes: int, params: Mapping[str, np.ndarray] | None, rule_state: RuleState | None
    ) -> Values:
        """Where training starts, the backend's arrays of one dtype."""
        kind = np.dtype(self.dtype)
        if params is None:
            first, state = setup(self.model, seed, lanes, self.dtype)
        else:
            check_parameters(self.model, params)
            first = {key: np.array(as_numbers(params[key], "fit", key, kind)) for key in parameter_shapes(self.model)}
            state = initial_state(self.model, first, lanes)
        if rule_state is None:
            return Values(*self.engine.from_numpy((first, initial_rule_state(self.rule, first), state)))
        if not isinstance(rule_state, RuleState):
            raise ModelError(
                f"fit expects rule_state to be a RuleState, got {rule_state!r}; write rule_state=run.rule_state"
            )
        names = slot_names(self.rule)
        if set(rule_state.slots) != set(names):
            raise ModelError(
                f"fit expects a rule_state of {self.rule!r} with the moments {sorted(names)}, got "
                f"{sorted(rule_state.slots)}; go on with the rule that made it, or leave rule_state out"
            )
        for moments in rule_state.slots.values():
            check_parameters(self.model, moments)
        slots = rule_state.slots
        moments = {k: {key: np.array(as_numbers(slots[k][key], "fit", key, kind)) for key in first} for k in names}
        return Values(*self.engine.from_numpy((first, rule_state._replace(slots=moments), state)))

    def enter(self, values: Values, feed: Feed, lanes: int) -> Values:
        """The same with every lane at the initial state, and nothing recorded: a feed begins."""
        chain, slots = self.chain(feed.heads[0]), feed.slots
        state = initial_state(chain, self.engine.to_numpy(self.parameters(values, feed.heads[0])), lanes)
        store = None if slots is None else zero_state(chain, slots, np.dtype(self.dtype))
        return values._replace(state=self.engine.from_numpy(state), store=self.engine.from_numpy(store))

    def noise(self, rng: np.random.Generator | None, block: Block) -> State | None:
        """What is drawn for the initial states of a block."""
        return draw_noise(self.model, rng, len(block.x), block.x.shape[2], self.dtype)

    def through(
        self,
        values: Values,
        block: Block,
        head: str | None,
        learning_rates: np.ndarray,
        noise: State | None,
        frozen: frozenset[str],
    ) -> tuple[Values, BlockResult]:
        """Train through a block, in the plain chain that ends with `head`.

        Returns:
            The values after it, of the whole model, and what the backend says.
        """
        chain = self.chain(head)
        check_targets(self.loss, block.y, chain.outputs)
        params, rule_state, kept = values.params, values.rule_state, frozen
        if head is not None:
            params = head_parameters(self.model, params, head)
            rule_state, kept = head_rule_state(self.model, rule_state, head), head_keys(self.model, head, frozen)
        result = self.train(
            chain,
            params,
            self._fitting(values.state, chain, block),
            rule_state,
            block,
            rule=self.rule,
            loss=self.loss,
            clip=self.clip,
            learning_rates=learning_rates,
            noise=None if noise is None else state_of(noise, chain),
            store=None if values.store is None else state_of(values.store, chain),
            remat=remat_rows(self.remat, block),
            frozen=kept,
        )
        params, rule_state = result.params, result.rule_state
        if head is not None:
            params = with_head(self.model, values.params, head, params)
            rule_state = with_head_rule_state(self.model, values.rule_state, head, rule_state)
        return Values(params, rule_state, result.state, result.store), result

    def parameters(self, values: Values, head: str | None) -> dict[str, Any]:
        """Those of the plain chain that ends with a head."""
        return values.params if head is None else head_parameters(self.model, values.params, head)

    def is_finite(self, values: Values) -> bool:
        """Whether all parameters are."""
        return all(np.isfinite(p).all() for p in self.engine.to_numpy(values.params).values())

    def _fitting(self, state: State, chain: Chain, block: Block) -> State:
        """The state for a block; one of other lanes is of another data set, and the block starts from none of it."""
        lanes = block.x.shape[2]
        if next((len(array) for entry in state for array in entry), lanes) == lanes:
            return state_of(state, chain)
        return self.engine.from_numpy(zero_state(chain, lanes, np.dtype(self.dtype)))


def remat_rows(remat: Remat, block: Block) -> int:
    """After how many rows of its windows a block keeps a state; 0: it keeps the whole tape."""
    rows = block.x.shape[1] - block.detached
    if remat is None or remat == "sqrt":
        return 0 if remat is None else math.isqrt(rows - 1) + 1
    return remat if remat < rows else 0


def copied(engine: Backend, store: State | None) -> State | None:
    """Recorded states as NumPy arrays of their own: those of the fold are written in place."""
    return None if store is None else map_arrays(np.array, engine.to_numpy(store))
