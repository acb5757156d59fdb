"""How much memory an epoch takes at its peak, in a process that does nothing else:

python bench/memory.py rnnkit        # every pair of splitter and policy, a line of JSON each
python bench/memory.py torch
python bench/memory.py feed          # only reading windows of stride 1

Libraries allocate outside Python, so it is the process that is looked at: its largest resident size over an epoch,
less that before it. Before it everything was imported and compiled, and a few windows of one lane were trained on.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairs import PAIRS, Pair, T

import rnnkit as rk

STRIDE_ONE = rk.Sliding(T, lanes=32, shuffle=True)

FEED_ROWS = (50_000, 1_000_000)


def peaks(who: str) -> dict[str, int]:
    """Peak memory in bytes by what is trained on; empty without the library, or where the system does not tell it."""
    if who == "torch" and importlib.util.find_spec(who) is None:
        return {}
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    ran = subprocess.run(
        [sys.executable, __file__, who], env=os.environ | alone, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(line) for line in ran.stdout.splitlines())


def peak_of(call: Callable[[], Any]) -> int | None:
    """How far the process grows while it calls, in bytes; None where the system does not tell it."""
    forget = Path("/proc/self/clear_refs")
    if not forget.exists():
        return None
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # else what was freed before would be used again, and not seen
    forget.write_text("5")  # the largest size so far is the size now
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(name: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def epoch_of(who: str) -> Callable[[Pair], Callable[[], Any]]:
    """What makes an epoch of a pair."""
    if who == "torch":
        import peer_torch_pairs

        return lambda pair: next(iter(peer_torch_pairs.works(pair).values())).call
    import ours

    ours.pair_work(Pair(rk.Chunked(T), rk.Reset(), 2 * T), rk.backend("numba")).call()  # compiles
    return lambda pair: next(iter(ours.pair_works(pair).values())).call


def read(rows: int) -> Callable[[], Any]:
    """All windows of a series, block after block."""
    schedule = Pair(STRIDE_ONE, rk.Reset(), rows).schedule
    return lambda: [None for _ in schedule.blocks()]


def main(who: str) -> None:
    """See the module's docstring: each case in a child of this process, which has imported everything."""
    if who == "feed":
        for rows in FEED_ROWS:
            in_child(str(rows), read(2 * T), read(rows))
        return
    epoch = epoch_of(who)
    for title, pair in PAIRS.items():
        few = replace(pair, splitter=replace(pair.splitter, lanes=1), rows=3 * T)
        in_child(title, epoch(few), epoch(pair))


def in_child(title: str, warm: Callable[[], Any], call: Callable[[], Any]) -> None:
    """Print the peak of a call in a child of this process, after another one like it."""
    sys.stdout.flush()
    child = os.fork()  # before anything is computed: what has run in threads does not outlive a fork
    if child == 0:
        warm()
        peak = peak_of(call)
        if peak is not None:
            print(json.dumps([title, peak]), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{title}: its process ended with status {status}")


if __name__ == "__main__":
    main(sys.argv[1])
