"""Parameters in the panels in which the products read them, and back in their own order.

While a block is trained the parameters stand in panels, their moments and gradients in the same places, so that nothing
has to be put into another order from window to window. A weight `(G, K)` is there as `(K, G)` in panels (`products.py`
says what these are), the two biases of a cell one after the other, then its learned initial state. What pads them is
zero and stays zero. The rows of a weight are those of each gate in turn (a dense layer counts as one gate), each gate
is padded by itself, and vectors of all gates stand in turn.

Derived from them anew after every update, behind all parameters: the sum of a cell's biases; and, where a backward
pass reads them, weights `(G, K)` in panels, for the products with their transposes.

`part` of `parts` says which share of the work is done here, so that several threads can do it together.
"""

from __future__ import annotations

from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.pointers import further, pointer
from rnnkit_numba.kernels.products import panel_width
from rnnkit_numba.kernels.transposition import transpose
from rnnkit_numba.kernels.vectors import W_of, load_at, store_at
from rnnkit_numba.kernels.views import fill
from rnnkit_numba.layers.single_lane import alone, recurrent_rows
from rnnkit_numba.table import DERIVED, GATES, INPUTS, LEARNED, OUTPUTS, PACKED, PARAMETERS, STATE, STATES, WIDTH


@kernel
def share(size, part, parts):
    """The first of `size` things that belong to a part, and the one behind its last."""
    return size * part // parts, size * (part + 1) // parts


@kernel
def rows_of_vector(vector, gates, units, W):
    """How many rows of a weight stand in a vector of columns, and the first of them."""
    unit = vector // gates * W
    return min(W, units - unit), vector % gates * units + unit


@kernel
def panel_of(column, columns, W):
    """Where the panel begins that has this column, and its width."""
    panel, width = 0, panel_width(columns, W)
    while column >= panel + width:
        panel += width
        width = panel_width(columns - panel, W)
    return panel, width


