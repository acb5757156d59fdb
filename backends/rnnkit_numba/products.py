"""Matrix products, tile by tile, and the panels in which their right-hand sides stand.

A *panel* is a strip of columns, one tile wide, stored row after row. A packed matrix `(K, N)` is its panels one
after the other: full ones, and where N is no multiple of them, narrower ones at the end. As each panel holds K
numbers a column, the one that begins at column n begins at number n K. N is always a whole number of vectors.

All matrices are given by a pointer and the numbers from one of their rows to the next (0: one row for all).
`plain.py` says in plain loops what all of this computes.
"""

from __future__ import annotations

from rnnkit_numba.compiled import kernel
from rnnkit_numba.pointers import forward
from rnnkit_numba.tiles import TILE_ROWS, TILE_VECTORS, make_tile
from rnnkit_numba.vectors import load_at, store_at

INNER = 128
"""Values of k that one tile runs through before the next: a full panel of these fits the first-level cache."""

SUMMED = 256
"""Rows that a gradient of weights is summed over before the sum goes back to memory."""

PANEL_VECTORS = 4 * SUMMED
"""Vectors of scratch space that `add_transposed_product` takes."""


def make_strip(vectors):
    """The function that computes all rows of a strip of columns, as many of them at a time as a tile takes."""
    six, four, two, one = (make_tile(rows, vectors) for rows in (TILE_ROWS, 4, 2, 1))

    @kernel
    def strip(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner):
        m = 0
        while rows - m >= TILE_ROWS and rows - m != 8:  # two tiles of four are faster than six and two
            six(
                forward(a, m * a_row),
                a_row,
                a_k,
                b,
                b_k,
                forward(c0, m * c0_row),
                c0_row,
                forward(c, m * c_row),
                c_row,
                inner,
                0,
            )
            m += TILE_ROWS
        while rows - m >= 4:
            four(
                forward(a, m * a_row),
                a_row,
                a_k,
                b,
                b_k,
                forward(c0, m * c0_row),
                c0_row,
                forward(c, m * c_row),
                c_row,
                inner,
                0,
            )
            m += 4
        if rows - m >= 2:
            two(
                forward(a, m * a_row),
                a_row,
                a_k,
                b,
                b_k,
                forward(c0, m * c0_row),
                c0_row,
                forward(c, m * c_row),
                c_row,
                inner,
                0,
            )
            m += 2
        if rows - m >= 1:
            one(
                forward(a, m * a_row),
                a_row,
                a_k,
                b,
                b_k,
                forward(c0, m * c0_row),
                c0_row,
                forward(c, m * c_row),
                c_row,
                inner,
                0,
            )

    return strip


strip_4, strip_2, strip_1 = (make_strip(vectors) for vectors in (4, 2, 1))


@kernel
def panel_width(columns, one):
    """Columns of the panel that begins a matrix of so many columns; `one` is a vector's."""
    if TILE_VECTORS == 4 and columns >= 4 * one:
        return 4 * one
    return 2 * one if columns >= 2 * one else one


@kernel
def strip(width, one, a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner):
    """The strip that is one panel wide."""
    if TILE_VECTORS == 4 and width == 4 * one:
        strip_4(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner)
    elif width == 2 * one:
        strip_2(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner)
    else:
        strip_1(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner)


@kernel
def product(a, a_row, packed, c0, c0_row, c, c_row, rows, columns, inner, one):
    """`c[m, n] = c0[m, n] + Σ_k a[m, k] b[k, n]` for a packed b; c0 may be c. `one` is a vector's lanes."""
    n = 0
    while n < columns:
        width = panel_width(columns - n, one)
        b = forward(packed, n * inner)
        strip(width, one, a, a_row, 1, b, width, forward(c0, n), c0_row, forward(c, n), c_row, rows, min(INNER, inner))
        for k in range(INNER, inner, INNER):
            here = min(INNER, inner - k)
            c_n = forward(c, n)
            strip(width, one, forward(a, k), a_row, 1, forward(b, k * width), width, c_n, c_row, c_n, c_row, rows, here)
        n += width


