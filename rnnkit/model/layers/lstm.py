"""Long short-term memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rnnkit.model.layers.labels import Example, Labels, Line, Shown
from rnnkit.model.layers.protocol import check_sizes
from rnnkit.model.layers.recurrence import Recurrent, initial_names
from rnnkit.model.ranges import Range, output_range


class LSTMState(NamedTuple):
    """What an LSTM layer remembers.

    Attributes:
        h: hidden state, `(B, H)`; also the layer's output of the last row.
        c: cell state, `(B, H)`.
    """

    h: Any
    c: Any


GATES = ("i", "f", "g", "o")
"""The order in which an LSTM's four gates stand along the rows of its weights."""

INITIAL = initial_names(LSTMState)
"""What the parameters of a learned initial state are called, in the order of `LSTMState`."""

LABELS = Labels(
    states={"h": "hidden state", "c": "cell"},
    shown=(
        Shown("i", "input gate: how much of the candidate is written", 0, 1),
        Shown("f", "forget gate: how much of the cell is kept", 0, 1),
        Shown("g", "candidate: what would be written", -1, 1),
        Shown("o", "output gate: how much of the cell is shown", 0, 1),
        Shown("c", "cell"),
        Shown("h", "hidden state: o tanh(c)", -1, 1),
    ),
    look=(
        "Look for units whose forget gate stays bright while the cell keeps its colour: these remember; where the gate "
        "turns dark, they let go."
    ),
    forward=(
        Line(3, "i", "σ({i_pre})"),
        Line(3, "f", "σ({f_pre})"),
        Line(3, "g", "tanh({g_pre})"),
        Line(3, "o", "σ({o_pre})"),
        Line(4, "c", "{f} · {c_before} + {i} · {g}"),
        Line(5, "tanh_c", "tanh({c})"),
        Line(5, "h", "{o} · {tanh_c}"),
    ),
    backward=(
        Line(5, "d_o", "{d_h} · {tanh_c}"),
        Line(5, "d_c", "{d_c_later} + {d_h} · {o} · (1 - {tanh_c}²)"),
        Line(4, "d_f", "{d_c} · {c_before}"),
        Line(4, "d_i", "{d_c} · {g}"),
        Line(4, "d_g", "{d_c} · {i}"),
        Line(4, "d_c_before", "{d_c} · {f}"),
        Line(3, "d_i_pre", "{d_i} · {i} · (1 - {i})"),
        Line(3, "d_f_pre", "{d_f} · {f} · (1 - {f})"),
        Line(3, "d_g_pre", "{d_g} · (1 - {g}²)"),
        Line(3, "d_o_pre", "{d_o} · {o} · (1 - {o})"),
    ),
    example=Example(
        params={
            "weight_ih": ((0.5,), (-0.4,), (0.3,), (0.2,), (0.8,), (-0.6,), (0.4,), (0.1,)),
            "weight_hh": (
                *((0.1, -0.2), (0.3, 0.2), (0.2, 0.1), (-0.1, 0.4)),
                *((0.5, -0.3), (0.2, 0.6), (-0.4, 0.2), (0.3, 0.1)),
            ),
            "bias_ih": (0.1, 0.0, 1.0, 1.0, 0.0, 0.2, 0.0, -0.1),
            "bias_hh": (0.0,) * 8,
        },
        x=2.0,
        before={"h": (0.5, -0.5), "c": (1.0, -0.5)},
        d_y=(1.0, -0.5),
        d_later={"h": (0.2, 0.4), "c": (-0.3, 0.1)},
        gate="f",
    ),
)


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory, `inputs -> hidden`, with PyTorch's parameters and its two biases.

    For each row t, with σ the logistic function and ⊙ the elementwise product:

        i, f, g, o = σ, σ, tanh, σ of  weight_ih x[t] + bias_ih + weight_hh h[t-1] + bias_hh
        c[t] = f ⊙ c[t-1] + i ⊙ g
        h[t] = o ⊙ tanh(c[t])

    Args:
        inputs: features of each row, I.
        hidden: hidden units, H.

    Parameters are `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`, gates in the
    order i, f, g, o. The state is `LSTMState(h, c)`, each `(B, H)`.

    Raises:
        ModelError: a size that is not a positive whole number.

    Source: Hochreiter and Schmidhuber (1997); forget gate by Gers, Schmidhuber and Cummins (2000).
    """

    inputs: int
    hidden: int
    State: ClassVar[type[LSTMState]] = LSTMState

    def __post_init__(self) -> None:
        check_sizes(self, inputs=self.inputs, hidden=self.hidden)

    @property
    def gates(self) -> tuple[str, ...]:
        """Input gate, forget gate, candidate, output gate."""
        return GATES

    @property
    def labels(self) -> Labels:
        """What people read about the cell."""
        return LABELS


@output_range.register
def _(layer: LSTM) -> Range:
    return Range(-1, 1)  # o ⊙ tanh(c)
