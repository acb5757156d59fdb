"""Which numbers a model can give: the closed range of its last layer's outputs."""

from __future__ import annotations

from functools import singledispatch
from math import inf
from typing import Any, NamedTuple

from rnnkit.errors import ModelError


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


@singledispatch
def named_last(layer: Any) -> str:
    """What gives the outputs of a layer, or of a chain, for messages: its last activation, or its last layer."""
    return f"{layer!r} as the last layer"


@singledispatch
def linear_end(layer: Any) -> str:
    """What to write so that a layer, or a chain, gives any real number, for messages."""
    return f"let a linear layer follow: Dense({layer.outputs}, {layer.outputs})"
