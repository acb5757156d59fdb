"""Optimizers and clipping, as data, and what an optimizer remembers."""

from rnnkit.model.rules import SGD, Adam, AdamW, ClipNorm, ClipValue, RMSProp, RuleState, initial_rule_state

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ClipNorm",
    "ClipValue",
    "RMSProp",
    "RuleState",
    "initial_rule_state",
]
