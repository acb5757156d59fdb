"""Parameters in the panels in which the products read them, and back in their own order.

While a block is trained the parameters stand in panels, their moments and gradients in the same places, so that nothing
has to be put into another order from window to window. A weight `(G, K)` is there as `(K, G)` in panels (`products.py`
says what these are), the two biases of an LSTM one after the other, then its learned initial state. What pads them is
zero and stays zero. The rows of a weight consist of groups (the four gates of an LSTM; one group for a dense layer),
each padded by itself, and vectors of all groups stand in turn.

Derived from them anew after every update, behind all parameters: the sum of an LSTM's biases; and, where a backward
pass reads them, weights `(G, K)` in panels, for the products with their transposes.

`part` of `parts` says which share of the work is done here, so that several threads can do it together.
"""

from __future__ import annotations

from rnnkit_numba.compiled import kernel
from rnnkit_numba.layout import DERIVED, INPUTS, KIND, KIND_LSTM, LEARNED, OUTPUTS, PACKED, PARAMETERS, STATE, WIDTH
from rnnkit_numba.pointers import forward as further
from rnnkit_numba.pointers import pointer
from rnnkit_numba.products import panel_width
from rnnkit_numba.single_lane import recurrent_rows
from rnnkit_numba.transposition import transpose
from rnnkit_numba.vectors import lanes, load_at, store_at
from rnnkit_numba.views import fill


@kernel
def share(size, part, parts):
    """The first of `size` things that belong to a part, and the one behind its last."""
    return size * part // parts, size * (part + 1) // parts


@kernel
def rows_of_vector(vector, groups, units, one):
    """How many rows of a weight stand in a vector of columns, and the first of them."""
    unit = vector // groups * one
    return min(one, units - unit), vector % groups * units + unit


@kernel
def panel_of(column, columns, one):
    """Where the panel begins that has this column, and its width."""
    panel, width = 0, panel_width(columns, one)
    while column >= panel + width:
        panel += width
        width = panel_width(columns - panel, one)
    return panel, width


