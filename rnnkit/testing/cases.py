"""Random windows and blocks to check a backend with, and how results are compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnkit.backend import FRESH, RECORDED, Backend, Block, Gradients, Slots, map_arrays
from rnnkit.model import (
    ACTIVATIONS,
    LAYERS,
    Chain,
    CrossEntropy,
    Dense,
    Given,
    Initial,
    Layer,
    Learned,
    Loss,
    Noise,
    Recurrent,
    State,
    Zeros,
    initial_names,
    setup,
    state_type,
    zero_state,
)

MECHANISMS = ("detached", "reweight", "scale", "slots", "noise", "remat")
"""What may happen to the state and the gradient of a window besides the recurrence: see `random_block`."""


CELLS = tuple(kind for kind in LAYERS if issubclass(kind, Recurrent))
"""The recurrent layers there are."""


@dataclass(frozen=True)
class Case:
    """One random window: a model with parameters, inputs, a state, masks, and gradients to send back.

    `initial` is what a reset makes of the state; None: the model's own.
    """

    model: Chain
    params: dict[str, np.ndarray]
    x: np.ndarray
    state: State
    reset: np.ndarray
    valid: np.ndarray
    d_y: np.ndarray
    d_state: State
    initial: State | None = None


def random_case(rng: np.random.Generator, index: int, cell: type[Recurrent] | None = None) -> Case:
    """A random window; `index` walks through depths, activations, initial states and, every fourth time, B == H.

    One in eight has a single lane, which a backend may walk in another way, with resets and padding between its rows.
    `cell` is the class of its recurrent layers; left out, they are taken in turn.
    """
    kind: Any = CELLS[index % len(CELLS)] if cell is None else cell
    depth = index % 3 + 1
    sizes = [int(s) for s in rng.permutation(np.arange(2, 9))]
    inputs, hidden, lanes, steps = sizes[0], sizes[1 : 1 + depth], sizes[5], sizes[6] + 4
    lanes = hidden[-1] if index % 4 == 3 else 1 if index % 8 == 5 else lanes
    recurrent = [kind(a, b) for a, b in zip([inputs, *hidden], hidden, strict=False)]
    activation = ACTIVATIONS[index % len(ACTIVATIONS)]
    dense = Dense(hidden[-1], 4, activation)  # type: ignore[arg-type]
    layers = (*recurrent, dense, Dense(4, 3)) if index % 2 else (*recurrent, dense)
    model = Chain(*layers, initial=random_initial(rng, layers, index + index // 4))
    params = random_parameters(rng, model)
    draw = lambda a: rng.standard_normal(a.shape)  # noqa: E731
    reset, valid = rng.random((steps, lanes)) < 0.2, rng.random((steps, lanes)) < 0.75
    if index % 5 == 4:
        valid[:, 0] = False  # a lane of padding
    if index % 6 == 5:
        reset[:], valid[:] = False, True
    if index % 8 == 6:  # the smallest windows, and a reset at every row
        steps, lanes = 1 + index // 8 % 3, 1 + index // 24 % 2
        reset, valid = np.ones((steps, lanes), bool), np.ones((steps, lanes), bool)
        reset[0] = index % 16 == 6
    if index % 16 == 2:
        valid[:] = False
    zeros = zero_state(model, lanes, np.dtype(float))
    given = index // 4 % 2 == 1 and not isinstance(model.initial, Learned)
    return Case(
        model=model,
        params=params,
        x=rng.standard_normal((steps, lanes, inputs)),
        state=map_arrays(draw, zeros),
        reset=reset,
        valid=valid,
        d_y=rng.standard_normal((steps, lanes, model.outputs)),
        d_state=map_arrays(draw, zeros),
        initial=map_arrays(draw, zeros) if given else None,
    )


def random_initial(rng: np.random.Generator, layers: Collection[Layer], index: int) -> Initial:
    """One of the four kinds of initial state, by turns."""
    widths: dict[str, list[int]] = {}
    for layer in layers:
        if isinstance(layer, Recurrent):
            for name, width in zip(layer.State._fields, layer.widths, strict=True):
                widths.setdefault(name, []).append(width)
    draw = lambda sizes: tuple(tuple(rng.standard_normal(size).tolist()) for size in sizes)  # noqa: E731
    given = Given(**{name: draw(sizes) for name, sizes in widths.items()})
    return (Zeros(), Learned(), given, Noise(0.5))[index % 4]


def random_parameters(rng: np.random.Generator, model: Chain) -> dict[str, np.ndarray]:
    """Parameters in float64, those of a learned initial state away from the zeros at which they begin."""
    params, _ = setup(model, seed=int(rng.integers(1 << 31)), dtype="float64")
    names = [initial_names(state_type(layer)) for layer in model.layers]
    learned = [f"{index}.{name}" for index, own in enumerate(names) for name in own if f"{index}.{name}" in params]
    return params | {key: rng.standard_normal(params[key].shape) for key in learned}


def random_block(
    rng: np.random.Generator, case: Case, loss: Loss, steps: int = 5, mechanisms: Collection[str] = ()
) -> Block:
    """A block of random windows like a case's: carried state from any row, padding, rows without weight.

    `mechanisms` names those of `MECHANISMS` that it is to have; `random_settings` gives what belongs to them.
    """
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
    origin = rng.integers(FRESH, rows + 1, (steps + 1, lanes))
    origin[steps // 2] = rows
    filler = np.zeros((steps, lanes), int)
    detached, reweight, slots = 0, None, None
    if "detached" in mechanisms:
        detached = int(rng.integers(1, max(rows // 2, 2))) % rows
        weight[:, :detached] = 0
        valid[1, :detached, 0], origin[1, 0] = False, -1  # the lane's first row is the first one inside the gradient
    if "reweight" in mechanisms:
        reweight = np.where(rng.random(rows) < 0.4, rng.uniform(0.5, 2, rows), 1.0)
    if "slots" in mechanisms:
        slots = random_slots(rng, rows, (steps, lanes))
        origin[rng.random(origin.shape) < 0.4] = RECORDED
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
        detached=detached,
        reweight=reweight,
        scale=rng.uniform(0.5, 2, steps) if "scale" in mechanisms else None,
        slots=slots,
    )


SLOTS = 7
"""Recorded states of a random block."""


def random_slots(rng: np.random.Generator, rows: int, windows: tuple[int, int]) -> Slots:
    """Reads and recordings of windows `(K, B)` of so many rows, up to three a lane, no slot twice in a step."""
    steps, lanes = windows
    write = np.full((steps, lanes * 3), -1)
    for step in write:
        slots = rng.permutation(SLOTS)[: rng.integers(1, min(SLOTS, len(step)) + 1)]
        step[rng.permutation(len(step))[: len(slots)]] = slots
    at = rng.integers(0, rows + 1, (steps, lanes, 3))
    return Slots(rng.integers(0, SLOTS, windows), at, write.reshape(at.shape))


def random_settings(
    rng: np.random.Generator, case: Case, block: Block, mechanisms: Collection[str] = ()
) -> dict[str, Any]:
    """Settings of `train_block` that go with the mechanisms of a random block: `noise`, `store` (NumPy), `remat`."""
    settings: dict[str, Any] = {}
    draw = lambda a: rng.standard_normal(a.shape)  # noqa: E731
    steps, rows, lanes = block.valid.shape
    if "noise" in mechanisms:
        many = zero_state(case.model, steps * lanes, np.dtype(float))
        settings["noise"] = map_arrays(lambda a: draw(a).reshape(steps, lanes, -1), many)
    if "slots" in mechanisms:
        settings["store"] = map_arrays(draw, zero_state(case.model, SLOTS, np.dtype(float)))
    if "remat" in mechanisms:
        settings["remat"] = int(rng.integers(1, max(rows // 2, 2)))
    return settings


def run_case(engine: Backend, case: Case) -> tuple[np.ndarray, State, Gradients]:
    """Outputs, final state and gradients of a window as NumPy arrays."""
    model, params, x, state = case.model, *engine.from_numpy((case.params, case.x, case.state))
    given = {} if case.initial is None else {"initial": engine.from_numpy(case.initial)}
    y, final, tape = engine.forward(model, params, x, state, case.reset, case.valid, **given)
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
