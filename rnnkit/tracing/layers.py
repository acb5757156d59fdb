"""What each kind of layer shows of its rows: forward, one row back, and what every row adds to the gradient.

The values of the forward pass are those of the textbook backend. The numbers in brackets are its equations, too: see
`rnnkit_numpy.lstm` and `rnnkit_numpy.dense`.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import GATES, INITIAL, LSTM, Dense, LSTMState

Arrays = dict[str, np.ndarray]


class LSTMTrace(NamedTuple):
    """Every number of an LSTM layer over T rows, `(T, H)` float64 each; `x` and `d_x` are `(T, I)`.

    A `d_` is the derivative of the mean loss of all rows, as far as the gradient goes.

    Attributes:
        x: what the layer reads.
        h_before, c_before: the state that the row starts from, after a reset where there is one.
        i_pre, f_pre, g_pre, o_pre: the gates before their activation.
        i, f, g, o: input gate, forget gate, candidate, output gate.
        c, tanh_c, h: the state after the row, and what of the cell is let out.
        d_y: what comes back through the layer's output of this row; `d_h - d_y` comes back from the row after it.
        d_h, d_c: with respect to the state after the row, along every path.
        d_i, d_f, d_g, d_o: with respect to the gates ...
        d_i_pre, d_f_pre, d_g_pre, d_o_pre: ... and before their activation.
        d_x: with respect to what the layer reads.
        d_h_before, d_c_before: with respect to the state that the row starts from: what the row before is handed,
            or where the gradient is cut, what is lost.
    """

    x: np.ndarray
    h_before: np.ndarray
    c_before: np.ndarray
    i_pre: np.ndarray
    f_pre: np.ndarray
    g_pre: np.ndarray
    o_pre: np.ndarray
    i: np.ndarray
    f: np.ndarray
    g: np.ndarray
    o: np.ndarray
    c: np.ndarray
    tanh_c: np.ndarray
    h: np.ndarray
    d_y: np.ndarray
    d_h: np.ndarray
    d_c: np.ndarray
    d_i: np.ndarray
    d_f: np.ndarray
    d_g: np.ndarray
    d_o: np.ndarray
    d_i_pre: np.ndarray
    d_f_pre: np.ndarray
    d_g_pre: np.ndarray
    d_o_pre: np.ndarray
    d_x: np.ndarray
    d_h_before: np.ndarray
    d_c_before: np.ndarray


class DenseTrace(NamedTuple):
    """Every number of a dense layer over T rows: `x` and `d_x` `(T, I)`, all others `(T, O)`, float64.

    Attributes:
        x: what the layer reads.
        pre: before its activation.
        y: what it gives.
        d_y, d_pre, d_x: the derivatives of the mean loss with respect to them.
    """

    x: np.ndarray
    pre: np.ndarray
    y: np.ndarray
    d_y: np.ndarray
    d_pre: np.ndarray
    d_x: np.ndarray


LayerTrace = LSTMTrace | DenseTrace

TRACES: dict[type, type[LayerTrace]] = {LSTM: LSTMTrace, Dense: DenseTrace}
"""What holds the numbers of each kind of layer."""


class Back(NamedTuple):
    """One row of a layer on the way back: what is seen there, and what goes on to the row before and the layer below.

    Attributes:
        seen: the derivatives by name, `(..., H)`.
        d_state: with respect to the state before the row, like a state's entry.
        d_x: with respect to what the layer reads.
    """

    seen: Arrays
    d_state: Any
    d_x: np.ndarray


@singledispatch
def forward_rows(
    layer: object, params: Arrays, x: np.ndarray, state: Any, reset: np.ndarray, initial: Any
) -> tuple[Arrays, np.ndarray]:
    """The forward numbers of a layer by name, and its output `(T, O)`, from `x (T, I)` and the textbook backend.

    Args:
        params: by their bare names.
        state, initial: what stands before row 0, and what a reset makes of it; `(1, H)` each.
        reset: `(T,)` bool.
    """
    raise ModelError(f"trace expects a model of LSTM and Dense layers, got {layer!r}")


@forward_rows.register
def _(layer: LSTM, params: Arrays, x: np.ndarray, state: Any, reset: np.ndarray, initial: Any) -> Any:
    from rnnkit_numpy import lstm

    lane = np.s_[:, None]
    h, _, tape = lstm.forward(layer, params, x[lane], state, reset[lane], np.ones_like(reset)[lane], initial)
    names = ("h_before", "c_before", *GATES, "tanh_c")
    seen = {name: getattr(tape, name)[:, 0] for name in names}
    a = x @ params["weight_ih"].T + params["bias_ih"] + seen["h_before"] @ params["weight_hh"].T + params["bias_hh"]
    seen |= {f"{gate}_pre": part for gate, part in zip(GATES, np.split(a, len(GATES), -1), strict=True)}  # (2)
    seen["c"] = seen["f"] * seen["c_before"] + seen["i"] * seen["g"]  # (4)
    return seen | {"x": x, "h": h[:, 0]}, h[:, 0]


@forward_rows.register
def _(layer: Dense, params: Arrays, x: np.ndarray, state: Any, reset: np.ndarray, initial: Any) -> Any:
    from rnnkit_numpy import dense

    y = dense.forward(layer, params, x[:, None])[0][:, 0]
    return {"x": x, "pre": x @ params["weight"].T + params["bias"], "y": y}, y  # (1)


@singledispatch
def step_back(layer: object, params: Arrays, rows: Arrays, t: int, d_y: np.ndarray, d_state: Any) -> Back:
    """Back through row t of a layer.

    Args:
        params: by their bare names.
        rows: what `forward_rows` gave.
        d_y: with respect to the layer's output of row t, `(..., O)`; as many gradients side by side as you like.
        d_state: with respect to the state after row t, from the rows after it.
    """
    raise ModelError(f"trace expects a model of LSTM and Dense layers, got {layer!r}")


@step_back.register
def _(layer: LSTM, params: Arrays, rows: Arrays, t: int, d_y: np.ndarray, d_state: Any) -> Back:
    c_before, i, f, g, o, tanh_c = (rows[name][t] for name in ("c_before", *GATES, "tanh_c"))
    d_h = d_y + d_state.h  # (6')
    d_o = d_h * tanh_c  # (5')
    d_c = d_state.c + d_h * (o * (1 - tanh_c**2))  # (5')
    d_f, d_i, d_g = d_c * c_before, d_c * g, d_c * i  # (4')
    pre = d_i * (i * (1 - i)), d_f * (f * (1 - f)), d_g * (1 - g**2), d_o * (o * (1 - o))  # (3')
    d_a = np.concatenate(pre, -1)
    d_before = LSTMState(d_a @ params["weight_hh"], d_c * f)  # (2'), (4')
    seen = {"d_y": d_y, "d_h": d_h, "d_c": d_c, "d_i": d_i, "d_f": d_f, "d_g": d_g, "d_o": d_o}
    seen |= {f"d_{gate}_pre": part for gate, part in zip(GATES, pre, strict=True)}
    d_x = d_a @ params["weight_ih"]  # (2')
    return Back(seen | {"d_x": d_x, "d_h_before": d_before.h, "d_c_before": d_before.c}, d_before, d_x)


@step_back.register
def _(layer: Dense, params: Arrays, rows: Arrays, t: int, d_y: np.ndarray, d_state: Any) -> Back:
    from rnnkit_numpy.dense import DERIVATIVE

    d_pre = d_y * DERIVATIVE[layer.activation](rows["y"][t])  # (2')
    d_x = d_pre @ params["weight"]  # (1')
    return Back({"d_y": d_y, "d_pre": d_pre, "d_x": d_x}, (), d_x)


@singledispatch
def factors(seen: object, reset: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """What a row adds to the gradient of each parameter, as an outer product.

    Returns:
        By the parameters' bare names `(left, right)`: row t adds `left[t] right[t]ᵀ`, or `left[t]` where right is None.
    """
    raise ModelError(f"factors expects the trace of a layer, got {type(seen).__name__}")


@factors.register
def _(seen: LSTMTrace, reset: np.ndarray) -> dict[str, Any]:
    d_a = np.concatenate([getattr(seen, f"d_{gate}_pre") for gate in GATES], -1)
    starts = (np.where(reset[:, None], d, 0) for d in (seen.d_h_before, seen.d_c_before))  # (1')
    return {
        "weight_ih": (d_a, seen.x),
        "weight_hh": (d_a, seen.h_before),
        "bias_ih": (d_a, None),
        "bias_hh": (d_a, None),
    } | {name: (d, None) for name, d in zip(INITIAL, starts, strict=True)}


@factors.register
def _(seen: DenseTrace, reset: np.ndarray) -> dict[str, Any]:
    return {"weight": (seen.d_pre, seen.x), "bias": (seen.d_pre, None)}
