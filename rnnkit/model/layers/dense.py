"""An affine map of each row and an activation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

import numpy as np

from rnnkit.errors import ModelError, did_you_mean
from rnnkit.model.layers.protocol import Layer, check_sizes, initial_parameters, parameter_shapes, uniform
from rnnkit.model.ranges import Range, linear_end, named_last, output_range

Activation = Literal["identity", "tanh", "relu", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)

ACTIVATED: dict[Activation, Range] = {
    "identity": Range(-inf, inf),
    "tanh": Range(-1, 1),
    "relu": Range(0, inf),
    "sigmoid": Range(0, 1),
}
"""What each activation gives."""


@dataclass(frozen=True)
class Dense(Layer):
    """An affine map of each row and an activation: `y = activation(weight x + bias)`.

    Args:
        inputs: features of each row, I.
        outputs: features of each output row, O.
        activation: `"identity"`, `"tanh"`, `"relu"` or `"sigmoid"`.

    Parameters are `weight (O, I)`, `bias (O,)`. There is no state.

    Raises:
        ModelError: a size that is not a positive whole number, an unknown activation.
    """

    inputs: int
    outputs: int
    activation: Activation = "identity"

    def __post_init__(self) -> None:
        check_sizes(self, inputs=self.inputs, outputs=self.outputs)
        if self.activation not in ACTIVATIONS:
            raise ModelError(
                f"Dense expects an activation among {', '.join(ACTIVATIONS)}, got {self.activation!r}"
                f"{did_you_mean(str(self.activation), ACTIVATIONS)}"
            )


@parameter_shapes.register
def _(layer: Dense) -> dict[str, tuple[int, ...]]:
    return {"weight": (layer.outputs, layer.inputs), "bias": (layer.outputs,)}


@initial_parameters.register
def _(layer: Dense, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return uniform(layer, rng, layer.inputs)


@output_range.register
def _(layer: Dense) -> Range:
    return ACTIVATED[layer.activation]


@named_last.register
def _(layer: Dense) -> str:
    return f"the last activation {layer.activation!r}"


@linear_end.register
def _(layer: Dense) -> str:
    return f"let it be linear: Dense({layer.inputs}, {layer.outputs}, activation='identity')"
