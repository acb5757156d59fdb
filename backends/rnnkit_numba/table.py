"""The table in which kernels read what a model is, one row a layer, and what a layer says to fill its row.

    KIND                                 which layer it is: the number by which `window.py` chooses its functions
    INPUTS, OUTPUTS                      numbers of an input and of an output row; OUTPUTS are a cell's hidden units, H
    GATES, STATES                        a cell's gates and the arrays of its state; 1 and 0 for a dense layer
    ACTIVATION, BOUNDED                  a dense layer's activation; whether outputs are finite whatever comes in
    READ, WIDTH                          numbers of a row of its inputs and of its outputs on the tape
    PARAMETERS                           its first parameter in the flat buffers
    LEARNED                              numbers of its learned initial state, which stands behind its biases
    PACKED, DERIVED                      its parameters in panels, and what is derived from them (`packing.py`)
    STATE                                its first number in a lane's row of the state `(B, S)`: H a state array
    GATES_AT, STATES_AT, OUTPUT_AT       its arrays on the tape, in numbers a lane
    APART                                from one of its state arrays on the tape to the next, in numbers a lane
    INITIAL_AT                           what a reset makes of each lane's state, an array a state, on the tape, too

Rows of every layer's outputs are padded to a whole number of vectors, so that no loop has a remainder: hidden
units that have no weights and stay zero. A tape holds one lane group after the other. Within a group of B lanes
every array is `(rows, B, width)`, so that an array which starts at n numbers a lane starts at n B.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from rnnkit.errors import ModelError
from rnnkit.model import LAYERS

KIND, INPUTS, OUTPUTS, GATES, STATES, ACTIVATION, BOUNDED, READ, WIDTH = range(9)
PARAMETERS, LEARNED, PACKED, DERIVED, STATE = range(9, 14)
GATES_AT, STATES_AT, APART, OUTPUT_AT, INITIAL_AT = range(14, 19)
COLUMNS = 19


@dataclass(frozen=True)
class Extent:
    """What one layer takes, and what it says of itself.

    Attributes:
        columns: what stands in its row of the table as it is, by column.
        arrays: where its arrays on the tape start, by column, counted from its own start.
        panels: numbers of each parameter in its panels.
        derived: numbers of what is derived from them.
        tape: numbers of one lane's tape.
        state: numbers of one lane's state.
    """

    columns: dict[int, int]
    arrays: dict[int, int]
    panels: tuple[int, ...]
    derived: int
    tape: int
    state: int = 0


def padded(features: int, W: int) -> int:
    """Features rounded up to a whole number of vectors."""
    return -(-features // W) * W


@singledispatch
def extent(layer: Any, steps: int, W: int) -> Extent:
    """What a layer takes for a window of `steps` rows and vectors of W numbers."""
    known = [kind.__name__ for kind in LAYERS if kind in extent.registry]
    raise ModelError(f"backend 'numba' cannot run the layer {layer!r}; it knows {' and '.join(known)}")
