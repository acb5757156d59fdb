"""The conformance check: everything that the protocol promises, against the textbook backend in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnkit.backend import TEXTBOOK, Backend, Carried, CompleteBackend, Draws, Update, map_arrays
from rnnkit.backend import backend as find_backend
from rnnkit.errors import ModelError, RnnkitError, counted
from rnnkit.model import (
    LOSSES,
    Adam,
    ClipNorm,
    Learned,
    Rule,
    initial_names,
    initial_rule_state,
    initial_state,
    state_type,
)
from rnnkit.testing.blocks import RULES, missed_updates, training_checks
from rnnkit.testing.cases import (
    MECHANISMS,
    Case,
    leaves,
    random_block,
    random_case,
    random_settings,
    relative_difference,
    run_case,
)

TOLERANCE = 1e-10
"""Largest relative difference from the textbook backend, in float64."""


class ConformanceError(RnnkitError, AssertionError):
    """A backend that does not keep the protocol; the message lists every check that failed."""


@dataclass(frozen=True)
class Conformance:
    """What `check_backend` found: the largest relative difference of every check."""

    backend: str
    differences: dict[str, float]
    cases: int

    def __str__(self) -> str:
        lines = [f"{name:<44}{difference:>12.1e}" for name, difference in self.differences.items()]
        return "\n".join(
            [f"backend {self.backend!r} keeps the protocol ({counted(self.cases, 'random window')})", *lines]
        )


def check_backend(backend: str | Backend, cases: int = 24, seed: int = 0) -> Conformance:
    """Check everything that the protocol promises, against the textbook backend in float64.

    Outputs, final state and the gradients with respect to every parameter, x and the state, over chains of one to
    three recurrent layers and dense layers of every activation, with a non-zero state, a gradient that enters through
    the final state, resets and padding anywhere, resets to every kind of initial state; NaN at padding; a window cut;
    every rule; `train_block` for every loss, rule and clipping with state handed on at any row, with each of
    `rnnkit.testing.MECHANISMS` alone and all at once, with frozen parameters and parameters that have missed updates;
    float32; arguments left alone; errors.

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
    for name, difference in checks(tested, cases, np.random.default_rng(seed)):
        differences[name] = max(difference, differences.get(name, 0.0))
    for name, difference in differences.items():
        limit = 1e-3 if "float32" in name else TOLERANCE
        if not difference <= limit:
            failures.append(f"  {name}: {difference:.3g}, more than {limit:g}")
    if failures:
        raise ConformanceError("\n".join([f"backend {tested.name!r} does not keep the protocol:", *failures]))
    return Conformance(tested.name, differences, cases)


