"""Shaped views of a flat buffer, and the loops that fill and copy them.

NumPy's slicing, reshaping and `a[:] = b` would do, but each use of them takes up to seconds to compile.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from rnnkit_numba.compiled import kernel
from rnnkit_numba.vectors import like, load_at, store_at


def _unchecked_view(typingctx: Any, buffer: Any, offset: Any, shape: Any) -> Any:
    if not (isinstance(buffer, types.Array) and isinstance(shape, types.UniTuple)):
        return None
    viewed = types.Array(buffer.dtype, len(shape), "C")

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(buffer)(context, builder, arguments[0])
        result = make_array(viewed)(context, builder)
        lengths = cgutils.unpack_tuple(builder, arguments[2])
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(buffer.dtype)))
        strides = [itemsize]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        populate_array(
            result,
            data=builder.gep(source.data, [arguments[1]]),
            shape=lengths,
            strides=strides,
            itemsize=itemsize,
            meminfo=None,
        )
        return result._getvalue()

    return viewed(buffer, types.intp, types.UniTuple(types.intp, len(shape))), lower


unchecked_view: Any = intrinsic(_unchecked_view)
"""`unchecked_view(buffer, offset, shape)`: a C-ordered view from an offset; the buffer must outlive it."""


@kernel
def vector(buffer, offset, size):
    """The view `(size,)` that starts at `offset`."""
    check(buffer, offset, size)
    return unchecked_view(buffer, offset, (size,))


@kernel
def matrix(buffer, offset, rows, columns):
    """The view `(rows, columns)` that starts at `offset`."""
    check(buffer, offset, rows * columns)
    return unchecked_view(buffer, offset, (rows, columns))


@kernel
def cube(buffer, offset, steps, lanes, width):
    """The view `(T, B, width)` that starts at `offset`."""
    check(buffer, offset, steps * lanes * width)
    return unchecked_view(buffer, offset, (steps, lanes, width))


@kernel
def check(buffer, offset, size):
    """Refuse a view that would leave its buffer: a table of layers that does not fit the arrays."""
    if offset < 0 or size < 0 or offset + size > buffer.size:
        raise IndexError("a view leaves its buffer")


@kernel
def fill(a_N, value):
    """`a[n] = value`."""
    for n in range(a_N.size):
        a_N[n] = value


@kernel
def copy(source_N, a_N):
    """`a[n] = source[n]`."""
    for n in range(a_N.size):
        a_N[n] = source_N[n]


@kernel
def copy_vectors(source, target, numbers, one):
    """Copy from pointer to pointer a number of whole vectors of `one` number each."""
    for n in range(0, numbers, one):
        store_at(load_at(source, n), target, n)


@kernel
def clear_vectors(target, numbers, one):
    """Zeros from a pointer on, whole vectors of `one` number each."""
    for n in range(0, numbers, one):
        store_at(like(load_at(target, n), 0.0), target, n)


@kernel
def copy_rows(source_TBN, a_TBN):
    """`a[t, b, n] = source[t, b, n]` for as many n as both have."""
    size = min(source_TBN.shape[2], a_TBN.shape[2])
    for t in range(a_TBN.shape[0]):
        for b in range(a_TBN.shape[1]):
            for n in range(size):
                a_TBN[t, b, n] = source_TBN[t, b, n]


@kernel
def clear_padding(valid_TB, a_TBN):
    """Zero where a row is padding."""
    for t in range(valid_TB.shape[0]):
        for b in range(valid_TB.shape[1]):
            if not valid_TB[t, b]:
                for n in range(a_TBN.shape[2]):
                    a_TBN[t, b, n] = 0
