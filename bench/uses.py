"""What is done beside training, for `digests.py`: kernels by themselves, batches, traces, pictures, pages, reports.

As in `trainings.py`, only names that the README shows stand here. Every function here returns what it computed, by
name; a picture is its PNG, and a file that was written is its path.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from trainings import RULES, WINDOWS, engine_of, made, series_of, waves

import rnnkit as rk

Computed = dict[str, Any]

LANES = ((17, 24, 1), (40, 24, 1), (40, 70, 2), (65, 33, 2))
"""Lanes, units and layers of nets that are wide enough for several threads."""


def kernels(backend: str, dtype: str, lanes: int) -> Computed:
    """Forward, backward and every update of a net, with resets and padding anywhere."""
    engine, rows = rk.backend(backend), 13
    model = rk.Chain(rk.LSTM(3, 9), rk.LSTM(9, 6), rk.Dense(6, 5, "tanh"), rk.Dense(5, 2))
    rng = np.random.default_rng(lanes)
    params, state = rk.setup(model, seed=2, lanes=lanes, dtype=dtype)
    params = engine.from_numpy(params)
    draw = lambda *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    drawn = tuple(type(entry)(*(draw(*a.shape) for a in entry)) if entry else () for entry in state)
    state, x, d_y = engine.from_numpy((drawn, draw(rows, lanes, 3), draw(rows, lanes, 2)))
    reset = rng.random((rows, lanes)) < 0.15
    valid = np.arange(rows)[:, None] < rng.integers(5, rows + 1, lanes)
    y, after, tape = engine.forward(model, params, x, state, reset, valid)
    back = engine.backward(model, params, tape, d_y, after)
    found: Computed = {"outputs": y, "state": after, "d_params": back.params, "d_state": back.state, "d_x": back.x}
    for text in dict.fromkeys(RULES):
        rule = made(text)
        values = engine.update(rule, params, back.params, engine.from_numpy(rk.initial_rule_state(rule, params)))
        found[f"update by {text}"] = engine.update(rule, values[0], back.params, values[1])
    return {name: engine.to_numpy(value) for name, value in found.items()}


def wide(backend: str, dtype: str, lanes: int, hidden: int, layers: int, threads: int) -> Computed:
    """Training of a net whose lanes go on several threads."""
    stack = [rk.LSTM(2 if n == 0 else hidden, hidden) for n in range(layers)]
    series = rk.Sequence(waves(lanes * 50, 2), target=[0, 1])
    run = rk.fit(
        rk.Chain(*stack, rk.Dense(hidden, 2)),
        rk.Schedule(series, rk.Continuation(20, lanes=lanes), rk.Carry()),
        backend=engine_of(backend, str(threads)),
        clip=rk.ClipNorm(0.5),
        dtype=dtype,
        epochs=2,
    )
    return {"params": run.params, "state": run.state, "steps": {k: np.array(v) for k, v in run.history.steps.items()}}


def narrow(backend: str, dtype: str, hidden: int) -> Computed:
    """Training of one lane."""
    schedule = rk.Schedule(rk.Sequence(waves(200, 1)), rk.Continuation(33), rk.Carry())
    run = rk.fit(rk.Chain(rk.LSTM(1, hidden), rk.Dense(hidden, 1)), schedule, backend=backend, dtype=dtype, epochs=2)
    return {"params": run.params, "state": run.state, "steps": {k: np.array(v) for k, v in run.history.steps.items()}}


def batches(windows: str, kind: str) -> Computed:
    """Every batch of two epochs, and what a schedule tells about itself."""
    splitter, policy = made(windows)
    schedule = rk.Schedule(series_of(kind, "mse"), splitter, policy)
    names = ("x", "y", "reset", "valid", "weight", "origin")
    arrays = {
        name: [np.asarray(getattr(batch, name)) for epoch in (0, 1) for batch in schedule.batches(epoch=epoch)]
        for name in names
    }
    return {**arrays, "coverage": str(schedule.coverage()), "described": schedule.describe()}


def own_loop() -> Computed:
    """States of a loop that is not rnnkit's, kept by `LaneState`."""
    series = series_of("segments", "mse")
    schedule = rk.Schedule(series, rk.Continuation(9, lanes=3), rk.Carry(reset_probability=0.2))
    lanes, seen = rk.LaneState(np.zeros((3, 4))), []
    for batch in schedule.batches(epoch=0):
        for rows, state in lanes.walk(batch):
            state = state + batch.x[rows].sum(0)
            lanes.put(state)
            seen.append(np.array(state))
    return {"states": seen}


