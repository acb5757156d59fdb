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
from rnnkit_numba.products import panel_width
from rnnkit_numba.vectors import lanes


@kernel
def share(size, part, parts):
    """The first and the last but one of `size` things that belong to a part."""
    return size * part // parts, size * (part + 1) // parts


@kernel
def pack_weight(params, p, rows, inner, groups, packed, forward, back, part, parts):
    """Write one weight `(rows, inner)`, which begins at parameter p, in panels that begin at `forward` and `back`."""
    one = lanes(packed)
    units = rows // groups
    padded = -(-units // one) * one
    columns, back_columns = groups * padded, -(-inner // one) * one
    first, last = share(rows, part, parts)
    for r in range(first, last):
        column = r // units * padded + r % units
        n = 0
        while column >= n + panel_width(columns - n, one):
            n += panel_width(columns - n, one)
        width = panel_width(columns - n, one)
        start = forward + n * inner + column - n
        for k in range(inner):
            packed[start + k * width] = params[p + r * inner + k]
        n = 0
        while n < inner:
            width = panel_width(back_columns - n, one)
            start = back + n * columns_of(groups, units, padded) + column * width
            for j in range(min(width, inner - n)):
                packed[start + j] = params[p + r * inner + n + j]
            n += width


@kernel
def columns_of(groups, units, padded):
    """Rows of the backward panels: all gates with their padding, or a dense layer's outputs without."""
    return groups * padded if groups > 1 else units


@kernel
def pack(table, params, packed, part, parts):
    """Write the parameters as the passes read them."""
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        p, q, back = table[index, PARAMETERS], table[index, PACKED], table[index, BACK]
        if table[index, KIND] == KIND_LSTM:
            rows, gates = 4 * outputs, 4 * width
            hh = p + rows * inputs
            pack_weight(params, p, rows, inputs, 4, packed, q, back + gates * width, part, parts)
            pack_weight(params, hh, rows, outputs, 4, packed, q + gates * inputs, back, part, parts)
            bias, q = p + rows * (inputs + outputs), q + gates * (inputs + outputs)
            if part == 0:
                for gate in range(4):
                    for j in range(outputs):
                        r = gate * outputs + j
                        packed[q + gate * width + j] = params[bias + r] + params[bias + rows + r]
        else:
            pack_weight(params, p, outputs, inputs, 1, packed, q, back, part, parts)
            if part == 0:
                for j in range(outputs):
                    packed[q + inputs * width + j] = params[p + outputs * inputs + j]


@kernel
def sum_weight(d_packs, d, rows, inner, groups, grad, p, part, parts):
    """Write the gradient of one weight `(rows, inner)`: the sum over blocks of what begins at number d of each."""
    one = lanes(grad)
    units = rows // groups
    padded = -(-units // one) * one
    columns = groups * padded
    first, last = share(rows, part, parts)
    r = first
    while r < last:
        here = min(one - r % units % one, units - r % units, last - r)  # as many as lie in one cache line
        column = r // units * padded + r % units
        for k in range(inner):
            for j in range(here):
                total = d_packs[0, d + k * columns + column + j]
                for block in range(1, d_packs.shape[0]):
                    total += d_packs[block, d + k * columns + column + j]
                grad[p + (r + j) * inner + k] = total
        r += here


@kernel
def unpack(table, d_packs, grad, part, parts):
    """Sum the gradients of all blocks, in their order, into those of the parameters."""
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        p, d = table[index, PARAMETERS], table[index, GRADIENT]
        if table[index, KIND] == KIND_LSTM:
            rows, gates = 4 * outputs, 4 * width
            sum_weight(d_packs, d, rows, inputs, 4, grad, p, part, parts)
            sum_weight(d_packs, d + gates * inputs, rows, outputs, 4, grad, p + rows * inputs, part, parts)
            bias, d = p + rows * (inputs + outputs), d + gates * (inputs + outputs)
            if part == 0:
                for gate in range(4):
                    for j in range(outputs):
                        total = d_packs[0, d + gate * width + j]
                        for block in range(1, d_packs.shape[0]):
                            total += d_packs[block, d + gate * width + j]
                        grad[bias + gate * outputs + j] = total
                        grad[bias + rows + gate * outputs + j] = total
        else:
            sum_weight(d_packs, d, outputs, inputs, 1, grad, p, part, parts)
            if part == 0:
                for j in range(outputs):
                    total = d_packs[0, d + inputs * width + j]
                    for block in range(1, d_packs.shape[0]):
                        total += d_packs[block, d + inputs * width + j]
                    grad[p + outputs * inputs + j] = total
