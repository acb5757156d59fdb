"""A model in a table: layers, shapes, parameters, bytes, state size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rnnkit.errors import ModelError, counted
from rnnkit.model.initialisers import DTYPES
from rnnkit.model.layers import Chain, Heads, Layer, parameter_shapes, zero_state


@dataclass(frozen=True)
class Summary:
    """What a model weighs.

    Attributes:
        rows: for each layer its description, parameter shapes, number of parameters and state numbers a lane.
        parameters: of the whole model.
        state: numbers of state a lane.
        bytes: of the parameters.
        dtype: for which `bytes` was counted.
    """

    rows: tuple[tuple[Layer | Heads, dict[str, tuple[int, ...]], int, int], ...]
    parameters: int
    state: int
    bytes: int
    dtype: str

    def __str__(self) -> str:
        table = [("layer", "parameters (shapes)", "count", "state a lane")]
        for index, (layer, shapes, count, state) in enumerate(self.rows):
            heads = layer.heads if isinstance(layer, Heads) else ()
            label, shown = (counted(len(heads), "head"), "") if heads else (repr(layer), _shown(shapes))
            table.append((f"{index}  {label}", shown, f"{count:,}", f"{state:,}"))
            for name, head in heads:
                own = parameter_shapes(head)
                table.append((f"   {name}: {head!r}", _shown(own), f"{_count(own):,}", ""))
        table.append(("total", f"{self.bytes:,} bytes as {self.dtype}", f"{self.parameters:,}", f"{self.state:,}"))
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        return "\n".join(
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in table
        )


def summary(model: Chain, dtype: str = "float32") -> Summary:
    """Layers, shapes, parameters, bytes and state size of a model; print it.

    Example:
        >>> import rnnkit as rk
        >>> rk.summary(rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1))).parameters
        531
    """
    if dtype not in DTYPES:
        raise ModelError(f"summary expects dtype 'float32' or 'float64', got {dtype!r}")
    rows = []
    named = parameter_shapes(model)
    for index, layer in enumerate(model.layers):
        prefix = f"{index}."
        shapes = {key.removeprefix(prefix): shape for key, shape in named.items() if key.startswith(prefix)}
        rows.append((layer, shapes, _count(shapes), sum(a.shape[-1] for a in zero_state(layer, 0, np.dtype(dtype)))))
    parameters = sum(row[2] for row in rows)
    return Summary(tuple(rows), parameters, sum(row[3] for row in rows), parameters * np.dtype(dtype).itemsize, dtype)


def _shown(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _count(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
