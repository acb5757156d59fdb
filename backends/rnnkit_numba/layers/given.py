"""What a layer is given, as named tuples, which compiled code takes apart at no cost; and where it finds its inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

from rnnkit_numba import table as described
from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.pointers import pointer
from rnnkit_numba.kernels.views import vector
from rnnkit_numba.table import BOUNDED, INPUTS, OUTPUT_AT, READ, WIDTH

padded = kernel(described.padded)


class Net(NamedTuple):
    """A model as the layers read it.

    Attributes:
        table: `(layers, COLUMNS)`, see `table.py`.
        packed: the parameters in panels, what is derived from them, and zeros for the widest row (`packing.py`).
        widest: numbers of the widest row between two layers, padded.
    """

    table: Any
    packed: Any
    widest: int


class Piece(NamedTuple):
    """Rows of a window that one lane group goes through on one tape.

    Attributes:
        tape: inputs and outputs of every layer, and what each of them keeps for the way back.
        work: scratch space: twice the widest row for every row and lane, see `window.py`; then that of one layer.
        reset_TB, valid_TB: the rows' flags.
    """

    tape: Any
    work: Any
    reset_TB: Any
    valid_TB: Any


class Back(NamedTuple):
    """What the way back through a piece reads and writes.

    Attributes:
        reweight_T: what the gradient is multiplied by that crosses from row t to the row before it.
        d_state_BS: the gradient of the state after the last row; leaves as that of the state before row 0.
        d_initial_BS: that of what resets went to; added to.
        d_packed: gradients of the parameters in panels; added to.
    """

    reweight_T: Any
    d_state_BS: Any
    d_initial_BS: Any
    d_packed: Any


@kernel
def net_of(table, packed, W):
    """The model that a table describes."""
    widest = 0
    for index in range(table.shape[0]):
        widest = max(widest, padded(table[index, INPUTS], W), table[index, WIDTH])
    return Net(table, packed, widest)


@kernel
def inputs_of(net, index, piece):
    """Pointer to the inputs of a layer, READ numbers a row and lane: what the layer before it gave, or the model's."""
    steps, lanes = piece.reset_TB.shape
    first = lanes * net.table[index - 1, OUTPUT_AT] if index > 0 else 0
    size = steps * lanes * net.table[index, READ]
    return pointer(vector(piece.tape, first, size), 0, size)


@kernel
def bounded_inputs(net, index):
    """Whether no input of a layer is infinite, whatever the model reads."""
    return index > 0 and net.table[index - 1, BOUNDED] != 0
