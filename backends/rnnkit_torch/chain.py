"""Layers in a row on PyTorch's operators; autograd walks back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnkit.backend import Gradients, check_arguments, check_gradients, map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import (
    INITIAL,
    LSTM,
    Chain,
    Dense,
    Learned,
    LSTMState,
    State,
    initial_state,
    parameter_shapes,
)
from rnnkit_torch.pieces import Pieces, cut

ACTIVATE = {
    "identity": lambda a: a,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


class Tape(NamedTuple):
    """A graph of autograd by its two ends; it lives as long as the tape does.

    Attributes:
        params, state, x: the leaves.
        y, state_after: the outputs.
    """

    params: dict[str, Tensor]
    state: State
    x: Tensor
    y: Tensor
    state_after: State


def forward(
    model: Chain,
    params: dict[str, Tensor],
    x: Tensor,
    state: State,
    reset: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    initial: State | None = None,
) -> tuple[Tensor, State, Tape]:
    """See `rnnkit.backend.Backend.forward`; what is returned is detached, the tape holds the graph."""
    check_tensors(params, x, state)
    reset, valid = check_arguments(model, params, x, state, reset, valid, initial)
    if initial is not None:
        check_tensors(params, x, initial)
    with torch.enable_grad():
        weights, before = leaves(model, params), map_arrays(leaf, state)
        x = leaf(x)
        cold = own_initial(model, weights) if initial is None else map_arrays(torch.detach, initial)
        y, after = run(model, layer_weights(model, weights), x, before, cold, cut(reset, valid, x.device))
    return y.detach(), map_arrays(torch.detach, after), Tape(weights, before, x, y, after)


def backward(
    model: Chain,
    params: dict[str, Tensor],
    tape: Tape,
    d_y: Tensor,
    d_state: State | None = None,
) -> Gradients:
    """See `rnnkit.backend.Backend.backward`; the graph is kept: a tape may be walked back more than once."""
    check_gradients(model, tape.y.shape[:2], d_y, d_state)
    outputs, d_outputs = [tape.y], [d_y]
    if d_state is not None:
        outputs += arrays(tape.state_after)
        d_outputs += arrays(d_state)
    inputs = [*tape.params.values(), *arrays(tape.state), tape.x]
    reached = [(output, d) for output, d in zip(outputs, d_outputs, strict=True) if output.requires_grad]
    if reached:
        outputs, d_outputs = zip(*reached, strict=True)
        grads = torch.autograd.grad(
            outputs, inputs, d_outputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    else:  # no valid row
        grads = [torch.zeros_like(a) for a in inputs]
    rest = iter(grads)
    d_params = {key: next(rest) for key in tape.params}
    return Gradients({key: d_params[key] for key in params}, map_arrays(lambda _: next(rest), tape.state), next(rest))


def run(
    model: Chain, weights: Sequence[list[Tensor]], x: Tensor, state: State, initial: State, pieces: Pieces
) -> tuple[Tensor, State]:
    """Run a chain over a window, in the graph: `x (T, B, I)` in, `y (T, B, O)` and the state after it out.

    `initial` is what a reset makes of the state: like the state, or `(1, H)` where it is the same for all lanes.
    """
    x = pieces.gather(x)
    after = []
    for layer, layer_weight, before, cold in zip(model.layers, weights, state, initial, strict=True):
        x, entry = run_layer(layer, layer_weight, x, before, cold, pieces)
        after.append(entry)
    return pieces.scatter(x), tuple(after)


@singledispatch
def run_layer(
    layer: object, weights: list[Tensor], x: Tensor, state: Any, initial: Any, pieces: Pieces
) -> tuple[Tensor, Any]:
    """One layer over rows as `Pieces.gather` lays them out: outputs laid out alike, the state after them."""
    raise ModelError(f"backend 'torch' cannot run the layer {layer!r}; it knows LSTM and Dense")


@run_layer.register
def _(
    layer: LSTM, weights: list[Tensor], x: Tensor, state: LSTMState, initial: LSTMState, pieces: Pieces
) -> tuple[Tensor, LSTMState]:
    if x.shape[0] == 0:  # no valid row, and PyTorch runs no empty sequence
        y, h, c = x.new_zeros((*x.shape[:-1], layer.hidden)), state.h[:0], state.c[:0]
    else:
        before = [pieces.begin(s, cold).contiguous()[None] for s, cold in zip(state, initial, strict=True)]  # for cuDNN
        biases, layers, dropout, train, bidirectional = True, 1, 0.0, torch.is_grad_enabled(), False
        if pieces.sizes is None:
            y, h, c = torch.lstm(x, before, weights, biases, layers, dropout, train, bidirectional, False)
        else:
            y, h, c = torch.lstm(x, pieces.sizes, before, weights, biases, layers, dropout, train, bidirectional)
        h, c = h[0], c[0]
    return y, LSTMState(pieces.end(h, state.h, initial.h), pieces.end(c, state.c, initial.c))


@run_layer.register
def _(
    layer: Dense, weights: list[Tensor], x: Tensor, state: tuple[()], initial: tuple[()], pieces: Pieces
) -> tuple[Tensor, tuple[()]]:
    return ACTIVATE[layer.activation](torch.nn.functional.linear(x, *weights)), ()


def own_initial(model: Chain, params: Mapping[str, Tensor]) -> State:
    """The model's own initial state, `(1, H)` each: the same for all lanes, and in the graph where it is learned."""
    like = next(iter(params.values()))
    plain = Chain(*model.layers) if isinstance(model.initial, Learned) else model
    numbers = initial_state(plain, {"": np.zeros(0)}, lanes=1)  # float64: they are rounded once, below
    if isinstance(model.initial, Learned):
        return tuple(
            type(entry)(*(params[f"{index}.{name}"][None] for name in INITIAL)) if entry else ()
            for index, entry in enumerate(numbers)
        )
    return map_arrays(lambda a: torch.tensor(a, dtype=like.dtype, device=like.device), numbers)


