"""Shaped views of a flat buffer, and the loops that fill and copy them.

NumPy's slicing, reshaping and `a[:] = b` would do, but each use of them takes up to seconds to compile.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.pointers import pointer
from rnnkit_numba.kernels.vectors import W_of, fma, like, load_at, load_first, store_at, total


def _view(buffer: Any, *lengths: Any) -> Any:
    """The signature of a view's function, and how it becomes machine code."""
    if not isinstance(buffer, types.Array):
        return None
    viewed = types.Array(buffer.dtype, len(lengths), "C")

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(buffer)(context, builder, arguments[0])
        offset, lengths = arguments[1], arguments[2:]
        size = lengths[0]
        for length in lengths[1:]:
            size = builder.mul(size, length)
        inside = [builder.icmp_signed(">=", number, number.type(0)) for number in (offset, size)]
        inside.append(builder.icmp_signed("<=", builder.add(offset, size), source.nitems))
        with builder.if_then(builder.not_(builder.and_(inside[0], builder.and_(*inside[1:]))), likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a view leaves its buffer",))
        result = make_array(viewed)(context, builder)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(buffer.dtype)))
        strides = [itemsize]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        populate_array(
            result,
            data=builder.gep(source.data, [offset]),
            shape=lengths,
            strides=strides,
            itemsize=itemsize,
            meminfo=None,
        )
        return result._getvalue()

    return viewed(buffer, types.intp, *[types.intp] * len(lengths)), lower


@intrinsic
def _vector(typingctx: Any, buffer: Any, offset: Any, size: Any) -> Any:
    return _view(buffer, size)


@intrinsic
def _matrix(typingctx: Any, buffer: Any, offset: Any, rows: Any, columns: Any) -> Any:
    return _view(buffer, rows, columns)


@intrinsic
def _cube(typingctx: Any, buffer: Any, offset: Any, steps: Any, lanes: Any, width: Any) -> Any:
    return _view(buffer, steps, lanes, width)


vector: Any = _vector
"""`vector(buffer, offset, size)`: the view `(size,)` that starts at `offset`; the buffer must outlive it.

As all views it raises IndexError where it would leave its buffer: a table of layers that does not fit the arrays.
"""

matrix: Any = _matrix
"""`matrix(buffer, offset, rows, columns)`: the view `(rows, columns)` that starts at `offset`."""

cube: Any = _cube
"""`cube(buffer, offset, steps, lanes, width)`: the view `(T, B, width)` that starts at `offset`."""


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
def spread(source_N, first, a_N, size):
    """`a[:size] = source[first : first + size]`, zero beyond."""
    for j in range(size):
        a_N[j] = source_N[first + j]
    for j in range(size, a_N.size):
        a_N[j] = 0


@kernel
def copy_vectors(source, target, numbers, W):
    """Copy from pointer to pointer a number of whole vectors."""
    for n in range(0, numbers, W):
        store_at(load_at(source, n), target, n)


@kernel
def clear_vectors(target, numbers, W):
    """Zeros from a pointer on, whole vectors."""
    for n in range(0, numbers, W):
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
def all_finite(a, numbers, W):
    """Whether so many numbers from a pointer on are."""
    zero = like(load_first(a, 0, 0), 0.0)
    found_0, found_1, found_2, found_3 = zero, zero, zero, zero  # side by side, as one would wait for each addition
    n = 0
    while numbers - n >= 4 * W:
        found_0 = fma(load_at(a, n), zero, found_0)  # infinity times zero is NaN
        found_1 = fma(load_at(a, n + W), zero, found_1)
        found_2 = fma(load_at(a, n + 2 * W), zero, found_2)
        found_3 = fma(load_at(a, n + 3 * W), zero, found_3)
        n += 4 * W
    while n < numbers:
        found_0 = fma(load_first(a, n, numbers - n), zero, found_0)
        n += W
    return total((found_0 + found_1) + (found_2 + found_3)) == 0


@kernel
def clear_excess(a, row, rows, columns, used, gates, W):
    """Zero the last units of rows that are vectors of all gates in turn, where `used` units do not fill them.

    They have no weights, but an infinite input times zero is NaN.
    """
    last = columns // gates - W
    for r in range(rows):
        for gate in range(gates):
            n = r * row + gates * last + gate * W
            store_at(load_first(a, n, used - last), a, n)


@kernel
def copy_alike(source_TBN, a_TBN):
    """`a = source`, of one shape; the numbers of a row lie together, and a vector may follow behind the end of a."""
    steps, lanes, size = a_TBN.shape
    W, run, rows = W_of(a_TBN), lanes * size, steps
    row = source_TBN.strides[0] // a_TBN.itemsize
    if row == run:  # all rows are one
        run, rows = rows * run, 1
    source, a = pointer(source_TBN, 0, 0), pointer(a_TBN, 0, steps * lanes * size)
    for r in range(rows):
        for n in range(0, run, W):  # the numbers in excess are written over by the next row
            store_at(load_first(source, r * row + n, run - n), a, r * run + n)


@kernel
def clear_padding(valid_TB, a_TBN):
    """Zero where a row is padding."""
    for t in range(valid_TB.shape[0]):
        for b in range(valid_TB.shape[1]):
            if not valid_TB[t, b]:
                for n in range(a_TBN.shape[2]):
                    a_TBN[t, b, n] = 0
