"""The optimizers' steps, elementwise on tensors of any shape; the equations stand in `rnnkit.model.rules`.

A step on one flat tensor of all parameters costs about what a step on one parameter does, so `train_block`
takes it there.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from rnnkit.backend import map_arrays
from rnnkit.errors import ModelError
from rnnkit.model.frozen import lag_of
from rnnkit.model.rules import SGD, Adam, AdamW, RMSProp, Rule, RuleState


@torch.no_grad()
def update(
    rule: Rule, params: dict[str, Tensor], grads: dict[str, Tensor], rule_state: RuleState
) -> tuple[dict[str, Tensor], RuleState]:
    """Make one optimizer step, as `Backend.update` of `rnnkit.backend` says."""
    count, lags = rule_state.step + 1, lag_of(rule_state, params)
    new, slots = map_arrays(torch.clone, (dict(params), rule_state.slots))
    for key, p in new.items():
        step(rule, p, grads[key], {slot: values[key] for slot, values in slots.items()}, count - lags[key])
    return new, RuleState(count, slots, rule_state.lag)


@singledispatch
def step(rule: object, p: Tensor, g: Tensor, slots: dict[str, Tensor], n: int) -> None:
    """Step n, from 1: parameters and moments change in place."""
    raise ModelError(f"backend 'torch' cannot run the rule {rule!r}; it knows SGD, Adam, AdamW, RMSProp")


@step.register
def _(rule: SGD, p, g, slots, n):
    g = _decayed(rule, p, g)
    if rule.momentum:
        b = torch.add(g, slots["b"], alpha=rule.momentum, out=slots["b"])
        g = g.add(b, alpha=rule.momentum) if rule.nesterov else b
    p.sub_(g, alpha=rule.learning_rate)


@step.register
def _(rule: Adam, p, g, slots, n):
    _adam(rule, p, _decayed(rule, p, g), slots, n)


@step.register
def _(rule: AdamW, p, g, slots, n):
    _adam(rule, p.mul_(1 - rule.learning_rate * rule.weight_decay), g, slots, n)


@step.register
def _(rule: RMSProp, p, g, slots, n):
    g = _decayed(rule, p, g)
    mean_square = slots["s"].mul_(rule.alpha).addcmul_(g, g, value=1 - rule.alpha)
    if rule.centered:
        a = slots["a"].lerp_(g, 1 - rule.alpha)
        mean_square = mean_square.addcmul(a, a, value=-1)
    moved = g / mean_square.sqrt().add_(rule.epsilon)
    if rule.momentum:
        moved = torch.add(moved, slots["b"], alpha=rule.momentum, out=slots["b"])
    p.sub_(moved, alpha=rule.learning_rate)


def _adam(rule: Adam | AdamW, p, g, slots, n):
    m = slots["m"].lerp_(g, 1 - rule.beta1)
    v = slots["v"].mul_(rule.beta2).addcmul_(g, g, value=1 - rule.beta2)
    scale = v.sqrt().mul_((1 - rule.beta2**n) ** -0.5).add_(rule.epsilon)
    p.addcdiv_(m, scale, value=-rule.learning_rate / (1 - rule.beta1**n))


def _decayed(rule: SGD | Adam | RMSProp, p: Tensor, g: Tensor) -> Tensor:
    return g.add(p, alpha=rule.weight_decay) if rule.weight_decay else g
