"""Optimizers as data, with PyTorch's conventions; each backend writes the update of each rule.

With g the gradient, p the parameter and η the learning rate, a step of each rule is (all elementwise):

    SGD      b = μ b + g;  p = p - η (g + μ b  if nesterov else b)            plain g without momentum
    Adam     m = β1 m + (1 - β1) g;  v = β2 v + (1 - β2) g²
             p = p - η / (1 - β1ⁿ) · m / (√v / √(1 - β2ⁿ) + ε)                n the number of p's steps, from 1
    AdamW    p = p - η λ p, then Adam
    RMSProp  s = α s + (1 - α) g²;  a = α a + (1 - α) g
             b = μ b + g / (√(s - a² if centered else s) + ε);  p = p - η b

`weight_decay` λ of SGD, Adam and RMSProp adds λ p to g first; that of AdamW is decoupled, as shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import singledispatch
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rnnkit.checks import check_kinds
from rnnkit.errors import ModelError
from rnnkit.model.checks import check_float32


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum μ by choice (Sutskever et al. 2013, in PyTorch's form)."""

    learning_rate: float = 1e-2
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        if self.nesterov and self.momentum == 0:
            raise ModelError("SGD(nesterov=True) expects momentum > 0, got 0; write SGD(..., momentum=0.9)")


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015)."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class RMSProp:
    """RMSProp (Tieleman and Hinton 2012; centered by Graves 2013)."""

    learning_rate: float = 1e-2
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


Rule = SGD | Adam | AdamW | RMSProp


class RuleState(NamedTuple):
    """What a rule remembers, as a value.

    Attributes:
        step: updates made so far.
        slots: for each of the rule's moments (`slot_names`) a dict shaped like the parameters.
        lag: how many of these updates a parameter has missed, because it was frozen or belongs to another head; 0
            where left out. Its own number of steps is `step - lag`.
    """

    step: int
    slots: dict[str, dict[str, Any]]
    lag: Mapping[str, int] = MappingProxyType({})

    def __reduce__(self) -> Any:  # a MappingProxyType cannot be sent
        return type(self), (self.step, self.slots, dict(self.lag))


@singledispatch
def slot_names(rule: object) -> tuple[str, ...]:
    """Which moments a rule keeps for each parameter, by the letters of the module's equations."""
    raise ModelError(f"expected a rule (SGD, Adam, AdamW, RMSProp), got {type(rule).__name__}; write Adam(1e-3)")


@slot_names.register
def _(rule: SGD) -> tuple[str, ...]:
    return ("b",) if rule.momentum else ()


@slot_names.register(Adam)
@slot_names.register(AdamW)
def _(rule: Adam | AdamW) -> tuple[str, ...]:
    return ("m", "v")


@slot_names.register
def _(rule: RMSProp) -> tuple[str, ...]:
    return ("s", *(("a",) if rule.centered else ()), *(("b",) if rule.momentum else ()))


def initial_rule_state(rule: Rule, params: Mapping[str, np.ndarray]) -> RuleState:
    """Zeros for every moment of a rule, shaped like the parameters (new NumPy arrays)."""
    if not isinstance(params, Mapping):
        raise ModelError(
            f"initial_rule_state expects parameters as a dict of arrays, got {params!r}; use rk.setup(model)"
        )
    return RuleState(0, {slot: {key: np.zeros_like(p) for key, p in params.items()} for slot in slot_names(rule)}, {})


@dataclass(frozen=True)
class ClipNorm:
    """Scale all gradients by one factor so that their global 2-norm is at most `maximum` (Pascanu et al. 2013)."""

    maximum: float

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.maximum > 0:
            raise ModelError(f"ClipNorm expects a maximum > 0, got {self.maximum!r}")
        check_float32(self, "maximum", self.maximum)


@dataclass(frozen=True)
class ClipValue:
    """Clamp every entry of every gradient to ±`maximum`."""

    maximum: float

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.maximum > 0:
            raise ModelError(f"ClipValue expects a maximum > 0, got {self.maximum!r}")
        check_float32(self, "maximum", self.maximum)


Clip = ClipNorm | ClipValue

CLIP_EPSILON = 1e-6
"""Added to the norm before dividing, as PyTorch does: factor = min(1, maximum / (norm + 1e-6))."""


def _check(rule: Rule) -> None:
    check_kinds(rule)
    limits = {"momentum": 1.0, "beta1": 1.0, "beta2": 1.0, "alpha": 1.0}
    for field in fields(rule):
        value = getattr(rule, field.name)
        below = limits.get(field.name, float("inf"))
        if not isinstance(value, bool) and not 0 <= value < below:
            bound = f"0 <= {field.name}" + (f" < {below:g}" if below < float("inf") else "")
            raise ModelError(f"{type(rule).__name__} expects {bound}, got {value!r}")
        check_float32(rule, field.name, value)
