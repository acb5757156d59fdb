"""Several vectors at once, as a tuple: one for each gate of a cell, or for each array of its state.

How many there are is known when a kernel is compiled: they stay in registers, and no loop runs over them.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from rnnkit_numba.kernels.pointers import WORD, address
from rnnkit_numba.kernels.vectors import Vector


def loading(count: str) -> Any:
    """The function `load(cell, pointer, apart)`: as many vectors as `cell` says by an attribute of this name.

    `cell` is a module, the vectors stand `apart` numbers from each other.
    """

    @intrinsic
    def load(typingctx: Any, cell: Any, pointer: Any, apart: Any) -> Any:
        if not isinstance(pointer, types.CPointer):
            return None
        vector = Vector(pointer.dtype)
        several = types.UniTuple(vector, getattr(cell.pymod, count))

        def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            _, start, apart = arguments
            kind, size = context.get_value_type(vector), pointer.dtype.bitwidth // 8
            places = [address(builder, start, builder.mul(apart, WORD(n)), kind) for n in range(several.count)]
            return context.make_tuple(builder, several, [builder.load(place, align=size) for place in places])

        return several(cell, pointer, types.intp), lower

    return load


@intrinsic
def _store_several(typingctx: Any, vectors: Any, pointer: Any, apart: Any) -> Any:
    if not (isinstance(pointer, types.CPointer) and vectors.dtype == Vector(pointer.dtype)):
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        several, start, apart = arguments
        for n in range(vectors.count):
            value = builder.extract_value(several, n)
            place = address(builder, start, builder.mul(apart, WORD(n)), value.type)
            builder.store(value, place, align=pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(vectors, pointer, types.intp), lower


store_several: Any = _store_several
"""`store_several(vectors, pointer, apart)`: write vectors, `apart` numbers from each other."""


@intrinsic
def _with_first(typingctx: Any, vectors: Any, first: Any) -> Any:
    if vectors.dtype != first:
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return builder.insert_value(arguments[0], arguments[1], 0)

    return vectors(vectors, first), lower


with_first: Any = _with_first
"""`with_first(vectors, first)`: the vectors, but for the first of them."""
