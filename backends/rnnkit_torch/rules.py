"""The optimizers' steps, elementwise on tensors of any shape; the equations stand in `rnnkit.model.rules`.

A step on one flat tensor of all parameters costs about what a step on one parameter does, so `train_block`
takes it there.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from rnnkit.errors import ModelError
from rnnkit.model.frozen import lag_of
from rnnkit.model.rules import SGD, Adam, AdamW, RMSProp, Rule, RuleState


@torch.no_grad()
def update(
    rule: Rule, params: dict[str, Tensor], grads: dict[str, Tensor], rule_state: RuleState
) -> tuple[dict[str, Tensor], RuleState]:
    """See `rnnkit.backend.Backend.update`."""
    count, lags = rule_state.step + 1, lag_of(rule_state, params)
    new_params: dict[str, Tensor] = {}
    new_slots: dict[str, dict[str, Tensor]] = {slot: {} for slot in rule_state.slots}
    for key, p in params.items():
        slots = {slot: values[key] for slot, values in rule_state.slots.items()}
        new_params[key], moved = apply(rule, p, grads[key], slots, count - lags[key])
        for slot, value in moved.items():
            new_slots[slot][key] = value
    return new_params, RuleState(count, new_slots, rule_state.lag)


@singledispatch
def apply(rule: object, p: Tensor, g: Tensor, slots: dict[str, Tensor], n: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Step n, from 1: the new parameters and the new moments, as new tensors."""
    raise ModelError(f"backend 'torch' cannot run the rule {rule!r}; it knows SGD, Adam, AdamW, RMSProp")


@apply.register
def _(rule: SGD, p, g, slots, n):
    g = _decayed(rule, p, g)
    if not rule.momentum:
        return p.sub(g, alpha=rule.learning_rate), {}
    b = g.add(slots["b"], alpha=rule.momentum)
    step = g.add(b, alpha=rule.momentum) if rule.nesterov else b
    return p.sub(step, alpha=rule.learning_rate), {"b": b}


@apply.register
def _(rule: Adam, p, g, slots, n):
    return _adam(rule, p, _decayed(rule, p, g), slots, n)


@apply.register
def _(rule: AdamW, p, g, slots, n):
    return _adam(rule, p * (1 - rule.learning_rate * rule.weight_decay), g, slots, n)


@apply.register
def _(rule: RMSProp, p, g, slots, n):
    g = _decayed(rule, p, g)
    s = (rule.alpha * slots["s"]).addcmul_(g, g, value=1 - rule.alpha)
    new, mean_square = {"s": s}, s
    if rule.centered:
        new["a"] = slots["a"].lerp(g, 1 - rule.alpha)
        mean_square = s.addcmul(new["a"], new["a"], value=-1)
    step = g / mean_square.sqrt().add_(rule.epsilon)
    if rule.momentum:
        new["b"] = step = step.add_(slots["b"], alpha=rule.momentum)
    return p.sub(step, alpha=rule.learning_rate), new


def _adam(rule: Adam | AdamW, p, g, slots, n):
    m = slots["m"].lerp(g, 1 - rule.beta1)
    v = (rule.beta2 * slots["v"]).addcmul_(g, g, value=1 - rule.beta2)
    scale = v.sqrt().mul_((1 - rule.beta2**n) ** -0.5).add_(rule.epsilon)
    return p.addcdiv(m, scale, value=-rule.learning_rate / (1 - rule.beta1**n)), {"m": m, "v": v}


def _decayed(rule: SGD | Adam | RMSProp, p: Tensor, g: Tensor) -> Tensor:
    return g.add(p, alpha=rule.weight_decay) if rule.weight_decay else g