row_4, row_2, row_1 = make_tile(1, 4, 2), make_tile(1, 2, 4), make_tile(1, 1, 4)


@kernel
def row_product(a, packed, c, columns, inner, one):
    """`c[n] += Σ_k a[k] b[k, n]` for a packed b: the recurrence of a single lane, which nothing else can overlap."""
    n = 0
    while n < columns:
        width = panel_width(columns - n, one)
        b, c_n = forward(packed, n * inner), forward(c, n)
        if TILE_VECTORS == 4 and width == 4 * one:
            half = inner // 2
            row_4(a, 0, 1, b, width, c_n, 0, c_n, 0, half, half)
            if inner % 2 > 0:
                strip_4(forward(a, inner - 1), 0, 1, forward(b, (inner - 1) * width), width, c_n, 0, c_n, 0, 1, 1)
        else:
            quarter = inner // 4
            rest = inner % 4
            a_rest, b_rest = forward(a, inner - rest), forward(b, (inner - rest) * width)
            if width == 2 * one:
                row_2(a, 0, 1, b, width, c_n, 0, c_n, 0, quarter, quarter)
            else:
                row_1(a, 0, 1, b, width, c_n, 0, c_n, 0, quarter, quarter)
            if rest > 0:
                strip(width, one, a_rest, 0, 1, b_rest, width, c_n, 0, c_n, 0, 1, rest)
        n += width


@kernel
def grouped_row_product(a, packed, c, columns, group, used, one):
    """`c[n] += Σ_k a[k] b[k, n]`, where k runs through four groups and all of a but the first `used` of each is zero.

    `group` is the number of k in a group: the gates of an LSTM with their padding.
    """
    n = 0
    while n < columns:
        width = panel_width(columns - n, one)
        b, c_n = forward(packed, n * 4 * group), forward(c, n)
        if TILE_VECTORS == 4 and width == 4 * one:
            for half in range(2):
                k = half * 2 * group
                row_4(forward(a, k), 0, 1, forward(b, k * width), width, c_n, 0, c_n, 0, used, group)
        elif width == 2 * one:
            row_2(a, 0, 1, b, width, c_n, 0, c_n, 0, used, group)
        else:
            row_1(a, 0, 1, b, width, c_n, 0, c_n, 0, used, group)
        n += width


@kernel
def add_transposed_product(a, a_row, b, b_row, c, c_row, rows, outer, columns, one, panel):
    """`c[m, n] += Σ_r a[r, m] b[r, n]`: the gradient of a weight, r counting rows and lanes.

    `panel` is scratch for SUMMED rows of the widest panel, four vectors each.
    """
    for r in range(0, rows, SUMMED):
        here = min(SUMMED, rows - r)
        a_r, b_r = forward(a, r * a_row), forward(b, r * b_row)
        n = 0
        while n < columns:
            width = panel_width(columns - n, one)
            c_n = forward(c, n)
            if outer < 2 * TILE_ROWS or b_row == width:  # too few uses to be worth a copy
                strip(width, one, a_r, 1, a_row, forward(b_r, n), b_row, c_n, c_row, c_n, c_row, outer, here)
            else:
                for k in range(here):
                    for j in range(0, width, one):
                        store_at(load_at(b_r, k * b_row + n + j), panel, k * width + j)
                strip(width, one, a_r, 1, a_row, panel, width, c_n, c_row, c_n, c_row, outer, here)
            n += width


@kernel
def add_rows(a, total, rows, columns, one):
    """`total[n] += Σ_r a[r, n]`, the columns a whole number of vectors."""
    for n in range(0, columns, one):
        sum_n = load_at(total, n)
        for r in range(rows):
            sum_n = sum_n + load_at(a, r * columns + n)
        store_at(sum_n, total, n)
