"""Random windows and blocks to check a backend with, and how results are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnkit.backend import Backend, Gradients, map_arrays
from rnnkit.model import ACTIVATIONS, LSTM, Chain, CrossEntropy, Dense, Loss, State, setup
from rnnkit.schedule.batch import Block


@dataclass(frozen=True)
class Case:
    """One random window: a model with parameters, inputs, a state, masks, and gradients to send back."""

    model: Chain
    params: dict[str, np.ndarray]
    x: np.ndarray
    state: State
    reset: np.ndarray
    valid: np.ndarray
    d_y: np.ndarray
    d_state: State


def random_case(rng: np.random.Generator, index: int) -> Case:
    """A random window; `index` walks through depths, activations and, every fourth time, as many lanes as units."""
    depth = index % 3 + 1
    sizes = [int(s) for s in rng.permutation(np.arange(2, 9))]
    inputs, hidden, lanes, steps = sizes[0], sizes[1 : 1 + depth], sizes[5], sizes[6] + 4
    lanes = hidden[-1] if index % 4 == 3 else lanes
    recurrent = [LSTM(a, b) for a, b in zip([inputs, *hidden], hidden, strict=False)]
    activation = ACTIVATIONS[index % len(ACTIVATIONS)]
    dense = Dense(hidden[-1], 4, activation)  # type: ignore[arg-type]
    model = Chain(*recurrent, dense, Dense(4, 3)) if index % 2 else Chain(*recurrent, dense)
    params, zeros = setup(model, seed=int(rng.integers(1 << 31)), lanes=lanes, dtype="float64")
    draw = lambda a: rng.standard_normal(a.shape)  # noqa: E731
    reset, valid = rng.random((steps, lanes)) < 0.2, rng.random((steps, lanes)) < 0.75
    if index % 5 == 4:
        valid[:, 0] = False  # a lane of padding
    if index % 6 == 5:
        reset[:], valid[:] = False, True
    if index % 8 == 6:  # the smallest windows, and a reset at every row
        steps, lanes = 1 + index // 8 % 3, 1 + index // 24 % 2
        params, zeros = setup(model, seed=index, lanes=lanes, dtype="float64")
        reset, valid = np.ones((steps, lanes), bool), np.ones((steps, lanes), bool)
        reset[0] = index % 16 == 6
    if index % 16 == 2:
        valid[:] = False
    return Case(
        model=model,
        params=params,
        x=rng.standard_normal((steps, lanes, inputs)),
        state=map_arrays(draw, zeros),
        reset=reset,
        valid=valid,
        d_y=rng.standard_normal((steps, lanes, model.outputs)),
        d_state=map_arrays(draw, zeros),
    )


def random_block(rng: np.random.Generator, case: Case, loss: Loss, steps: int = 5) -> Block:
    """A block of random windows like a case's: carried state from any row, padding, rows without weight."""
    rows, lanes, inputs = case.x.shape
    shape = (steps, rows, lanes)
    y: np.ndarray = rng.random((*shape, case.model.outputs))
    if isinstance(loss, CrossEntropy):
        y = rng.integers(0, case.model.outputs, shape)
    valid = rng.random(shape) < 0.85
    weight = np.where(valid, rng.choice([0.0, 0.5, 1.0, 2.0], shape), 0.0)
    weight[2] = 0  # a window that only advances the state
    valid[3, rows // 2 :] = False  # a short window
    weight[3, rows // 2 :] = 0
    origin = rng.integers(-1, rows + 1, (steps + 1, lanes))
    origin[steps // 2] = rows
    filler = np.zeros((steps, lanes), int)
    return Block(
        x=rng.standard_normal((*shape, inputs)),
        y=y,
        reset=rng.random(shape) < 0.1,
        valid=valid,
        weight=weight,
        origin=origin,
        rows=np.broadcast_to(np.arange(rows)[:, None], shape),
        segment=filler,
        row=filler,
    )


def run_case(engine: Backend, case: Case) -> tuple[np.ndarray, State, Gradients]:
    """Outputs, final state and gradients of a window as NumPy arrays."""
    model, params, x, state = case.model, *engine.from_numpy((case.params, case.x, case.state))
    y, final, tape = engine.forward(model, params, x, state, case.reset, case.valid)
    grads = engine.backward(model, params, tape, *engine.from_numpy((case.d_y, case.d_state)))
    return engine.to_numpy(y), engine.to_numpy(final), engine.to_numpy(grads)


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree, in order."""
    found: list[Any] = []
    map_arrays(found.append, tree)
    return found


def relative_difference(got: Any, expected: Any) -> float:
    """Largest difference between two trees, each array's relative to the largest number of the expected one."""
    worst = 0.0
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        if a.shape != b.shape:
            return float("inf")
        if a.size:
            scale = float(np.abs(b).max()) or 1.0
            difference = float(np.abs(a - b).max()) / scale
            worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst
