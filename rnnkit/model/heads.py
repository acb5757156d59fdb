"""Between a chain with `Heads` and the chain of one head: parameters, moments and what the optimizer remembers.

A head's parameter `"1.three.0.weight"` is `"1.weight"` in the chain `model.head("three")`; the layers before the heads
have the same keys in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rnnkit.errors import ModelError, did_you_mean
from rnnkit.model.layers import Chain, Heads, parameter_shapes
from rnnkit.model.rules import RuleState
from rnnkit.model.state import State


def head_names(model: Chain, name: str) -> dict[str, str]:
    """For each parameter key of `model.head(name)`, in its order, the key in the whole model.

    Raises:
        ModelError: a chain without heads, or without this one.

    Example:
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.Dense(1, 4), rk.Heads(two=rk.Dense(4, 2), three=rk.Chain(rk.Dense(4, 3))))
        >>> head_names(model, "three")
        {'0.weight': '0.weight', '0.bias': '0.bias', '1.weight': '1.three.0.weight', '1.bias': '1.three.0.bias'}
    """
    chosen, first = model.head(name), len(model.layers) - 1
    last = model.layers[-1]
    chained = isinstance(last, Heads) and isinstance(dict(last.heads)[name], Chain)
    names = {}
    for key in parameter_shapes(chosen):
        index, _, own = key.partition(".")
        inner = f"{int(index) - first}.{own}" if chained else own
        names[key] = key if int(index) < first else f"{first}.{name}.{inner}"
    return names


def head_keys(model: Chain, name: str, keys: Iterable[str]) -> frozenset[str]:
    """Some parameters of a model by the keys that they have in `model.head(name)`; those of other heads are left out.

    Raises:
        ModelError: a chain without this head, or a key that is no parameter of the model.
    """
    names, known = head_names(model, name), parameter_shapes(model)
    wanted = frozenset(keys)
    for key in sorted(wanted - set(known)):
        raise ModelError(
            f"head_keys expects parameters of the model, {', '.join(known)}, got {key!r}{did_you_mean(key, known)}"
        )
    return frozenset(short for short, full in names.items() if full in wanted)


def head_parameters(model: Chain, params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The parameters of `model.head(name)`, or anything else keyed like them, such as a moment; nothing is copied.

    Raises:
        ModelError: a chain without this head, or a parameter that is missing.
    """
    names = head_names(model, name)
    _need("head_parameters", params, names.values())
    return {short: params[full] for short, full in names.items()}


def with_head(model: Chain, params: Mapping[str, Any], name: str, changed: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters after those of one head's chain have changed: a new dict in the order of `params`, no copies.

    Raises:
        ModelError: a chain without this head, or `changed` with other keys than its parameters'.
    """
    names = head_names(model, name)
    _need("with_head", params, names.values())
    if set(changed) != set(names):
        raise ModelError(
            f"with_head expects the changed parameters of model.head({name!r}), {', '.join(names)}, got "
            f"{', '.join(changed) or 'none'}"
        )
    return {**params, **{names[short]: value for short, value in changed.items()}}


def head_rule_state(model: Chain, rule_state: RuleState, name: str) -> RuleState:
    """What the optimizer remembers of one head's chain; no array is copied."""
    slots = {slot: head_parameters(model, moments, name) for slot, moments in rule_state.slots.items()}
    lag = {short: rule_state.lag[full] for short, full in head_names(model, name).items() if full in rule_state.lag}
    return RuleState(rule_state.step, slots, lag)


def with_head_rule_state(model: Chain, rule_state: RuleState, name: str, changed: RuleState) -> RuleState:
    """What the optimizer remembers after updates of one head's chain: the parameters of other heads have missed them.

    Args:
        model: the whole chain.
        rule_state: of the whole chain, before the updates.
        name: the head.
        changed: of the head's chain, `head_rule_state(...)` after the updates.
    """
    names = head_names(model, name)
    made = changed.step - rule_state.step
    slots = {slot: with_head(model, moments, name, changed.slots[slot]) for slot, moments in rule_state.slots.items()}
    elsewhere = [key for key in parameter_shapes(model) if key not in set(names.values())]
    lag = {names[short]: missed for short, missed in changed.lag.items()}
    lag |= {key: missed for key in elsewhere if (missed := rule_state.lag.get(key, 0) + made)}
    return RuleState(changed.step, slots, lag)


def state_of(state: State, chain: Chain) -> State:
    """A state with an entry for each layer of the chain of one head: heads have none, whatever their layers."""
    return (*state[: len(chain.layers)], *(() for _ in range(len(chain.layers) - len(state))))


def _need(who: str, known: Iterable[str], keys: Iterable[str]) -> None:
    """Raises ModelError for the first of `keys` that is not known."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise ModelError(
                f"{who} expects a parameter {key!r}, got {', '.join(known) or 'none'}{did_you_mean(key, known)}"
            )
