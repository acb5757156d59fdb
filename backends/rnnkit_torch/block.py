"""Training through a block of batches on one set of leaves, with one graph a window where nothing cuts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from math import isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnkit.backend import Carried, Draws, Report, Update, check_arguments, map_arrays
from rnnkit.backend.lanes import begins_inside, hand_on, record, rows_left, start_of
from rnnkit.model.frozen import lag_after, stretches
from rnnkit.model.layers import Chain
from rnnkit.model.rules import CLIP_EPSILON, Clip, ClipNorm, RuleState
from rnnkit.model.state import State
from rnnkit_torch.chain import check_tensors, detach, layer_weights, leaves, own_initial, run
from rnnkit_torch.losses import targets, window_loss
from rnnkit_torch.pieces import PackedRows, cut
from rnnkit_torch.rules import step
from rnnkit_torch.trees import from_numpy
from rnnkit_torch.window import sections, train_window

if TYPE_CHECKING:
    from rnnkit.backend import Batch, Block


class Part(NamedTuple):
    """Parameters that are updated in one go: pieces of flat tensors, changed in place.

    Attributes:
        p: the parameters.
        g: their gradient.
        slots: their moments.
        lag: how many updates they have missed.
    """

    p: Tensor
    g: Tensor
    slots: dict[str, Tensor]
    lag: int


class Outlook(NamedTuple):
    """What is plain to see of each of K windows before any of them runs: bool `(K,)`, but for `begins`.

    Attributes:
        warm: every lane goes on from the state that it carries.
        whole: every row is valid and none resets.
        onward: every lane hands on its state after the last row.
        straight: no state is read off before that.
        begins: `(K, B)`; lanes whose state is still the one before row 0 where the gradient begins.
    """

    warm: np.ndarray
    whole: np.ndarray
    onward: np.ndarray
    straight: np.ndarray
    begins: np.ndarray


@torch.inference_mode(False)
@torch.enable_grad()
def train_block(model: Chain, carried: Carried, block: Block, update: Update, draws: Draws) -> tuple[Carried, Report]:
    """Train through K batches without leaving PyTorch: see `rnnkit.backend.protocol.WithTraining`.

    The block goes to the device at once. Each trained window waits for the device once, to see whether its
    loss and its gradient are finite. States are recorded in the store in place.
    """
    params, rule_state, state, store = carried
    rule, frozen = update.rule, update.frozen
    steps, window = block.valid.shape[:2]
    like = next(iter(params.values()))
    x = from_numpy(block.x, like.device)
    check_arguments(model, params, x[0], state, None, None)
    check_tensors(params, x, state)
    x, wanted = x.unbind(), targets(block.y, block.weight, like.dtype, like.device)
    cuts = stretches({key: tuple(p.shape) for key, p in params.items()}, rule_state, frozen)
    moving = [s for s in cuts if not s.frozen]
    free = {key: p for key, p in params.items() if key not in frozen}
    g = like.new_zeros(sum(p.numel() for p in free.values()))
    p, wide = _flat(params.values()), torch.zeros_like(g, dtype=torch.float64)
    views = _named(p, params)
    trained = leaves(model, views)
    for key in frozen:
        trained[key].requires_grad_(False)
    for key, grad in _named(g, free).items():
        trained[key].grad = grad  # autograd adds to it in place
    elsewhere = [(trained[key], view) for key, view in views.items() if trained[key].data_ptr() != view.data_ptr()]
    weights = layer_weights(model, trained)
    slots = {slot: _flat(values[key] for key in params) for slot, values in rule_state.slots.items()}
    parts = [
        Part(p[s.first : s.last], piece, {slot: m[s.first : s.last] for slot, m in slots.items()}, s.lag)
        for s, piece in zip(moving, g.split([s.last - s.first for s in moving]), strict=True)
    ]
    own = own_initial(model, trained)
    drawn = None if draws.initial is None else from_numpy(draws.initial, like.device)
    store = None if store is None else detach(store)
    lanes, count = map_arrays(lambda a: a.detach().clone(), state), rule_state.step
    losses, norms = np.zeros(steps), np.zeros(steps)
    done, seen = steps, _outlook(block)
    plans = cache(lambda read: sections(window, read, block.detached, block.reweight, update.remat))
    for k in range(steps):
        initial = own if drawn is None else map_arrays(lambda a, k=k: a[k], drawn)
        batch = block.batch(k)
        started = lanes if seen.warm[k] else start_of(batch, _cold(initial, batch), lanes, store)
        scored = bool(wanted.some[k]) and block.detached < window
        g.zero_()
        result = train_window(
            partial(_run_rows, model, weights, x[k], initial, block.reset[k], block.valid[k], seen.whole[k]),
            plans(() if seen.straight[k] else tuple(sorted(rows_left(batch)))),
            started,
            seen.begins[k],
            lambda y, k=k: window_loss(update.loss, y, wanted, k),
            scale=1.0 if block.scale is None else float(block.scale[k]),
            trained=scored and bool(parts),
        )
        if scored:
            wide.copy_(g)
            losses[k], square = torch.stack((result.loss.double(), torch.dot(wide, wide))).tolist()
            norms[k] = sqrt(square)
            if not (isfinite(losses[k]) and isfinite(norms[k])):
                done = k
                break
            count += 1
            if rule.learning_rate != update.learning_rates[k]:
                rule = replace(rule, learning_rate=float(update.learning_rates[k]))
            _clip(update.clip, g, norms[k])
            with torch.no_grad():
                for part in parts:
                    step(rule, part.p, part.g, part.slots, count - part.lag)
                for parameter, view in elsewhere:
                    parameter.copy_(view)
        elif wanted.some[k]:
            losses[k] = result.loss.item()
        after = result.states[window]
        lanes = after if seen.onward[k] else hand_on(batch, result.states, after)
        if batch.slots is not None and store is not None:
            store = record(batch.slots, result.states, store)
    moments = {slot: _named(flat, params) for slot, flat in slots.items()}
    remembered = RuleState(count, moments, lag_after(rule_state, frozen, count - rule_state.step))
    return Carried(views, remembered, lanes, store), Report(losses, norms, done)


def _outlook(block: Block) -> Outlook:
    window, origin, after = block.valid.shape[1], block.origin[:-1], block.origin[1:]
    recorded = False if block.slots is None else np.any(block.slots.write >= 0, (1, 2))
    return Outlook(
        warm=np.all(origin >= 0, 1),
        whole=np.all(block.valid & ~block.reset, (1, 2)),
        # origin below 0 hands nothing on; what stands there in the end is the state after the whole window
        onward=np.all((after < 0) | (after == window), 1),
        straight=np.all((after <= 0) | (after == window), 1) & np.logical_not(recorded),
        begins=begins_inside(origin, block.valid, block.detached),
    )


def _run_rows(
    model: Chain,
    weights: list[list[Tensor]],
    x: Tensor,
    initial: State,
    reset: np.ndarray,
    valid: np.ndarray,
    whole: bool,
    start: int,
    stop: int,
    state: State,
) -> tuple[Tensor, State]:
    """Some rows of a window, in the graph."""
    rows, shape = slice(start, stop), (stop - start, x.shape[1])
    pieces = PackedRows(shape, shape) if whole else cut(reset[rows], valid[rows], x.device)  # `cut` would look again
    return run(model, weights, x[rows], state, initial, pieces)


def _cold(initial: State, batch: Batch) -> State:
    """The initial state of every lane, in the graph where it is learned."""
    # a copy, because parameters change in place and what a lane holds through padding must not
    return map_arrays(lambda a: a.expand(len(batch.origin), -1).clone(), initial)


def _clip(clip: Clip | None, g: Tensor, norm: float) -> None:
    """Clip a gradient in place."""
    if isinstance(clip, ClipNorm):
        g.mul_(min(1.0, clip.maximum / (norm + CLIP_EPSILON)))
    elif clip is not None:
        g.clamp_(-clip.maximum, clip.maximum)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in one new tensor `(n,)`."""
    return torch.cat([a.detach().reshape(-1) for a in tensors])


def _named(flat: Tensor, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_flat`: views in a dict like the parameters."""
    parts = flat.split([p.numel() for p in params.values()])
    return {key: part.view(p.shape) for (key, p), part in zip(params.items(), parts, strict=True)}
