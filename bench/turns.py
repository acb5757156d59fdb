"""Processor time of two trees in turns, for `before_after.py`: a process of each stays, and is told what to time next.

python bench/turns.py        # reads names of cases, a line each, and answers in seconds

Processor time, the smallest of many turns: what else runs on the machine shows little in it. Each case calls only what
the README shows. Where a case seems slower, it gets more turns before that is said.
"""

from __future__ import annotations

import fnmatch
import gc
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

LIMIT = 1.03
"""How many times as long a case may take after a change."""

MORE = 3
"""How often as many turns again are given to a case that seems slower."""

SECONDS = 0.1
"""What a call of a case takes at least, by calling again and again."""

Times = dict[str, dict[str, list[float]]]


def fit(hidden: int, layers: int, lanes: int, length: int, windows: int, backend: str = "numba") -> Callable[[], Any]:
    """An epoch of so many windows on one thread."""
    import numpy as np

    import rnnkit as rk

    t = np.arange(lanes * length * windows + 1)
    x = np.sin(t / 50) + 0.3 * np.random.default_rng(1).standard_normal(len(t))
    stack = [rk.LSTM(1 if n == 0 else hidden, hidden) for n in range(layers)]
    model = rk.Chain(*stack, rk.Dense(hidden, 1))
    schedule = rk.Schedule(rk.Sequence(x.astype(np.float32)), rk.Continuation(length, lanes=lanes), rk.Carry())
    engine = rk.backend(backend, threads=1) if backend == "numba" else rk.backend(backend)
    return lambda: rk.fit(model, schedule, backend=engine, epochs=1)


def trained(hidden: int) -> tuple[Any, Any]:
    """A run and its series."""
    import numpy as np

    import rnnkit as rk

    series = rk.Sequence(np.sin(np.arange(30_000) / 50))
    schedule = rk.Schedule(rk.Sequence(np.sin(np.arange(400) / 50)), rk.Continuation(64), rk.Carry())
    model = rk.Chain(rk.LSTM(1, hidden), rk.Dense(hidden, 1))
    return rk.fit(model, schedule, backend=rk.backend("numba", threads=1), epochs=1), series


def predict() -> Callable[[], Any]:
    """A pass over a series."""
    import rnnkit as rk

    run, series = trained(10)
    return lambda: rk.predict(run, series)


def stream() -> Callable[[], Any]:
    """A thousand rows, one by one."""
    import numpy as np

    import rnnkit as rk

    run, _ = trained(10)
    live, row = rk.Stream(run), np.array([[0.5]], np.float32)
    return lambda: [live.step(row) for _ in range(1000)]


def plan() -> Callable[[], Any]:
    """Making a schedule and all its batches, shuffled and recorded."""
    import numpy as np

    import rnnkit as rk

    series = rk.Sequence(np.sin(np.arange(20_000) / 50))
    splitter = rk.Chunked(32, lanes=8, shuffle=True)
    return lambda: [None for _ in rk.Schedule(series, splitter, rk.Stored()).batches(epoch=0)]


def small_curriculum() -> Callable[[], Any]:
    """An epoch over thirty short data sets."""
    import numpy as np

    import rnnkit as rk

    sets = {f"set {n}": rk.Sequence(np.sin(np.arange(200 + n) / 9)) for n in range(30)}
    model = rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 1))
    engine = rk.backend("numba", threads=1)
    return lambda: rk.fit(
        model, rk.Curriculum(sets, rk.Continuation(32, lanes=2), rk.Carry()), backend=engine, epochs=1
    )


CASES: dict[str, Callable[[], Callable[[], Any]]] = {
    "epoch, H 10": lambda: fit(10, 1, 1, 64, 500),
    "epoch, H 32": lambda: fit(32, 1, 1, 64, 200),
    "step, H 64, B 32": lambda: fit(64, 1, 32, 64, 12),
    "step, H 64, B 17": lambda: fit(64, 1, 17, 64, 16),
    "step, H 128, B 32": lambda: fit(128, 1, 32, 32, 6),
    "step, 2 x H 256, B 64": lambda: fit(256, 2, 64, 6, 1),
    "stream, H 10": stream,
    "predict, H 10": predict,
    "plan": plan,
    "curriculum": small_curriculum,
    "torch, H 32, B 8": lambda: fit(32, 1, 8, 32, 8, "torch"),
    "numpy, H 10": lambda: fit(10, 1, 1, 64, 10, "numpy"),
}
"""What a process that stays does; each value makes the call that is timed."""

