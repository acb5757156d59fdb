"""Which numbers a model can give: the closed range of its last layer's outputs."""

from __future__ import annotations

from functools import singledispatch
from math import inf
from typing import NamedTuple

from rnnkit.errors import ModelError
from rnnkit.model.layers import LSTM, Activation, Chain, Dense, layers_to_run


class Range(NamedTuple):
    """The numbers from `low` to `high`, both included."""

    low: float
    high: float

    @property
    def is_bounded(self) -> bool:
        """Whether there are numbers outside."""
        return self.low > -inf or self.high < inf

    def __str__(self) -> str:
        if self.high == inf:
            return f"{self.low:g} and more"
        return f"{self.low:g} to {self.high:g}"


ACTIVATED: dict[Activation, Range] = {
    "identity": Range(-inf, inf),
    "tanh": Range(-1, 1),
    "relu": Range(0, inf),
    "sigmoid": Range(0, 1),
}
"""What each activation gives."""


@singledispatch
def output_range(layer: object) -> Range:
    """The range of the outputs of a layer, or of the last layer of a chain, whatever its inputs and parameters.

    Raises:
        ModelError: a chain of which no head has been chosen.

    Example:
        >>> import rnnkit as rk
        >>> str(output_range(rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1, "relu"))))
        '0 and more'
    """
    raise ModelError(f"output_range expects a Chain or a layer, got {type(layer).__name__}")


@output_range.register
def _(layer: LSTM) -> Range:
    return Range(-1, 1)  # o ⊙ tanh(c)


@output_range.register
def _(layer: Dense) -> Range:
    return ACTIVATED[layer.activation]


@output_range.register
def _(layer: Chain) -> Range:
    return output_range(layers_to_run(layer, "output_range")[-1])


def named_last(model: Chain) -> str:
    """What gives the outputs of a model, for messages: its last activation, or its last layer."""
    last = layers_to_run(model, "output_range")[-1]
    return f"the last activation {last.activation!r}" if isinstance(last, Dense) else f"{last!r} as the last layer"


def linear_end(model: Chain) -> str:
    """What to write so that a model gives any real number, for messages."""
    last = layers_to_run(model, "output_range")[-1]
    if isinstance(last, Dense):
        return f"let it be linear: Dense({last.inputs}, {last.outputs}, activation='identity')"
    return f"let a linear layer follow: Dense({last.outputs}, {last.outputs})"
