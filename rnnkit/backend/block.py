"""Training through a block of batches, composed from the five functions of any backend."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend.lanes import begins_inside, cuts, hand_on, record, rows_left, start_of
from rnnkit.backend.protocol import Backend, Carried, Draws, Report, Update
from rnnkit.backend.trees import map_arrays
from rnnkit.model.frozen import check_frozen, lag_after
from rnnkit.model.initialisers import initial_state
from rnnkit.model.layers import Chain, Learned, initial_names, state_type
from rnnkit.model.losses import Loss, window_loss
from rnnkit.model.rules import CLIP_EPSILON, Clip, ClipNorm, Rule, RuleState
from rnnkit.model.state import State
from rnnkit.schedule.batch import Batch, Block


class Window(NamedTuple):
    """One batch, forward and back.

    Attributes:
        loss: the mean loss of the scored rows, 0 without any.
        grads: of the parameters, NumPy arrays; empty where no row is scored.
        handed_on: the state that each lane hands to the next batch, NumPy arrays `(B, H)`.
        states: the state before some rows, by row, NumPy arrays; every row that `slots.at` names is there.
    """

    loss: float
    grads: dict[str, np.ndarray]
    handed_on: State
    states: dict[int, State]


@np.errstate(all="ignore")  # what is not finite is found below, and is no news before
def train_block(
    backend: Backend, model: Chain, carried: Carried, block: Block, update: Update, draws: Draws
) -> tuple[Carried, Report]:
    """Train through K batches by the five functions of a backend: see `rnnkit.backend.protocol.WithTraining`."""
    steps, lanes = block.x.shape[0], block.x.shape[2]
    losses, norms = np.zeros(steps), np.zeros(steps)
    params, rule_state, done = carried.params, carried.rule_state, steps
    check_frozen(params, update.frozen)
    state = backend.to_numpy(carried.state)
    recorded = None if carried.store is None else map_arrays(np.array, backend.to_numpy(carried.store))
    for k in range(steps):
        batch = block.batch(k)
        drawn = None if draws.initial is None else map_arrays(lambda a, k=k: a[k], draws.initial)
        cold = initial_state(model, backend.to_numpy(params), lanes, drawn)
        started = start_of(batch, cold, state, recorded)
        window = run_window(backend, model, params, batch, started, drawn, update.loss, update.remat)
        losses[k] = window.loss
        grads = {key: g for key, g in window.grads.items() if key not in update.frozen}
        norms[k] = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads.values()))
        if window.grads:
            if not np.isfinite(losses[k]) or not np.isfinite(norms[k]):
                done = k
                break
            step_rule = replace(update.rule, learning_rate=float(update.learning_rates[k]))
            clipped = backend.from_numpy(clip_gradients(update.clip, grads, norms[k]))
            params, rule_state = update_trained(backend, step_rule, params, clipped, rule_state, update.frozen)
        state = window.handed_on
        if batch.slots is not None and recorded is not None:
            recorded = record(batch.slots, window.states, recorded)
    state, store = backend.from_numpy((state, recorded))
    return Carried(params, rule_state, state, store), Report(losses, norms, done)


def update_trained(
    backend: Backend,
    rule: Rule,
    params: dict[str, Any],
    grads: dict[str, Any],
    rule_state: RuleState,
    frozen: frozenset[str],
) -> tuple[dict[str, Any], RuleState]:
    """One optimizer step of the parameters that have a gradient; the frozen ones, which have none, miss it."""
    if not frozen:
        return backend.update(rule, params, grads, rule_state)
    after = RuleState(rule_state.step + 1, rule_state.slots, lag_after(rule_state, frozen, 1))
    if not grads:
        return params, after
    slots = {slot: {key: values[key] for key in grads} for slot, values in rule_state.slots.items()}
    lag = {key: missed for key, missed in rule_state.lag.items() if key in grads}
    trained = {key: params[key] for key in grads}
    new, moved = backend.update(rule, trained, grads, RuleState(rule_state.step, slots, lag))
    slots = {slot: {**values, **moved.slots[slot]} for slot, values in rule_state.slots.items()}
    return {**params, **new}, after._replace(slots=slots)


def clip_gradients(clip: Clip | None, grads: dict[str, np.ndarray], norm: float) -> dict[str, np.ndarray]:
    """Gradients clipped as `clip` says; `norm` is their global 2-norm. New arrays where anything changes."""
    if clip is None:
        return grads
    if isinstance(clip, ClipNorm):
        factor = min(1.0, clip.maximum / (norm + CLIP_EPSILON))
        return {key: g * g.dtype.type(factor) for key, g in grads.items()}
    return {key: np.clip(g, -clip.maximum, clip.maximum) for key, g in grads.items()}


def run_window(
    backend: Backend,
    model: Chain,
    params: dict[str, Any],
    batch: Batch,
    started: State,
    noise: State | None,
    loss: Loss,
    remat: int = 0,
) -> Window:
    """One batch, forward and back, cut into pieces wherever something happens to its state.

    It is read off where lanes hand it on or record it, it is a value where the rows outside the gradient end, its
    gradient is weighed, and with `remat` the tape is computed again from it. Whole equals chunked: the pieces,
    chained by their states, are the window, and so are their gradients.

    Args:
        started: the state before row 0, NumPy arrays `(B, H)`.
        noise: the initial state of resets inside the window; None: the model's own.
        remat: see `train_block`.
    """
    given = {} if noise is None else {"initial": backend.from_numpy(noise)}
    others = rows_left(batch) | set(range(batch.detached, len(batch.x), remat) if remat else ())
    pieces = list(itertools.pairwise(cuts(len(batch.x), batch.detached, batch.reweight, others)))

    def forward(start: int, stop: int, state: State) -> tuple[Any, State, Any]:
        rows = slice(start, stop)
        x = backend.from_numpy(np.ascontiguousarray(batch.x[rows]))
        return backend.forward(model, params, x, state, batch.reset[rows], batch.valid[rows], **given)

    states, state = {0: started}, backend.from_numpy(started)
    before, outputs, tapes = [], [], []
    for start, stop in pieces:
        before.append(state)
        y, state, tape = forward(start, stop, state)
        outputs.append(backend.to_numpy(y))
        tapes.append(None if remat or stop <= batch.detached else tape)
        states[stop] = backend.to_numpy(state)
    handed_on = hand_on(batch, states, states[len(batch.x)])
    value, d_y = window_loss(loss, np.concatenate(outputs), batch.y, batch.weight)
    if not batch.weight.any():
        return Window(float(value), {}, handed_on, states)
    if batch.scale is not None:
        d_y = d_y * d_y.dtype.type(batch.scale)
    grads: dict[str, np.ndarray] = {}
    d_state = None
    for (start, stop), begun, kept in reversed(list(zip(pieces, before, tapes, strict=True))):
        if stop <= batch.detached:
            break
        tape = forward(start, stop, begun)[2] if kept is None else kept
        d_rows = backend.from_numpy(np.ascontiguousarray(d_y[start:stop]))
        piece = backend.backward(model, params, tape, d_rows, d_state)
        d_params, d_before = backend.to_numpy(piece.params), backend.to_numpy(piece.state)
        grads = {key: g + grads[key] for key, g in d_params.items()} if grads else dict(d_params)
        if start == batch.detached and isinstance(model.initial, Learned):
            _add_starts(model, grads, d_before, begins_inside(batch.origin, batch.valid, batch.detached))
        if batch.reweight is not None:
            d_before = map_arrays(lambda d, t=start: d * d.dtype.type(batch.reweight[t]), d_before)  # type: ignore[index]
        d_state = backend.from_numpy(d_before)
    return Window(float(value), grads, handed_on, states)


def _add_starts(model: Chain, grads: dict[str, np.ndarray], d_state: State, cold: np.ndarray) -> None:
    """Add what enters a learned initial state at the start of the lanes that start from it, in place."""
    for index, (layer, entry) in enumerate(zip(model.layers, d_state, strict=True)):
        for name, d in zip(initial_names(state_type(layer)), entry, strict=True):
            grads[f"{index}.{name}"] = grads[f"{index}.{name}"] + d[cold].sum(0)
