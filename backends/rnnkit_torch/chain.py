"""Layers in a row on PyTorch's operators; autograd walks back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnkit.backend import Gradients, check_arguments, check_gradients, map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Learned, State, initial_names, initial_state, parameter_shapes, state_type
from rnnkit_torch.layers import in_one_piece, run_layer
from rnnkit_torch.pieces import PackedRows, cut


class Graph(NamedTuple):
    """A tape: a graph of autograd by its two ends, which lives as long as this does.

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
) -> tuple[Tensor, State, Graph]:
    """Run a chain over a window, as `Backend.forward` says; what is returned is detached, the tape holds the graph."""
    check_tensors(params, x, state)
    reset, valid = check_arguments(model, params, x, state, reset, valid, initial)
    if initial is not None:
        check_tensors(params, x, initial)
    with torch.enable_grad():
        weights, before = leaves(model, params), map_arrays(leaf, state)
        x = leaf(x)
        cold = own_initial(model, weights) if initial is None else map_arrays(torch.detach, initial)
        y, after = run(model, layer_weights(model, weights), x, before, cold, cut(reset, valid, x.device))
    return y.detach(), map_arrays(torch.detach, after), Graph(weights, before, x, y, after)


def backward(
    model: Chain,
    params: dict[str, Tensor],
    tape: Graph,
    d_y: Tensor,
    d_state: State | None = None,
) -> Gradients:
    """Walk back through a window, as `Backend.backward` says; the graph is kept, and a tape may be used again."""
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
    model: Chain, weights: Sequence[list[Tensor]], x: Tensor, state: State, initial: State, pieces: PackedRows
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


def own_initial(model: Chain, params: Mapping[str, Tensor]) -> State:
    """The model's own initial state, `(1, H)` each: the same for all lanes, and in the graph where it is learned."""
    like = next(iter(params.values()))
    plain = Chain(*model.layers) if isinstance(model.initial, Learned) else model
    numbers = initial_state(plain, {"": np.zeros(0)}, lanes=1)  # float64: they are rounded once, below
    if isinstance(model.initial, Learned):
        names = [initial_names(state_type(layer)) for layer in model.layers]
        return tuple(
            type(entry)(*(params[f"{index}.{name}"][None] for name in own)) if entry else ()
            for index, (entry, own) in enumerate(zip(numbers, names, strict=True))
        )
    return map_arrays(lambda a: torch.tensor(a, dtype=like.dtype, device=like.device), numbers)


def leaf(a: Tensor) -> Tensor:
    """A leaf of a new graph on the memory of `a`."""
    return a.detach().requires_grad_()


def leaves(model: Chain, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters as leaves of a new graph, on the memory of `params` but for recurrent weights on CUDA.

    Those are copied: cuDNN wants them in one piece of memory, laid out its own way, and would otherwise copy
    (and warn) at every call.
    """
    fresh = {key: leaf(p) for key, p in params.items()}
    if next(iter(params.values())).is_cuda:
        for index, layer in enumerate(model.layers):
            fresh |= in_one_piece(layer, index, params)
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
