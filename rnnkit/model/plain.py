"""Descriptions as plain values for TOML and JSON, and back: `{"type": "LSTM", "inputs": 1, "hidden": 10}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from rnnkit.errors import ModelError, did_you_mean
from rnnkit.model.layers import LAYERS, Chain, Given, Heads, Initial


def to_plain(description: Any) -> dict[str, Any]:
    """A frozen dataclass as a dict: its fields, and its class under `"type"`.

    Example:
        >>> import rnnkit as rk
        >>> to_plain(rk.LSTM(1, 10))
        {'type': 'LSTM', 'inputs': 1, 'hidden': 10}
    """
    if not is_dataclass(description):
        raise ModelError(f"to_plain expects a description such as LSTM(1, 10), got {description!r}")
    named = description.states if isinstance(description, Given) else ()
    values = dict(named) or {field.name: getattr(description, field.name) for field in fields(description)}
    return {
        "type": type(description).__name__,
        **{name: to_plain(value) if is_dataclass(value) else value for name, value in values.items()},
    }


def from_plain(plain: Mapping[str, Any], kinds: Iterable[type]) -> Any:
    """The description that `to_plain` wrote, one of `kinds`.

    Raises:
        ModelError: an unknown type or field.
    """
    known = {kind.__name__: kind for kind in kinds}
    name = plain.get("type", "")
    if name not in known:
        raise ModelError(f"expected a type among {', '.join(known)}, got {name!r}{did_you_mean(str(name), known)}")
    values = {key: value for key, value in plain.items() if key != "type"}
    try:
        return known[name](**values)
    except TypeError as error:
        raise ModelError(f"{name} cannot be made from {values}: {error}") from error


def chain_to_plain(model: Chain) -> dict[str, Any]:
    """A chain: its layers and its initial state, each as a dict; of `Heads`, each head, a chain's as a list."""
    layers = [_heads_to_plain(layer) if isinstance(layer, Heads) else to_plain(layer) for layer in model.layers]
    return {"layers": layers, "initial": to_plain(model.initial)}


def chain_from_plain(plain: Mapping[str, Any]) -> Chain:
    """The chain that `chain_to_plain` wrote."""
    layers = (
        _heads_from_plain(layer) if layer.get("type") == "Heads" else from_plain(layer, LAYERS)
        for layer in plain["layers"]
    )
    return Chain(*layers, initial=from_plain(plain["initial"], get_args(Initial)))


def _heads_to_plain(heads: Heads) -> dict[str, Any]:
    def head_to_plain(head: Any) -> Any:
        return [to_plain(layer) for layer in head.layers] if isinstance(head, Chain) else to_plain(head)

    return {"type": "Heads", "heads": {name: head_to_plain(head) for name, head in heads.heads}}


def _heads_from_plain(plain: Mapping[str, Any]) -> Heads:
    def head_from_plain(head: Any) -> Any:
        if isinstance(head, Mapping):
            return from_plain(head, LAYERS)
        return Chain(*(from_plain(layer, LAYERS) for layer in head))

    return Heads(**{name: head_from_plain(head) for name, head in plain["heads"].items()})
