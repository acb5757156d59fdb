"""Parameters in the panels in which the products read them, and gradients back in the order of the parameters.

A weight `(G, K)` stands twice: as `(K, G)` in panels for the forward pass, as `(G, K)` in panels for the backward
pass (`products.py` says what a panel is). Rows and columns that pad are zero before and stay zero. The rows of a
weight consist of groups (the four gates of an LSTM; one group for a dense layer), each padded by itself.

`part` of `parts` says which share of the work is done here, so that several threads can do it together.
"""

from __future__ import annotations

from rnnkit_numba.compiled import kernel
from rnnkit_numba.layout import (
    BACK,
    GRADIENT,
    INPUTS,
    KIND,
    KIND_LSTM,
    OUTPUTS,
    PACKED,
    PARAMETERS,
    WIDTH,
)
from rnnkit_numba.pointers import forward as further
from rnnkit_numba.pointers import pointer
from rnnkit_numba.products import panel_width
from rnnkit_numba.transposition import transpose
from rnnkit_numba.vectors import lanes, load_at, load_first, store_at


@kernel
def share(size, part, parts):
    """The first and the last but one of `size` things that belong to a part."""
    return size * part // parts, size * (part + 1) // parts


@kernel
def pack_weight(weight, rows, inner, groups, forward, back, one, part, parts):
    """Write a weight `(rows, inner)` in panels: `forward` and `back` point to where they begin."""
    units = rows // groups
    padded = -(-units // one) * one
    columns, back_columns = groups * padded, -(-inner // one) * one
    back_rows = columns if groups > 1 else units  # an LSTM's d_a has its padding, a dense layer's is left out
    first, last = share(columns // one, part, parts)
    panel, width = 0, panel_width(columns, one)
    for column in range(first * one, last * one, one):
        while column >= panel + width:
            panel += width
            width = panel_width(columns - panel, one)
        unit = column % padded
        here, r = min(one, units - unit), column // padded * units + unit
        start = further(forward, panel * inner + column - panel)
        transpose(further(weight, r * inner), inner, start, width, here, inner, one)
        n = 0
        while n < inner:
            back_width = panel_width(back_columns - n, one)
            for row in range(here):
                start = n * back_rows + (column + row) * back_width
                for j in range(0, back_width, one):
                    store_at(load_first(weight, (r + row) * inner + n + j, inner - n - j), back, start + j)
            n += back_width


@kernel
def pack(table, params, packed, part, parts):
    """Write the parameters as the passes read them."""
    one = lanes(packed)
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        p, q, back = table[index, PARAMETERS], table[index, PACKED], table[index, BACK]
        groups = 4 if table[index, KIND] == KIND_LSTM else 1
        rows, columns = groups * outputs, groups * width
        weight_ih, forward_ih = pointer(params, p, rows * inputs), pointer(packed, q, columns * inputs)
        p, q = p + rows * inputs, q + columns * inputs
        if groups == 4:
            weight_hh, forward_hh = pointer(params, p, rows * outputs), pointer(packed, q, columns * outputs)
            back_hh = pointer(packed, back, columns * width)
            pack_weight(weight_hh, rows, outputs, groups, forward_hh, back_hh, one, part, parts)
            p, q, back = p + rows * outputs, q + columns * outputs, back + columns * width
        pack_weight(weight_ih, rows, inputs, groups, forward_ih, pointer(packed, back, 0), one, part, parts)
        if part == 0:
            bias, bias_hh = pointer(params, p, rows), pointer(params, p + (groups // 4) * rows, rows)
            forward_bias = pointer(packed, q, columns)
            for gate in range(groups):
                for j in range(outputs):
                    b = bias[gate * outputs + j]
                    forward_bias[gate * width + j] = b + bias_hh[gate * outputs + j] if groups == 4 else b


@kernel
def add_blocks(d_packs, d, rows, columns, first, last, one):
    """Add all blocks to the first one, in their order, in a matrix's columns `first` to `last - 1`."""
    total, size = pointer(d_packs, d, rows * columns), d_packs.shape[1]
    for block in range(1, d_packs.shape[0]):
        more = pointer(d_packs, block * size + d, rows * columns)
        for k in range(rows):
            for n in range(k * columns + first, k * columns + last, one):
                store_at(load_at(total, n) + load_at(more, n), total, n)


@kernel
def unpack_weight(d_packs, d, rows, inner, groups, grad, one, part, parts):
    """Write the gradient of a weight `(rows, inner)`: the sum over blocks of what begins at number d of each."""
    units = rows // groups
    padded = -(-units // one) * one
    columns = groups * padded
    first, last = share(columns // one, part, parts)
    add_blocks(d_packs, d, inner, columns, first * one, last * one, one)
    total = pointer(d_packs, d, inner * columns)
    for n in range(first * one, last * one, one):  # a vector's columns share their cache lines
        unit = n % padded
        here, r = min(one, units - unit), n // padded * units + unit
        transpose(further(total, n), columns, further(grad, r * inner), inner, inner, here, one)


@kernel
def unpack(table, d_packs, grad, part, parts):
    """Sum the gradients of all blocks into those of the parameters; `d_packs` is used up."""
    one = lanes(grad)
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        p, d = table[index, PARAMETERS], table[index, GRADIENT]
        groups = 4 if table[index, KIND] == KIND_LSTM else 1
        rows, columns = groups * outputs, groups * width
        unpack_weight(d_packs, d, rows, inputs, groups, pointer(grad, p, rows * inputs), one, part, parts)
        p, d = p + rows * inputs, d + columns * inputs
        if groups == 4:
            unpack_weight(d_packs, d, rows, outputs, groups, pointer(grad, p, rows * outputs), one, part, parts)
            p, d = p + rows * outputs, d + columns * outputs
        if part == 0:
            add_blocks(d_packs, d, 1, columns, 0, columns, one)
            total, bias = pointer(d_packs, d, columns), pointer(grad, p, rows)
            bias_hh = pointer(grad, p + (groups // 4) * rows, rows)
            for gate in range(groups):
                for j in range(outputs):
                    bias[gate * outputs + j] = total[gate * width + j]
                    bias_hh[gate * outputs + j] = total[gate * width + j]