def checks(backend: str | Backend, cases: int, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Name and relative difference of each check, in turn."""
    tested, textbook = find_backend(backend), find_backend(TEXTBOOK)
    for index in range(cases):
        case = random_case(rng, index)
        yield from _check_window(tested, textbook, case)
        yield "a window cut in two", _check_cut(tested, case)
        if index % 3 == 1:
            yield "the initial state as an argument", _check_initial(tested, case)
        yield "NaN at padding has no influence", _check_padding(tested, case)
        yield "float32", _check_float32(tested, textbook, case)
    yield "arguments left alone", _check_purity(tested, random_case(rng, 3))
    yield "wrong shapes refused", _check_errors(tested, random_case(rng, 2))
    for rule in RULES:
        yield f"update: {type(rule).__name__}", _check_update(tested, textbook, rule, rng)
    yield from training_checks(tested, textbook, rng)
    for rule in RULES:
        yield "update: parameters that have missed some", _check_update(tested, textbook, rule, rng, missed=True)


def _check_window(tested: Backend, textbook: Backend, case: Case) -> Iterator[tuple[str, float]]:
    (y, final, grads), (y_ref, final_ref, grads_ref) = run_case(tested, case), run_case(textbook, case)
    yield "outputs", relative_difference(y, y_ref)
    yield "final state", relative_difference(final, final_ref)
    yield "gradient: parameters", relative_difference(grads.params, grads_ref.params)
    if isinstance(case.model.initial, Learned):
        states = [initial_names(state_type(layer)) for layer in case.model.layers]
        keys = [f"{index}.{name}" for index, names in enumerate(states) for name in names]
        learned = [tuple(g.params[key] for key in keys) for g in (grads, grads_ref)]
        yield "gradient: learned initial state", relative_difference(*learned)
    yield "gradient: x", relative_difference(grads.x, grads_ref.x)
    for field in dict.fromkeys(field for entry in grads_ref.state if entry for field in entry._fields):
        got, expected = (
            tuple(getattr(s, field) for s in g.state if field in getattr(s, "_fields", ())) for g in (grads, grads_ref)
        )
        yield f"gradient: {field}0", relative_difference(got, expected)
    model, params, x, state = case.model, *tested.from_numpy((case.params, case.x, case.state))
    given = {} if case.initial is None else {"initial": tested.from_numpy(case.initial)}
    _, _, tape = tested.forward(model, params, x, state, case.reset, case.valid, **given)
    without = tested.to_numpy(tested.backward(model, params, tape, tested.from_numpy(case.d_y)))
    zero = replace(case, d_state=map_arrays(np.zeros_like, case.d_state))
    yield "gradient: no d_state", relative_difference(without, run_case(textbook, zero)[2])


def _check_cut(tested: Backend, case: Case) -> float:
    """Whole equals chunked, gradients too, the state's gradient chained."""
    y, final, grads = run_case(tested, case)
    half = len(case.x) // 2
    if not half:
        return 0.0
    params, state = tested.from_numpy((case.params, case.state))
    given = {} if case.initial is None else {"initial": tested.from_numpy(case.initial)}
    outputs, tapes = [], []
    for rows in (slice(None, half), slice(half, None)):
        x = tested.from_numpy(case.x[rows])
        masks = case.reset[rows], case.valid[rows]
        y_piece, state, tape = tested.forward(case.model, params, x, state, *masks, **given)
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


def _check_initial(tested: Backend, case: Case) -> float:
    """Left out it is the model's own; and a reset at row 0 is a start from it, from any."""
    lanes = case.x.shape[1]
    own = initial_state(case.model, case.params, lanes)
    params, x, state, own, other = tested.from_numpy((case.params, case.x, case.state, own, case.d_state))
    everywhere, nowhere = (np.concatenate([np.full((1, lanes), cold), case.reset[1:]]) for cold in (True, False))

    def forward(*given: Any) -> Any:
        return tested.to_numpy(tested.forward(case.model, params, x, *given)[:2])

    left_out = relative_difference(forward(own, nowhere, case.valid), forward(state, everywhere, case.valid))
    if isinstance(case.model.initial, Learned):  # it takes no other, and says so
        try:
            forward(state, everywhere, case.valid, other)
        except ModelError:
            return left_out
        return float("inf")
    reset, started = forward(state, everywhere, case.valid, other), forward(other, nowhere, case.valid, other)
    return max(left_out, relative_difference(reset, started))


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
            for field in ("params", "x", "state", "d_y", "d_state", "initial")
        },
    )
    got = run_case(tested, single)
    if any(a.dtype != np.float32 for a in leaves(got)):
        return float("inf")
    return relative_difference(got, run_case(textbook, case))


