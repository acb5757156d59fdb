"""The cases: what is timed, and by how much ours should win. Run one from a shell:

python bench/cases.py                                  # the names of all cases
python bench/cases.py step-64 --peers torch            # the paired ratio of one case, in seconds
python bench/cases.py epoch-10 step-512 --peers none --seconds 5
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from measure import SLOWER, Comparison, Work, check_answers, compare, features, fma_peak, instructions, is_narrowed

import rnnkit as rk

Kind = Literal["step", "epoch", "stream", "pass"]

ROWS = 47_249

PEERS = {"torch": "peer_torch", "jax": "peer_jax", "onnxruntime": "peer_onnx"}
"""The library that a peer needs, and the module here that speaks to it."""

WIDE = ("onnxruntime",)
"""Libraries that use the widest instructions that there are, whatever they are told."""


@dataclass(frozen=True)
class Case:
    """One thing that everybody does.

    Attributes:
        name: for the command line.
        title: for the table.
        kind: `step`: forward, mean squared error, backward and Adam over one window; `epoch`: that over all windows
            of a series, state carried; `stream`: one row in, one prediction out; `pass`: predictions for a series.
        model: the net.
        length: rows of a window, T.
        lanes: B.
        windows: different windows that a call walks through, as many as a block of `rk.fit` has; for an epoch what the
            rows give.
        rows: rows of the series, for epochs and passes.
        targets: for each library the ratio, its time over ours, that ours should reach.
    """

    name: str
    title: str
    kind: Kind
    model: rk.Chain
    length: int = 64
    lanes: int = 1
    windows: int = 32
    rows: int = ROWS
    targets: dict[str, float] = field(default_factory=dict)

    @property
    def flops(self) -> int | None:
        """Floating-point operations of one training step or epoch: 3 · 2 · 4H (I + H) T B for each LSTM layer."""
        if self.kind not in ("step", "epoch"):
            return None
        rows = self.length * self.lanes if self.kind == "step" else self.rows
        lstms = [layer for layer in self.model.layers if isinstance(layer, rk.LSTM)]
        return sum(3 * 2 * 4 * layer.hidden * (layer.inputs + layer.hidden) * rows for layer in lstms)

    def windows_of_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs `(K, T, B, I)` and targets `(K, T, B, 1)` of a step's windows, float32."""
        rng = np.random.default_rng(1)
        shape = (self.windows, self.length, self.lanes)
        x = rng.standard_normal((*shape, self.model.inputs), np.float32)
        return x, 0.5 * rng.standard_normal((*shape, self.model.outputs), np.float32)

    def observations(self) -> np.ndarray:
        """One more value than the case has rows `(N + 1,)`, float32: row t is to predict row t + 1."""
        rng = np.random.default_rng(1)
        t = np.arange(self.rows + 1)
        return (np.sin(t / 50) + 0.3 * rng.standard_normal(len(t))).astype(np.float32)


def epoch_net(hidden: int) -> rk.Chain:
    return rk.Chain(rk.LSTM(1, hidden), rk.Dense(hidden, 5, "tanh"), rk.Dense(5, 1))


def step_net(inputs: int, hidden: int, layers: int = 1) -> rk.Chain:
    stack = [rk.LSTM(inputs if n == 0 else hidden, hidden) for n in range(layers)]
    return rk.Chain(*stack, rk.Dense(hidden, 1))


CASES = {
    case.name: case
    for case in (
        Case("epoch-10", "epoch, H 10", "epoch", epoch_net(10), targets={"torch": 40, "jax": 10}),
        Case("epoch-32", "epoch, H 32", "epoch", epoch_net(32), targets={"torch": 20, "jax": 10}),
        Case(
            "step-64",
            "step, I 1, H 64, B 32, T 64",
            "step",
            step_net(1, 64),
            lanes=32,
            targets={"torch": 3, "jax": 3},
        ),
        Case(
            "step-64x2",
            "step, I 8, H 64, 2 layers, B 32, T 64",
            "step",
            step_net(8, 64, 2),
            lanes=32,
            targets={"torch": 3, "jax": 3},
        ),
        Case(
            "step-128",
            "step, I 32, H 128, B 32, T 64",
            "step",
            step_net(32, 128),
            lanes=32,
            targets={"torch": 2, "jax": 2},
        ),
        Case(
            "step-256x2",
            "step, I 64, H 256, 2 layers, B 64, T 64",
            "step",
            step_net(64, 256, 2),
            lanes=64,
            windows=16,
            targets={"torch": 1.5, "jax": 1.5},
        ),
        Case(
            "step-512",
            "step, I 128, H 512, B 64, T 35",
            "step",
            step_net(128, 512),
            length=35,
            lanes=64,
            windows=29,
            targets={"torch": 1.2, "jax": 1.2},
        ),
        Case("stream-10", "streamed step, H 10", "stream", epoch_net(10), targets={"torch": 30, "onnxruntime": 4}),
        Case("pass-10", "pass, H 10", "pass", epoch_net(10), targets={"torch": 5, "onnxruntime": 2}),
    )
}