def leaf(a: Tensor) -> Tensor:
    """A leaf of a new graph on the memory of `a`."""
    return a.detach().requires_grad_()


def leaves(model: Chain, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters as leaves of a new graph, on the memory of `params` but for the weights of an LSTM on CUDA.

    Those are copied: cuDNN wants them in one piece of memory, laid out its own way, and would otherwise copy
    (and warn) at every call.
    """
    fresh = {key: leaf(p) for key, p in params.items()}
    for index, layer in enumerate(model.layers):
        if isinstance(layer, LSTM) and fresh[f"{index}.weight_ih"].is_cuda:
            fresh |= {f"{index}.{key}": p for key, p in in_one_piece(layer, index, params).items()}
    return fresh


def in_one_piece(layer: LSTM, index: int, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an LSTM as leaves laid out for cuDNN."""
    like = params[f"{index}.weight_ih"]
    # on the meta device no random number is drawn; leaving it lays the weights out for cuDNN
    module = torch.nn.LSTM(layer.inputs, layer.hidden, device="meta", dtype=like.dtype).to_empty(device=like.device)
    fresh = {name: getattr(module, f"{name}_l0") for name in parameter_shapes(layer)}
    with torch.no_grad():
        for name, p in fresh.items():
            p.copy_(params[f"{index}.{name}"])
    return fresh


def layer_weights(model: Chain, params: Mapping[str, Tensor]) -> list[list[Tensor]]:
    """The parameters of each layer, in the order in which `parameter_shapes` names them."""
    return [[params[f"{index}.{name}"] for name in parameter_shapes(layer)] for index, layer in enumerate(model.layers)]


def arrays(state: State) -> list[Tensor]:
    """All tensors of a state."""
    return [a for entry in state for a in entry]


def detach(state: State) -> State:
    """A state cut off from its graph; window by window, where `map_arrays` would take a while to find out its types."""
    return tuple(type(entry)(*[a.detach() for a in entry]) for entry in state)


def check_tensors(params: Mapping[str, Tensor], x: Tensor, state: State) -> None:
    """Raises ModelError for anything that is no tensor of the dtype and on the device of the parameters."""
    named = [*params.items(), ("x", x), *(("state", a) for a in (arrays(state) if isinstance(state, tuple) else ()))]
    like = named[0][1]
    for label, a in named:
        if not isinstance(a, Tensor):
            raise ModelError(
                f"backend 'torch' expects {label} to be a tensor, got {type(a).__name__}; make one with from_numpy"
            )
        if a.dtype != like.dtype or a.device != like.device:
            raise ModelError(
                f"backend 'torch' expects everything in the dtype and on the device of the parameters "
                f"({like.dtype}, {like.device}), got {label} as {a.dtype} on {a.device}"
            )
