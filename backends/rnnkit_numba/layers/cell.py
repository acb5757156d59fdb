"""What a cell is to the kernels: a module of this folder, and the vectors of its gates and states.

`recurrence.py` goes through the rows, whatever the cell; what happens in a row is said by a module, which kernels take
as an argument like any other: Numba compiles them once for each module, with everything in it inlined. It has

    KIND                    its number in the table of layers, which no other layer has
    GATES                   gates, G: for each the row's inputs and h⁻ are multiplied with a weight
    STATES                  arrays of its state; the first of them, h, is what the layer gives out
    READY                   the gates in the order in which `deactivate` has their gradients: rows wait for the first
    BYPASS                  whether a gradient reaches h⁻ otherwise than through the gates, as in a GRU
    BOUNDED                 whether h is finite, whatever the layer reads
    activate(a, before)                       -> saved, after
    deactivate(saved, before, after, d_after) -> d_a, d_before

of one vector of units: `a`, `saved` and `d_a` are tuples of G vectors, the others of one for each array of the state.
`d_before` lacks the gradient that passes through the gates to h⁻; without BYPASS its first vector is zero.

So a new cell is a module beside `lstm.py`, which also registers what it takes on the tape (`extent`), and a line each
way where `window.py` chooses among layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rnnkit_numba.compiled import inlined, kernel
from rnnkit_numba.kernels.pointers import further
from rnnkit_numba.kernels.several import loading, store_several, with_first
from rnnkit_numba.kernels.vectors import W_of, load_at
from rnnkit_numba.kernels.views import copy_vectors

load_gates = loading("GATES")
"""`load_gates(cell, pointer, W)`: the vectors of all gates of W units, which stand in turn."""

load_arrays = loading("STATES")
"""`load_arrays(cell, pointer, apart)`: a vector of each array of the state."""


class States(NamedTuple):
    """One row and lane in all arrays of a state.

    Attributes:
        h: pointer to the row in the first array.
        apart: numbers from there to the same row in the next array.
    """

    h: Any
    apart: int


@inlined
def states_at(states, numbers):
    """The state that stands so many numbers further on, in each array."""
    return States(further(states.h, numbers), states.apart)


@inlined
def load_states(cell, states, j):
    """The units from j on: a vector of each array."""
    return load_arrays(cell, further(states.h, j), states.apart)


@kernel
def copy_states(cell, source, target, width):
    """Copy a row of `width` units of every array."""
    for s in range(cell.STATES):
        from_s, to_s = further(source.h, s * source.apart), further(target.h, s * target.apart)
        copy_vectors(from_s, to_s, width, W_of(source.h))


@inlined
def activate_at(cell, j, a, gates, before, after):
    """Make the units from j on of `after` and of what the gates save, from the vectors a."""
    saved, states = cell.activate(a, load_states(cell, before, j))
    store_several(states, further(after.h, j), after.apart)
    store_several(saved, further(gates, cell.GATES * j), W_of(gates))


@inlined
def deactivate_with(cell, d_after, gates, d_y, before, after):
    """Go back through a vector of units: d_a is written over the gates.

    The gradients of the outputs, `d_y`, are those of h, too.

    Returns:
        `d_a, d_before`
    """
    W = W_of(gates)
    d_after = with_first(d_after, load_at(d_y, 0) + d_after[0])
    d_a, d_before = cell.deactivate(
        load_gates(cell, gates, W), load_states(cell, before, 0), load_states(cell, after, 0), d_after
    )
    store_several(d_a, gates, W)
    return d_a, d_before


@inlined
def deactivate_at(cell, j, gates, d_y, d_states, before, after):
    """Go back through the units from j on of a row: d_a is returned, too, and `d_states` become those before it."""
    d_a, d_before = deactivate_with(
        cell,
        load_states(cell, d_states, j),
        further(gates, cell.GATES * j),
        further(d_y, j),
        states_at(before, j),
        states_at(after, j),
    )
    store_several(d_before, further(d_states.h, j), d_states.apart)
    return d_a
