"""Training through a block of batches on one set of leaves, with one graph a window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rnnkit.backend import BlockResult, check_arguments, map_arrays
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss
from rnnkit.model.rules import CLIP_EPSILON, Clip, ClipNorm, Rule, RuleState
from rnnkit.model.state import State
from rnnkit_torch.chain import check_tensors, layer_weights, leaves, run
from rnnkit_torch.losses import targets, window_loss
from rnnkit_torch.pieces import cut
from rnnkit_torch.rules import apply
from rnnkit_torch.trees import from_numpy

if TYPE_CHECKING:
    from rnnkit.schedule.batch import Block


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
) -> BlockResult:
    """Train through K batches without leaving PyTorch; see `rnnkit.train.block.train_block`.

    The block goes to the device at once. Each trained window waits for the device once, to see whether its
    loss and its gradient are finite.
    """
    steps = block.x.shape[0]
    like = next(iter(params.values()))
    x = from_numpy(block.x, like.device)
    check_arguments(model, params, x[0], state, None, None)
    check_tensors(params, x, state)
    wanted = targets(block.y, block.weight, like.dtype, like.device)
    p = _flat(params.values())
    views = _named(p, params)
    trained = leaves(model, views)
    elsewhere = [(trained[key], view) for key, view in views.items() if trained[key].data_ptr() != view.data_ptr()]
    weights = layer_weights(model, trained)
    slots = {slot: _flat(values[key] for key in params) for slot, values in rule_state.slots.items()}
    cold = map_arrays(torch.zeros_like, state)
    carried, count = map_arrays(lambda a: a.detach().clone(), state), rule_state.step
    losses, norms = np.zeros(steps), np.zeros(steps)
    done = steps
    for k in range(steps):
        started = _where(block.origin[k] >= 0, carried, cold)
        with torch.set_grad_enabled(bool(wanted.some[k])):
            y, handed_on = _forward(model, weights, x[k], started, block, k)
            value = window_loss(loss, y, wanted, k)
        if wanted.some[k]:
            g = _flat(torch.autograd.grad(value, list(trained.values())))
            wide = g.double()
            losses[k], square = torch.stack((value.detach().double(), torch.dot(wide, wide))).tolist()
            norms[k] = sqrt(square)
            if not (isfinite(losses[k]) and isfinite(norms[k])):
                done = k
                break
            count += 1
            step_rule = replace(rule, learning_rate=float(learning_rates[k]))
            new, slots = apply(step_rule, p, _clipped(clip, g, norms[k]), slots, count)
            p.copy_(new)
            with torch.no_grad():
                for parameter, view in elsewhere:
                    parameter.copy_(view)
        carried = handed_on
    new_slots = {slot: _named(flat, params) for slot, flat in slots.items()}
    return BlockResult(views, RuleState(count, new_slots), carried, losses, norms, done)


def _forward(
    model: Chain, weights: Sequence[list[Tensor]], x: Tensor, state: State, block: Block, k: int
) -> tuple[Tensor, State]:
    """Forward pass of window k in one graph, cut where lanes hand their state on, to read it off there.

    Returns the outputs and the state that each lane hands on, detached.
    """
    window, next_origin = x.shape[0], block.origin[k + 1]
    cuts = sorted({0, window, *(int(row) for row in next_origin if 0 < row < window)})
    handed_on, outputs = state, []
    for start, stop in pairwise(cuts):
        rows = slice(start, stop)
        pieces = cut(block.reset[k, rows], block.valid[k, rows], x.device)
        y, state = run(model, weights, x[rows], state, pieces)
        outputs.append(y)
        # origin -1 hands nothing on; what stands there in the end is the state after the whole window
        here = (next_origin == stop) | (next_origin < 0)
        handed_on = _where(here, map_arrays(torch.detach, state), handed_on)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs), handed_on


def _clipped(clip: Clip | None, g: Tensor, norm: float) -> Tensor:
    if clip is None:
        return g
    if isinstance(clip, ClipNorm):
        return g * min(1.0, clip.maximum / (norm + CLIP_EPSILON))
    return g.clamp(-clip.maximum, clip.maximum)


def _where(lanes: np.ndarray, chosen: State, otherwise: State) -> State:
    """For each lane the entries of `chosen` where true, else of `otherwise`."""
    if lanes.all():
        return chosen
    if not lanes.any():
        return otherwise

    def pick(a: Any, b: Any) -> Any:
        if isinstance(a, tuple):
            entries = [pick(p, q) for p, q in zip(a, b, strict=True)]
            return type(a)(*entries) if hasattr(a, "_fields") else tuple(entries)
        return torch.where(torch.tensor(lanes[:, None], device=a.device), a, b)

    return pick(chosen, otherwise)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in one new tensor `(n,)`."""
    return torch.cat([a.detach().reshape(-1) for a in tensors])


def _named(flat: Tensor, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_flat`: views in a dict like the parameters."""
    parts = flat.split([p.numel() for p in params.values()])
    return {key: part.view(p.shape) for (key, p), part in zip(params.items(), parts, strict=True)}
