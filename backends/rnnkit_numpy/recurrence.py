"""The loop over the rows of a recurrent layer, forward and back: the same for every cell.

For every row t = 0 ... T-1 and every lane b. The states have T+1 rows, row t being the state *before* row t is
consumed, so that no first step is special. s stands for every array of the state, h for the first of them, which the
layer gives out, and k for a gate; a gate without one of the two products has its other term alone. Forward:

    (1)  s⁻ = s₀ where reset[t], else s[t]                                    the initial state, zeros by default
    (2)  a_k = W_k x[t] + b_k + R_k h⁻ + r_k                                  W, b, R, r: weight_ih, bias_ih, weight_hh,
                                                                              bias_hh, a block of H rows for each gate
    (P)  s = P(a, s⁻)                                                         the cell's own equations, from (3) on
    (n)  s[t+1] = s where valid[t], else s⁻                                   n follows on the cell's last

Backward, from the last row to the first. `d_v` is the derivative of the loss L with respect to v; the number tells
which forward line it inverts. d_s[t+1] comes from the rows after t; d_y[t] is the gradient that enters through the
output of row t, which is h[t+1] where valid:

    (n') d_h = d_y[t] + d_h[t+1] where valid[t], else 0;  d_s = d_s[t+1] where valid[t], else 0, for the others
         d_s⁻ = d_s[t+1] where not valid[t], else 0
    (P') d_a, and what goes on to d_s⁻ past the gates
    (2') d_x[t] = Σ W_kᵀ d_a_k;  d_h⁻ = d_h⁻ + Σ R_kᵀ d_a_k                     over k
         d_W_k = Σ d_a_k x[t]ᵀ;  d_R_k = Σ d_a_k h⁻ᵀ;  d_b_k = d_r_k = Σ d_a_k   over t and b
    (1') d_s[t] = 0 where reset[t], else d_s⁻
         d_s₀ = Σ d_s⁻ where reset[t]                                         over t and b, if they are learned

Source: Werbos, "Backpropagation through time: what it does and how to do it" (1990).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import LAYERS, Recurrent, initial_names

Arrays = dict[str, np.ndarray]


class Pointwise(Protocol):
    """The pointwise function of a cell, and its way back: a module of this package, such as `rnnkit_numpy.lstm`."""

    def forward(self, pre: Arrays, before: Any) -> tuple[Any, Arrays]:
        """The state after a row, and every value of the cell by name, in the order in which people read them.

        Args:
            pre: the gates before their activation, by name, `(B, H)` each.
            before: the state that the row starts from, the cell's named tuple.
        """
        ...

    def backward(self, seen: Mapping[str, np.ndarray], before: Any, d_after: Any) -> tuple[Arrays, Any, Arrays]:
        """Back through a row.

        Args:
            seen: the values that `forward` gave.
            before: the state that the row started from.
            d_after: with respect to the state after the row, through the layer's output included.

        Returns:
            `(d_pre, d_before, told)`: with respect to the gates before their activation, by name; what goes on to the
            state before the row past the gates, None for an array to which nothing does; and derivatives by name for
            people, those of every state array first.
        """
        ...


class RecurrentTape(NamedTuple):
    """What the backward pass reads: the values of every row, `(T, B, ...)`, of the forward pass.

    Attributes:
        x: what the layer reads.
        before: the state that each row starts from, the cell's named tuple.
        seen: the cell's values by name.
        reset, valid: `(T, B)`.
    """

    x: np.ndarray
    before: Any
    seen: Arrays
    reset: np.ndarray
    valid: np.ndarray


@cache
def cell_of(layer: Recurrent) -> Pointwise:
    """The equations of a cell: the module of this package that is named like its class, in lower case.

    Raises:
        ModelError: there is none.
    """
    name = f"{__package__}.{type(layer).__name__.lower()}"
    if find_spec(name) is None:
        raise ModelError(f"backend 'numpy' cannot run the layer {layer!r}; {known()}")
    return cast(Pointwise, import_module(name))


def known() -> str:
    """Which layers this backend runs, for messages."""
    names = [kind.__name__ for kind in LAYERS if find_spec(f"{__package__}.{kind.__name__.lower()}")]
    return f"it knows {', '.join(names[:-1])} and {names[-1]}"


def forward(
    layer: Recurrent, params: Arrays, x: np.ndarray, state: Any, reset: np.ndarray, valid: np.ndarray, initial: Any
) -> tuple[np.ndarray, Any, RecurrentTape]:
    """Run a layer over a window: `x (T, B, I)`, `state` and `initial` `(B, H)` each, `reset` and `valid` `(T, B)`.

    Returns:
        `(h, state, tape)`: the first state after every row, `(T, B, H)` (held at padding), the state after the last
        row, and the tape.
    """
    cell, State = cell_of(layer), layer.State
    outputs, befores, seen = [], [], []
    any_cold, all_real = np.any(reset, 1), np.all(valid, 1)  # most rows reset no lane and have no padding
    for t in range(x.shape[0]):
        cold, real, before = reset[t][:, None], valid[t][:, None], state
        if any_cold[t]:
            before = State(*(np.where(cold, s_0, s) for s_0, s in zip(initial, state, strict=True)))  # (1)
        after, values = cell.forward(products(layer, params, x[t], before[0]), before)  # (2), (P)
        state = after
        if not all_real[t]:
            state = State(*(np.where(real, new, old) for new, old in zip(after, before, strict=True)))  # (n)
        outputs.append(state[0])
        befores.append(before)
        seen.append(values)
    before = State(*map(np.stack, zip(*befores, strict=True)))
    values = {name: np.stack([row[name] for row in seen]) for name in seen[0]}
    return np.stack(outputs), state, RecurrentTape(x, before, values, reset, valid)


def backward(
    layer: Recurrent, params: Arrays, tape: RecurrentTape, d_y: np.ndarray, d_state: Any
) -> tuple[Arrays, Any, np.ndarray]:
    """Back-propagate through a window: `d_y (T, B, H)`, `d_state` with respect to the state after the last row.

    Returns:
        `(d_params, d_state, d_x)`: with respect to the parameters, to the state before row 0, and to x.
    """
    cell, State = cell_of(layer), layer.State
    d_x = np.zeros_like(tape.x)
    d_params = {key: np.zeros_like(value) for key, value in params.items()}
    d_s, any_cold, all_real = d_state, np.any(tape.reset, 1), np.all(tape.valid, 1)
    for t in reversed(range(tape.x.shape[0])):
        x, before, seen = tape.x[t], State(*(s[t] for s in tape.before)), {n: v[t] for n, v in tape.seen.items()}
        cold, real = tape.reset[t][:, None], tape.valid[t][:, None]
        d_before, d_after = list(map(np.zeros_like, d_s)), State(d_y[t] + d_s[0], *d_s[1:])  # (n')
        if not all_real[t]:
            d_before = [np.where(real, 0, d) for d in d_s]  # (n')
            d_after = State(*(np.where(real, d, 0) for d in d_after))  # (n')
        d_pre, past, _ = cell.backward(seen, before, d_after)  # (P')
        d_before = [d if more is None else d + more for d, more in zip(d_before, past, strict=True)]  # (P')
        d_a, d_u = side_by_side(layer, d_pre)
        d_x[t] = d_a @ params["weight_ih"]  # (2')
        d_before[0] = d_before[0] + d_u @ params["weight_hh"]  # (2')
        d_params["weight_ih"] += d_a.T @ x  # (2')
        d_params["weight_hh"] += d_u.T @ before[0]  # (2')
        d_params["bias_ih"] += d_a.sum(0)  # (2')
        d_params["bias_hh"] += d_u.sum(0)  # (2')
        d_s = State(*d_before)
        if any_cold[t]:
            for name, d in zip(initial_names(State), d_before, strict=True):
                if name in params:
                    d_params[name] += np.where(cold, d, 0).sum(0)  # (1')
            d_s = State(*(np.where(cold, 0, d) for d in d_before))  # (1')
    return d_params, d_s, d_x


def products(layer: Recurrent, params: Arrays, x: np.ndarray, h: np.ndarray) -> Arrays:
    """The gates before their activation by name, `(..., H)` each, from `x (..., I)` and `h (..., H)`: equation (2)."""
    a, u, r = x @ params["weight_ih"].T + params["bias_ih"], h @ params["weight_hh"].T, params["bias_hh"]
    if _reads_alike(layer):
        return _by_name(layer.gates, a + u + r)
    pre = _by_name(layer.from_x, a)
    r = _by_name(layer.from_state, r)
    for gate, u_k in _by_name(layer.from_state, u).items():
        pre[gate] = pre[gate] + u_k + r[gate] if gate in pre else u_k + r[gate]
    return pre


def side_by_side(layer: Recurrent, d_pre: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of the gates that read x, and of those that read the state: `(..., X H)` and `(..., S H)`."""
    d_a = np.concatenate([d_pre[gate] for gate in layer.from_x], axis=-1)
    if _reads_alike(layer):
        return d_a, d_a
    return d_a, np.concatenate([d_pre[gate] for gate in layer.from_state], axis=-1)


def times(d: np.ndarray, *factors: np.ndarray) -> np.ndarray:
    """The product of a derivative and its factors, from the left.

    Where many derivatives stand side by side at one row, the factors, which have an axis less, come first: it is less
    to do.
    """
    if d.ndim > factors[0].ndim:
        return d * reduce(np.multiply, factors)
    for factor in factors:
        d = d * factor
    return d


def sigmoid(a: np.ndarray) -> np.ndarray:
    """The logistic function σ(a) = 1 / (1 + exp(-a)), without overflow; for complex a too."""
    positive = np.real(a) >= 0
    e = np.exp(np.where(positive, -a, a))
    return np.where(positive, 1, e) / (1 + e)


def _by_name(gates: tuple[str, ...], values: np.ndarray) -> Arrays:
    H = values.shape[-1] // len(gates)
    return {gate: values[..., k * H : (k + 1) * H] for k, gate in enumerate(gates)}


@cache
def _reads_alike(layer: Recurrent) -> bool:
    """Whether every gate reads both x and the state, so that its two products can be added at once."""
    return layer.from_x == layer.from_state
