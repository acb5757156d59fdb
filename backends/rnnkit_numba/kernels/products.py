"""Matrix products, tile by tile, and the panels in which their right-hand sides stand.

A *panel* is a strip of columns, one tile wide, stored row after row. A packed matrix `(K, N)` is its panels one
after the other: full ones, and where N is no multiple of them, narrower ones at the end. As each panel holds K
numbers a column, the one that begins at column n begins at number n K. N is always a whole number of vectors.

All matrices are given by a pointer and the numbers from one of their rows to the next (0: one row for all).
`plain.py` says in plain loops what all of this computes.
"""

from __future__ import annotations

from rnnkit_numba.compiled import kernel, specialised
from rnnkit_numba.kernels.pointers import further
from rnnkit_numba.kernels.tiles import TILE_ROWS, TILE_VECTORS, make_tile
from rnnkit_numba.kernels.vectors import BYTES, LINE_BYTES, W_of, load_at, load_first, store_at

INNER = 128
"""Values of k that one tile runs through before the next: a full panel of these fits the first-level cache."""

SUMMED = 128
"""Rows that a gradient of weights is summed over before the sum goes back to memory."""

FETCHED = 2**17
"""Numbers of a packed matrix from which on its panels are fetched ahead: a second-level cache does not hold it all."""

FAR = 32
"""Vectors between the rows of a matrix from which on they compete for the same places in the first-level cache."""


PANEL_VECTORS = 4 * SUMMED
"""Vectors of scratch space that `add_transposed_product` takes, but for a copy of a."""


def summing_scratch(columns: int, vector: int) -> int:
    """Numbers of scratch space for `add_transposed_product`, where a, or x and h, have so many columns."""
    return PANEL_VECTORS * vector + SUMMED * columns + 2 * vector


@kernel
def tile_height(rows):
    """Rows of the tile that begins so many rows."""
    if rows >= TILE_ROWS and rows != 8:  # two tiles of four are faster than six and two
        return TILE_ROWS
    return 4 if rows >= 4 else 2 if rows >= 2 else 1


def make_strip(vectors):
    """The function that computes all rows of a strip of columns, as many of them at a time as a tile takes.

    Where `a_k` is 0, a stands tile by tile, and in each tile k by k; `a_row` is then the number of k.
    """
    six, four, two, single = (make_tile(rows, vectors) for rows in (TILE_ROWS, 4, 2, 1))

    def strip(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner):
        m = 0
        while rows - m > 0:
            height = tile_height(rows - m)
            a_m, c0_m, c_m = further(a, m * a_row), further(c0, m * c0_row), further(c, m * c_row)
            # a tile of its own, k after k, or a part of a matrix
            row, k = (1, height) if a_k == 0 else (a_row, a_k)
            if height == TILE_ROWS:
                six(a_m, row, k, b, b_k, c0_m, c0_row, c_m, c_row, inner, 0)
            elif height == 4:
                four(a_m, row, k, b, b_k, c0_m, c0_row, c_m, c_row, inner, 0)
            elif height == 2:
                two(a_m, row, k, b, b_k, c0_m, c0_row, c_m, c_row, inner, 0)
            else:
                single(a_m, row, k, b, b_k, c0_m, c0_row, c_m, c_row, inner, 0)
            m += height

    # symbols are told apart by this name, beyond one process by nothing else: entries read from disk share their copies
    strip.__qualname__ = f"strip_{vectors}"
    return specialised(strip)  # the numbers between two k, or two rows, are 1 or 0 where they are constants


strip_4, strip_2, strip_1 = (make_strip(vectors) for vectors in (4, 2, 1))

LINES = 2
"""Cache lines that a tile fetches ahead for every k: two tiles fetch a panel."""

tile_far = make_tile(TILE_ROWS, 4, LINES)


