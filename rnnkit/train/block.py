"""Training through a block of batches, composed from the five functions of any backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnkit.backend import Backend, BlockResult, Gradients
from rnnkit.model.initialisers import initial_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, window_loss
from rnnkit.model.rules import CLIP_EPSILON, Clip, ClipNorm, Rule, RuleState
from rnnkit.model.state import State
from rnnkit.schedule.batch import Batch, Block


def block_trainer(backend: Backend) -> Callable[..., BlockResult]:
    """`train_block` of a backend: its own where it brings one, else composed from its five functions.

    The function returned takes `(model, params, state, rule_state, block, *, rule, loss, clip, learning_rates)`; see
    `train_block`.
    """
    own = getattr(backend, "train_block", None)
    return partial(train_block, backend) if own is None else own


def train_block(
    backend: Backend,
    model: Chain,
    params: dict[str, Any],
    state: State,
    rule_state: RuleState,
    block: Block,
    *,
    rule: Rule,
    loss: Loss,
    clip: Clip | None,
    learning_rates: np.ndarray,
) -> BlockResult:
    """Train through K batches: forward, loss, backward, clipping and update, one after the other.

    Args:
        backend: any backend; `params`, `state` and `rule_state` are its arrays and are not changed.
        model: the `Chain`.
        params: parameters.
        state: what the lanes of the first batch with `origin >= 0` start from, `(B, H)` each.
        rule_state: what the rule remembers.
        block: K batches, NumPy arrays.
        rule: the optimizer; its learning rate is replaced by that of each step.
        loss: the loss.
        clip: how gradients are clipped, or None.
        learning_rates: `(K,)`.

    A window without a scored row only advances the state: no update is made. Its loss and norm are 0.
    """
    steps, lanes = block.x.shape[0], block.x.shape[2]
    dtype = block.x.dtype
    cold = initial_state(model, lanes, dtype)
    losses, norms = np.zeros(steps), np.zeros(steps)
    carried = backend.to_numpy(state)
    for k in range(steps):
        batch = block.batch(k)
        started = where_lanes(batch.origin >= 0, carried, cold)
        with np.errstate(all="ignore"):  # what is not finite is found below, and is no news before
            y, handed_on, backward = _forward(backend, model, params, batch, started, block.origin[k + 1])
            losses[k], d_y = window_loss(loss, y, batch.y, batch.weight)
            grads = backend.to_numpy(backward(d_y)) if batch.weight.any() else {}
            norms[k] = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads.values()))
        if grads:
            if not np.isfinite(losses[k]) or not np.isfinite(norms[k]):
                return BlockResult(params, rule_state, backend.from_numpy(carried), losses, norms, k)
            step_rule = replace(rule, learning_rate=float(learning_rates[k]))
            clipped = backend.from_numpy(clip_gradients(clip, grads, norms[k]))
            params, rule_state = backend.update(step_rule, params, clipped, rule_state)
        carried = handed_on
    return BlockResult(params, rule_state, backend.from_numpy(carried), losses, norms, steps)


def clip_gradients(clip: Clip | None, grads: dict[str, np.ndarray], norm: float) -> dict[str, np.ndarray]:
    """Gradients clipped as `clip` says; `norm` is their global 2-norm. New arrays where anything changes."""
    if clip is None:
        return grads
    if isinstance(clip, ClipNorm):
        factor = min(1.0, clip.maximum / (norm + CLIP_EPSILON))
        return {key: g * g.dtype.type(factor) for key, g in grads.items()}
    return {key: np.clip(g, -clip.maximum, clip.maximum) for key, g in grads.items()}


def _forward(
    backend: Backend, model: Chain, params: Any, batch: Batch, state: State, next_origin: np.ndarray
) -> tuple[np.ndarray, State, Callable[[np.ndarray], dict[str, Any]]]:
    """Forward pass of one window, cut where lanes hand their state on, so that it can be read off there.

    Whole equals chunked: the pieces, chained by their states, are the window, and so are their gradients.
    Returns the outputs, the state that each lane hands on, and the function from `d_y` to the parameters' gradients.
    """
    window = batch.x.shape[0]
    cuts = sorted({0, window, *(int(k) for k in next_origin if 0 < k < window)})
    handed_on, state = state, backend.from_numpy(state)
    outputs, tapes = [], []
    for start, stop in itertools.pairwise(cuts):
        rows = slice(start, stop)
        x = backend.from_numpy(np.ascontiguousarray(batch.x[rows]))
        y, state, tape = backend.forward(model, params, x, state, batch.reset[rows], batch.valid[rows])
        outputs.append(backend.to_numpy(y))
        tapes.append(tape)
        # origin -1 hands nothing on; what stands there then is the state after the whole window
        here = (next_origin == stop) | (next_origin < 0)
        handed_on = where_lanes(here, backend.to_numpy(state), handed_on)

    def backward(d_y: np.ndarray) -> dict[str, Any]:
        d_state, total = None, None
        for start, stop, tape in reversed(list(zip(cuts, cuts[1:], tapes, strict=False))):
            d_rows = backend.from_numpy(np.ascontiguousarray(d_y[start:stop]))
            piece: Gradients = backend.backward(model, params, tape, d_rows, d_state)
            d_state = piece.state
            total = piece.params if total is None else {key: g + piece.params[key] for key, g in total.items()}
        assert total is not None  # a window has at least one row
        return total

    return np.concatenate(outputs), handed_on, backward


def where_lanes(lanes: np.ndarray, chosen: State, otherwise: State) -> State:
    """For each lane the entries of `chosen` where true, else of `otherwise`: states of NumPy arrays `(B, H)`."""
    return tuple(
        type(a)(*(np.where(lanes[:, None], p, q) for p, q in zip(a, b, strict=True))) if a else ()
        for a, b in zip(chosen, otherwise, strict=True)
    )
