"""A matrix written the other way round, in squares that are turned inside the registers.

    target[c, r] = source[r, c],      r < rows, c < columns

A square has W rows and W columns. Loading its rows, interleaving them in log2(W) rounds and storing
them takes about a shuffle for four numbers, where number by number each takes a load and a store of its own.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.pointers import WORD, address, further
from rnnkit_numba.kernels.vectors import Vector, first_flags, load_flagged, store_flagged

FEW = 3
"""Columns, or rows, of a square up to which number by number is faster."""


@intrinsic
def _turn(typingctx: Any, source: Any, source_row: Any, target: Any, target_row: Any, rows: Any, columns: Any) -> Any:
    if not (isinstance(source, types.CPointer) and source == target):
        return None
    vector = Vector(source.dtype)
    W = vector.W

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        source, source_row, target, target_row, rows, columns = arguments
        kind = context.get_value_type(vector)
        here, there = first_flags(builder, columns, W), first_flags(builder, rows, W)
        last = builder.sub(rows, WORD(1))
        square = []
        for r in range(W):
            row = WORD(r)
            row = builder.select(builder.icmp_signed("<", row, last), row, last)  # repeated, and not stored
            where = address(builder, source, builder.mul(row, source_row), kind)
            square.append(load_flagged(builder, where, here))
        half = W // 2
        for _ in range(W.bit_length() - 1):
            turned = []
            for a, b in zip(square[:half], square[half:], strict=True):
                for start in (0, half):
                    mask = [start + n // 2 + (n % 2) * W for n in range(W)]
                    turned.append(builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), W), mask)))
            square = turned
        for c, column in enumerate(square):
            with builder.if_then(builder.icmp_signed("<", WORD(c), columns)):
                where = address(builder, target, builder.mul(WORD(c), target_row), kind)
                store_flagged(builder, column, where, there)
        return context.get_dummy_value()

    whole = types.intp
    return types.none(source, whole, target, whole, whole, whole), lower


turn: Any = _turn
"""`turn(source, source_row, target, target_row, rows, columns)`: a square of at most W either way."""


@kernel
def transpose(source, source_row, target, target_row, rows, columns, W):
    """Write a matrix the other way round; `row` is the numbers from one row to the next."""
    for r in range(0, rows, W):
        high = min(W, rows - r)
        for c in range(0, columns, W):
            wide = min(W, columns - c)
            here, there = further(source, r * source_row + c), further(target, c * target_row + r)
            if high > FEW and wide > FEW:
                turn(here, source_row, there, target_row, high, wide)
            else:
                for j in range(wide):
                    for i in range(high):
                        there[j * target_row + i] = here[i * source_row + j]
