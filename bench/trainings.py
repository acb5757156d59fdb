"""Small trainings drawn by a fixed seed from everything that can be combined, for `digests.py`.

A choice is text, Python that makes a value, so that it is the name of the training, too. Each backend gets its own
draws, and each choice comes up once before another comes up twice. Only names that the README shows stand here: the
same file runs on versions of rnnkit whose insides differ.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import rnnkit as rk

BACKENDS = ("numpy", "numba", "torch")

COUNT, MANY_COUNT = 28, 10
"""Trainings of each backend on one series, and on several data sets."""

ROWS = 190

WINDOWS = (
    "rk.Sliding(12, stride=5, lanes=6, shuffle=True), rk.Reset()",
    "rk.Sliding(12, stride=6), rk.Carry()",
    "rk.Sliding(12, stride=7, lanes=3, shuffle=True), rk.BurnIn(4)",
    "rk.Sliding(12, stride=7, lanes=3, shuffle=True), rk.Stored()",
    "rk.Chunked(12, lanes=5, shuffle=True), rk.Reset()",
    "rk.Chunked(11), rk.Carry()",
    "rk.Chunked(11, tail='drop'), rk.Carry(reset_every=4)",
    "rk.Chunked(12, lanes=4, shuffle=True), rk.BurnIn(5, in_gradient=True)",
    "rk.Chunked(12, lanes=4, shuffle=True), rk.Stored(burn_in=3)",
    "rk.Chunked('segment', lanes=3, shuffle=True), rk.Reset()",
    "rk.Continuation(12), rk.Carry()",
    "rk.Continuation(12, lanes=4), rk.Reset()",
    "rk.Continuation(12, lanes=4), rk.Carry(across_epochs=True)",
    "rk.Continuation(12, lanes=20), rk.Carry()",
    "rk.Continuation(9, lanes=5), rk.Carry(reset_probability=0.2)",
    "rk.Continuation(9, lanes=3), rk.BurnIn(4)",
    "rk.Continuation(9, lanes=3), rk.Stored()",
    "rk.Continuation(8, lanes=3, lookback=7), rk.Carry()",
    "rk.Continuation(rk.Uniform(5, 14), lanes=3), rk.Carry()",
    "rk.Continuation(rk.Geometric(9), lanes=2, reweight=True), rk.Carry()",
    "rk.Continuation(12, lanes=3, tail='drop'), rk.Carry(reset_every=3)",
)
"""Splitter and policy."""

NETS = (
    "rk.LSTM({i}, 5), rk.Dense(5, {o})",
    "rk.LSTM({i}, 8), rk.Dense(8, 5, 'tanh'), rk.Dense(5, {o})",
    "rk.LSTM({i}, 6), rk.LSTM(6, 9), rk.Dense(9, {o})",
    "rk.Dense({i}, 4, 'sigmoid'), rk.LSTM(4, 17), rk.Dense(17, 3, 'relu'), rk.Dense(3, {o})",
    "rk.LSTM({i}, {o})",
)

INITIAL = ("rk.Zeros()", "rk.Learned()", "rk.Noise(0.2)", "given")
"""`given` is what a first training of one epoch has left."""

SERIES = ("one", "segments", "gaps", "features", "scaled")

LOSSES = ("mse", "mae", "huber", "mse", "cross_entropy", "binary_cross_entropy")

RULES = (
    "rk.Adam(1e-2)",
    "rk.SGD(5e-2)",
    "rk.Adam(1e-2, weight_decay=1e-2)",
    "rk.SGD(2e-2, momentum=0.9, nesterov=True)",
    "rk.AdamW(1e-2, beta1=0.8)",
    "rk.RMSProp(5e-3)",
    "rk.SGD(2e-2, momentum=0.5, weight_decay=1e-2)",
    "rk.RMSProp(5e-3, momentum=0.5, centered=True)",
)

RATES = (
    "None",
    "rk.StepDecay(1, 0.5)",
    "rk.Cosine(floor=0.1)",
    "rk.OneCycle()",
    "rk.Plateau(0.5, patience=1, threshold=0.5)",
)

CLIPS = ("None", "rk.ClipNorm(0.3)", "rk.ClipValue(0.05)")

INTERLEAVES = (
    "rk.OneByOne()",
    "rk.RoundRobin()",
    "rk.Sampling(temperature=2.0)",
    "rk.SideBySide(open_at_once=2)",
    "rk.RoundRobin(open_at_once=2)",
    "rk.SideBySide()",
)

ONE = {
    "windows": WINDOWS,
    "net": NETS,
    "initial": INITIAL,
    "series": SERIES,
    "loss": LOSSES,
    "rule": RULES,
    "learning_rate": RATES,
    "clip": CLIPS,
    "dtype": ("float32", "float64"),
    "remat": ("None", "None", "'sqrt'", "5"),
    "frozen": ("()", "()", "()", "'0.*'", "'*.bias_*'"),
    "horizon": ("1", "3"),
    "held_out": ("nothing", "validation", "early_stopping"),
    "block_rows": ("None", "100"),
    "threads": ("1", "2"),
}
"""What is drawn for one series."""

MANY = {
    "interleave": INTERLEAVES,
    "windows": tuple(text for text in WINDOWS if "'segment'" not in text and "across_epochs" not in text),
    "net": NETS[:3],
    "initial": INITIAL[:3],
    "order": ("listed", "shuffled", "name", "rows"),
    "phases": ("()", "()", "[rk.Phase(['b', 'a'], epochs=1), rk.Phase(['c'], learning_rate=0.1, frozen='0.*')]"),
    "sets": ("alike", "scalers", "own", "heads"),
    "loss": ("mse", "huber"),
    "rule": RULES,
    "learning_rate": RATES[:4],
    "clip": CLIPS,
    "dtype": ("float32", "float64"),
    "transfer": ("None", "'turn'", "'epoch'"),
    "threads": ("1", "2"),
}
"""What is drawn for a curriculum."""


def made(text: str) -> Any:
    """The value of a text."""
    return eval(text, {"rk": rk})


def drawn(backend: str, axes: dict[str, tuple[str, ...]], count: int) -> list[dict[str, str]]:
    """So many choices, a dict each, the same at every call."""
    rng = np.random.default_rng(zlib.crc32(f"{backend} {sorted(axes)}".encode()))
    hands = {}
    for axis, values in axes.items():
        rounds = -(-count // len(values))
        hands[axis] = [values[k] for _ in range(rounds) for k in rng.permutation(len(values))]
    return [mended({axis: hand[n] for axis, hand in hands.items()}) for n in range(count)]


def mended(choice: dict[str, str]) -> dict[str, str]:
    """A choice without what rnnkit refuses to combine."""
    of_classes, bare = "entropy" in choice["loss"], choice["net"] == NETS[4]
    if bare and of_classes:
        choice |= {"net": NETS[0]}
    if bare and choice.get("frozen") == "'0.*'":
        choice |= {"frozen": "'*.bias_*'"}
    if "SideBySide" in choice.get("interleave", "") and choice["sets"] in ("own", "heads"):
        choice |= {"sets": "scalers"}
    if "Sampling" in choice.get("interleave", "") and "Stored" in choice["windows"]:
        choice |= {"interleave": "rk.RoundRobin()"}
    return choice


def title(choice: dict[str, str]) -> str:
    """A choice in a line."""
    return ", ".join(f"{text}" if axis in ("windows", "net") else f"{axis}={text}" for axis, text in choice.items())


@cache
def waves(rows: int, features: int) -> np.ndarray:
    """A series `(N, F)`, float64."""
    rng = np.random.default_rng(rows + features)
    t = np.arange(rows)[:, None] / (4 + 3 * np.arange(features))
    return np.sin(t) + 0.3 * rng.standard_normal((rows, features))


def series_of(kind: str, loss: str, horizon: int = 1) -> rk.Sequence:
    """Rows with targets of a kind, for a loss."""
    x = waves(ROWS, 2 if kind == "features" else 1).copy()
    if kind == "gaps":
        x[[40, 41, 110]] = np.nan
    options: dict[str, Any] = {"name": kind}
    if kind == "segments":
        options["segments"] = [(0, 50), (55, 100), (100, 140), (145, ROWS)]
    if kind == "gaps":
        options["missing"] = "cut"
    smooth = np.nan_to_num(x.sum(1))
    if loss == "cross_entropy":
        return rk.Sequence(x, np.digitize(smooth, (-0.4, 0.4)), **options)
    if loss == "binary_cross_entropy":
        return rk.Sequence(x, (smooth > 0).astype(float), **options)
    if kind == "features":
        options["target"] = [0, 1]
    return rk.Sequence(x, horizon=horizon, **options)


def engine_of(backend: str, threads: str) -> Any:
    """The backend, with a number of threads where it takes one."""
    return rk.backend(backend, threads=int(threads)) if backend == "numba" else rk.backend(backend)


def one(backend: str, choice: dict[str, str]) -> tuple[rk.Run, rk.Sequence]:
    """Train on one series.

    Returns:
        The run, and the rows that it was trained on, with their scaler.
    """
    series = series_of(choice["series"], choice["loss"], int(choice["horizon"]))
    validation = None
    if choice["held_out"] != "nothing":
        series, validation, _ = series.split(0.8, 0.2)
    if choice["series"] == "scaled":
        scaler = rk.Standard.fit(series)
        series, validation = (part and part.with_scaler(scaler) for part in (series, validation))
    splitter, policy = made(choice["windows"])
    outputs = {"cross_entropy": 3, "binary_cross_entropy": 1}.get(choice["loss"], series.features)
    layers = made(choice["net"].format(i=series.features, o=outputs) + ",")
    schedule = rk.Schedule(series, splitter, policy)
    settings = common(choice) | {
        "backend": engine_of(backend, choice["threads"]),
        "remat": made(choice["remat"]),
        "frozen": made(choice["frozen"]),
        "validation": validation,
        "warm": 20,
        "check_range": choice["net"] != NETS[4],
    }
    if choice["held_out"] == "early_stopping":
        settings["early_stopping"] = rk.EarlyStopping(patience=1, minimum=0.05)
    if (rows := made(choice["block_rows"])) is not None:
        settings["block_rows"] = rows
    if choice["initial"] == "given":
        first = rk.fit(rk.Chain(*layers), schedule, **settings | {"epochs": 1})
        initial = rk.Given.of(rk.state_after(first, series))
        settings |= {"params": first.params, "rule_state": first.rule_state}
    else:
        initial = made(choice["initial"])
    return rk.fit(rk.Chain(*layers, initial=initial), schedule, epochs=2, **settings), series


def many(backend: str, choice: dict[str, str], on_turn: Any = None) -> rk.Run:
    """Train on three data sets."""
    rows = {"c": 90, "a": 150, "b": 64}
    given: dict[str, dict[str, Any]] = {name: {} for name in rows}
    if choice["sets"] == "scalers":
        given = {"c": {"scaler": "shared"}, "a": {"scaler": None, "weight": 0.5}, "b": {"scaler": "shared"}}
    elif choice["sets"] == "own":
        given["a"] = {"learning_rate": 0.3, "passes": 2}
    elif choice["sets"] == "heads":
        given = {"c": {"head": "first"}, "a": {"head": "second", "weight": 2.0}, "b": {"head": "first"}}
    sets = [
        rk.DataSet(rk.Sequence(waves(count, 1) + len(name)), name=name, **given[name]) for name, count in rows.items()
    ]
    layers = list(made(choice["net"].format(i=1, o=1) + ","))
    if choice["sets"] == "heads":
        layers[-1] = rk.Heads(first=layers[-1], second=layers[-1])
    splitter, policy = made(choice["windows"])
    curriculum = rk.Curriculum(
        sets,
        splitter,
        policy,
        order=choice["order"],
        interleave=made(choice["interleave"]),
        phases=made(choice["phases"]),
        split=(0.7, 0.15),
    )
    return rk.fit(
        rk.Chain(*layers, initial=made(choice["initial"])),
        curriculum,
        backend=engine_of(backend, choice["threads"]),
        epochs=None if made(choice["phases"]) else 2,
        transfer=made(choice["transfer"]),
        on_turn=on_turn,
        **common(choice),
    )


def common(choice: dict[str, str]) -> dict[str, Any]:
    """Settings of `fit` that both kinds draw."""
    rate = made(choice["learning_rate"])
    return {
        "rule": made(choice["rule"]),
        "loss": choice["loss"],
        "clip": made(choice["clip"]),
        "dtype": choice["dtype"],
        "seed": 3,
        **({} if rate is None else {"learning_rate": rate}),
    }


def values_of(run: rk.Run, folder: Path) -> dict[str, Any]:
    """Everything that a training has left, by name; it is saved into a folder on the way."""
    steps = run.history.steps
    epochs = {name: numbers for name, numbers in run.history.epochs.items() if name != "seconds"}
    saved = {f"saved {file.name}": file for file in sorted(run.save(folder).iterdir())}
    return {
        "params": run.params,
        "rule state": run.rule_state,
        "state": run.state,
        "recorded states": run.store,
        "losses": np.array(steps["loss"]),
        "steps": {name: np.array(numbers) for name, numbers in steps.items() if name != "loss"},
        "epochs": epochs,
        "epoch": run.epoch,
        **saved,
    }
