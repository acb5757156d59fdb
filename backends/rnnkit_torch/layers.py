"""How PyTorch runs each layer: its own recurrent ones by the table below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit.errors import ModelError
from rnnkit.model import LSTM, Dense, Recurrent, parameter_shapes
from rnnkit_torch.pieces import PackedRows


class Native(NamedTuple):
    """PyTorch's own recurrent layer.

    Attributes:
        run: the function behind it, which takes rows, states and weights, and returns rows and states.
        module: its class, which lays out weights for cuDNN.
    """

    run: Callable[..., Any]
    module: type[torch.nn.RNNBase]


RECURRENT: dict[type[Recurrent], Native] = {LSTM: Native(torch.lstm, torch.nn.LSTM)}

ACTIVATE = {
    "identity": lambda a: a,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


@singledispatch
def run_layer(
    layer: object, weights: list[Tensor], x: Tensor, state: Any, initial: Any, pieces: PackedRows
) -> tuple[Tensor, Any]:
    """One layer over rows as `PackedRows.gather` lays them out: outputs laid out alike, the state after them."""
    known = ", ".join(kind.__name__ for kind in RECURRENT)
    raise ModelError(f"backend 'torch' cannot run the layer {layer!r}; it knows {known} and {Dense.__name__}")


@run_layer.register
def _(
    layer: Recurrent, weights: list[Tensor], x: Tensor, state: Any, initial: Any, pieces: PackedRows
) -> tuple[Tensor, Any]:
    if type(layer) not in RECURRENT:
        return run_layer.dispatch(object)(layer, weights, x, state, initial, pieces)
    if x.shape[0] == 0:  # no valid row, and PyTorch runs no empty sequence
        y, after = x.new_zeros((*x.shape[:-1], layer.outputs)), [s[:0] for s in state]
    else:
        before = [pieces.begin(s, cold).contiguous()[None] for s, cold in zip(state, initial, strict=True)]  # for cuDNN
        given = before if len(before) > 1 else before[0]
        biases, layers, dropout, train, bidirectional = True, 1, 0.0, torch.is_grad_enabled(), False
        run = RECURRENT[type(layer)].run
        if pieces.sizes is None:
            y, *after = run(x, given, weights, biases, layers, dropout, train, bidirectional, False)
        else:
            y, *after = run(x, pieces.sizes, given, weights, biases, layers, dropout, train, bidirectional)
        after = [s[0] for s in after]
    ended = (pieces.end(s, old, cold) for s, old, cold in zip(after, state, initial, strict=True))
    return y, layer.State(*ended)


@run_layer.register
def _(
    layer: Dense, weights: list[Tensor], x: Tensor, state: tuple[()], initial: tuple[()], pieces: PackedRows
) -> tuple[Tensor, tuple[()]]:
    return ACTIVATE[layer.activation](torch.nn.functional.linear(x, *weights)), ()


def in_one_piece(layer: object, index: int, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a recurrent layer as leaves laid out for cuDNN, on any device; none for other layers."""
    if not isinstance(layer, Recurrent) or type(layer) not in RECURRENT:
        return {}
    like = params[f"{index}.weight_ih"]
    # on the meta device no random number is drawn; leaving it lays the weights out for cuDNN
    module = RECURRENT[type(layer)].module(layer.inputs, layer.hidden, device="meta", dtype=like.dtype)  # type: ignore[call-arg]
    module = module.to_empty(device=like.device)
    fresh = {name: getattr(module, f"{name}_l0") for name in parameter_shapes(layer)}
    with torch.no_grad():
        for name, p in fresh.items():
            p.copy_(params[f"{index}.{name}"])
    return {f"{index}.{name}": p for name, p in fresh.items()}
