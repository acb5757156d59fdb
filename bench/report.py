"""From the benchmarks' JSON to tables in Markdown:

python bench/report.py bench/out.json > bench/RESULTS.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LIBRARIES = {"torch": "PyTorch", "jax": "JAX", "onnxruntime": "onnxruntime"}


class Ratio(NamedTuple):
    """A rival's time over ours: median, smallest and largest of the paired samples."""

    median: float
    low: float
    high: float


class Rival(NamedTuple):
    """The fastest way that a library offers: its label, median seconds a unit, and the ratio to ours."""

    label: str
    seconds: float
    ratio: Ratio


def ratio(pairs: Iterable[Iterable[float]]) -> Ratio:
    """Of pairs (ours, theirs): each sample is divided by the one beside it."""
    ratios = [theirs / ours for ours, theirs in pairs]
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))


def fastest(pairs: dict[str, Any], library: str) -> Rival | None:
    """The setting of a library with the smallest median time; None where it was not there."""
    found = [
        Rival(label, float(np.median([theirs for _, theirs in samples])), ratio(samples))
        for label, samples in pairs.items()
        if label.partition(",")[0] == library
    ]
    return min(found, key=lambda rival: rival.seconds, default=None)


def our_seconds(info: dict[str, Any]) -> float | None:
    """Median of all our samples, in seconds a unit; None where nothing was compared."""
    samples = [ours for pairs in info["pairs"].values() for ours, _ in pairs]
    return float(np.median(samples)) if samples else None


def gflops(info: dict[str, Any], peak: dict[str, float]) -> tuple[float, float] | None:
    """GFLOP/s of ours and their share of the peak of as many cores as it has threads; None without a count."""
    seconds = our_seconds(info)
    if not info.get("flops") or seconds is None:
        return None
    rate = info["flops"] / seconds / 1e9
    return rate, rate / peak[str(info["threads"])]


def seconds_text(seconds: float) -> str:
    """A time with three digits and the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def ratio_text(value: Ratio) -> str:
    """`median (low to high)`."""
    return f"{value.median:.3g} ({value.low:.3g} to {value.high:.3g})"


def against_peers(infos: list[dict[str, Any]], peak: dict[str, float]) -> list[str]:
    """Cases against the libraries that have a target in one of them."""
    libraries = [library for library in LIBRARIES if any(library in info["targets"] for info in infos)]
    counted = any(info.get("flops") for info in infos)
    head = ["case", "rnnkit", *(["GFLOP/s", "of peak"] if counted else [])]
    for library in libraries:
        head += [LIBRARIES[library], "its setting", "ratio", "target"]
    rows = []
    for info in infos:
        seconds, rate = our_seconds(info), gflops(info, peak)
        row = [info["title"], "" if seconds is None else seconds_text(seconds)]
        if counted:
            row += ["", ""] if rate is None else [f"{rate[0]:.3g}", f"{rate[1]:.0%}"]
        for library in libraries:
            rival, target = fastest(info["pairs"], library), info["targets"].get(library)
            wanted = "" if target is None else f">= {target:.3g}"
            if rival is None:
                row += ["", "", "", wanted]
            else:
                setting = rival.label.partition(", ")[2]
                row += [seconds_text(rival.seconds), setting, ratio_text(rival.ratio), wanted + verdict(rival, target)]
        rows.append(row)
    return table(head, rows)


def verdict(rival: Rival, target: float | None) -> str:
    """Whether the median ratio reaches the target."""
    return "" if target is None else " ✓" if rival.ratio.median >= target else " ✗"


def threads(infos: list[dict[str, Any]]) -> list[str]:
    """Ours with one and with two threads; empty where the backend takes no number of threads."""
    rows = []
    for info in infos:
        times = {label: np.median([t for _, t in pairs]) for label, pairs in info["pairs"].items()}
        times[info["ours"]] = our_seconds(info)
        one, two = (times.get(f"rnnkit, {count}") for count in ("1 thread", "2 threads"))
        cells = ["" if t is None else seconds_text(float(t)) for t in (one, two)]
        rows.append([info["title"], *cells, "" if one is None or two is None else f"{one / two:.2f}"])
    return table(["case", "1 thread", "2 threads", "speed-up"], rows)


def rows_in_numbers(infos: list[dict[str, Any]]) -> list[str]:
    """Time a row of an epoch, beside that of the shorter series."""
    rows = []
    for info in infos:
        seconds = our_seconds(info)
        assert seconds is not None  # its rival is our own
        compared = Ratio(*(1 / r for r in ratio(info["pairs"]["short"])))
        swapped = Ratio(compared.median, compared.high, compared.low)
        rows.append([info["title"], seconds_text(seconds), ratio_text(swapped)])
    return table(["series", "a row", f"a row, over that of {infos[0]['beside']:,} rows"], rows)


def shares(infos: list[dict[str, Any]], peak: dict[str, float]) -> list[str]:
    """Part over whole: the inverse of the ratio."""
    rows = []
    for info in infos:
        seconds = our_seconds(info)
        whole = fastest(info["pairs"], "rnnkit")
        if seconds is None or whole is None:
            continue
        share = 1 / whole.ratio.median
        verdict = "✓" if share < info["limit"] else "✗"
        span = f"{share:.1%} ({1 / whole.ratio.high:.1%} to {1 / whole.ratio.low:.1%})"
        rows.append(
            [
                info["title"],
                seconds_text(seconds),
                seconds_text(whole.seconds),
                span,
                f"< {info['limit']:.0%} {verdict}",
            ]
        )
    return table(["epoch", "iteration and assembly", "epoch", "share", "target"], rows)


def beside(mine: str, rival: str, key: str) -> Callable[[list[dict[str, Any]], dict[str, float]], list[str]]:
    """A table of ours beside one rival, which the samples call `key`."""

    def make(infos: list[dict[str, Any]], peak: dict[str, float]) -> list[str]:
        rows = []
        for info in infos:
            seconds, other = our_seconds(info), fastest(info["pairs"], key)
            if seconds is not None and other is not None:
                rows.append(
                    [info["title"], seconds_text(seconds), seconds_text(other.seconds), ratio_text(other.ratio)]
                )
        return table(["case", mine, rival, f"{rival} / {mine}"], rows)

    return make


def state_policies(infos: list[dict[str, Any]], peak: dict[str, float]) -> list[str]:
    """Each pair of splitter and policy beside PyTorch, beside `Reset`, and the memory of windows of stride 1."""
    pairs = [info for info in infos if info["table"] == "state policies"]
    parts = [pairs_beside_torch(pairs), over_reset(pairs), stride_one([i for i in infos if i["table"] == "stride one"])]
    lines: list[str] = []
    for part in parts:
        lines += [*([""] if lines and part else []), *part]
    return lines


def pairs_beside_torch(infos: list[dict[str, Any]]) -> list[str]:
    """Time an epoch, rows that count in the loss a second, and peak memory, ours and PyTorch's."""
    rows = []
    for info in infos:
        seconds, rival = our_seconds(info), fastest(info["pairs"], "torch")
        row = [info["title"], *pace(seconds, info["scored"])]
        if rival is None:
            row += [""] * 4
        else:
            row += [*pace(rival.seconds, info["scored"]), rival.label.partition(", ")[2], ratio_text(rival.ratio)]
        rows.append([*row, *(bytes_text(info["peak"][who]) for who in ("rnnkit", "torch"))])
    head = ["pair", "rnnkit", "rows a second", "PyTorch", "rows a second", "its setting", "ratio"]
    return table([*head, "memory", "PyTorch's memory"], rows)


