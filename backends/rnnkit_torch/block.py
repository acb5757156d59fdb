"""Training through a block of batches on one set of leaves, with one graph a window where nothing cuts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from math import isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnkit.backend import BlockResult, check_arguments, map_arrays
from rnnkit.model.frozen import lag_after, stretches
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss
from rnnkit.model.rules import CLIP_EPSILON, Clip, ClipNorm, Rule, RuleState
from rnnkit.model.state import State
from rnnkit_torch.chain import arrays, check_tensors, layer_weights, leaves, own_initial, run
from rnnkit_torch.losses import targets, window_loss
from rnnkit_torch.pieces import cut
from rnnkit_torch.rules import apply
from rnnkit_torch.trees import from_numpy
from rnnkit_torch.window import plan, train_window, where_lanes

if TYPE_CHECKING:
    from rnnkit.schedule.batch import Block, Slots


class Part(NamedTuple):
    """Parameters that are updated in one go: flat tensors.

    Attributes:
        p: a view of all parameters.
        slots: their moments.
        lag: how many updates they have missed.
    """

    p: Tensor
    slots: dict[str, Tensor]
    lag: int


def train_block(
    model: Chain,
    params: dict[str, Tensor],
    state: State,
    rule_state: RuleState,
    block: Block,
    *,
    rule: Rule,
    loss: Loss,
    clip: Clip | None,
    learning_rates: np.ndarray,
    noise: State | None = None,
    store: State | None = None,
    remat: int = 0,
    frozen: frozenset[str] = frozenset(),
) -> BlockResult:
    """Train through K batches without leaving PyTorch; see `rnnkit.train.block.train_block`.

    The block goes to the device at once. Each trained window waits for the device once, to see whether its
    loss and its gradient are finite. States are recorded in `store` in place.
    """
    steps, window = block.valid.shape[:2]
    like = next(iter(params.values()))
    x = from_numpy(block.x, like.device)
    check_arguments(model, params, x[0], state, None, None)
    check_tensors(params, x, state)
    wanted = targets(block.y, block.weight, like.dtype, like.device)
    cuts = stretches({key: tuple(p.shape) for key, p in params.items()}, rule_state, frozen)
    p = _flat(params.values())
    views = _named(p, params)
    trained = leaves(model, views)
    for key in frozen:
        trained[key].requires_grad_(False)
    free = [leaf for key, leaf in trained.items() if key not in frozen]
    elsewhere = [(trained[key], view) for key, view in views.items() if trained[key].data_ptr() != view.data_ptr()]
    weights = layer_weights(model, trained)
    slots = {slot: _flat(values[key] for key in params) for slot, values in rule_state.slots.items()}
    parts = [
        Part(p[s.first : s.last], {slot: flat[s.first : s.last] for slot, flat in slots.items()}, s.lag)
        for s in cuts
        if not s.frozen
    ]
    sizes = [len(part.p) for part in parts]
    own = own_initial(model, trained)
    drawn = None if noise is None else from_numpy(noise, like.device)
    carried, count = map_arrays(lambda a: a.detach().clone(), state), rule_state.step
    losses, norms = np.zeros(steps), np.zeros(steps)
    done, straight = steps, plan(window, (), block.detached, block.reweight, remat)
    for k in range(steps):
        initial = own if drawn is None else map_arrays(lambda a, k=k: a[k], drawn)
        started = _start(block, k, initial, carried, store)
        next_origin = block.origin[k + 1]
        read = [row for row in next_origin.tolist() if 0 < row < window]
        recorded = () if block.slots is None else block.slots.at[k][block.slots.write[k] >= 0]
        scored = bool(wanted.some[k]) and block.detached < window
        result = train_window(
            partial(_run_rows, model, weights, x[k], initial, block.reset[k], block.valid[k]),
            plan(window, (*read, *recorded), block.detached, block.reweight, remat)
            if read or len(recorded)
            else straight,
            started,
            (block.origin[k] == -1) & ~block.valid[k, : block.detached].any(0) | (block.detached == 0),
            free,
            lambda y, k=k: window_loss(loss, y, wanted, k),
            scale=1.0 if block.scale is None else float(block.scale[k]),
            trained=scored and bool(free),
        )
        if scored:
            g = like.new_zeros(0) if result.grads is None else _flat(result.grads)
            wide = g.double()
            losses[k], square = torch.stack((result.loss.double(), torch.dot(wide, wide))).tolist()
            norms[k] = sqrt(square)
            if not (isfinite(losses[k]) and isfinite(norms[k])):
                done = k
                break
            count += 1
            if rule.learning_rate != learning_rates[k]:
                rule = replace(rule, learning_rate=float(learning_rates[k]))
            for n, piece in enumerate(_clipped(clip, g, norms[k]).split(sizes)):
                part = parts[n]
                new, moved = apply(rule, part.p, piece, part.slots, count - part.lag)
                part.p.copy_(new)
                parts[n] = part._replace(slots=moved)
            with torch.no_grad():
                for parameter, view in elsewhere:
                    parameter.copy_(view)
        elif wanted.some[k]:
            losses[k] = result.loss.item()
        carried = _handed_on(result.states, next_origin, window)
        if block.slots is not None and store is not None:
            _record(block.slots, k, result.states, store)
    for s, part in zip((s for s in cuts if not s.frozen), parts, strict=True):
        for slot, flat in slots.items():
            flat[s.first : s.last] = part.slots[slot]
    moments = {slot: _named(flat, params) for slot, flat in slots.items()}
    remembered = RuleState(count, moments, lag_after(rule_state, frozen, count - rule_state.step))
    return BlockResult(views, remembered, carried, losses, norms, done, store)


def _run_rows(
    model: Chain,
    weights: list[list[Tensor]],
    x: Tensor,
    initial: State,
    reset: np.ndarray,
    valid: np.ndarray,
    start: int,
    stop: int,
    state: State,
) -> tuple[Tensor, State]:
    """Some rows of a window, in the graph."""
    rows = slice(start, stop)
    return run(model, weights, x[rows], state, initial, cut(reset[rows], valid[rows], x.device))


def _start(block: Block, k: int, initial: State, carried: State, store: State | None) -> State:
    """What each lane of window k starts from, by its `origin`; in the graph where it is learned."""
    origin = block.origin[k]
    if (origin >= 0).all():
        return carried
    # a copy, because parameters change in place and what a lane holds through padding must not
    cold = map_arrays(lambda a: a.expand(len(origin), -1).clone(), initial)
    started = where_lanes(origin >= 0, carried, cold)
    if block.slots is None or store is None or not (origin == -2).any():
        return started
    slot = torch.from_numpy(np.maximum(block.slots.read[k], 0)).to(arrays(store)[0].device)
    return where_lanes(origin == -2, map_arrays(lambda a: a[slot], store), started)


def _handed_on(states: dict[int, State], next_origin: np.ndarray, window: int) -> State:
    """The state of each lane before the row at which the next window goes on from it."""
    # origin below 0 hands nothing on; what stands there in the end is the state after the whole window
    if ((next_origin < 0) | (next_origin == window)).all():
        return states[window]
    rows = np.where(next_origin < 0, window, next_origin)
    handed_on = states[window]
    for row in np.unique(rows):
        handed_on = where_lanes(rows == row, states[int(row)], handed_on)
    return handed_on


def _record(slots: Slots, k: int, states: dict[int, State], store: State) -> None:
    """Write the states that window k records into their slots, in place."""
    lane, nth = np.nonzero(slots.write[k] >= 0)
    if not len(lane):
        return
    rows, which = np.unique(slots.at[k, lane, nth], return_inverse=True)
    device = arrays(store)[0].device
    lane, which, slot = (torch.from_numpy(i).to(device) for i in (lane, which, slots.write[k, lane, nth]))
    for layer, entry in enumerate(store):
        for field, values in enumerate(entry):
            read = torch.stack([states[int(row)][layer][field] for row in rows])
            values.index_copy_(0, slot, read[which, lane])


def _clipped(clip: Clip | None, g: Tensor, norm: float) -> Tensor:
    if clip is None:
        return g
    if isinstance(clip, ClipNorm):
        return g * min(1.0, clip.maximum / (norm + CLIP_EPSILON))
    return g.clamp(-clip.maximum, clip.maximum)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in one new tensor `(n,)`."""
    return torch.cat([a.detach().reshape(-1) for a in tensors])


def _named(flat: Tensor, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_flat`: views in a dict like the parameters."""
    parts = flat.split([p.numel() for p in params.values()])
    return {key: part.view(p.shape) for (key, p), part in zip(params.items(), parts, strict=True)}
