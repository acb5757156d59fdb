"""One LSTM layer: forward, and back-propagation through time.

For every row t = 0 ... T-1 and every lane b. The states have T+1 rows, row t being the state *before* row t is
consumed, so that no first step is special. Forward:

    (1)  h⁻, c⁻ = h₀, c₀ where reset[t], else h[t], c[t]                        the initial state, zeros by default
    (2)  a = weight_ih x[t] + bias_ih + weight_hh h⁻ + bias_hh                 four blocks: a_i, a_f, a_g, a_o
    (3)  i, f, g, o = σ(a_i), σ(a_f), tanh(a_g), σ(a_o)
    (4)  c = f ⊙ c⁻ + i ⊙ g
    (5)  h = o ⊙ tanh(c)
    (6)  h[t+1], c[t+1] = h, c where valid[t], else h⁻, c⁻

Backward, from the last row to the first. `d_v` is the derivative of the loss L with respect to v; the number tells
which forward line it inverts. d_h[t+1] and d_c[t+1] come from the rows after t; d_y[t] is the gradient that enters
through the output of row t, which is h[t+1] where valid:

    (6') d_h = d_y[t] + d_h[t+1] where valid[t], else 0;  d_c = d_c[t+1] where valid[t], else 0
         d_h⁻ = d_h[t+1], d_c⁻ = d_c[t+1] where not valid[t], else 0
    (5') d_o = d_h ⊙ tanh(c);  d_c = d_c + d_h ⊙ o ⊙ (1 - tanh²(c))
    (4') d_f = d_c ⊙ c⁻;  d_i = d_c ⊙ g;  d_g = d_c ⊙ i;  d_c⁻ = d_c⁻ + d_c ⊙ f
    (3') d_a_i = d_i ⊙ i (1 - i);  d_a_f = d_f ⊙ f (1 - f);  d_a_g = d_g ⊙ (1 - g²);  d_a_o = d_o ⊙ o (1 - o)
    (2') d_x[t] = weight_ihᵀ d_a;  d_h⁻ = d_h⁻ + weight_hhᵀ d_a
         d_weight_ih = Σ d_a x[t]ᵀ;  d_weight_hh = Σ d_a h⁻ᵀ;  d_bias_ih = d_bias_hh = Σ d_a      over t and b
    (1') d_h[t], d_c[t] = 0, 0 where reset[t], else d_h⁻, d_c⁻
         d_h₀ = Σ d_h⁻, d_c₀ = Σ d_c⁻ where reset[t]                            over t and b, if they are learned

Source: Werbos, "Backpropagation through time: what it does and how to do it" (1990), applied to the LSTM of Gers,
Schmidhuber and Cummins (2000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnkit.model import LSTM, LSTMState


class Tape(NamedTuple):
    """What the backward pass reads: the values of every row, `(T, B, ...)`, of the forward pass."""

    x: np.ndarray
    h_before: np.ndarray
    c_before: np.ndarray
    i: np.ndarray
    f: np.ndarray
    g: np.ndarray
    o: np.ndarray
    tanh_c: np.ndarray
    reset: np.ndarray
    valid: np.ndarray


def sigmoid(a: np.ndarray) -> np.ndarray:
    """The logistic function σ(a) = 1 / (1 + exp(-a)), without overflow; for complex a too."""
    positive = np.real(a) >= 0
    e = np.exp(np.where(positive, -a, a))
    return np.where(positive, 1, e) / (1 + e)


def forward(
    layer: LSTM,
    params: dict[str, np.ndarray],
    x: np.ndarray,
    state: LSTMState,
    reset: np.ndarray,
    valid: np.ndarray,
    initial: LSTMState,
) -> tuple[np.ndarray, LSTMState, Tape]:
    """Run a layer over a window: `x (T, B, I)`, `state` and `initial` `(B, H)` each, `reset` and `valid` `(T, B)`.

    Returns:
        `(h, state, tape)`: the state's h after every row, `(T, B, H)` (held at padding), the state after the last
        row, and the tape.
    """
    h, c = state
    outputs, tape = [], []
    for t in range(x.shape[0]):
        cold, real = reset[t][:, None], valid[t][:, None]
        h_before, c_before = np.where(cold, initial.h, h), np.where(cold, initial.c, c)  # (1)
        a = (
            x[t] @ params["weight_ih"].T + params["bias_ih"] + h_before @ params["weight_hh"].T + params["bias_hh"]
        )  # (2)
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)  # (3)
        c_new = f * c_before + i * g  # (4)
        tanh_c = np.tanh(c_new)
        h_new = o * tanh_c  # (5)
        h, c = np.where(real, h_new, h_before), np.where(real, c_new, c_before)  # (6)
        outputs.append(h)
        tape.append((h_before, c_before, i, f, g, o, tanh_c))
    rows = (np.stack(values) for values in zip(*tape, strict=True))
    return np.stack(outputs), LSTMState(h, c), Tape(x, *rows, reset=reset, valid=valid)


def backward(
    layer: LSTM, params: dict[str, np.ndarray], tape: Tape, d_y: np.ndarray, d_state: LSTMState
) -> tuple[dict[str, np.ndarray], LSTMState, np.ndarray]:
    """Back-propagate through a window: `d_y (T, B, H)`, `d_state` with respect to the state after the last row.

    Returns:
        `(d_params, d_state, d_x)`: with respect to the parameters, to the state before row 0, and to x.
    """
    d_h, d_c = d_state
    d_x = np.zeros_like(tape.x)
    d_params = {key: np.zeros_like(value) for key, value in params.items()}
    for t in reversed(range(tape.x.shape[0])):
        x, h_before, c_before, i, f, g, o, tanh_c, reset, valid = (values[t] for values in tape)
        cold, real = reset[:, None], valid[:, None]
        d_h_before, d_c_before = np.where(real, 0, d_h), np.where(real, 0, d_c)  # (6')
        d_h, d_c = np.where(real, d_y[t] + d_h, 0), np.where(real, d_c, 0)  # (6')
        d_o = d_h * tanh_c  # (5')
        d_c = d_c + d_h * o * (1 - tanh_c**2)  # (5')
        d_f, d_i, d_g = d_c * c_before, d_c * g, d_c * i  # (4')
        d_c_before = d_c_before + d_c * f  # (4')
        d_a = np.concatenate(
            [d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)], axis=-1
        )  # (3')
        d_x[t] = d_a @ params["weight_ih"]  # (2')
        d_h_before = d_h_before + d_a @ params["weight_hh"]  # (2')
        d_params["weight_ih"] += d_a.T @ x  # (2')
        d_params["weight_hh"] += d_a.T @ h_before  # (2')
        d_params["bias_ih"] += d_a.sum(0)  # (2')
        d_params["bias_hh"] += d_a.sum(0)  # (2')
        if "initial_h" in params:
            d_params["initial_h"] += np.where(cold, d_h_before, 0).sum(0)  # (1')
            d_params["initial_c"] += np.where(cold, d_c_before, 0).sum(0)  # (1')
        d_h, d_c = np.where(cold, 0, d_h_before), np.where(cold, 0, d_c_before)  # (1')
    return d_params, LSTMState(d_h, d_c), d_x
