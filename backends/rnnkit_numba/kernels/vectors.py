"""A value of several floating-point numbers side by side, as wide as the processor's registers.

Inside kernels `load_at` and `store_at` move a vector between registers and memory, `+ - * /` and the functions
below work on all of its numbers at once. The functions take plain numbers too, so that one formula serves both.
`W` is how many numbers a vector has: 16 of float32 in 64 bytes.
"""

from __future__ import annotations

import operator
import os
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.imputils import lower_builtin
from numba.core.typing import templates
from numba.extending import intrinsic, register_model

from rnnkit.errors import BackendError
from rnnkit_numba.compiled import VECTOR_BYTES
from rnnkit_numba.kernels.pointers import address


def host_vector_bytes() -> int:
    """Bytes of the widest vector that this processor computes with: 64, 32 or 16.

    Raises:
        BackendError: `RNNKIT_VECTOR_BYTES` other than these.
    """
    wanted = os.environ.get(VECTOR_BYTES, "")
    if wanted:
        if wanted not in ("16", "32", "64"):
            raise BackendError(
                f"backend 'numba' expects {VECTOR_BYTES} to be 16, 32 or 64, got {wanted!r}; leave it out"
            )
        return int(wanted)
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


BYTES = host_vector_bytes()
"""Bytes of a vector."""

LINE_BYTES = 64
"""Bytes of a cache line."""


def W_for(dtype: Any) -> int:
    """Numbers in a vector of a NumPy dtype, W."""
    return BYTES // np.dtype(dtype).itemsize


class Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.W = dtype, BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"vector({dtype} x {self.W})")


@register_model(Vector)
class VectorModel(PrimitiveModel):
    """A vector is one LLVM value."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(dmm.lookup(fe_type.dtype).get_value_type(), fe_type.W))


class Arithmetic(templates.AbstractTemplate):
    """Two vectors of one type in, one out."""

    def generic(self, args: Any, kws: Any) -> Any:
        """The signature, or None."""
        if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
            return templates.signature(args[0], *args)
        return None


infer_global: Any = templates.infer_global


def _lower(instruction: str) -> Any:
    return lambda context, builder, sig, arguments: getattr(builder, instruction)(*arguments)


for _operator, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    infer_global(_operator)(type(f"Arithmetic_{_instruction}", (Arithmetic,), {"key": _operator}))
    lower_builtin(_operator, Vector, Vector)(_lower(_instruction))


def is_real(*given: Any) -> bool:
    """Vectors or plain numbers, all of one type."""
    return isinstance(given[0], Vector | types.Float) and all(g == given[0] for g in given)


def splat(builder: Any, number: Any, kind: Any) -> Any:
    """A scalar LLVM value in every place of a vector type; as it is for a scalar type."""
    if not isinstance(kind, ir.VectorType):
        return number
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        single, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
    )


def call_llvm(builder: Any, name: str, arguments: Any) -> Any:
    """Call LLVM's function of a name and of arguments that have one type, such as `llvm.fma`."""
    kind = arguments[0].type
    suffix = f"f{integers(kind)[1]}"
    if isinstance(kind, ir.VectorType):
        suffix = f"v{kind.count}{suffix}"
    function_type = ir.FunctionType(kind, [kind] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{suffix}")
    return builder.call(function, arguments)


def integers(kind: Any) -> tuple[Any, int]:
    """The LLVM type of the same shape made of whole numbers, and its bits."""
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    bits = 64 if isinstance(scalar, ir.DoubleType) else 32
    whole = ir.IntType(bits)
    return (ir.VectorType(whole, kind.count) if isinstance(kind, ir.VectorType) else whole), bits


def whole_constant(kind: Any, value: int) -> Any:
    """A whole number as an LLVM constant, in every place of a vector type."""
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


@intrinsic
def _W_of(typingctx: Any, a: Any) -> Any:
    if not isinstance(a, types.Array | types.CPointer | Vector):
        return None
    count = Vector(a.dtype).W
    return types.intp(a), lambda context, builder, sig, arguments: context.get_constant(types.intp, count)


W_of: Any = _W_of
"""`W_of(a)`: numbers in a vector, or in one of the dtype of an array or of what a pointer points to."""


@intrinsic
def _like(typingctx: Any, a: Any, value: Any) -> Any:
    if not is_real(a):
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        kind = context.get_value_type(a)
        scalar = kind.element if isinstance(kind, ir.VectorType) else kind
        number = arguments[1]
        if number.type != scalar:
            number = builder.fptrunc(number, scalar)
        return splat(builder, number, kind)

    return a(a, types.float64), lower


like: Any = _like
"""`like(a, value)`: a float64 rounded to a's dtype, in every place."""


@intrinsic
def _bits(typingctx: Any, a: Any) -> Any:
    if not is_real(a):
        return None
    count = a.dtype.bitwidth if isinstance(a, Vector) else a.bitwidth
    return types.intp(a), lambda context, builder, sig, arguments: context.get_constant(types.intp, count)


bits: Any = _bits
"""`bits(a)`: 32 or 64, known when the code is compiled."""


@intrinsic
def _fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    if not is_real(a, b, c):
        return None
    return a(a, b, c), lambda context, builder, sig, arguments: call_llvm(builder, "fma", arguments)


fma: Any = _fma
"""`fma(a, b, c)`: a b + c, rounded once."""


@intrinsic
def _root(typingctx: Any, a: Any) -> Any:
    if not is_real(a):
        return None
    return a(a), lambda context, builder, sig, arguments: call_llvm(builder, "sqrt", arguments)


root: Any = _root
"""`root(a)`: the square root, correctly rounded."""


@intrinsic
def _where_less(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    if not is_real(a, b, yes, no):
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        a, b, yes, no = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), yes, no)

    return a(a, b, yes, no), lower


