"""The conformance check for backends, and the gradient checks it is made of.

    import rnnkit.testing
    print(rnnkit.testing.check_backend("torch"))

compares a backend with the textbook one on everything that the protocol promises, in float64. The textbook backend
itself is held to account by the complex step (`complex_step_gradients`), which needs no backward pass at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from rnnkit.backend import Backend, Gradients, map_arrays
from rnnkit.backend import backend as find_backend
from rnnkit.errors import ModelError, RnnkitError
from rnnkit.model import (
    ACTIVATIONS,
    LOSSES,
    LSTM,
    SGD,
    Adam,
    AdamW,
    Chain,
    Clip,
    ClipNorm,
    ClipValue,
    CrossEntropy,
    Dense,
    Huber,
    Loss,
    LSTMState,
    RMSProp,
    Rule,
    State,
    initial_rule_state,
    setup,
)
from rnnkit.schedule.batch import Block
from rnnkit.train.block import block_trainer, train_block

TOLERANCE = 1e-10
"""Largest relative difference from the textbook backend, in float64."""


class ConformanceError(RnnkitError, AssertionError):
    """A backend that does not keep the protocol; the message lists every check that failed."""


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


@dataclass(frozen=True)
class Conformance:
    """What `check_backend` found: the largest relative difference of every check."""

    backend: str
    differences: dict[str, float]
    cases: int

    def __str__(self) -> str:
        lines = [f"{name:<44}{difference:>12.1e}" for name, difference in self.differences.items()]
        return "\n".join([f"backend {self.backend!r} keeps the protocol ({self.cases} random windows)", *lines])


def check_backend(backend: str | Backend, cases: int = 24, seed: int = 0) -> Conformance:
    """Check everything that the protocol promises, against the textbook backend in float64.

    Outputs, final state and the gradients with respect to every parameter, x, h0 and c0, over chains of one to three
    LSTM layers and dense layers of every activation, with a non-zero initial state, a gradient that enters through
    the final state, resets and padding anywhere; NaN at padding; a window cut in two; every rule; `train_block` for
    every loss, rule and clipping with state handed on at any row; float32; arguments left alone; errors.

    Args:
        backend: a name or a backend.
        cases: random windows.
        seed: of all randomness.

    Raises:
        ConformanceError: listing every check that failed.
    """
    tested = find_backend(backend)
    differences: dict[str, float] = {}
    failures: list[str] = []
    for name, difference in _checks(tested, cases, np.random.default_rng(seed)):
        differences[name] = max(difference, differences.get(name, 0.0))
    for name, difference in differences.items():
        limit = 1e-3 if "float32" in name else TOLERANCE
        if not difference <= limit:
            failures.append(f"  {name}: {difference:.3g}, more than {limit:g}")
    if failures:
        raise ConformanceError("\n".join([f"backend {tested.name!r} does not keep the protocol:", *failures]))
    return Conformance(tested.name, differences, cases)


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


def complex_step_gradients(case: Case, backend: str | Backend = "numpy", step: float = 1e-200) -> Gradients:
    """Gradients of `Σ d_y ⊙ y + Σ d_state ⊙ state` by the complex step: exact to rounding, and no backward pass.

        dL/dv = Im L(v + i ε) / ε,    ε = 1e-200

    Args:
        case: a window; every number of its parameters, x and state is stepped in turn.
        backend: a backend whose forward pass runs on complex128.
        step: ε.

    Source: Squire and Trapp, "Using complex variables to estimate derivatives of real functions" (1998).
    """
    engine = find_backend(backend)

    def objective(params: Any, x: np.ndarray, state: State) -> complex:
        y, final, _ = engine.forward(case.model, params, x, state, case.reset, case.valid)
        pairs = [(case.d_y, y), *zip(leaves(case.d_state), leaves(final), strict=True)]
        return sum(complex((d * value).sum()) for d, value in pairs)

    tree = map_arrays(lambda a: a.astype(complex), (case.params, case.x, case.state))
    gradient = map_arrays(lambda a: np.zeros(a.shape), tree)
    for values, slopes in zip(leaves(tree), leaves(gradient), strict=True):
        for place in np.ndindex(values.shape):
            values[place] += 1j * step
            slopes[place] = objective(*tree).imag / step
            values[place] = values[place].real
    params, x, state = gradient
    return Gradients(params, state, x)


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


def run_case(engine: Backend, case: Case) -> tuple[np.ndarray, State, Gradients]:
    """Outputs, final state and gradients of a window as NumPy arrays."""
    model, params, x, state = case.model, *engine.from_numpy((case.params, case.x, case.state))
    y, final, tape = engine.forward(model, params, x, state, case.reset, case.valid)
    grads = engine.backward(model, params, tape, *engine.from_numpy((case.d_y, case.d_state)))
    return engine.to_numpy(y), engine.to_numpy(final), engine.to_numpy(grads)


def _checks(tested: Backend, cases: int, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    textbook = find_backend("numpy")
    for index in range(cases):
        case = random_case(rng, index)
        yield from _check_window(tested, textbook, case)
        yield "a window cut in two", _check_cut(tested, case)
        yield "NaN at padding has no influence", _check_padding(tested, case)
        yield "float32", _check_float32(tested, textbook, case)
    yield "arguments left alone", _check_purity(tested, random_case(rng, 1))
    yield "wrong shapes refused", _check_errors(tested, random_case(rng, 2))
    for rule in RULES:
        yield f"update: {type(rule).__name__}", _check_update(tested, textbook, rule, rng)
    for index, (loss, rule, clip) in enumerate(_training_settings()):
        difference = _check_training(tested, textbook, rng, index, loss, rule, clip)
        yield f"train_block: {type(loss).__name__}", difference
    yield "train_block: stops where not finite", _check_stop(tested, textbook, rng)


def _check_window(tested: Backend, textbook: Backend, case: Case) -> Iterator[tuple[str, float]]:
    (y, final, grads), (y_ref, final_ref, grads_ref) = run_case(tested, case), run_case(textbook, case)
    yield "outputs", relative_difference(y, y_ref)
    yield "final state", relative_difference(final, final_ref)
    yield "gradient: parameters", relative_difference(grads.params, grads_ref.params)
    yield "gradient: x", relative_difference(grads.x, grads_ref.x)
    for field in LSTMState._fields:
        got, expected = ([getattr(s, field) for s in g.state if s] for g in (grads, grads_ref))
        yield f"gradient: {field}0", relative_difference(tuple(got), tuple(expected))
    model, params, x, state = case.model, *tested.from_numpy((case.params, case.x, case.state))
    _, _, tape = tested.forward(model, params, x, state, case.reset, case.valid)
    without = tested.to_numpy(tested.backward(model, params, tape, tested.from_numpy(case.d_y)))
    zero = replace(case, d_state=map_arrays(np.zeros_like, case.d_state))
    yield "gradient: no d_state", relative_difference(without, run_case(textbook, zero)[2])


def _check_cut(tested: Backend, case: Case) -> float:
    """Whole equals chunked, gradients too, the state's gradient chained."""
    y, final, grads = run_case(tested, case)
    half = len(case.x) // 2
    params, state = tested.from_numpy((case.params, case.state))
    outputs, tapes = [], []
    for rows in (slice(None, half), slice(half, None)):
        x = tested.from_numpy(case.x[rows])
        y_piece, state, tape = tested.forward(case.model, params, x, state, case.reset[rows], case.valid[rows])
        outputs.append(tested.to_numpy(y_piece))
        tapes.append(tape)
    d_first, d_second = tested.from_numpy((case.d_y[:half], case.d_y[half:]))
    second = tested.backward(case.model, params, tapes[1], d_second, tested.from_numpy(case.d_state))
    first = tested.backward(case.model, params, tapes[0], d_first, second.state)
    first, second = tested.to_numpy(first), tested.to_numpy(second)
    summed = {key: g + second.params[key] for key, g in first.params.items()}
    pieces = (np.concatenate(outputs), tested.to_numpy(state), summed, first.state)
    x_pieces = np.concatenate([first.x, second.x])
    return relative_difference((*pieces, x_pieces), (y, final, grads.params, grads.state, grads.x))


