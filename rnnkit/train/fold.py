"""What training carries from block to block, and how a block changes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnnkit.backend import Backend, Carried, CompleteBackend, Draws, Report, Update, check_parameters, map_arrays
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
from rnnkit.train.targets import check_targets

Remat = int | Literal["sqrt"] | None


@dataclass(frozen=True)
class Fold:
    """How a block of windows changes parameters, state and optimizer; as `fit` was told.

    Attributes:
        engine, model, rule, loss, clip, remat, dtype: as for `fit`.
    """

    engine: CompleteBackend
    model: Chain
    rule: Rule
    loss: Loss
    clip: Clip | None
    remat: Remat
    dtype: str

    def chain(self, head: str | None) -> Chain:
        """The plain chain that ends with a head."""
        return self.model if head is None else self.model.head(head)

    def start(
        self, seed: int, lanes: int, params: Mapping[str, np.ndarray] | None, rule_state: RuleState | None
    ) -> Carried:
        """Where training starts, the backend's arrays of one dtype."""
        kind = np.dtype(self.dtype)
        if params is None:
            first, state = setup(self.model, seed, lanes, self.dtype)
        else:
            check_parameters(self.model, params)
            first = {key: np.array(as_numbers(params[key], "fit", key, kind)) for key in parameter_shapes(self.model)}
            state = initial_state(self.model, first, lanes)
        if rule_state is None:
            return Carried(*self.engine.from_numpy((first, initial_rule_state(self.rule, first), state)))
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
        return Carried(*self.engine.from_numpy((first, rule_state._replace(slots=moments), state)))

    def enter(self, carried: Carried, feed: Feed, lanes: int) -> Carried:
        """Begin a feed: every lane stands at the initial state, and nothing is recorded."""
        chain, slots = self.chain(feed.heads[0]), feed.slots
        state = initial_state(chain, self.engine.to_numpy(self.parameters(carried, feed.heads[0])), lanes)
        store = None if slots is None else zero_state(chain, slots, np.dtype(self.dtype))
        return carried._replace(state=self.engine.from_numpy(state), store=self.engine.from_numpy(store))

    def draws(self, rng: np.random.Generator | None, block: Block) -> Draws:
        """The random numbers of a block."""
        return Draws(draw_noise(self.model, rng, len(block.x), block.x.shape[2], self.dtype))

    def through(
        self,
        carried: Carried,
        block: Block,
        head: str | None,
        learning_rates: np.ndarray,
        draws: Draws,
        frozen: frozenset[str],
    ) -> tuple[Carried, Report]:
        """Train through a block, in the plain chain that ends with `head`.

        Returns:
            What is carried after it, of the whole model, and what the backend reports.
        """
        chain = self.chain(head)
        check_targets(self.loss, block.y, chain.outputs)
        params, rule_state, kept = carried.params, carried.rule_state, frozen
        if head is not None:
            params = head_parameters(self.model, params, head)
            rule_state, kept = head_rule_state(self.model, rule_state, head), head_keys(self.model, head, frozen)
        state, store = self._fitting(carried.state, chain, block), carried.store
        after, report = self.engine.train_block(
            chain,
            Carried(params, rule_state, state, None if store is None else state_of(store, chain)),
            block,
            Update(self.rule, self.loss, self.clip, learning_rates, kept, remat_rows(self.remat, block)),
            Draws(None if draws.initial is None else state_of(draws.initial, chain)),
        )
        if head is not None:
            params = with_head(self.model, carried.params, head, after.params)
            rule_state = with_head_rule_state(self.model, carried.rule_state, head, after.rule_state)
            after = after._replace(params=params, rule_state=rule_state)
        return after, report

    def parameters(self, carried: Carried, head: str | None) -> dict[str, Any]:
        """Those of the plain chain that ends with a head."""
        return carried.params if head is None else head_parameters(self.model, carried.params, head)

    def is_finite(self, carried: Carried) -> bool:
        """Whether all parameters are."""
        return all(np.isfinite(p).all() for p in self.engine.to_numpy(carried.params).values())

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