where_less: Any = _where_less
"""`where_less(a, b, yes, no)`: `yes` in the places where a < b, else `no`; NaN is less than nothing."""


@intrinsic
def _with_sign(typingctx: Any, a: Any, b: Any) -> Any:
    if not is_real(a, b):
        return None

    return a(a, b), lambda context, builder, sig, arguments: call_llvm(builder, "copysign", arguments)


with_sign: Any = _with_sign
"""`with_sign(a, b)`: |a| with the sign of b, zeros included."""


@intrinsic
def _power_of_two(typingctx: Any, shifted: Any) -> Any:
    if not is_real(shifted):
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        whole, width = integers(kind)
        mantissa, bias = (52, 1023) if width == 64 else (23, 127)
        exponent = builder.shl(builder.bitcast(arguments[0], whole), whole_constant(whole, mantissa))
        return builder.bitcast(builder.add(exponent, whole_constant(whole, bias << mantissa)), kind)

    return shifted(shifted), lower


power_of_two: Any = _power_of_two
"""`power_of_two(n + 1.5 · 2^23)` (float64: 2^52): 2^n, made from bits.

The sum holds n in its lowest bits; shifted left they are the exponent of the result. Whatever comes in, no bit
pattern traps: NaN gives some number, and the caller's arithmetic keeps the NaN.
"""


@intrinsic
def _load_at(typingctx: Any, pointer: Any, offset: Any) -> Any:
    if not isinstance(pointer, types.CPointer):
        return None
    vector = Vector(pointer.dtype)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where = address(builder, arguments[0], arguments[1], context.get_value_type(vector))
        return builder.load(where, align=pointer.dtype.bitwidth // 8)

    return vector(pointer, types.intp), lower


load_at: Any = _load_at
"""`load_at(pointer, n)`: the vector n numbers on from a pointer."""


@intrinsic
def _store_at(typingctx: Any, vector: Any, pointer: Any, offset: Any) -> Any:
    if not (isinstance(pointer, types.CPointer) and vector == Vector(pointer.dtype)):
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        value, start, number = arguments
        builder.store(value, address(builder, start, number, value.type), align=pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(vector, pointer, types.intp), lower


store_at: Any = _store_at
"""`store_at(vector, pointer, n)`: write a vector n numbers on from a pointer."""


def first_flags(builder: Any, count: Any, W: int) -> Any:
    """Flags for W places, true in the first `count` of them."""
    whole = ir.VectorType(ir.IntType(64), W)
    return builder.icmp_signed("<", ir.Constant(whole, list(range(W))), splat(builder, count, whole))


def load_flagged(builder: Any, where: Any, flags: Any) -> Any:
    """Load the places that are flagged, zero elsewhere; memory that is not flagged is not touched."""
    kind = where.type.pointee
    name, word = f"llvm.masked.load.v{kind.count}f{integers(kind)[1]}.p0", ir.IntType(32)
    function_type = ir.FunctionType(kind, [where.type, word, flags.type, kind])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [where, word(integers(kind)[1] // 8), flags, ir.Constant(kind, None)])


def store_flagged(builder: Any, value: Any, where: Any, flags: Any) -> None:
    """Store the places that are flagged."""
    name, word = f"llvm.masked.store.v{value.type.count}f{integers(value.type)[1]}.p0", ir.IntType(32)
    function_type = ir.FunctionType(ir.VoidType(), [value.type, where.type, word, flags.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    builder.call(function, [value, where, word(integers(value.type)[1] // 8), flags])


@intrinsic
def _load_first(typingctx: Any, pointer: Any, offset: Any, count: Any) -> Any:
    if not isinstance(pointer, types.CPointer):
        return None
    vector = Vector(pointer.dtype)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        start, number, count = arguments
        where = address(builder, start, number, context.get_value_type(vector))
        return load_flagged(builder, where, first_flags(builder, count, vector.W))

    return vector(pointer, types.intp, types.intp), lower


load_first: Any = _load_first
"""`load_first(pointer, n, count)`: the vector n numbers on, of which only the first `count` are read: zeros beyond."""


@intrinsic
def _widen(typingctx: Any, vector: Any) -> Any:
    if not isinstance(vector, Vector):
        return None
    double = Vector(types.float64)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        (value,), kind = arguments, context.get_value_type(double)
        if vector == double:
            return context.make_tuple(builder, sig.return_type, [value, ir.Constant(kind, None)])
        halves = []
        for start in (0, double.W):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), double.W), list(range(start, start + double.W)))
            halves.append(builder.fpext(builder.shuffle_vector(value, value, mask), kind))
        return context.make_tuple(builder, sig.return_type, halves)

    return types.UniTuple(double, 2)(vector), lower


widen: Any = _widen
"""`widen(vector)`: its numbers as two vectors of float64; of float64, itself and zeros."""


@intrinsic
def _total(typingctx: Any, vector: Any) -> Any:
    if not isinstance(vector, Vector):
        return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        numbers = [builder.extract_element(arguments[0], ir.IntType(32)(n)) for n in range(vector.W)]
        while len(numbers) > 1:
            numbers = [builder.fadd(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
        return numbers[0]

    return vector.dtype(vector), lower


total: Any = _total
"""`total(vector)`: the sum of its numbers, neighbours first."""
