"""Where a matrix begins: one machine word, where an array is seven and is counted by its users.

The innermost products are called once a time step; for a small layer the passing of arrays would take longer
than the arithmetic.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import check_index


@intrinsic
def _pointer(typingctx: Any, array: Any, start: Any, size: Any) -> Any:
    if not isinstance(array, types.Array):
        return None
    result = types.CPointer(array.dtype)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        value = context.make_array(array)(context, builder, arguments[0])
        check_index(context, builder, [arguments[1]], [value.nitems], arguments[2])
        return builder.gep(value.data, [arguments[1]])

    return result(array, types.intp, types.intp), lower


pointer: Any = _pointer
"""`pointer(array, start, size)`: to number `start` of a contiguous array, of which `size` from there are used."""


@intrinsic
def _further(typingctx: Any, a: Any, numbers: Any) -> Any:
    if not isinstance(a, types.CPointer):
        return None
    return a(a, types.intp), lambda context, builder, sig, arguments: builder.gep(arguments[0], [arguments[1]])


further: Any = _further
"""`further(pointer, n)`: the pointer to n numbers further on."""


def address(builder: Any, pointer: Any, offset: Any, kind: Any) -> Any:
    """The LLVM pointer to a value of some kind, `offset` numbers on."""
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


WORD = ir.IntType(64)