def _check_padding(tested: Backend, case: Case) -> float:
    spoilt = replace(
        case,
        x=np.where(case.valid[..., None], case.x, np.nan),
        d_y=np.where(case.valid[..., None], case.d_y, np.nan),
    )
    return 0.0 if _same_bits(run_case(tested, spoilt), run_case(tested, case)) else float("inf")


def _check_float32(tested: Backend, textbook: Backend, case: Case) -> float:
    single = replace(
        case,
        **{
            field: map_arrays(lambda a: a.astype(np.float32), getattr(case, field))
            for field in ("params", "x", "state", "d_y", "d_state")
        },
    )
    got = run_case(tested, single)
    if any(a.dtype != np.float32 for a in leaves(got)):
        return float("inf")
    return relative_difference(got, run_case(textbook, case))


def _check_purity(tested: Backend, case: Case) -> float:
    before = map_arrays(np.copy, (case.params, case.x, case.state, case.d_y, case.d_state))
    first, second = run_case(tested, case), run_case(tested, case)
    after = (case.params, case.x, case.state, case.d_y, case.d_state)
    return 0.0 if _same_bits(before, after) and _same_bits(first, second) else float("inf")


def _check_errors(tested: Backend, case: Case) -> float:
    wrong: list[Callable[[], Case]] = [
        lambda: replace(case, x=case.x[..., 1:]),
        lambda: replace(case, state=map_arrays(lambda a: a[1:], case.state)),
        lambda: replace(case, reset=case.reset[1:]),
        lambda: replace(case, params={key: p for key, p in case.params.items() if key != "0.weight_hh"}),
        lambda: replace(case, params={key: p[1:] for key, p in case.params.items()}),
    ]
    for make in wrong:
        try:
            run_case(tested, make())
            refused = False
        except ModelError:
            refused = True
        except Exception:  # an error, but not one that helps
            refused = False
        if not refused:
            return float("inf")
    return 0.0