def panel(backend: str) -> Computed:
    """Samples of different lengths, their classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    samples = [rng.standard_normal(rng.integers(5, 20)) + (label - 0.5) for label in labels]
    train, _, test = rk.Sequence.panel(samples, labels).split(0.8, 0.0)
    assert test is not None
    schedule = rk.Schedule(train, rk.Chunked(length="segment", lanes=4, shuffle=True), rk.Reset())
    model = rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 2))
    run = rk.fit(model, schedule, backend=backend, loss="cross_entropy", rule=rk.Adam(1e-2), epochs=3)
    return {"params": run.params, "predictions": rk.predict(run, test), "evaluation": str(rk.evaluate(run, test))}


def trained(backend: str = "numpy", initial: str = "rk.Learned()") -> tuple[rk.Run, rk.Sequence, rk.Schedule]:
    """A run in units of its data, the whole series, and what was trained on."""
    series = rk.Sequence(
        100 + 7 * waves(300, 1), time=np.datetime64("2026-01-01T00:00") + 30 * np.arange(300), name="w"
    )
    train, _, _ = series.split(0.7, 0.15)
    schedule = rk.Schedule(train.with_scaler(rk.Standard.fit(train)), rk.Continuation(16, lanes=3), rk.Carry())
    model = rk.Chain(rk.LSTM(1, 7), rk.LSTM(7, 5), rk.Dense(5, 1), initial=made(initial))
    return rk.fit(model, schedule, backend=backend, rule=rk.Adam(1e-2), epochs=3), series, schedule


def predictions(backend: str, work: Path) -> Computed:
    """All ways to predict, and a run that was saved and loaded."""
    run, series, schedule = trained(backend)
    run.save(work / "run")
    again = rk.load(work / "run")
    found: Computed = {}
    for name, one in (("", run), ("loaded: ", again)):
        told = rk.predict(one, series)
        stream = rk.Stream(one, lanes=2)
        found |= {
            f"{name}predictions": np.asarray(told),
            f"{name}rows": told.rows,
            f"{name}times": np.asarray(told.times),
            f"{name}future": told.is_future,
            f"{name}shown": repr(told),
            f"{name}evaluation": str(rk.evaluate(one, series, period=12)),
            f"{name}forecast": np.asarray(rk.forecast(one, series, steps=20)),
            f"{name}stream": [stream.step(np.array([[v], [99.0]])) for v in np.linspace(90, 110, 12)],
            f"{name}state after": rk.state_after(one, series),
        }
    return {**found, "run": repr(run), "summary": str(rk.summary(run.model)), "schedule": repr(schedule)}


def recorded(backend: str) -> Computed:
    """How far recorded states are off."""
    schedule = rk.Schedule(series_of("segments", "mse"), rk.Chunked(12, lanes=4, shuffle=True), rk.Stored(burn_in=2))
    run = rk.fit(rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 1)), schedule, backend=backend, epochs=2)
    return {"distance": str(rk.recorded_distance(run, schedule))}


def bias(backend: str) -> Computed:
    """Gradients of windows beside the whole one."""
    run, series, schedule = trained(backend)
    drawn = rk.Schedule(
        series.with_scaler(run.scaler), rk.Continuation(rk.Geometric(16), lanes=2, reweight=True), rk.Carry()
    )
    found: Computed = {}
    for name, one in (("strips", schedule), ("drawn", drawn)):
        told = rk.gradient_bias(run.model, run.params, one, lengths=(8,), backend=backend, draws=2, sample=20)
        found |= {name: told.rows, f"{name}, told": str(told), f"{name}, picture": png(told.plot())}
    return found


def compared(backend: str, work: Path) -> Computed:
    """A comparison with its report."""
    series = rk.Sequence(waves(150, 1), name="waves")
    told = rk.compare(
        rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 1)),
        series.split(0.7, 0.15),
        splitters=[rk.Continuation(12, lanes=2), rk.Chunked(12, lanes=2)],
        policies=[rk.Carry(), rk.Reset()],
        backends=[backend],
        seeds=2,
        equal=rk.Equal(epochs=2),
        bias=True,
        jobs=1,
        out=work / "study",
    )
    written = {file.name: file for file in (work / "study").iterdir()}
    return {
        "rows": lasting(told.rows),
        "told": words(repr(told)),
        "report": words(written["report.md"].read_text()),
        "columns": written["results.csv"].read_text().splitlines()[0],
        "picture of errors": written["error_by_policy.png"],
        "files": sorted(name for name in written if not name.startswith(".")),
    }


CHANGING = ("seconds", "per_second", "memory", "digest")
"""How the names of columns end that are not the same in two comparisons of one tree."""


def lasting(value: Any) -> Any:
    """Rows, and what is in them, without these columns."""
    if isinstance(value, dict):
        return {key: lasting(inside) for key, inside in value.items() if not key.endswith(CHANGING)}
    return [lasting(inside) for inside in value] if isinstance(value, list) else value


def words(text: str) -> str:
    """A text without its numbers, some of which are times, and without how wide its columns are."""
    return re.sub(r"[\s\d.,:±#-]+", " ", text)


def traced(work: Path) -> Computed:
    """Every number of a pass, the pictures of it, and the page."""
    run, series, schedule = trained()
    cut, whole = (rk.trace(run, series, rows=(100, 140), truncate=length) for length in (16, None))
    found: Computed = {}
    for name, seen in (("cut", cut), ("whole", whole)):
        found |= {f"{name} {part}": array for part, array in seen.to_numpy().items()} | {f"{name}, shown": repr(seen)}
    found |= {f"picture {kind}": png(cut.plot(kind)) for kind in ("rows", "gates", "gradient", "reach")}
    found |= {"contribution": cut.contribution("0.weight_hh"), "html": cut._repr_html_()}
    if importlib.util.find_spec("plotly") is not None:
        found["page"] = whole.write_page(work / "page.html", [schedule])
    return found


def worked() -> Computed:
    """The step by hand."""
    from rnnkit.tracing import worked_step

    return {"worked step": str(worked_step())}


def pictures() -> Computed:
    """Pictures of schedules and of what was learned and forgotten."""
    found: Computed = {}
    for windows in (WINDOWS[4], WINDOWS[10], WINDOWS[17]):
        splitter, policy = made(windows)
        found[windows] = png(rk.Schedule(series_of("segments", "mse"), splitter, policy).plot())
    sets = [rk.DataSet(rk.Sequence(waves(rows, 1)), name=str(rows)) for rows in (60, 90)]
    curriculum = rk.Curriculum(sets, rk.Continuation(12), rk.Carry(), split=(0.7, 0.15))
    model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
    run = rk.fit(model, curriculum, backend="numpy", epochs=2, transfer="turn")
    assert run.transfer is not None
    return found | {"transfer": png(run.transfer.plot()), "transfer, told": str(run.transfer)}


def messages() -> Computed:
    """What is said where something is wrong."""
    series, net = rk.Sequence(waves(100, 1)), rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
    strips = rk.Schedule(series, rk.Continuation(12), rk.Carry())
    wrong: dict[str, Callable[[], Any]] = {
        "a false carry": lambda: rk.Schedule(series, rk.Chunked(12, lanes=4), rk.Carry()),
        "long windows": lambda: rk.Schedule(series, rk.Sliding(200), rk.Reset()),
        "layers": lambda: rk.Chain(rk.LSTM(1, 4), rk.Dense(5, 1)),
        "features": lambda: rk.fit(rk.Chain(rk.LSTM(2, 4), rk.Dense(4, 1)), strips, backend="numpy"),
        "a loss": lambda: rk.fit(net, strips, backend="numpy", loss="mean"),
        "a backend": lambda: rk.fit(net, strips, backend="nump"),
        "frozen": lambda: rk.fit(net, strips, backend="numpy", frozen="3.*"),
        "a rate": lambda: rk.Adam(-1.0),
        "lanes": lambda: rk.Continuation(12, lanes=0),
        "not finite": lambda: rk.fit(net, strips, backend="numpy", rule=rk.SGD(1e30), epochs=3),
    }
    found = {}
    for name, call in wrong.items():
        try:
            found[name] = f"nothing: {call()!r}"
        except rk.RnnkitError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def png(figure: Any) -> bytes:
    """A matplotlib figure as PNG; it is closed."""
    from matplotlib import pyplot

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50, metadata={"Software": None})
    pyplot.close(figure)
    return file.getvalue()


def uses_of(backend: str) -> dict[str, Callable[[Path], Computed]]:
    """What is computed with a backend, by name, each in a folder of its own."""
    found: dict[str, Callable[[Path], Computed]] = {}
    for dtype in ("float32", "float64"):
        for lanes in (1, 3, 21):
            found[f"kernels, {dtype}, {lanes} lanes"] = lambda _, d=dtype, n=lanes: kernels(backend, d, n)
        for hidden in (10, 32, 70):
            found[f"one lane, {dtype}, {hidden} units"] = lambda _, d=dtype, n=hidden: narrow(backend, d, n)
        for lanes, hidden, layers in LANES if backend != "numpy" else ():
            for threads in (1, 2) if backend == "numba" else (1,):
                name = f"{lanes} lanes, {dtype}, {layers} x {hidden} units, {threads} threads"
                found[name] = lambda _, a=(dtype, lanes, hidden, layers, threads): wide(backend, *a)
    found["panel"] = lambda _: panel(backend)
    found["recorded states"] = lambda _: recorded(backend)
    found["predictions"] = partial(predictions, backend)
    found["bias"] = lambda _: bias(backend)
    found["comparison"] = partial(compared, backend)
    return found


def uses() -> dict[str, Callable[[Path], Computed]]:
    """What is computed whatever the backend, by name."""
    found: dict[str, Callable[[Path], Computed]] = {
        f"batches, {kind}, {windows}": lambda _, w=windows, k=kind: batches(w, k)
        for windows in WINDOWS
        for kind in ("segments", "gaps")
    }
    return found | {
        "lane states": lambda _: own_loop(),
        "trace": traced,
        "worked step": lambda _: worked(),
        "pictures": lambda _: pictures(),
        "messages": lambda _: messages(),
    }
