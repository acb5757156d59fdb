"""Where threads run: two that stand on one processor wait for each other, and every meeting takes a time slice.

A thread starts wherever the system thinks fit. Some systems put it beside the one that started it, in virtual machines
above all, and find out after ten milliseconds, a whole block of windows. So the threads tell each other where they are,
and one that finds another of them on its processor moves: it asks to run on a free processor alone, and, once there,
to run on any again.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import kernel

MOST = 1024
"""Processors that a set of them is made for, as Linux's C libraries have it."""

WORDS = MOST // 64
"""Numbers of 64 bits that hold such a set."""

ROOM = 8 + WORDS
"""Numbers that a thread has in `places`: its processor, in a cache line of its own, and scratch for a set of one."""

LINUX = bool(llvm.address_of_symbol("sched_getcpu") and llvm.address_of_symbol("sched_setaffinity"))


def processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def new_places(threads: int) -> np.ndarray:
    """The set of processors that threads may run on, empty where nobody is to move; behind it their places."""
    places = np.zeros(WORDS + threads * ROOM, np.int64)
    if LINUX:
        allowed = os.sched_getaffinity(0)
        if max(allowed) < MOST:
            bits = sum(1 << processor for processor in allowed)
            places[:WORDS] = np.frombuffer(bits.to_bytes(MOST // 8, "little"), np.int64)
    return places


@intrinsic
def _processor(typingctx: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        if not LINUX:
            return ir.IntType(64)(-1)
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.sext(builder.call(declared(builder, kind, "sched_getcpu"), []), ir.IntType(64))

    return types.int64(), lower


@intrinsic
def _run_on(typingctx: Any, places: Any, start: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        if LINUX:
            word, size, byte = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
            target = context.make_array(places)(context, builder, arguments[0])
            allowed = builder.bitcast(builder.gep(target.data, [arguments[1]]), byte)
            kind = ir.FunctionType(word, [word, size, byte])
            builder.call(declared(builder, kind, "sched_setaffinity"), [word(0), size(MOST // 8), allowed])
        return context.get_dummy_value()

    return types.none(places, types.intp), lower


def declared(builder: Any, kind: ir.FunctionType, name: str) -> Any:
    """A function of the C library."""
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


processor: Any = _processor
"""`processor()`: the number of the one that this thread runs on, -1 where that is unknown."""

run_on: Any = _run_on
"""`run_on(places, start)`: let this thread run on the set of processors that begins there, and on no others."""


@kernel
def tell_place(places, thread):
    """Say where this thread is; the others may read it once they have met."""
    places[WORDS + thread * ROOM] = processor()


@kernel
def keep_apart(places, thread, threads):
    """Move to a free processor if a thread before this one has told the same place."""
    mine = WORDS + thread * ROOM
    crowded = False
    for other in range(thread):
        crowded = crowded or places[WORDS + other * ROOM] == places[mine]
    if not crowded or places[mine] < 0:
        return
    free = 0
    for n in range(MOST):
        free += is_free(places, n, threads)
    if free == 0:
        return
    passed = (thread - 1) % free  # several that stand on one processor go to different ones
    for n in range(1, MOST):
        target = (places[mine] + n) % MOST
        if is_free(places, target, threads):
            if passed == 0:
                places[mine + 8 + target // 64] = np.int64(1) << (target % 64)
                run_on(places, mine + 8)
                places[mine + 8 + target // 64] = 0
                run_on(places, 0)
                return
            passed -= 1


@kernel
def is_free(places, target, threads):
    """Whether the threads may run on a processor, and none of them has told that it does."""
    free = (places[target // 64] >> (target % 64)) & 1 == 1
    for other in range(threads):
        free = free and places[WORDS + other * ROOM] != target
    return free
