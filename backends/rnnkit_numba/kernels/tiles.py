"""The innermost loop of every matrix product: a tile of the result stays in registers while k runs.

    c[m, n] = c0[m, n] + Σ_k a[m, k] b[k, n],      m < rows, n < vectors · W

For each k one vector of b is loaded for every column of the tile and one number of a, spread over a vector, for
every row; rows · vectors fused multiply-adds follow. The sums run over k in order, one term at a time, so that
no result depends on the tile which computed it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rnnkit_numba.kernels.pointers import WORD, address
from rnnkit_numba.kernels.registers import loop
from rnnkit_numba.kernels.vectors import BYTES, LINE_BYTES, Vector, call_llvm, splat

TILE_ROWS = 6
"""Rows of a full tile."""

TILE_VECTORS = 4 if BYTES != 32 else 2
"""Vectors of a full tile: 24 accumulators for the 32 registers of AVX-512 and NEON, 12 for the 16 of AVX2."""


def make_tile(rows: int, vectors: int, lines: int = 0) -> Any:
    """The function `tile(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, inner, ahead)`.

    a, b, c0 and c are pointers, `row` and `k` the numbers from one row and one k to the next; rows of b, c0 and c
    are contiguous. c0 and c may be the same numbers. For each k so many cache lines are fetched, one after the other,
    that begin `ahead` numbers behind b.
    """

    @intrinsic
    def tile(
        typingctx: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, c0: Any, c0_row: Any, c: Any, c_row: Any,
        inner: Any, ahead: Any,
    ) -> Any:  # fmt: skip
        if not (isinstance(c, types.CPointer) and a == b == c0 == c):
            return None
        whole = types.intp

        def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            a, a_row, a_k, b, b_k, c0, c0_row, target, c_row, inner, ahead = arguments
            vector = context.get_value_type(Vector(c.dtype))
            size = c.dtype.bitwidth // 8

            def times(number: Any, factor: int) -> Any:
                return builder.mul(number, WORD(factor))

            def column(start: Any, n: int) -> Any:
                return address(builder, start, WORD(n * vector.count), vector)

            def load_row(start: Any) -> list[Any]:
                return [builder.load(column(start, n), align=size) for n in range(vectors)]

            sums = [value for m in range(rows) for value in load_row(builder.gep(c0, [times(c0_row, m)]))]

            def multiply_add(k: Any, sums: list[Any]) -> list[Any]:
                b_vectors = load_row(builder.gep(b, [builder.mul(k, b_k)]))
                for line in range(lines):
                    numbers = LINE_BYTES // size
                    first = builder.add(times(k, lines * numbers), WORD(line * numbers))
                    fetch(builder, builder.gep(b, [builder.add(ahead, first)]))
                a_column = builder.gep(a, [builder.mul(k, a_k)])
                added = []
                for m in range(rows):
                    number = builder.load(builder.gep(a_column, [times(a_row, m)]), align=size)
                    spread = splat(builder, number, vector)
                    of_row = zip(b_vectors, sums[m * vectors : (m + 1) * vectors], strict=True)
                    added += [call_llvm(builder, "fma", [spread, b_vector, value]) for b_vector, value in of_row]
                return added

            sums = loop(builder, "product", inner, sums, multiply_add)
            for m in range(rows):
                row = builder.gep(target, [times(c_row, m)])
                for n in range(vectors):
                    builder.store(sums[m * vectors + n], column(row, n), align=size)
            return context.get_dummy_value()

        return types.none(a, whole, whole, b, whole, c0, whole, c, whole, whole, whole), lower

    return tile


def fetch(builder: Any, pointer: Any) -> None:
    """Ask for the cache line of an address, to the second-level cache, without waiting; the address may be any."""
    word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(pointer, byte), word(0), word(2), word(1)])