def pace(seconds: float | None, rows: int) -> tuple[str, str]:
    """Time of an epoch and rows a second, of the seconds that a row takes."""
    return ("", "") if seconds is None else (seconds_text(seconds * rows), f"{1 / seconds / 1e6:.3g} million")


def over_reset(infos: list[dict[str, Any]]) -> list[str]:
    """What a policy adds to the time of a row; where some rows do not count, the target is for all that it reads."""
    rows = []
    for info in infos:
        if "Reset()" not in info["pairs"]:
            continue
        found = ratio(info["pairs"]["Reset()"])
        scored = Ratio(1 / found.median, 1 / found.high, 1 / found.low)
        computed = Ratio._make(part * info["scored"] / info["computed"] for part in scored)
        wanted = f"<= {info['limit']:.0%} {'✓' if computed.median - 1 <= info['limit'] else '✗'}"
        more = info["computed"] > info["scored"]
        rows.append([info["title"], added_text(scored), added_text(computed) if more else "", wanted])
    return table(["pair", "over Reset, a row that counts", "a row that is computed", "target"], rows) if rows else []


def added_text(value: Ratio) -> str:
    """How much more than one, `median (low to high)`."""
    return f"{value.median - 1:+.1%} ({value.low - 1:+.1%} to {value.high - 1:+.1%})"


def stride_one(infos: list[dict[str, Any]]) -> list[str]:
    """Peak memory of reading windows of stride 1, beside the series and beside windows that are copied."""
    rows = []
    for info in infos:
        series, peak, length = info["series"], info["peak"], info["length"]
        times = "" if peak is None else f"{peak / series:.3g} times the series"
        rows.append([info["title"], bytes_text(series), bytes_text(peak), times, bytes_text(series * length)])
    head = ["`Sliding(stride=1)`", "the series", "peak of reading it", "", "every window's inputs copied"]
    return table(head, rows) if rows else []


