"""The innermost loop of every matrix product: a tile of the result stays in registers while k runs.

    c[m, n] = c0[m, n] + Σ_k a[m, k] b[k, n],      m < rows, n < vectors · lanes

For each k one vector of b is loaded for every column of the tile and one number of a, spread over a vector, for
every row; rows · vectors fused multiply-adds follow. The sums run over k in order, one term at a time, so that
no result depends on the tile which computed it; but for tiles of several chains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from rnnkit_numba.pointers import WORD, address
from rnnkit_numba.vectors import BYTES, Vector, call_llvm, splat

TILE_ROWS = 6
"""Rows of a full tile."""

TILE_VECTORS = 4 if BYTES != 32 else 2
"""Vectors of a full tile: 24 accumulators for the 32 registers of AVX-512 and NEON, 12 for the 16 of AVX2."""


def make_tile(rows: int, vectors: int, chains: int = 1) -> Callable[..., None]:
    """The function `tile(a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, inner, apart)`.

    a, b, c0 and c are pointers, `row` and `k` the numbers from one row and one k to the next; rows of b, c0 and c
    are contiguous. c0 and c may be the same numbers. With several `chains` as many values of k are taken at once, each
    into a sum of its own: a tile of few accumulators would wait for every addition. The chains begin `apart` values
    of k from each other, and `inner` counts those of one chain.
    """

    @intrinsic
    def tile(typingctx, a, a_row, a_k, b, b_k, c0, c0_row, c, c_row, inner, apart):  # type: ignore[no-untyped-def]
        if not (isinstance(c, types.CPointer) and a == b == c0 == c):
            return None
        whole = types.intp

        def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            a, a_row, a_k, b, b_k, c0, c0_row, target, c_row, inner, apart = arguments
            vector = context.get_value_type(Vector(c.dtype))
            size = c.dtype.bitwidth // 8

            def times(number: Any, factor: int) -> Any:
                return builder.mul(number, WORD(factor))

            def column(start: Any, n: int) -> Any:
                return address(builder, start, WORD(n * vector.count), vector)

            def load_row(start: Any) -> list[Any]:
                return [builder.load(column(start, n), align=size) for n in range(vectors)]

            sums = [value for m in range(rows) for value in load_row(builder.gep(c0, [times(c0_row, m)]))]
            tile_sums = len(sums)
            sums += [vector(None) for _ in range((chains - 1) * tile_sums)]
            before = builder.block
            head, body, done = (builder.append_basic_block(f"product.{name}") for name in ("head", "body", "done"))
            builder.branch(head)
            builder.position_at_end(head)
            k = builder.phi(WORD)
            k.add_incoming(WORD(0), before)
            phis = [builder.phi(vector) for _ in sums]
            for phi, value in zip(phis, sums, strict=True):
                phi.add_incoming(value, before)
            builder.cbranch(builder.icmp_signed("<", k, inner), body, done)
            builder.position_at_end(body)
            for chain in range(chains):
                here = builder.add(k, times(apart, chain)) if chain else k
                b_vectors = load_row(builder.gep(b, [builder.mul(here, b_k)]))
                a_column = builder.gep(a, [builder.mul(here, a_k)])
                for m in range(rows):
                    number = builder.load(builder.gep(a_column, [times(a_row, m)]), align=size)
                    spread = splat(builder, number, vector)
                    first = (chain * rows + m) * vectors
                    for phi, b_vector in zip(phis[first : first + vectors], b_vectors, strict=True):
                        phi.add_incoming(call_llvm(builder, "fma", [spread, b_vector, phi]), body)
            k.add_incoming(builder.add(k, WORD(1)), body)
            builder.branch(head)
            builder.position_at_end(done)
            sums = phis
            while len(sums) > tile_sums:  # halves, until one sum is left of each
                half = len(sums) // 2
                sums = [builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
            for m in range(rows):
                row = builder.gep(target, [times(c_row, m)])
                for n in range(vectors):
                    builder.store(sums[m * vectors + n], column(row, n), align=size)
            return context.get_dummy_value()

        return types.none(a, whole, whole, b, whole, c0, whole, c, whole, whole, whole), lower

    return tile  # type: ignore[return-value]