@kernel
def strip_far(a, a_row, b, b_k, c0, c0_row, c, c_row, rows, inner):
    """Compute a strip of a full panel b that the nearest caches do not hold: its tiles fetch what follows b."""
    by_tile = inner * LINES * W_of(b) * (LINE_BYTES // BYTES)
    m, ahead, last = 0, inner * b_k, 2 * inner * b_k - by_tile
    while rows - m >= TILE_ROWS:
        a_m, c0_m, c_m = further(a, m * a_row), further(c0, m * c0_row), further(c, m * c_row)
        tile_far(a_m, a_row, 1, b, b_k, c0_m, c0_row, c_m, c_row, inner, ahead)
        m, ahead = m + TILE_ROWS, min(ahead + by_tile, last)
    a_m, c0_m, c_m = further(a, m * a_row), further(c0, m * c0_row), further(c, m * c_row)
    strip_4(a_m, a_row, 1, b, b_k, c0_m, c0_row, c_m, c_row, rows - m, inner)


@kernel
def panel_width(columns, W):
    """Columns of the panel that begins a matrix of so many columns."""
    if TILE_VECTORS == 4 and columns >= 4 * W:
        return 4 * W
    return 2 * W if columns >= 2 * W else W


@specialised
def strip(width, W, a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner):
    """The strip that is one panel wide."""
    if TILE_VECTORS == 4 and width == 4 * W:
        strip_4(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner)
    elif width == 2 * W:
        strip_2(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner)
    else:
        strip_1(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, rows, inner)


@kernel
def product(a, a_row, packed, packed_rows, c0, c0_row, c, c_row, rows, columns, inner, W):
    """`c[m, n] = c0[m, n] + Σ_k a[m, k] b[k, n]` for k < `inner` of the rows of a packed b; c0 may be c."""
    n, far = 0, inner * columns >= FETCHED
    while n < columns:
        width = panel_width(columns - n, W)
        b, c0_n, c0_n_row, c_n = further(packed, n * packed_rows), further(c0, n), c0_row, further(c, n)
        k = 0
        while k == 0 or k < inner:
            here, a_k, b_k = min(INNER, inner - k), further(a, k), further(b, k * width)
            if TILE_VECTORS == 4 and far and width == 4 * W:
                strip_far(a_k, a_row, b_k, width, c0_n, c0_n_row, c_n, c_row, rows, here)
            else:
                strip(width, W, a_k, a_row, 1, b_k, width, c0_n, c0_n_row, c_n, c_row, rows, here)
            c0_n, c0_n_row, k = c_n, c_row, k + INNER
        n += width


@kernel
def add_transposed_product(a, a_row, b, b_row, c, rows, outer, columns, W, panel):
    """`c[m, n] += Σ_r a[r, m] b[r, n]` for c in panels: the gradient of a weight, r counting rows and lanes.

    `panel` is scratch space, see `summing_scratch`.
    """
    add_two_transposed_products(a, a_row, 0, c, 0, a, a_row, outer, c, outer, b, b_row, rows, columns, W, panel)


@kernel
def add_two_transposed_products(
    x, x_row, inputs, c_x, c_x_rows, h, h_row, hidden, c_h, c_h_rows, b, b_row, rows, columns, W, panel
):
    """Add the gradients of two weights, of x and of h, to c in panels: they share b, while it is in the cache.

    x and h have `inputs` and `hidden` columns.

    `c_x_rows` and `c_h_rows` are those of the panels, at least as many.
    """
    h_tiles = further(panel, 4 * W * SUMMED)
    x_tiles = further(h_tiles, SUMMED * hidden + W)
    copied = inputs + hidden >= 2 * TILE_ROWS and b_row > 4 * W  # uses enough to be worth a copy
    x_tiled, h_tiled = copied and x_row >= FAR * W, copied and h_row >= FAR * W
    for r in range(0, rows, SUMMED):
        here = min(SUMMED, rows - r)
        x_r, h_r, b_r = further(x, r * x_row), further(h, r * h_row), further(b, r * b_row)
        if x_tiled:
            copy_tiles(x_r, x_row, x_tiles, here, inputs)
        if h_tiled:
            copy_tiles(h_r, h_row, h_tiles, here, hidden)
        n = 0
        while n < columns:
            width = panel_width(columns - n, W)
            b_n, b_k = further(b_r, n), b_row
            x_n, h_n = further(c_x, n * c_x_rows), further(c_h, n * c_h_rows)
            if copied:
                for k in range(here):
                    for j in range(0, width, W):
                        store_at(load_at(b_n, k * b_row + j), panel, k * width + j)
                b_n, b_k = panel, width
            if x_tiled:
                strip(width, W, x_tiles, here, 0, b_n, b_k, x_n, width, x_n, width, inputs, here)
            else:
                strip(width, W, x_r, 1, x_row, b_n, b_k, x_n, width, x_n, width, inputs, here)
            if h_tiled:
                strip(width, W, h_tiles, here, 0, b_n, b_k, h_n, width, h_n, width, hidden, here)
            else:
                strip(width, W, h_r, 1, h_row, b_n, b_k, h_n, width, h_n, width, hidden, here)
            n += width


@kernel
def copy_tiles(a, a_row, tiles, rows, columns):
    """Write `rows` rows of a in the order in which a strip of tiles reads them; a vector may follow behind the end."""
    m = 0
    while m < columns:
        height = tile_height(columns - m)
        for k in range(rows):  # the numbers in excess are written over by the next k
            for j in range(0, height, W_of(a)):
                store_at(load_first(a, k * a_row + m + j, height - j), tiles, m * rows + k * height + j)
        m += height


@kernel
def add_rows(a, total, rows, columns, W):
    """`total[n] += Σ_r a[r, n]`, the columns a whole number of vectors."""
    n = 0
    while columns - n >= 4 * W:  # four sums side by side, as one would wait for each addition
        s0, s1 = load_at(total, n), load_at(total, n + W)
        s2, s3 = load_at(total, n + 2 * W), load_at(total, n + 3 * W)
        for r in range(rows):
            here = r * columns + n
            s0, s1 = s0 + load_at(a, here), s1 + load_at(a, here + W)
            s2, s3 = s2 + load_at(a, here + 2 * W), s3 + load_at(a, here + 3 * W)
        store_at(s0, total, n)
        store_at(s1, total, n + W)
        store_at(s2, total, n + 2 * W)
        store_at(s3, total, n + 3 * W)
        n += 4 * W
    while n < columns:
        sum_n = load_at(total, n)
        for r in range(rows):
            sum_n = sum_n + load_at(a, r * columns + n)
        store_at(sum_n, total, n)
        n += W
