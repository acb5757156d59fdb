"""Where threads run: two that start on one processor wait for each other, and every meeting takes a time slice.

A thread starts wherever the system thinks fit. Some systems put it beside the one that started it, in virtual machines
above all, and find out after ten milliseconds, a whole block of windows. So the threads tell each other where they are
before they begin, and one that finds another of them on its processor moves, once: it asks to run on a free processor
alone, and, once there, to run wherever it might before. The thread that called never moves.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import check_index, kernel
from rnnkit_numba.kernels.pointers import WORD

MOST = 1024
"""Processors that a set of them is made for, as Linux's C libraries have it."""

WORDS = MOST // 64
"""Numbers of 64 bits that hold such a set."""

ALLOWED, TARGET = 8, 8 + WORDS
"""Where a thread's sets stand: those that it may run on, and the one that it moves to."""

ROOM = 8 + 2 * WORDS
"""Numbers that a thread has in `places`: its processor, in a cache line of its own, and room for two sets."""

CAN_MOVE = all(llvm.address_of_symbol(f"sched_{name}") for name in ("getcpu", "getaffinity", "setaffinity"))
"""Whether the C library tells where a thread runs and lets it move, as on Linux."""


def new_places(threads: int) -> np.ndarray:
    """Where threads tell each other their places."""
    return np.zeros(threads * ROOM, np.int64)


def calling(name: str, *arguments: int) -> Any:
    """A function that calls one of the C library, always with these whole numbers; -1 where there is none."""
    there = bool(llvm.address_of_symbol(name))

    @intrinsic
    def call(typingctx: Any) -> Any:
        def lower(context: Any, builder: Any, sig: Any, _: Any) -> Any:
            if not there:
                return WORD(-1)
            number = ir.IntType(32)
            function = declared(builder, ir.FunctionType(number, [number] * len(arguments)), name)
            return builder.sext(builder.call(function, [number(argument) for argument in arguments]), WORD)

        return types.int64(), lower

    return call


def declared(builder: Any, kind: ir.FunctionType, name: str) -> Any:
    """A function of the C library."""
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def on_set(name: str) -> Any:
    """The function of the C library that reads or writes this thread's set, as `f(places, start)`: 0 or more, or -1."""

    @intrinsic
    def call(typingctx: Any, places: Any, start: Any) -> Any:
        def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            if not CAN_MOVE:
                return WORD(-1)
            number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
            array = context.make_array(places)(context, builder, arguments[0])
            check_index(context, builder, [arguments[1]], [array.nitems], WORDS)
            bits = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
            function = declared(builder, ir.FunctionType(number, [number, WORD, byte]), name)
            return builder.sext(builder.call(function, [number(0), WORD(MOST // 8), bits]), WORD)

        return types.int64(places, types.intp), lower

    return call


processor = calling("sched_getcpu")
"""`processor()`: the number of the one that this thread runs on, -1 where that is unknown."""

read_allowed = on_set("sched_getaffinity")
"""`read_allowed(places, start)`: write the set of processors that this thread may run on."""

run_on = on_set("sched_setaffinity")
"""`run_on(places, start)`: let this thread run on the set that stands there, and on no other processor."""


@kernel
def tell_place(places, thread):
    """Say where this thread is; others may read it at any time, and nothing but speed depends on what they find."""
    places[thread * ROOM] = processor()


@kernel
def in_the_way(places, thread, threads):
    """Whether another thread was last seen on the processor where this one is."""
    here, found = processor(), False
    for other in range(threads):
        found = found or (other != thread and places[other * ROOM] == here)
    return found and here >= 0


@kernel
def keep_apart(places, thread, threads):
    """Move to a free processor if a thread before this one has told the same place."""
    mine = thread * ROOM
    if not stands_behind(places, thread) or read_allowed(places, mine + ALLOWED) < 0:
        return
    target = free_processor(places, thread, threads)
    if target >= 0:
        places[mine + TARGET + target // 64] = np.int64(1) << (target % 64)
        run_on(places, mine + TARGET)
        run_on(places, mine + ALLOWED)


@kernel
def stands_behind(places, thread):
    """Whether a thread before this one has told the same place."""
    found = False
    for other in range(thread):
        found = found or places[other * ROOM] == places[thread * ROOM]
    return found and places[thread * ROOM] >= 0


@kernel
def free_processor(places, thread, threads):
    """A processor that this thread may run on and that none has told, another for every thread that looks; -1: none."""
    free, rank = 0, 0
    for n in range(MOST):
        free += is_free(places, n, thread, threads)
    if free == 0:
        return -1
    for other in range(1, thread):
        rank += stands_behind(places, other)
    rank %= free
    for n in range(MOST):
        target = (places[0] + n) % MOST  # other calls look elsewhere first
        if is_free(places, target, thread, threads):
            if rank == 0:
                return target
            rank -= 1
    return -1


@kernel
def is_free(places, target, thread, threads):
    """Whether this thread may run on a processor, and no thread has told that it does."""
    free = (places[thread * ROOM + ALLOWED + target // 64] >> (target % 64)) & 1 == 1
    for other in range(threads):
        free = free and places[other * ROOM] != target
    return free