def _check_update(tested: Backend, textbook: Backend, rule: Rule, rng: np.random.Generator) -> float:
    params = {"0.weight": rng.standard_normal((3, 2)), "0.bias": rng.standard_normal(3)}
    values, expected = (tested.from_numpy(params), tested.from_numpy(initial_rule_state(rule, params))), None
    expected = (params, initial_rule_state(rule, params))
    for _ in range(4):
        grads = {key: rng.standard_normal(p.shape) for key, p in params.items()}
        values = tested.update(rule, values[0], tested.from_numpy(grads), values[1])
        expected = textbook.update(rule, expected[0], grads, expected[1])
    got = tested.to_numpy(values)
    single = map_arrays(lambda a: a.astype(np.float32), (params, params, initial_rule_state(rule, params)))
    single = tested.to_numpy(tested.update(rule, *tested.from_numpy(single)))
    if any(a.dtype != np.float32 for a in leaves(single)):
        return float("inf")
    if got[1].step != expected[1].step or set(got[1].slots) != set(expected[1].slots):
        return float("inf")
    slots = {slot: got[1].slots[slot] for slot in expected[1].slots}
    return relative_difference((got[0], slots), (expected[0], expected[1].slots))


RULES: tuple[Rule, ...] = (
    SGD(0.05),
    SGD(0.05, momentum=0.9, weight_decay=0.01),
    SGD(0.05, momentum=0.9, nesterov=True),
    Adam(0.01),
    Adam(0.01, weight_decay=0.1),
    AdamW(0.01),
    RMSProp(0.01),
    RMSProp(0.01, momentum=0.5, centered=True, weight_decay=0.01),
)
"""Rules that every backend is checked with."""


def _training_settings() -> Iterator[tuple[Loss, Rule, Clip | None]]:
    clips: tuple[Clip | None, ...] = (None, ClipNorm(0.1), ClipValue(0.01))
    losses: tuple[Loss, ...] = (*(kind() for kind in LOSSES.values()), Huber(0.3))
    for index in range(max(len(RULES), 2 * len(losses))):
        yield losses[index % len(losses)], RULES[index % len(RULES)], clips[index % len(clips)]


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


def _train(tested: Backend, case: Case, block: Block, settings: Mapping[str, Any], own: bool) -> Any:
    rule_state = initial_rule_state(settings["rule"], case.params)
    train = block_trainer(tested) if own else partial(train_block, tested)
    params, state, rule_state = tested.from_numpy((case.params, case.state, rule_state))
    result = train(case.model, params, state, rule_state, block, **settings)
    return tested.to_numpy((result.params, result.rule_state.slots, result.state)), result


def _check_training(
    tested: Backend,
    textbook: Backend,
    rng: np.random.Generator,
    index: int,
    loss: Loss,
    rule: Rule,
    clip: Clip | None,
) -> float:
    case = random_case(rng, index)
    block = random_block(rng, case, loss)
    rates = rule.learning_rate * np.linspace(1, 0.5, len(block.x))
    settings = {"rule": rule, "loss": loss, "clip": clip, "learning_rates": rates}
    (got, result), (expected, reference) = (
        _train(tested, case, block, settings, own=True),
        _train(textbook, case, block, settings, own=False),
    )
    if result.done != reference.done or result.rule_state.step != reference.rule_state.step:
        return float("inf")
    return relative_difference((*got, result.loss, result.norm), (*expected, reference.loss, reference.norm))


def _check_stop(tested: Backend, textbook: Backend, rng: np.random.Generator) -> float:
    """A target that is not finite stops training before its update."""
    case = random_case(rng, 0)
    block = random_block(rng, case, LOSSES["mse"]())
    block.y[1][block.weight[1] > 0] = np.inf
    settings = {"rule": SGD(0.1), "loss": LOSSES["mse"](), "clip": None, "learning_rates": np.full(5, 0.1)}
    with np.errstate(all="ignore"):
        (got, result), (expected, _) = (
            _train(tested, case, block, settings, own=True),
            _train(textbook, case, block, settings, own=False),
        )
    return relative_difference(got, expected) if result.done == 1 else float("inf")


def _same_bits(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q, equal_nan=True) for p, q in zip(leaves(a), leaves(b), strict=True))