@kernel
def move_weight(weight, rows, inner, groups, panels, panel_rows, into_panels, one, part, parts):
    """Write a weight `(rows, inner)` to its panels of `panel_rows`, or from there back."""
    units = rows // groups
    columns = groups * (-(-units // one) * one)
    first, last = share(columns // one, part, parts)
    for vector in range(first, last):
        panel, width = panel_of(vector * one, columns, one)
        here, r = rows_of_vector(vector, groups, units, one)
        ours, theirs = further(panels, panel * panel_rows + vector * one - panel), further(weight, r * inner)
        if into_panels:
            transpose(theirs, inner, ours, width, here, inner, one)
        else:
            transpose(ours, width, theirs, inner, inner, here, one)


@kernel
def move_bias(bias, rows, groups, padded, into_panels, one):
    """Write a bias `(rows,)` to where it is padded, or from there back."""
    units = rows // groups
    for vector in range(groups * (-(-units // one))):
        here, r = rows_of_vector(vector, groups, units, one)
        for j in range(here):
            if into_panels:
                padded[vector * one + j] = bias[r + j]
            else:
                bias[r + j] = padded[vector * one + j]


@kernel
def move(table, params, packed, into_panels, part, parts):
    """Write all parameters, or anything shaped like them, to their panels, or from there back."""
    one = lanes(packed)
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        p, q = table[index, PARAMETERS], table[index, PACKED]
        groups = 4 if table[index, KIND] == KIND_LSTM else 1
        rows, columns = groups * outputs, groups * width
        weight, panels = pointer(params, p, rows * inputs), pointer(packed, q, columns * inputs)
        move_weight(weight, rows, inputs, groups, panels, inputs, into_panels, one, part, parts)
        p, q = p + rows * inputs, q + columns * inputs
        if groups == 4:
            rows_hh = recurrent_rows(outputs, one)
            weight, panels = pointer(params, p, rows * outputs), pointer(packed, q, columns * rows_hh)
            move_weight(weight, rows, outputs, groups, panels, rows_hh, into_panels, one, part, parts)
            p, q = p + rows * outputs, q + columns * rows_hh
        if part == 0:
            for _ in range(2 if groups == 4 else 1):
                move_bias(pointer(params, p, rows), rows, groups, pointer(packed, q, columns), into_panels, one)
                p, q = p + rows, q + columns
            for j in range(table[index, LEARNED]):
                if into_panels:
                    packed[q + j] = params[p + j]
                else:
                    params[p + j] = packed[q + j]


@kernel
def turn_weight(panels, panel_rows, rows, inner, groups, back, one, part, parts):
    """Write a weight `(rows, inner)` from its panels as `(rows, inner)` in panels."""
    units = rows // groups
    columns, back_columns = groups * (-(-units // one) * one), -(-inner // one) * one
    back_rows = columns if groups > 1 else units  # an LSTM's d_a has its padding, a dense layer's is left out
    first, last = share(columns // one, part, parts)
    for vector in range(first, last):
        column = vector * one
        panel, width = panel_of(column, columns, one)
        here, _ = rows_of_vector(vector, groups, units, one)
        n = 0
        while n < inner:
            back_width = panel_width(back_columns - n, one)
            source = further(panels, panel * panel_rows + n * width + column - panel)
            target = further(back, n * back_rows + column * back_width)
            transpose(source, width, target, back_width, min(back_width, inner - n), here, one)
            n += back_width


@kernel
def derive(table, packed, recurrent, onward, part, parts):
    """Write what is derived from the parameters in panels.

    Args:
        recurrent: whether any lanes go through a window together, which takes the recurrent weights turned.
        onward: whether the gradient of the inputs is wanted.
    """
    one = lanes(packed)
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        q, d = table[index, PACKED], table[index, DERIVED]
        lstm = table[index, KIND] == KIND_LSTM
        groups = 4 if lstm else 1
        rows, columns = groups * outputs, groups * width
        weight_ih = pointer(packed, q, columns * inputs)
        if lstm:
            q, rows_hh, back = q + columns * inputs, recurrent_rows(outputs, one), d + columns
            weight_hh, total = pointer(packed, q, columns * rows_hh), pointer(packed, d, columns)
            biases = pointer(packed, q + columns * rows_hh, 2 * columns)
            if part == 0:
                for n in range(0, columns, one):
                    store_at(load_at(biases, n) + load_at(biases, columns + n), total, n)
            if recurrent:
                turned = pointer(packed, back, columns * width)
                turn_weight(weight_hh, rows_hh, rows, outputs, groups, turned, one, part, parts)
            d = back + columns * width
        if onward or index > 0:
            turned = pointer(packed, d, rows * (-(-inputs // one) * one))
            turn_weight(weight_ih, inputs, rows, inputs, groups, turned, one, part, parts)


@kernel
def pack(table, params, packed):
    """Write the parameters as a forward pass reads them."""
    move(table, params, packed, True, 0, 1)
    derive(table, packed, False, False, 0, 1)


@kernel
def add_blocks(d_packs, part, parts):
    """Add the gradients of all blocks to those of the first one, in the order of the blocks."""
    one, size = lanes(d_packs), d_packs.shape[1]
    first, last = share(size // one, part, parts)
    total = pointer(d_packs, 0, size)
    for block in range(1, d_packs.shape[0]):
        more = pointer(d_packs, block * size, size)
        for n in range(first * one, last * one, one):
            store_at(load_at(total, n) + load_at(more, n), total, n)


@kernel
def learned_at(table, index, one):
    """Where a layer's learned initial state stands in panels: behind two weights and two biases."""
    inputs, outputs, columns = table[index, INPUTS], table[index, OUTPUTS], 4 * table[index, WIDTH]
    return table[index, PACKED] + columns * (inputs + recurrent_rows(outputs, one) + 2)


@kernel
def read_initial(table, packed, initial_S):
    """A learned initial state from the parameters in panels."""
    for index in range(table.shape[0]):
        p, s = learned_at(table, index, lanes(packed)), table[index, STATE]
        for j in range(table[index, LEARNED]):
            initial_S[s + j] = packed[p + j]


@kernel
def write_initial(table, d_initial_BS, d_packed):
    """The gradient of a learned initial state, summed over lanes, among those of the parameters in panels."""
    for index in range(table.shape[0]):
        p, s = learned_at(table, index, lanes(d_packed)), table[index, STATE]
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