IMPORT, TRAIN = "import", "rnnkit train"

PROCESSES = (IMPORT, TRAIN)
"""What is timed as a whole process of its own."""

CONFIG = """
[data]
path = "series.csv"
target = "value"
[[model.layers]]
type = "LSTM"
hidden = 8
[[model.layers]]
type = "Dense"
[train]
epochs = 2
"""


@cache
def ready(name: str) -> tuple[Callable[[], Any], int]:
    """A case's call, compiled and warm, and how often it is called for one time."""
    call, repeats = CASES[name](), 1
    call()
    began = time.process_time()
    call()
    return call, max(repeats, int(SECONDS / max(time.process_time() - began, 1e-6)))


def seconds(name: str) -> float:
    """Processor time of one call, all threads of this process."""
    call, repeats = ready(name)
    gc.collect()
    began = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - began) / repeats


def whole(name: str, environ: Mapping[str, str], folder: Path) -> float:
    """Processor time of a process of its own."""
    script = "import rnnkit" if name == IMPORT else "from rnnkit.cli.commands import main; main()"
    out = tempfile.mkdtemp(dir=folder)
    words = [] if name == IMPORT else ["train", str(folder / "config.toml"), "--out", out, "--overwrite"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", script, *words]
    subprocess.run(command, env=dict(environ), check=True, stdout=subprocess.DEVNULL, cwd=folder)  # not in a tree
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def alternate(worlds: Mapping[str, Mapping[str, str]], only: str, rounds: int) -> Times:
    """Seconds of each case in each world, turn by turn; a case that seems slower gets more turns.

    Args:
        worlds: environment variables by name: first before the change, then after it.
        only: names of cases, with * and ?, or a word that they contain.
        rounds: turns of each, at least.
    """
    pattern = only if "*" in only or "?" in only else f"*{only}*"
    names = [name for name in (*CASES, *PROCESSES) if fnmatch.fnmatchcase(name, pattern)]
    command = [sys.executable, __file__]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "config.toml").write_text(CONFIG)
        rows = (f"{(n * 37) % 101}" for n in range(1500))
        (folder / "series.csv").write_text("\n".join(["value", *rows]))
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        staying = {world: subprocess.Popen(command, env=dict(env), **pipes) for world, env in worlds.items()}

        def once(world: str, name: str) -> float:
            if name in PROCESSES:
                return whole(name, worlds[world], folder)
            process = staying[world]
            print(name, file=process.stdin)
            answer = process.stdout.readline()
            if not answer:
                sys.exit(f"turns: {name!r} failed in the tree {world} the change")
            return float(answer)

        try:
            return {name: in_turns(lambda world, name=name: once(world, name), list(worlds), rounds) for name in names}
        finally:
            for process in staying.values():
                process.stdin.close()
                process.wait()


def in_turns(once: Callable[[str], float], worlds: list[str], rounds: int) -> dict[str, list[float]]:
    """Times of one case; a first turn of each world is not counted."""
    for world in worlds:
        once(world)
    times: dict[str, list[float]] = {world: [] for world in worlds}
    for turn in range(rounds * (1 + MORE)):
        if turn >= rounds and turn % rounds == 0 and ratio(times) <= LIMIT:
            break
        for world in worlds if turn % 2 else worlds[::-1]:
            times[world].append(once(world))
    return times


def ratio(times: Mapping[str, list[float]]) -> float:
    """The smallest time after the change over the smallest before it."""
    before, after = (min(found) for found in times.values())
    return after / before


def tell(found: Times) -> bool:
    """Print a line for each case, and whether all are within the limit."""
    for name, times in found.items():
        before, after = (min(seen) for seen in times.values())
        mark = "" if ratio(times) <= LIMIT else f"   more than {LIMIT - 1:.0%} slower"
        turns = len(next(iter(times.values())))
        print(f"{name:<24}{before * 1e3:10.3f} ms before {after * 1e3:10.3f} after {ratio(times):8.3f}{mark} ({turns})")
    slower = sum(ratio(times) > LIMIT for times in found.values())
    print(f"{len(found) - slower} of {len(found)} within {LIMIT - 1:.0%}")
    return bool(found) and not slower


if __name__ == "__main__":
    for line in sys.stdin:
        print(repr(seconds(line.strip())), flush=True)
