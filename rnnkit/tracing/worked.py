"""One time step of a tiny LSTM worked by hand: every equation, with its numbers filled in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnkit.model import GATES, LSTM, Chain, LSTMState
from rnnkit.tracing.layers import Arrays, Back, forward_rows, step_back

MODEL = Chain(LSTM(1, 2))
"""One input, two units."""

PARAMS: Arrays = {
    "0.weight_ih": np.array([[0.5], [-0.4], [0.3], [0.2], [0.8], [-0.6], [0.4], [0.1]]),
    "0.weight_hh": np.array(
        [[0.1, -0.2], [0.3, 0.2], [0.2, 0.1], [-0.1, 0.4], [0.5, -0.3], [0.2, 0.6], [-0.4, 0.2], [0.3, 0.1]]
    ),
    "0.bias_ih": np.array([0.1, 0.0, 1.0, 1.0, 0.0, 0.2, 0.0, -0.1]),
    "0.bias_hh": np.zeros(8),
}

X, H_BEFORE, C_BEFORE = np.array([[2.0]]), np.array([0.5, -0.5]), np.array([1.0, -0.5])
"""What the step reads, and the state that it starts from."""

D_Y, D_H, D_C = np.array([1.0, -0.5]), np.array([0.2, 0.4]), np.array([-0.3, 0.1])
"""What comes back: through the output of the step, and from the step after it through h and through c."""

DIGITS = 4


class Step(NamedTuple):
    """The numbers of the step: `(1, ...)` arrays of the forward pass by name, and the way back."""

    forward: Arrays
    back: Back


def step_numbers() -> Step:
    """The numbers that the worked step shows, in full."""
    (layer,) = MODEL.layers
    params = {key.partition(".")[2]: p for key, p in PARAMS.items()}
    state = LSTMState(H_BEFORE[None], C_BEFORE[None])
    forward, _ = forward_rows(layer, params, X, state, np.zeros(1, bool), state)
    return Step(forward, step_back(layer, params, forward, 0, D_Y, LSTMState(D_H, D_C)))


def worked_step() -> str:
    """One time step of an LSTM with one input and two units, forward and back, as a worked example.

    Every line is an equation, the same with its numbers, and the result, to four digits; the numbers in brackets are
    those of `rnnkit_numpy.lstm`. A unit is a column of numbers: `i1` is the input gate of unit 1, `c1_before` the cell
    before the step. `d_` is the derivative of a loss with respect to what follows.

    Example:
        >>> from rnnkit.tracing import worked_step
        >>> print(worked_step().splitlines()[0])
        One step of LSTM(inputs=1, hidden=2), worked by hand
    """
    step = step_numbers()
    values = {name: row[0] for name, row in step.forward.items()} | step.back.seen
    lines = [
        "One step of LSTM(inputs=1, hidden=2), worked by hand",
        "",
        f"What it reads:          x = {_number(X[0, 0])}",
        f"The state before it:    h_before = {_numbers(H_BEFORE)}    c_before = {_numbers(C_BEFORE)}",
        "The weights of a gate stand in a row for each unit: weight_ih | weight_hh | bias_ih + bias_hh",
    ]
    bias = PARAMS["0.bias_ih"] + PARAMS["0.bias_hh"]
    for number, gate in enumerate(GATES):
        for unit in range(2):
            row = 2 * number + unit
            ih, hh = PARAMS["0.weight_ih"][row], PARAMS["0.weight_hh"][row]
            lines.append(f"    {gate}{unit + 1}:  {_numbers(ih)} | {_numbers(hh)} | {_number(bias[row])}")
    lines += ["", "FORWARD"]
    for unit in range(2):
        lines += ["", *_forward(unit, values, bias)]
    lines += [
        "",
        "BACKWARD",
        "",
        f"Through the output of this step:     d_y = {_numbers(D_Y)}",
        f"From the step after it:              d_h_later = {_numbers(D_H)}    d_c_later = {_numbers(D_C)}",
    ]
    for unit in range(2):
        lines += ["", *_backward(unit, values)]
    return "\n".join([*lines, "", *_handed_on(values), ""])


def _forward(unit: int, v: Arrays, bias: np.ndarray) -> list[str]:
    n = unit + 1
    lines = []
    for number, gate in enumerate(GATES):
        row = 2 * number + unit
        (ih,), hh = PARAMS["0.weight_ih"][row], PARAMS["0.weight_hh"][row]
        said = f"w_x x + w_1 h1_before + w_2 h2_before + b of {gate}{n}"
        numbers = " + ".join(
            f"{_signed(w)} · {_signed(a)}" for w, a in zip((ih, *hh), (X[0, 0], *H_BEFORE), strict=True)
        )
        lines.append(_line("(2)", f"{gate}{n}_pre", said, f"{numbers} + {_signed(bias[row])}", v[f"{gate}_pre"][unit]))
    for gate in GATES:
        name = "tanh" if gate == "g" else "σ"
        a = v[f"{gate}_pre"][unit]
        lines.append(_line("(3)", f"{gate}{n}", f"{name}({gate}{n}_pre)", f"{name}({_number(a)})", v[gate][unit]))
    i, f, g, o, c_before, tanh_c = (_signed(v[name][unit]) for name in (*GATES, "c_before", "tanh_c"))
    return [
        f"unit {n}",
        *lines,
        _line("(4)", f"c{n}", f"f{n} c{n}_before + i{n} g{n}", f"{f} · {c_before} + {i} · {g}", v["c"][unit]),
        _line("(5)", f"tanh_c{n}", f"tanh(c{n})", f"tanh({_number(v['c'][unit])})", v["tanh_c"][unit]),
        _line("(5)", f"h{n}", f"o{n} tanh_c{n}", f"{o} · {tanh_c}", v["h"][unit]),
    ]


def _backward(unit: int, v: Arrays) -> list[str]:
    n = unit + 1
    i, f, g, o, c_before, tanh_c = (_signed(v[name][unit]) for name in (*GATES, "c_before", "tanh_c"))
    d_h, d_c, d_i, d_f, d_g, d_o = (_signed(v[f"d_{name}"][unit]) for name in ("h", "c", *GATES))
    d_y, d_h_later, d_c_later = (_signed(d[unit]) for d in (D_Y, D_H, D_C))
    told = [
        ("(6')", "d_h", "d_y + d_h_later", f"{d_y} + {d_h_later}"),
        ("(5')", "d_o", "d_h tanh_c", f"{d_h} · {tanh_c}"),
        ("(5')", "d_c", "d_c_later + d_h o (1 - tanh_c²)", f"{d_c_later} + {d_h} · {o} · (1 - {tanh_c}²)"),
        ("(4')", "d_f", "d_c c_before", f"{d_c} · {c_before}"),
        ("(4')", "d_i", "d_c g", f"{d_c} · {g}"),
        ("(4')", "d_g", "d_c i", f"{d_c} · {i}"),
        ("(4')", "d_c_before", "d_c f", f"{d_c} · {f}"),
        ("(3')", "d_i_pre", "d_i i (1 - i)", f"{d_i} · {i} · (1 - {i})"),
        ("(3')", "d_f_pre", "d_f f (1 - f)", f"{d_f} · {f} · (1 - {f})"),
        ("(3')", "d_g_pre", "d_g (1 - g²)", f"{d_g} · (1 - {g}²)"),
        ("(3')", "d_o_pre", "d_o o (1 - o)", f"{d_o} · {o} · (1 - {o})"),
    ]
    return [f"unit {n}", *(_line(mark, name, said, numbers, v[name][unit]) for mark, name, said, numbers in told)]


def _handed_on(v: Arrays) -> list[str]:
    """What both units hand to the step before and to the layer below, and the gradient of some weights."""
    lines = ["what goes on, through both units and all four gates"]
    for name, weights, said in (
        ("d_x", PARAMS["0.weight_ih"][:, 0], "Σ w_x d_pre"),
        ("d_h1_before", PARAMS["0.weight_hh"][:, 0], "Σ w_1 d_pre"),
        ("d_h2_before", PARAMS["0.weight_hh"][:, 1], "Σ w_2 d_pre"),
    ):
        d_pre = [v[f"d_{gate}_pre"][unit] for gate in GATES for unit in range(2)]
        numbers = " + ".join(f"{_signed(w)} · {_signed(d)}" for w, d in zip(weights, d_pre, strict=True))
        value = v["d_x"][0] if name == "d_x" else v["d_h_before"][int(name[3]) - 1]
        lines.append(_line("(2')", name, said, numbers, value))
    lines += ["", "what this step adds to the gradient of the forget gate's weights of unit 1"]
    d_pre = v["d_f_pre"][0]
    for name, factor, said in (
        ("d_w_x", X[0, 0], "d_f1_pre x"),
        ("d_w_1", H_BEFORE[0], "d_f1_pre h1_before"),
        ("d_w_2", H_BEFORE[1], "d_f1_pre h2_before"),
    ):
        lines.append(_line("(2')", name, said, f"{_signed(d_pre)} · {_signed(factor)}", d_pre * factor))
    return [*lines, _line("(2')", "d_b", "d_f1_pre", _number(d_pre), d_pre)]


def _line(mark: str, name: str, said: str, numbers: str, value: float) -> str:
    return f"{mark:<4} {name:<11} = {said} = {numbers} = {_number(value)}"


def _number(value: float) -> str:
    """To so many digits after the point, without zeros at the end."""
    return f"{round(float(value), DIGITS) + 0.0:.{DIGITS}f}".rstrip("0").rstrip(".")


def _signed(value: float) -> str:
    """A number as it stands inside a sum or a product."""
    return f"({_number(value)})" if round(float(value), DIGITS) < 0 else _number(value)


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(map(_number, values)) + "]"