@kernel
def move_weight(weight, rows, inner, gates, panels, panel_rows, into_panels, W, part, parts):
    """Write a weight `(rows, inner)` to its panels of `panel_rows`, or from there back."""
    units = rows // gates
    columns = gates * (-(-units // W) * W)
    first, last = share(columns // W, part, parts)
    for vector in range(first, last):
        panel, width = panel_of(vector * W, columns, W)
        here, r = rows_of_vector(vector, gates, units, W)
        ours, theirs = further(panels, panel * panel_rows + vector * W - panel), further(weight, r * inner)
        if into_panels:
            transpose(theirs, inner, ours, width, here, inner, W)
        else:
            transpose(ours, width, theirs, inner, inner, here, W)


@kernel
def move_bias(bias, rows, gates, padded, into_panels, W):
    """Write a bias `(rows,)` to where it is padded, or from there back."""
    units = rows // gates
    for vector in range(gates * (-(-units // W))):
        here, r = rows_of_vector(vector, gates, units, W)
        for j in range(here):
            if into_panels:
                padded[vector * W + j] = bias[r + j]
            else:
                bias[r + j] = padded[vector * W + j]


@kernel
def move(table, params, packed, into_panels, part, parts):
    """Write all parameters, or anything shaped like them, to their panels, or from there back."""
    W = W_of(packed)
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        p, q = table[index, PARAMETERS], table[index, PACKED]
        gates, recurrent = table[index, GATES], table[index, STATES] > 0
        rows, columns = gates * outputs, gates * width
        weight, panels = pointer(params, p, rows * inputs), pointer(packed, q, columns * inputs)
        move_weight(weight, rows, inputs, gates, panels, inputs, into_panels, W, part, parts)
        p, q = p + rows * inputs, q + columns * inputs
        if recurrent:
            rows_hh = recurrent_rows(outputs, W)
            weight, panels = pointer(params, p, rows * outputs), pointer(packed, q, columns * rows_hh)
            move_weight(weight, rows, outputs, gates, panels, rows_hh, into_panels, W, part, parts)
            p, q = p + rows * outputs, q + columns * rows_hh
        if part == 0:
            for _ in range(2 if recurrent else 1):
                move_bias(pointer(params, p, rows), rows, gates, pointer(packed, q, columns), into_panels, W)
                p, q = p + rows, q + columns
            for j in range(table[index, LEARNED]):
                if into_panels:
                    packed[q + j] = params[p + j]
                else:
                    params[p + j] = packed[q + j]


@kernel
def turn_weight(panels, panel_rows, rows, inner, gates, back, back_rows, W, part, parts):
    """Write a weight `(rows, inner)` from its panels as `(rows, inner)` in panels, which have `back_rows`."""
    units = rows // gates
    columns, back_columns = gates * (-(-units // W) * W), -(-inner // W) * W
    first, last = share(columns // W, part, parts)
    for vector in range(first, last):
        column = vector * W
        panel, width = panel_of(column, columns, W)
        here, _ = rows_of_vector(vector, gates, units, W)
        n = 0
        while n < inner:
            back_width = panel_width(back_columns - n, W)
            source = further(panels, panel * panel_rows + n * width + column - panel)
            target = further(back, n * back_rows + column * back_width)
            transpose(source, width, target, back_width, min(back_width, inner - n), here, W)
            n += back_width


@kernel
def derive(table, packed, lanes, onward, part, parts):
    """Write what is derived from the parameters in panels.

    Args:
        lanes: a single one may go through windows without the recurrent weights turned; 0 where nothing goes back.
        onward: whether the gradient of the inputs is wanted.
    """
    W = W_of(packed)
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        q, d = table[index, PACKED], table[index, DERIVED]
        gates = table[index, GATES]
        rows, columns, recurrent = gates * outputs, gates * width, table[index, STATES] > 0
        back_rows = columns if recurrent else rows  # a cell's d_a has its padding, a dense layer's is left out
        weight_ih = pointer(packed, q, columns * inputs)
        if recurrent:
            q, rows_hh, back = q + columns * inputs, recurrent_rows(outputs, W), d + columns
            weight_hh, total = pointer(packed, q, columns * rows_hh), pointer(packed, d, columns)
            biases = pointer(packed, q + columns * rows_hh, 2 * columns)
            if part == 0:
                for n in range(0, columns, W):
                    store_at(load_at(biases, n) + load_at(biases, columns + n), total, n)
            if lanes > 0 and not alone(gates, lanes):
                turned = pointer(packed, back, columns * width)
                turn_weight(weight_hh, rows_hh, rows, outputs, gates, turned, back_rows, W, part, parts)
            d = back + columns * width
        if onward or index > 0:
            turned = pointer(packed, d, back_rows * (-(-inputs // W) * W))
            turn_weight(weight_ih, inputs, rows, inputs, gates, turned, back_rows, W, part, parts)


@kernel
def pack(table, params, packed):
    """Write the parameters as a forward pass reads them."""
    move(table, params, packed, True, 0, 1)
    derive(table, packed, 0, False, 0, 1)


@kernel
def add_groups(d_packs, part, parts):
    """Add the gradients of all lane groups to those of the first one, in the order of the groups."""
    W, size = W_of(d_packs), d_packs.shape[1]
    first, last = share(size // W, part, parts)
    total = pointer(d_packs, 0, size)
    for group in range(1, d_packs.shape[0]):
        more = pointer(d_packs, group * size, size)
        for n in range(first * W, last * W, W):
            store_at(load_at(total, n) + load_at(more, n), total, n)


@kernel
def learned_at(table, index, W):
    """Where a layer's learned initial state stands in panels: behind two weights and two biases."""
    inputs, outputs, columns = table[index, INPUTS], table[index, OUTPUTS], table[index, GATES] * table[index, WIDTH]
    return table[index, PACKED] + columns * (inputs + recurrent_rows(outputs, W) + 2)


@kernel
def read_initial(table, packed, initial_S):
    """A learned initial state from the parameters in panels."""
    for index in range(table.shape[0]):
        p, s = learned_at(table, index, W_of(packed)), table[index, STATE]
        for j in range(table[index, LEARNED]):
            initial_S[s + j] = packed[p + j]


@kernel
def write_initial(table, d_initial_BS, d_packed):
    """The gradient of a learned initial state, summed over lanes, among those of the parameters in panels."""
    for index in range(table.shape[0]):
        p, s = learned_at(table, index, W_of(d_packed)), table[index, STATE]
        for j in range(table[index, LEARNED]):
            d_packed[p + j] = 0
            for b in range(d_initial_BS.shape[0]):
                d_packed[p + j] += d_initial_BS[b, s + j]


@kernel
def clear_what_pads(table, params, panels):
    """Zero what pads the parameters, or their moments, in panels; `params` is scratch."""
    move(table, params, panels, False, 0, 1)
    fill(panels, 0)
    move(table, params, panels, True, 0, 1)