def bytes_text(size: int | None) -> str:
    """A size in MiB; empty where it is not known."""
    return "" if size is None else f"{size / 2**20:.3g} MiB"


def plain(entries: list[dict[str, Any]]) -> list[str]:
    """Median times by pytest-benchmark's own timer."""
    rows = [
        [entry["extra_info"]["title"], seconds_text(entry["stats"]["median"]), a_row(entry)]
        for entry in entries
        if entry["extra_info"]["table"] == "plain"
    ]
    return table(["what", "median", "a row"], rows)


def a_row(entry: dict[str, Any]) -> str:
    rows = entry["extra_info"].get("rows")
    return seconds_text(entry["stats"]["median"] / rows) if rows else ""


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


Table = Callable[[list[dict[str, Any]], dict[str, float]], list[str]]

SECTIONS: list[tuple[str, str, tuple[str, ...], Table]] = [
    (
        "Training against the peers",
        "A step is forward, mean squared error, backward and Adam over one window of T rows and B lanes; an epoch is "
        "that over all windows of 47,249 rows, one lane, T 64, the net LSTM(1, H), Dense(H, 5, tanh), Dense(5, 1), "
        "and for us all of `rk.fit`.",
        ("epoch", "step"),
        against_peers,
    ),
    (
        "Inference against the peers",
        "The net of the epochs. A streamed step is one row in, one prediction out, called from Python; a pass is "
        "47,249 rows, for us `rk.predict`.",
        ("stream", "pass"),
        against_peers,
    ),
    (
        "Our PyTorch backend against a hand-written loop",
        "One thread each.",
        ("torch backend",),
        against_peers,
    ),
    ("Threads", "", ("epoch", "step", "stream", "pass"), lambda infos, peak: threads(infos)),
    (
        "Rows in numbers",
        "`rk.fit`, one epoch, H 10.",
        ("rows",),
        lambda infos, peak: rows_in_numbers(infos),
    ),
    ("What the schedule costs", "", ("share",), shares),
    ("Carry beside Reset", "", ("policies",), beside("Carry", "Reset", "Reset()")),
    (
        "Many data sets",
        "An epoch of H 10 over eight memmaps of 100,000 rows, each opened in its turn, beside one of 800,000 rows. "
        "Side by side, a pass over each data set is added, which tells its loss.",
        ("curricula",),
        beside("many", "one", "one"),
    ),
    (
        "State policies",
        "An epoch of the net LSTM(1, 32), Dense(32, 1), T 64, with one thread, by the row that counts in the loss: a "
        "row in two windows is two. PyTorch does the same in plain code, with `unfold`, `DataLoader`, detached states "
        "and zeroed lanes. Memory is by how much a process grows over an epoch, at its peak. Over Reset: the same "
        "windows, no look-back, each from the initial state; rows of burn-in and look-back are computed and do not "
        "count, and the target is for all rows that are computed.",
        ("state policies", "stride one"),
        state_policies,
    ),
]


def report(data: dict[str, Any]) -> str:
    """All tables of a run."""
    machine = data["machine_info"]["rnnkit"]
    peak = machine["peak_gflops"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# Results",
        "",
        f"{machine['processor']}, {machine['instructions']}, {machine['cores']} cores. Measured peak of float32 "
        f"fused multiply-adds: {peak['1']:.0f} GFLOP/s on one core, {peak['2']:.0f} on two at once. {versions}.",
        "",
        "Everything is float32. Each ratio is the peer's time over ours, the median of samples taken in turns, with "
        "the smallest and largest; each peer with the best of its settings. An empty cell: not installed, or no such "
        "setting. The times are of one machine on one day; read the ratios.",
    ]
    infos = [entry["extra_info"] for entry in data["benchmarks"]]
    for heading, text, tables, make in SECTIONS:
        chosen = sorted((i for i in infos if i["table"] in tables), key=lambda i: tables.index(i["table"]))
        if chosen:
            lines += ["", f"## {heading}", "", *([text, ""] if text else []), *make(chosen, peak)]
    if any(info["table"] == "plain" for info in infos):
        lines += ["", "## Splitters and schedules", "", "Over 47,249 rows.", "", *plain(data["benchmarks"])]
    return "\n".join(lines) + "\n"


def merged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs on one machine as one: all benchmarks, and the best peak that any of them saw."""
    machine = runs[0]["machine_info"]["rnnkit"]
    peaks = [run["machine_info"]["rnnkit"]["peak_gflops"] for run in runs]
    peak = {cores: max(seen[cores] for seen in peaks) for cores in peaks[0]}
    facts = {"machine_info": {"rnnkit": {**machine, "peak_gflops": peak}}}
    return facts | {"benchmarks": [entry for run in runs for entry in run["benchmarks"]]}


if __name__ == "__main__":
    runs = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    print(report(merged(runs)), end="")
