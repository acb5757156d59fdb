"""The optimizers' steps; the equations stand in `rnnkit.model.rules`."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model.frozen import lag_of
from rnnkit.model.rules import SGD, Adam, AdamW, RMSProp, Rule, RuleState


def update(
    rule: Rule, params: dict[str, np.ndarray], grads: dict[str, np.ndarray], rule_state: RuleState
) -> tuple[dict[str, np.ndarray], RuleState]:
    """Make one optimizer step, as `Backend.update` of `rnnkit.backend` says."""
    count, lags = rule_state.step + 1, lag_of(rule_state, params)
    new_params: dict[str, np.ndarray] = {}
    new_slots: dict[str, dict[str, np.ndarray]] = {slot: {} for slot in rule_state.slots}
    for key, p in params.items():
        slots = {slot: values[key] for slot, values in rule_state.slots.items()}
        new_params[key], moved = apply(rule, p, grads[key], slots, count - lags[key])
        for slot, value in moved.items():
            new_slots[slot][key] = value
    return new_params, RuleState(count, new_slots, rule_state.lag)


@singledispatch
def apply(
    rule: object, p: np.ndarray, g: np.ndarray, slots: dict[str, np.ndarray], n: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Step n, from 1, of one parameter: the new parameter and the new moments."""
    raise ModelError(f"backend 'numpy' cannot run the rule {rule!r}; it knows SGD, Adam, AdamW, RMSProp")


@apply.register
def _(rule: SGD, p, g, slots, n):
    g = g + rule.weight_decay * p
    if not rule.momentum:
        return p - rule.learning_rate * g, {}
    b = rule.momentum * slots["b"] + g
    step = g + rule.momentum * b if rule.nesterov else b
    return p - rule.learning_rate * step, {"b": b}


@apply.register
def _(rule: Adam, p, g, slots, n):
    return _adam(rule, p, g + rule.weight_decay * p, slots, n)


@apply.register
def _(rule: AdamW, p, g, slots, n):
    return _adam(rule, p - rule.learning_rate * rule.weight_decay * p, g, slots, n)


@apply.register
def _(rule: RMSProp, p, g, slots, n):
    g = g + rule.weight_decay * p
    new = {"s": rule.alpha * slots["s"] + (1 - rule.alpha) * g**2}
    mean_square = new["s"]
    if rule.centered:
        new["a"] = rule.alpha * slots["a"] + (1 - rule.alpha) * g
        mean_square = mean_square - new["a"] ** 2
    step = g / (np.sqrt(mean_square) + rule.epsilon)
    if rule.momentum:
        new["b"] = step = rule.momentum * slots["b"] + step
    return p - rule.learning_rate * step, new


def _adam(rule: Adam | AdamW, p, g, slots, n):
    m = rule.beta1 * slots["m"] + (1 - rule.beta1) * g
    v = rule.beta2 * slots["v"] + (1 - rule.beta2) * g**2
    scale = rule.learning_rate / (1 - rule.beta1**n)
    return p - scale * m / (np.sqrt(v) / math.sqrt(1 - rule.beta2**n) + rule.epsilon), {"m": m, "v": v}
