"""Loops in JAX over `rk.LaneState`, beside `rk.fit`: a line for each that holds. `test_lane_state.py` runs it."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import rnnkit as rk

sys.path.insert(0, str(Path(__file__).parent))
import test_lane_state as shared


def trains_like_fit(splitter: Any, policy: Any) -> None:
    @jax.jit
    def net(params: Any, x: Any, state: Any) -> Any:
        def cell(state: Any, row: Any) -> Any:
            a = row @ params["0.weight_ih"].T + state["h"] @ params["0.weight_hh"].T
            i, f, g, o = jax.numpy.split(a + params["0.bias_ih"] + params["0.bias_hh"], 4, axis=1)
            c = jax.nn.sigmoid(f) * state["c"] + jax.nn.sigmoid(i) * jax.numpy.tanh(g)
            h = jax.nn.sigmoid(o) * jax.numpy.tanh(c)
            return {"h": h, "c": c}, h @ params["1.weight"].T + params["1.bias"]

        state, y = jax.lax.scan(cell, state, x)
        return y, state

    def loss_of(params: Any, batch: rk.Batch) -> Any:
        outputs = []
        for rows, state in lanes.walk(batch):
            y, state = net(params, batch.x[rows], state)
            lanes.put(state)
            outputs.append(y)
        errors = ((jax.numpy.concatenate(outputs) - batch.y) ** 2).mean(2)
        return (errors * batch.weight).sum() / batch.weight.sum()

    schedule = rk.Schedule(shared.ragged(), splitter, policy)
    with jax.enable_x64(True):
        params, losses = jax.tree.map(jax.numpy.asarray, shared.start(shared.SMALL)), []
        lanes = rk.LaneState({name: jax.numpy.zeros((3, shared.H)) for name in ("h", "c")})
        for epoch in (0, 1):
            for batch in schedule.batches(epoch, "float64"):
                loss, grads = jax.value_and_grad(loss_of)(params, batch)
                params = jax.tree.map(lambda p, g: p - shared.RATE * g, params, grads)
                losses.append(float(loss))
    run = shared.by_rnnkit(shared.SMALL, schedule)
    np.testing.assert_allclose(losses, run.history.steps["loss"], rtol=1e-9)
    for name, array in lanes.state.items():
        np.testing.assert_allclose(array, getattr(run.state[0], name), rtol=1e-9)


def refuses_a_walk_under_jit() -> None:
    lanes = rk.LaneState(jax.numpy.zeros((1, shared.H)))
    batch = next(rk.Schedule(rk.Sequence(np.arange(20.0)), rk.Continuation(6), rk.Carry()).batches())

    def run(a: Any) -> None:
        for _ in lanes.walk(batch):
            lanes.put(a)

    with pytest.raises(rk.ModelError, match=r"got a tracer: a function under jax.jit .* cannot walk"):
        jax.jit(run)(jax.numpy.zeros((1, shared.H)))


if __name__ == "__main__":  # JAX compiles for each length of pieces: these are short
    trains_like_fit(rk.Continuation(3, lanes=3, lookback=1), rk.Carry(reset_probability=0.2, across_epochs=True))
    print("equal")
    trains_like_fit(rk.Chunked(3, lanes=3, shuffle=True), rk.Stored(burn_in=1))
    print("equal")
    refuses_a_walk_under_jit()
    print("refused")