def rivals_of(case: Case, libraries: Iterable[str] = PEERS) -> dict[str, Work]:
    """The peers' ways to do a case, those whose library is installed, and can do with as few instructions as we do."""
    found: dict[str, Work] = {}
    for library in libraries:
        if library in WIDE and is_narrowed():
            continue
        if importlib.util.find_spec(library) is not None:
            found |= importlib.import_module(PEERS[library]).works(case)
    return found


def ours_of(case: Case) -> dict[str, Work]:
    """Our ways to do a case: one for each number of threads, where the backend takes one."""
    return importlib.import_module("ours").works(case)


def run_case(
    case: Case, libraries: Iterable[str] = PEERS, seconds: float = 20, rounds: int | None = None
) -> Comparison:
    """Check that everybody computes the same, then time them in alternation."""
    ours, rivals = ours_of(case), rivals_of(case, libraries)
    check_answers(ours | rivals)
    return compare(ours, rivals, seconds=seconds, rounds=rounds)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Time a case against its peers, in alternation.")
    parser.add_argument("cases", nargs="*", metavar="case")
    parser.add_argument("--peers", default="torch", help="libraries with commas between, 'all' or 'none'")
    parser.add_argument("--seconds", type=float, default=10, help="about how long to measure each case")
    parser.add_argument("--rounds", type=int, help="instead of what fits in --seconds")
    options = parser.parse_args()
    if not options.cases:
        for case in CASES.values():
            wanted = ", ".join(f"{library} >= {ratio:g}" for library, ratio in case.targets.items())
            print(f"{case.name:<12}{case.title:<42}{wanted}")
        return
    peers = {"all": list(PEERS), "none": []}.get(options.peers, options.peers.split(","))
    for kind, known, names in (("case", CASES, options.cases), ("peer", PEERS, peers)):
        for name in names:
            if name not in known:
                parser.error(f"no {kind} {name!r}; there are {', '.join(known)}")
    for name in peers:
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed and left out")
    peak = {threads: fma_peak(threads) for threads in (1, 2)}
    print(f"{instructions(features())}, measured peak: {peak[1]:.0f} GFLOP/s on one core, {peak[2]:.0f} on two")
    print(
        "Of each case, our fastest setting, and of every other one how many times its time is ours (x): the median of\n"
        f"samples in turns, smallest to largest. Settings {SLOWER:g} times slower than their library's best in a\n"
        "trial are left out. Where the ranges are wide, something else was running."
    )
    for name in options.cases:
        show(CASES[name], run_case(CASES[name], peers, options.seconds, options.rounds), peak)


def show(case: Case, comparison: Comparison, peak: dict[int, float]) -> None:
    """Print a case: our time, and each rival's with the paired ratio's median, minimum and maximum."""
    mine = [a for pairs in comparison.pairs.values() for a, _ in pairs]
    print(f"\n{case.title}")
    if mine:
        line = f"  {comparison.ours:<30}{seconds_text(np.median(mine)):>12}"
        if case.flops:
            gflops = case.flops / np.median(mine) / 1e9
            share = gflops / peak[comparison.threads]
            line += f"   {gflops:.1f} GFLOP/s, {share:.0%} of the peak of {_cores(comparison.threads)}"
        print(line)
    for label, pairs in comparison.pairs.items():
        ratios = np.array([theirs / ours for ours, theirs in pairs])
        wanted = case.targets.get(label.partition(",")[0])
        print(
            f"  {label:<30}{seconds_text(np.median([t for _, t in pairs])):>12}   x {np.median(ratios):.2f} "
            f"({ratios.min():.2f} to {ratios.max():.2f}, {len(pairs)} pairs)"
            + (f", wanted {wanted:g}: {'reached' if np.median(ratios) >= wanted else 'missed'}" if wanted else "")
        )


def _cores(number: int) -> str:
    return "one core" if number == 1 else f"{number} cores"


def seconds_text(seconds: Any) -> str:
    """A time with three digits and the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


if __name__ == "__main__":
    main()
