"""Several threads in one compiled function: how many, how they start, and where they meet.

There is no pool: a call starts its threads and waits for them, so that nothing outlives it, in a process that forks
least of all. Between two meeting points threads write to different numbers; who computes what never changes a sum.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import kernel
from rnnkit_numba.places import calling, in_the_way, tell_place

SMALL_FLOPS = 2_000_000
"""Operations of a window below which a second thread costs more than it saves."""

ARRIVED, ROUND, STOPPED = 0, 8, 16
"""Where the counters of a barrier stand, each in a cache line of its own."""

GLANCES = 2000
"""Looks at the barrier before a thread asks whether it stands in the way of another one."""

PATIENCE = 400_000
"""Looks at the barrier, about a millisecond, before a thread naps between them.

A thread that waits stays on its processor: offering it would mean to wait for a whole time slice of whatever else is
running, at every meeting. It offers it where another thread of the same team may be waiting for it.
"""


def processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def new_barrier() -> np.ndarray:
    """Counters at zero."""
    return np.zeros(24, np.int64)


def run_threads(threads: int, barrier: np.ndarray, work: Callable[[int], Any]) -> Any:
    """Call `work(thread)` for every thread at once, thread 0 in this one; what it returns for thread 0.

    Where one of them fails, the others are let go from the barrier and the first error is raised.
    """
    errors: list[BaseException] = []

    def guarded(thread: int) -> Any:
        try:
            return work(thread)
        except BaseException as error:
            barrier[STOPPED] = 1
            errors.append(error)
            return None

    started: list[threading.Thread] = []
    result = None
    try:
        for thread in range(1, threads):
            started.append(threading.Thread(target=guarded, args=(thread,), daemon=True))
            started[-1].start()
        result = guarded(0)
    except BaseException as error:  # Ctrl-C between two lines, or no more threads to be had
        barrier[STOPPED] = 1
        errors.append(error)
    for other in started:
        while other.is_alive():
            try:
                other.join()
            except BaseException as error:  # Ctrl-C: this thread has done its share, the other is about to
                errors.append(error)
    if errors:
        raise errors[0]
    return result


@intrinsic
def _atomic_add(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        target = context.make_array(array)(context, builder, arguments[0])
        return builder.atomic_rmw("add", builder.gep(target.data, [arguments[1]]), arguments[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), lower


@intrinsic
def _atomic_load(typingctx: Any, array: Any, index: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        target = context.make_array(array)(context, builder, arguments[0])
        return builder.load_atomic(builder.gep(target.data, [arguments[1]]), "seq_cst", 8)

    return types.int64(array, types.intp), lower


atomic_add: Any = _atomic_add
atomic_load: Any = _atomic_load

offer_processor = calling("sched_yield")
"""`offer_processor()`: let another thread run here."""

nap = calling("usleep", 1)
"""`nap()`: sleep as short as the system can."""


class Team(NamedTuple):
    """A thread among those that work together.

    Attributes:
        barrier: where they meet, see `new_barrier`.
        places: where they tell each other their processors, see `places.py`.
        thread: its number, from 0.
        threads: how many there are.
    """

    barrier: Any
    places: Any
    thread: int
    threads: int


@kernel
def meet(team):
    """Wait until all threads are here. False: one of them has failed, and the caller returns at once."""
    barrier, places, thread, threads = team
    if threads == 1:
        return True
    tell_place(places, thread)
    turn = atomic_load(barrier, ROUND)
    if atomic_add(barrier, ARRIVED, 1) == threads - 1:
        atomic_add(barrier, ARRIVED, -threads)
        atomic_add(barrier, ROUND, 1)
        return True
    looks = 0
    while atomic_load(barrier, ROUND) == turn:
        if atomic_load(barrier, STOPPED) != 0:
            return False
        looks += 1
        if looks % GLANCES == 0 and in_the_way(places, thread, threads):
            offer_processor()
        if looks > PATIENCE:
            nap()
    return atomic_load(barrier, STOPPED) == 0
