"""rnnkit's way to do each case, with one and with two threads where the backend takes a number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case
from measure import Work
from pairs import MODEL, Pair

import rnnkit as rk
from rnnkit.backend import Carried, Draws, Update

RULE = rk.Adam(1e-3)


def backends(name: str = "numba") -> dict[str, tuple[Any, int]]:
    """The backend by label, with the threads that it uses."""
    try:
        return {
            "rnnkit, 1 thread": (rk.backend(name, threads=1), 1),
            "rnnkit, 2 threads": (rk.backend(name, threads=2), 2),
        }
    except rk.RnnkitError:  # it takes no such option
        return {"rnnkit": (rk.backend(name), 1)}


def works(case: Case, name: str = "numba") -> dict[str, Work]:
    """Work by label."""
    make = {"step": steps, "epoch": epoch, "stream": stream, "pass": whole_pass}[case.kind]
    return {label: make(case, backend, threads) for label, (backend, threads) in backends(name).items()}


def steps(case: Case, backend: Any, threads: int) -> Work:
    """`train_block` over the windows of a case, state carried from one to the next."""
    x, y = case.windows_of_rows()
    mask = np.zeros(x.shape[:3], bool)
    origin = np.full((case.windows + 1, case.lanes), case.length)
    origin[0] = -1
    nothing = np.full((case.windows, case.lanes), -1)
    weight = np.ones(x.shape[:3], np.float32)
    block = rk.Block(x, y, mask, ~mask, weight, origin, np.full(x.shape[:3], -1), nothing, nothing)
    params, state = rk.setup(case.model, seed=0, lanes=case.lanes)
    carried = Carried(*backend.from_numpy((params, rk.initial_rule_state(RULE, params), state)))
    update = Update(RULE, rk.MSE(), None, np.full(case.windows, RULE.learning_rate))

    def call() -> Any:
        return backend.train_block(case.model, carried, block, update, Draws())

    return Work(call, units=case.windows, threads=threads, answer=lambda: call()[1].loss[:3])


def epoch(case: Case, backend: Any, threads: int) -> Work:
    """One epoch of `rk.fit`, everything that it does included: windows, state, history."""
    schedule = rk.Schedule(rk.Sequence(case.observations()), rk.Continuation(length=case.length), rk.Carry())
    params, _ = rk.setup(case.model, seed=0)

    def call() -> rk.Run:
        return rk.fit(case.model, schedule, backend=backend, rule=RULE, loss="mse", epochs=1, params=params)

    return Work(call, threads=threads, answer=lambda: np.array(call().history.steps["loss"][:20]))


def stream(case: Case, backend: Any, threads: int) -> Work:
    """`Stream.step`, called from Python row by row."""
    row = np.array([[0.5]], np.float32)
    live = rk.Stream(run_of(case, backend))
    observations = case.observations()

    def answer() -> np.ndarray:
        fresh = rk.Stream(run_of(case, backend))
        return np.array([fresh.step(observations[t].reshape(1, 1))[0, 0] for t in range(20)])

    return Work(lambda: live.step(row), threads=threads, answer=answer)


def whole_pass(case: Case, backend: Any, threads: int) -> Work:
    """`rk.predict` over the rows of a case."""
    series, run = rk.Sequence(case.observations()[:-1]), run_of(case, backend)
    return Work(lambda: rk.predict(run, series), threads=threads, answer=lambda: rk.predict(run, series)[:, 0])


def run_of(case: Case, backend: Any) -> rk.Run:
    """A run whose parameters are those it started from: the learning rate is 0."""
    params, _ = rk.setup(case.model, seed=0)
    schedule = rk.Schedule(rk.Sequence(case.observations()[:9]), rk.Continuation(length=8), rk.Carry())
    return rk.fit(case.model, schedule, backend=backend, rule=rk.SGD(0.0), loss="mse", epochs=1, params=params)


def pair_works(pair: Pair, name: str = "numba") -> dict[str, Work]:
    """One epoch of `rk.fit` for a splitter and a policy, with one thread."""
    return {label: pair_work(pair, backend) for label, (backend, threads) in backends(name).items() if threads == 1}


def pair_work(pair: Pair, backend: Any) -> Work:
    """A unit is a row that counts in the loss."""
    schedule, (params, _) = pair.schedule, rk.setup(MODEL, seed=0)

    def call() -> rk.Run:
        return rk.fit(MODEL, schedule, backend=backend, rule=RULE, epochs=1, params=params, dtype=pair.dtype)

    return Work(call, pair.counts[0], answer=lambda: np.array(call().history.steps["loss"][:20]))
