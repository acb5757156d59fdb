"""Timing in alternation, and what the machine could do at best.

A shared machine is slow for seconds at a time. Two things that are compared are therefore timed in turns, ours,
theirs, ours, theirs, and each sample of one is divided by the sample of the other beside it.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Pairs = list[tuple[float, float]]

SAMPLE_SECONDS = 0.03
"""What one sample lasts at least, by calling the work again and again."""

SETTLE_SECONDS = 0.005
"""Pause before a sample: the idle threads of whoever ran before spin for about a millisecond."""

SLOWER = 1.5
"""A rival's setting this many times slower than its library's fastest in a trial is not timed any further."""

PATIENCE = 3
"""Rounds end after this many times the seconds that they should have taken."""


@dataclass(frozen=True)
class Work:
    """One thing to time.

    Attributes:
        call: does `units` units of it.
        units: steps, epochs or rows of one call; times are by the unit.
        threads: how many threads it may use.
        prepare: called before each sample and not timed, such as setting a number of threads.
        answer: from a fresh start, the numbers that everybody who does this work must get.
    """

    call: Callable[[], Any]
    units: float = 1
    threads: int = 1
    prepare: Callable[[], Any] = lambda: None
    answer: Callable[[], np.ndarray] | None = None


@dataclass(frozen=True)
class Comparison:
    """What an alternation measured.

    Attributes:
        ours: which of our own settings was compared: the fastest in a trial.
        threads: how many threads it uses.
        pairs: for each rival, (our, their) seconds a unit, one pair a round.
    """

    ours: str
    threads: int
    pairs: dict[str, Pairs]


def compare(
    ours: Mapping[str, Work], rivals: Mapping[str, Work], *, seconds: float = 20, rounds: int | None = None
) -> Comparison:
    """Time the best of our settings against every rival and every other setting, in alternation.

    Args:
        ours: our settings, by label, at least one.
        rivals: what they are compared with, by label.
        seconds: about how long to measure; at least 5 and at most 50 rounds.
        rounds: instead of what fits in `seconds`.
    """
    everyone = {**ours, **rivals}
    for work in everyone.values():
        work.prepare()
        work.call()  # compiles, and fills caches
    trial = {label: min(sample(work, 1) for _ in range(3)) for label, work in everyone.items()}
    best = min(ours, key=lambda label: trial[label])
    everyone = {label: work for label, work in everyone.items() if label in ours or contends(label, trial)}
    repeats = {
        label: max(1, int(np.ceil(SAMPLE_SECONDS / (trial[label] * work.units)))) for label, work in everyone.items()
    }
    opponents = [label for label in everyone if label != best] or [best]
    duration = {label: trial[label] * work.units * repeats[label] for label, work in everyone.items()}
    a_round = sum(duration[label] + duration[best] + 2 * SETTLE_SECONDS for label in opponents)
    if rounds is None:
        rounds = int(np.clip(seconds / a_round, 5, 50))
    pairs: dict[str, Pairs] = {label: [] for label in opponents}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - began > PATIENCE * seconds:
            break
        for label in opponents:
            mine = sample(everyone[best], repeats[best])
            pairs[label].append((mine, sample(everyone[label], repeats[label])))
    return Comparison(best, ours[best].threads, pairs)


def contends(label: str, trial: Mapping[str, float]) -> bool:
    """Whether a setting may yet turn out the fastest of its library."""
    library = label.partition(",")[0]
    return trial[label] <= SLOWER * min(t for other, t in trial.items() if other.partition(",")[0] == library)


def sample(work: Work, repeats: int) -> float:
    """Seconds a unit, over some calls in a row."""
    work.prepare()
    time.sleep(SETTLE_SECONDS)
    collecting = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        for _ in range(repeats):
            work.call()
        return (time.perf_counter() - began) / (repeats * work.units)
    finally:
        if collecting:
            gc.enable()


def check_answers(works: Mapping[str, Work], tolerance: float = 1e-5) -> None:
    """Check that everybody computes the same before anybody is timed.

    Raises:
        ValueError: naming whose numbers differ from the first one's.
    """
    answers: dict[str, np.ndarray] = {}
    for label, work in works.items():
        if work.answer is not None:
            work.prepare()
            answers[label] = np.asarray(work.answer())
    first, *others = answers
    for label in others:
        a, b = answers[first], answers[label]
        if a.shape != b.shape or not np.allclose(a, b, rtol=tolerance, atol=tolerance):
            apart = f"up to {np.abs(a - b).max():.3g} apart" if a.shape == b.shape else f"{a.shape} and {b.shape}"
            raise ValueError(f"{first!r} and {label!r} should compute the same numbers, but they are {apart}")


def machine() -> dict[str, Any]:
    """The processor, its measured peak of fused multiply-adds on one core and on two, and the libraries' versions."""
    peak = {str(n): fma_peak(n, trials=60) for n in (1, 2)}  # GFLOP/s, float32
    return {
        "processor": processor(),
        "instructions": instructions(features()),
        "cores": cores(),
        "peak_gflops": peak,
        "versions": versions(),
    }