def _check_purity(tested: CompleteBackend, case: Case) -> float:
    """Each function leaves the arrays it is given alone, the backend's own, and gives the same bits twice."""
    case = replace(case, params=map_arrays(np.copy, case.params))
    rng = np.random.default_rng(0)
    block = random_block(rng, case, LOSSES["mse"](), 5, MECHANISMS)
    also = random_settings(rng, case, block, MECHANISMS)
    rule, recorded, draws = Adam(0.01), also["store"], Draws(also["noise"])
    change = Update(rule, LOSSES["mse"](), ClipNorm(0.1), np.full(5, 0.01), remat=also["remat"])
    initial = initial_state(case.model, case.params, case.x.shape[1])
    trees = (case.params, case.x, case.state, case.d_y, case.d_state, initial_rule_state(rule, case.params), initial)
    given = tested.from_numpy(trees)
    params, x, state, d_y, d_state, rule_state, initial = given
    plain = (
        draws,
        change.learning_rates,
        tuple(array for array in block if isinstance(array, np.ndarray)),
        tuple(block.slots or ()),
    )
    before, plain_before = map_arrays(np.copy, tested.to_numpy(given)), map_arrays(np.copy, plain)

    def everything() -> Any:
        y, final, tape = tested.forward(case.model, params, x, state, case.reset, case.valid, initial=initial)
        grads = tested.backward(case.model, params, tape, d_y, d_state)
        updated = tested.update(rule, params, grads.params, rule_state)
        store = tested.from_numpy(map_arrays(np.copy, recorded))  # a store may be used up
        trained, _ = tested.train_block(case.model, Carried(params, rule_state, state, store), block, change, draws)
        return map_arrays(np.copy, tested.to_numpy((y, final, grads, updated, trained.params, trained.state)))

    first, second = everything(), everything()
    untouched = _same_bits(before, tested.to_numpy(given)) and _same_bits(before, trees)
    untouched = untouched and _same_bits(plain_before, plain)
    return 0.0 if untouched and _same_bits(first, second) else float("inf")


def _check_errors(tested: Backend, case: Case) -> float:
    wrong: list[Callable[[], Case]] = [
        lambda: replace(case, x=case.x[..., 1:]),
        lambda: replace(case, x=case.x[:0], reset=case.reset[:0], valid=case.valid[:0], d_y=case.d_y[:0]),
        lambda: replace(case, x=case.x.astype(np.float32)),
        lambda: replace(case, d_y=case.d_y[:1, :1, :1]),
        lambda: replace(case, d_state=map_arrays(lambda a: a[:1], case.d_state)),
        lambda: replace(case, state=map_arrays(lambda a: a[1:], case.state)),
        lambda: replace(case, reset=case.reset[1:]),
        lambda: replace(case, initial=map_arrays(lambda a: a[1:], case.state)),
        lambda: replace(case, initial=map_arrays(lambda a: a[:, 1:], case.state)),
        lambda: replace(case, initial=case.state[1:]),
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


def _check_update(
    tested: Backend, textbook: Backend, rule: Rule, rng: np.random.Generator, missed: bool = False
) -> float:
    params = {"0.weight": rng.standard_normal((3, 2)), "0.bias": rng.standard_normal(3)}
    begun = initial_rule_state(rule, params)
    begun = begun._replace(step=7, lag={"0.weight": 5}) if missed else begun
    values, expected = (tested.from_numpy(params), tested.from_numpy(begun)), (params, begun)
    for _ in range(4):
        grads = {key: rng.standard_normal(p.shape) for key, p in params.items()}
        values = tested.update(rule, values[0], tested.from_numpy(grads), values[1])
        expected = textbook.update(rule, expected[0], grads, expected[1])
        if values[1].step != expected[1].step or missed_updates(values[1]) != missed_updates(expected[1]):
            return float("inf")
    got = tested.to_numpy(values)
    single = map_arrays(lambda a: a.astype(np.float32), (params, params, initial_rule_state(rule, params)))
    single = tested.to_numpy(tested.update(rule, *tested.from_numpy(single)))
    if any(a.dtype != np.float32 for a in leaves(single)):
        return float("inf")
    if set(got[1].slots) != set(expected[1].slots):
        return float("inf")
    slots = {slot: got[1].slots[slot] for slot in expected[1].slots}
    return relative_difference((got[0], slots), (expected[0], expected[1].slots))


def _same_bits(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q, equal_nan=True) for p, q in zip(leaves(a), leaves(b), strict=True))
