"""A matrix written the other way round, in blocks that are turned inside the registers.

    target[c, r] = source[r, c],      r < rows, c < columns

A block is as many rows as a vector has lanes. Loading its rows, interleaving them in log2(lanes) rounds and storing
them takes about a shuffle for four numbers, where number by number each takes a load and a store of its own.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import kernel
from rnnkit_numba.pointers import WORD, address, forward
from rnnkit_numba.vectors import Vector, first_lanes, load_flagged, store_flagged

FEW = 3
"""Columns, or rows, of a block up to which number by number is faster."""


@intrinsic
def _turn(typingctx: Any, source: Any, source_row: Any, target: Any, target_row: Any, rows: Any, columns: Any) -> Any:
    if not (isinstance(source, types.CPointer) and source == target):
        return None
    vector = Vector(source.dtype)
    lanes = vector.lanes

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        source, source_row, target, target_row, rows, columns = arguments
        kind = context.get_value_type(vector)
        here, there = first_lanes(builder, columns, lanes), first_lanes(builder, rows, lanes)
        last = builder.sub(rows, WORD(1))
        block = []
        for r in range(lanes):
            row = WORD(r)
            row = builder.select(builder.icmp_signed("<", row, last), row, last)  # repeated, and not stored
            where = address(builder, source, builder.mul(row, source_row), kind)
            block.append(load_flagged(builder, where, here))
        half = lanes // 2
        for _ in range(lanes.bit_length() - 1):
            turned = []
            for a, b in zip(block[:half], block[half:], strict=True):
                for start in (0, half):
                    mask = [start + n // 2 + (n % 2) * lanes for n in range(lanes)]
                    turned.append(builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask)))
            block = turned
        for c, column in enumerate(block):
            with builder.if_then(builder.icmp_signed("<", WORD(c), columns)):
                where = address(builder, target, builder.mul(WORD(c), target_row), kind)
                store_flagged(builder, column, where, there)
        return context.get_dummy_value()

    whole = types.intp
    return types.none(source, whole, target, whole, whole, whole), lower


turn: Any = _turn
"""`turn(source, source_row, target, target_row, rows, columns)`: a block of at most a vector's lanes either way."""


@kernel
def transpose(source, source_row, target, target_row, rows, columns, one):
    """Write a matrix the other way round; `row` is the numbers from one row to the next, `one` a vector's lanes."""
    for r in range(0, rows, one):
        high = min(one, rows - r)
        for c in range(0, columns, one):
            wide = min(one, columns - c)
            here, there = forward(source, r * source_row + c), forward(target, c * target_row + r)
            if high > FEW and wide > FEW:
                turn(here, source_row, there, target_row, high, wide)
            else:
                for j in range(wide):
                    for i in range(high):
                        there[j * target_row + i] = here[i * source_row + j]