def features() -> dict[str, bool]:
    """What this processor can do, as far as Numba may use it: less under `narrow.py`."""
    from llvmlite import binding
    from numba.core import config

    told: str | None = getattr(config, "CPU_FEATURES")  # noqa: B009 - made at run time
    if told is None:
        return dict(binding.get_host_cpu_features())
    return {name[1:]: name.startswith("+") for name in told.split(",") if name}


def instructions(found: Mapping[str, bool]) -> str:
    """The widest vector instructions among some features."""
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "neon": "NEON"}
    return next((told for name, told in known.items() if found.get(name)), "no vectors wider than SSE")


def is_narrowed() -> bool:
    """Whether Numba may use less than the processor has."""
    from llvmlite import binding

    return instructions(features()) != instructions(binding.get_host_cpu_features())


def versions() -> dict[str, str]:
    """Versions of the libraries that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for library in ("numpy", "numba", "torch", "jax", "onnxruntime"):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name as the system gives it, and what LLVM calls it."""
    from llvmlite import binding

    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({binding.get_host_cpu_name()})"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fma_peak(threads: int, trials: int = 20, turns: int = 2_000_000) -> float:
    """Fused multiply-adds of float32 that the cores do at best, in GFLOP/s (two operations each)."""
    loop, flops = _fma_loop()
    loop(1)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(trials):
            began = time.perf_counter()
            list(pool.map(loop, [turns] * threads))
            best = max(best, threads * turns * flops / (time.perf_counter() - began) / 1e9)
    return best


@cache
def _fma_loop() -> tuple[Callable[[int], float], int]:
    """A compiled loop of independent fused multiply-adds held in registers, and its operations a turn."""
    import numba
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    width = {"AVX-512": 16, "AVX2": 8, "AVX": 8}.get(instructions(features()), 4)
    chains = 12  # more than latency times ports, fewer than registers

    def multiply_add(typingctx: Any, turns: Any) -> Any:
        def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(ir.FloatType(), width)
            start = builder.block
            body, after = builder.append_basic_block("fma"), builder.append_basic_block("after")
            builder.branch(body)
            builder.position_at_end(body)
            turn = builder.phi(arguments[0].type)
            turn.add_incoming(arguments[0], start)
            sums = [builder.phi(vector) for _ in range(chains)]
            half = ir.Constant(vector, [0.5] * width)
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{width}f32")
            after_turn = [builder.call(fma, [phi, half, half]) for phi in sums]
            for n, (phi, value) in enumerate(zip(sums, after_turn, strict=True)):
                phi.add_incoming(ir.Constant(vector, [float(n)] * width), start)
                phi.add_incoming(value, body)
            left = builder.sub(turn, ir.Constant(turn.type, 1))
            turn.add_incoming(left, body)
            builder.cbranch(builder.icmp_signed(">", left, ir.Constant(turn.type, 0)), body, after)
            builder.position_at_end(after)
            total = after_turn[0]  # adding up the phis would keep both alive: more vectors than AVX2 has registers
            for value in after_turn[1:]:
                total = builder.fadd(total, value)
            return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

        return types.float32(types.int64), lower

    turn_around: Any = intrinsic(multiply_add)

    @numba.njit(nogil=True)
    def loop(turns):
        return turn_around(numba.int64(turns))

    return loop, 2 * width * chains
