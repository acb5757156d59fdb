"""Training through a block of windows in one compiled call, the carried state included."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.backend import FRESH, RECORDED, Block, Carried, Draws, Report, Slots, Update, check_arguments, map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import (
    Chain,
    CrossEntropy,
    Learned,
    Loss,
    RuleState,
    State,
    initial_state,
    parameter_shapes,
    slot_names,
)
from rnnkit.model.frozen import lag_after
from rnnkit_numba.arguments import Buffers, Edges, Kept, Measured, Scratch, Way, Windows
from rnnkit_numba.arrays import aligned, common_dtype, plain
from rnnkit_numba.layout import (
    GROUP_LANES,
    Layout,
    flatten,
    flatten_slots,
    flatten_state,
    layout,
    state_views,
    unflatten,
    unflatten_state,
)
from rnnkit_numba.loop import DRAWN, SAME, TRAINED, run_block
from rnnkit_numba.losses import Aim, loss_code
from rnnkit_numba.places import new_places
from rnnkit_numba.rules import NORM_NUMBERS, Updating, clip_code, rule_code, stretch_table
from rnnkit_numba.threads import SMALL_FLOPS, Team, new_barrier, processors, run_threads


def train_block(model: Chain, carried: Carried, block: Block, update: Update, draws: Draws) -> tuple[Carried, Report]:
    """Train through K batches without returning to Python: see `rnnkit.backend.protocol.WithTraining`.

    Raises:
        ModelError: arrays or keys that do not fit each other or the model, or labels that are no class.
    """
    return train_on(0, model, carried, block, update, draws)


def train_on(
    threads: int, model: Chain, carried: Carried, block: Block, update: Update, draws: Draws
) -> tuple[Carried, Report]:
    """`train_block` on at most so many threads; 0: one for each processor.

    Raises:
        ModelError: arrays or keys that do not fit each other or the model, or labels that are no class.
    """
    params, rule_state, state, store = carried
    rule, loss, frozen, remat = update.rule, update.loss, update.frozen, update.remat
    (rule_number, settings), (loss_number, setting), (clip_number, limit) = (
        rule_code(rule),
        loss_code(loss),
        clip_code(update.clip),
    )
    dtype = common_dtype(params)
    check_block(model, params, state, block, loss, update.learning_rates)
    windows, steps, lanes, _ = block.x.shape
    piece_rows = min(remat or steps, max(steps - block.detached, 1))
    plan, shapes = layout(model, max(piece_rows, block.detached), dtype), parameter_shapes(model)
    flat = flatten(shapes, params, dtype)
    slots = flatten_slots(shapes, rule, rule_state, dtype)
    flat_state = flatten_state(model, state, lanes, dtype)
    recorded, recordings = check_store(model, block, store, dtype)
    kind, states, drawn = initial_states(model, flat, plan, block, draws.initial, dtype)
    losses, norms = np.zeros(windows), np.zeros(windows)
    targets = block.y[..., None] if isinstance(loss, CrossEntropy) else block.y
    groups, pieces, here = -(-lanes // GROUP_LANES), -(-steps // piece_rows), min(lanes, GROUP_LANES)
    team = min(threads or processors(), groups)
    if 3 * plan.flops * pieces * lanes < SMALL_FLOPS:
        team = 1
    buffers = Buffers(
        plan.table,
        flat,
        slots,
        aligned(plan.packed, dtype, zeros=True),
        aligned((len(slots), plan.gradients), dtype, zeros=True),
    )
    windows_given = Windows(
        plain(block.x, dtype),
        plain(targets, dtype),
        plain(block.reset, np.bool_),
        plain(block.valid, np.bool_),
        plain(block.weight, np.float64),
        plain(np.ones(windows) if block.scale is None else block.scale, np.float64),
        plain(update.learning_rates, np.float64),
        reweighted(block, dtype),
    )
    edges = Edges(
        plain(block.origin, np.int64),
        plain(recordings.read, np.int64),
        plain(recordings.at, np.int64),
        plain(recordings.write, np.int64),
        drawn,
    )
    stretches = stretch_table({key: (size,) for key, size in plan.panels.items()}, rule_state, frozen)
    scratch = Scratch(
        aligned((groups, plan.gradients), dtype),
        np.empty(groups),
        np.empty(-(-plan.gradients // NORM_NUMBERS)),
        aligned((team, here * plan.tape), dtype),
        aligned((team, plan.scratch(here, dtype)), dtype),
        states,
        np.empty((lanes, recordings.at.shape[2], plan.state), dtype),
        np.empty((team, pieces, here, plan.state), dtype),
    )
    arguments = (
        buffers,
        windows_given,
        edges,
        Way(block.detached, piece_rows, kind, GROUP_LANES),
        Aim(loss_number, setting, model.outputs),
        Updating(rule_number, settings, clip_number, limit, stretches),
        rule_state.step,
        scratch,
        Kept(flat_state, recorded),
        Measured(losses, norms),
    )
    barrier, places = new_barrier(), new_places(team)
    done, count = run_threads(team, barrier, lambda n: run_block(Team(barrier, places, n, team), *arguments))
    slot_trees = {name: unflatten(shapes, row, params) for name, row in zip(slot_names(rule), slots, strict=True)}
    after = Carried(
        unflatten(shapes, flat, params),
        RuleState(count, slot_trees, lag_after(rule_state, frozen, count - rule_state.step)),
        unflatten_state(model, flat_state),
        None if store is None else state_views(model, recorded),
    )
    return after, Report(losses, norms, done)


def check_block(
    model: Chain, params: dict[str, Any], state: State, block: Block, loss: Loss, learning_rates: np.ndarray
) -> None:
    """Compiled code trusts its arrays; here is where they are looked at."""
    if block.x.ndim != 4:
        raise ModelError(f"train_block expects block.x of shape (K, T, B, {model.inputs}), got {block.x.shape}")
    windows, steps, lanes, _ = block.x.shape
    rows = (windows * steps, lanes)
    check_arguments(
        model, params, block.x.reshape(*rows, -1), state, block.reset.reshape(rows), block.valid.reshape(rows)
    )
    by_row = (windows, steps, lanes)
    labels = isinstance(loss, CrossEntropy)
    for label, array, shape in (
        ("block.y", block.y, by_row if labels else (*by_row, model.outputs)),
        ("block.weight", block.weight, by_row),
        ("block.origin", block.origin, (windows + 1, lanes)),
        ("learning_rates", learning_rates, (windows,)),
        ("block.reweight", block.reweight, (steps,)),
        ("block.scale", block.scale, (windows,)),
    ):
        if array is not None and np.shape(array) != shape:
            raise ModelError(f"train_block expects {label} of shape {shape}, got {np.shape(array)}")
    least = FRESH if block.slots is None else RECORDED
    if block.origin.size and not (block.origin.min() >= least and block.origin[1:].max() <= steps):
        raise ModelError(
            f"train_block expects block.origin between {least} and {steps}, "
            f"got {block.origin.min()} to {block.origin.max()}"
        )
    if not 0 <= block.detached <= steps:
        raise ModelError(f"train_block expects 0 <= block.detached <= {steps}, got {block.detached}")
    if block.scale is not None and not np.min(block.scale) > 0:
        raise ModelError(f"train_block expects block.scale > 0, got {np.min(block.scale)}")
    if labels:
        scored = block.y[block.weight > 0]
        if scored.dtype.kind not in "iu" or (scored.size and not 0 <= scored.min() <= scored.max() < model.outputs):
            raise ModelError(
                f"CrossEntropy expects integer labels from 0 to {model.outputs - 1}, "
                f"got {scored.dtype}{f' {scored.min()} to {scored.max()}' if scored.size else ''}"
            )


def check_store(model: Chain, block: Block, store: State | None, dtype: np.dtype) -> tuple[np.ndarray, Slots]:
    """The recorded states as one array `(M, S)`, and which of them are read and written; empty without a store.

    Raises:
        ModelError: slots without a store or the other way round, or slots and rows that are not there.
    """
    windows, steps, lanes, _ = block.x.shape
    if (store is None) != (block.slots is None):
        raise ModelError("train_block expects a store where block.slots is given, and only there")
    if store is None or block.slots is None:
        return np.empty((0, 0), dtype), Slots(np.empty((0, 0)), *(np.empty((windows, lanes, 0)) for _ in range(2)))
    count = next((len(array) for entry in store for array in entry), 0)
    read, at, write = block.slots
    by_lane = (windows, lanes)
    if read.shape != by_lane or at.shape != write.shape or at.shape[:2] != by_lane:
        raise ModelError(
            f"train_block expects block.slots of shapes {by_lane} and twice {(*by_lane, 'W')}, got "
            f"{read.shape}, {at.shape} and {write.shape}"
        )
    wanted = read[block.origin[:-1] == RECORDED]
    for label, values, low, high in (
        ("read", wanted, 0, count - 1),
        ("at", at, 0, steps),
        ("write", write, -1, count - 1),
    ):
        if values.size and not low <= values.min() <= values.max() <= high:
            raise ModelError(
                f"train_block expects block.slots.{label} between {low} and {high}, "
                f"got {values.min()} to {values.max()}"
            )
    return store_buffer(model, store, count, dtype), block.slots


def store_buffer(model: Chain, store: State, count: int, dtype: np.dtype) -> np.ndarray:
    """The array `(M, S)` of which `store` is views, as `state_views` made them; else a new one."""
    arrays = [array for entry in store for array in entry]
    base = arrays[0].base if arrays else None
    if isinstance(base, np.ndarray) and base.ndim == 2 and base.dtype == dtype and base.flags.c_contiguous:
        views = [array for entry in state_views(model, base) for array in entry]
        alike = [
            (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)
            for a, b in zip(arrays, views, strict=False)
        ]
        if all(alike) and len(views) == len(arrays):
            return base
    return flatten_state(model, store, count, dtype)


def initial_states(
    model: Chain, flat: np.ndarray, plan: Layout, block: Block, noise: State | None, dtype: np.dtype
) -> tuple[int, np.ndarray, np.ndarray]:
    """What kind of initial state there is, scratch for states with those of all lanes at its end, and the draws."""
    windows, _, lanes, _ = block.x.shape
    states, nothing = np.zeros((6, lanes, plan.state), dtype), np.empty((0, 0, 0), dtype)
    if isinstance(model.initial, Learned):
        return TRAINED, states, nothing
    if noise is not None:
        rows = map_arrays(lambda array: np.reshape(np.asarray(array), (windows * lanes, -1)), noise)
        return DRAWN, states, flatten_state(model, rows, windows * lanes, dtype).reshape(windows, lanes, -1)
    states[5] = flatten_state(model, initial_state(model, {"": flat}, lanes), lanes, dtype)
    return SAME, states, nothing


def reweighted(block: Block, dtype: np.dtype) -> np.ndarray:
    """`block.reweight` as a plain array, ones where there is none, and where no gradient goes further back."""
    rows = len(block.x[0])
    factors = np.array(np.ones(rows) if block.reweight is None else block.reweight, dtype)
    factors[[0, min(block.detached, rows - 1)]] = 1
    return factors
