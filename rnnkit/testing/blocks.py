"""What the conformance check asks of `train_block`: every loss, rule, clipping and mechanism, and where it stops."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from rnnkit.backend import Backend, Block, Carried, Draws, Update, map_arrays
from rnnkit.backend import backend as find_backend
from rnnkit.backend.block import train_block
from rnnkit.model import (
    LOSSES,
    SGD,
    Adam,
    AdamW,
    Chain,
    Clip,
    ClipNorm,
    ClipValue,
    Dense,
    Huber,
    Loss,
    RMSProp,
    Rule,
    RuleState,
    initial_rule_state,
    setup,
)
from rnnkit.testing.cases import MECHANISMS, Case, random_block, random_case, random_settings, relative_difference

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


def training_checks(tested: Backend, textbook: Backend, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Name and relative difference of each check."""
    for index, (loss, rule, clip) in enumerate(_training_settings()):
        difference = _check_training(tested, textbook, rng, index, loss, rule, clip)
        yield f"train_block: {type(loss).__name__}", difference
    drawn, learned, alone = 3, 4, 5  # random cases: initial states drawn, and learned; a single lane
    undrawn = set(MECHANISMS) - {"noise"}
    kinds: list[tuple[str, Collection[str], int]] = [
        *((name, {name}, drawn if name == "noise" else learned) for name in MECHANISMS),
        ("all, initial states drawn", MECHANISMS, drawn),
        ("all, initial states learned", undrawn, learned),
        ("all, one lane", undrawn, alone),
    ]
    for name, mechanisms, index in kinds:
        case = random_case(rng, index)
        yield f"train_block: {name}", _check_mechanisms(tested, textbook, rng, case, mechanisms)
    yield "train_block: stops where not finite", _check_stop(tested, textbook, rng)
    yield "train_block: stops where not finite", _check_stop_at_gradient(tested)
    for index, rule in enumerate(RULES):
        yield "train_block: frozen parameters", _check_frozen(tested, textbook, rng, index, rule)
    yield "train_block: frozen parameters", _check_frozen_overflow(tested, textbook)


def _training_settings() -> Iterator[tuple[Loss, Rule, Clip | None]]:
    clips: tuple[Clip | None, ...] = (None, ClipNorm(0.1), ClipValue(0.01))
    losses: tuple[Loss, ...] = (*(kind() for kind in LOSSES.values()), Huber(0.3))
    for index in range(max(len(RULES), 2 * len(losses))):
        yield losses[index % len(losses)], RULES[index % len(RULES)], clips[index % len(clips)]


def _train(tested: Backend, case: Case, block: Block, settings: Mapping[str, Any], own: bool) -> Any:
    """Arrays, rule state and report of a training, by the backend's own `train_block` or by the composed one."""
    engine = find_backend(tested)
    train = engine.train_block if own else partial(train_block, engine)
    carried, update, draws = arguments_of(engine, case, settings)
    after, report = train(case.model, carried, block, update, draws)
    return engine.to_numpy((after.params, after.rule_state.slots, after.state, after.store)), after.rule_state, report


def arguments_of(engine: Backend, case: Case, settings: Mapping[str, Any]) -> tuple[Carried, Update, Draws]:
    """What `train_block` takes besides model and block.

    Args:
        engine: whose arrays are wanted.
        case: parameters and state.
        settings: `rule` and what else `Update` has; by choice `rule_state`, `store` and `noise`: NumPy arrays.
    """
    rest = dict(settings)
    rule_state = rest.pop("rule_state", None) or initial_rule_state(rest["rule"], case.params)
    store, noise = map_arrays(np.copy, rest.pop("store", None)), rest.pop("noise", None)
    carried = engine.from_numpy(Carried(case.params, rule_state, case.state, store))
    return carried, Update(**rest), Draws(noise)


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
    return _same_training(tested, textbook, case, block, rule=rule, loss=loss, clip=clip, learning_rates=rates)


def _check_mechanisms(
    tested: Backend, textbook: Backend, rng: np.random.Generator, case: Case, mechanisms: Collection[str]
) -> float:
    """`train_block` where something happens to the state and the gradient besides the recurrence."""
    block = random_block(rng, case, LOSSES["mse"](), 4, mechanisms)
    settings = {"rule": SGD(0.05), "loss": LOSSES["mse"](), "clip": None, "learning_rates": np.full(4, 0.05)}
    return _same_training(tested, textbook, case, block, **settings, **random_settings(rng, case, block, mechanisms))


def _check_frozen(tested: Backend, textbook: Backend, rng: np.random.Generator, index: int, rule: Rule) -> float:
    """Frozen parameters, beside others that have missed some updates, with moments that would move them."""
    case = random_case(rng, (3, 4)[index % 2])  # initial states drawn, and learned
    mechanisms = MECHANISMS if index % 2 == 0 else set(MECHANISMS) - {"noise"}
    block = random_block(rng, case, LOSSES["mse"](), 5, mechanisms)
    many = (1.0, 0.0, 0.5)[index % 3]
    moments = {
        slot: {key: rng.random(p.shape) + (1.0 if slot in "vs" else -0.5) for key, p in values.items()}
        for slot, values in initial_rule_state(rule, case.params).slots.items()
    }
    settings = {
        "rule": rule,
        "loss": LOSSES["mse"](),
        "clip": (None, ClipNorm(0.1), ClipValue(0.01))[index % 3],
        "learning_rates": rule.learning_rate * np.linspace(1, 0.5, 5),
        "rule_state": RuleState(1, moments, {key: int(rng.integers(2)) for key in case.params}),
        "frozen": frozenset(key for key in case.params if rng.random() < many),
    }
    return _same_training(tested, textbook, case, block, **settings, **random_settings(rng, case, block, mechanisms))


def _check_frozen_overflow(tested: Backend, textbook: Backend) -> float:
    """What overflows in the gradient of a frozen parameter stops nothing."""
    case, block = _overflowing()
    settings: dict[str, Any] = {"rule": SGD(0.1), "loss": LOSSES["mse"](), "clip": ClipNorm(0.1)}
    settings |= {"learning_rates": np.full(5, 0.1), "frozen": frozenset({"0.weight", "0.bias"})}
    with np.errstate(all="ignore"):
        _, _, report = _train(tested, case, block, settings, own=True)
        same = _same_training(tested, textbook, case, block, **settings)
    return same if report.done == len(block.x) else float("inf")


def missed_updates(rule_state: RuleState) -> dict[str, int]:
    """The lags of a rule state that are not 0."""
    return {key: missed for key, missed in rule_state.lag.items() if missed}


def _same_training(tested: Backend, textbook: Backend, case: Case, block: Block, **settings: Any) -> float:
    got, own, report = _train(tested, case, block, settings, own=True)
    expected, other, reference = _train(textbook, case, block, settings, own=False)
    if report.done != reference.done or own.step != other.step or missed_updates(own) != missed_updates(other):
        return float("inf")
    return relative_difference((*got, report.loss, report.norm), (*expected, reference.loss, reference.norm))


def _check_stop(tested: Backend, textbook: Backend, rng: np.random.Generator) -> float:
    """A target that is not finite stops training before its update."""
    case = random_case(rng, 0)
    block = random_block(rng, case, LOSSES["mse"]())
    block.y[1][block.weight[1] > 0] = np.inf
    settings = {"rule": SGD(0.1), "loss": LOSSES["mse"](), "clip": None, "learning_rates": np.full(5, 0.1)}
    with np.errstate(all="ignore"):
        got, _, report = _train(tested, case, block, settings, own=True)
        expected, _, _ = _train(textbook, case, block, settings, own=False)
    return relative_difference(got, expected) if report.done == 1 else float("inf")


def _check_stop_at_gradient(tested: Backend) -> float:
    """A gradient that overflows though the loss is finite stops training, too."""
    case, block = _overflowing()
    settings = {"rule": SGD(0.1), "loss": LOSSES["mse"](), "clip": None, "learning_rates": np.full(5, 0.1)}
    with np.errstate(all="ignore"):
        (kept, *_), _, report = _train(tested, case, block, settings, own=True)
    stopped = report.done == 0 and bool(np.isfinite(report.loss[0])) and not np.isfinite(report.norm[0])
    return relative_difference(kept, case.params) if stopped else float("inf")


def _overflowing() -> tuple[Case, Block]:
    """A block whose loss is finite, and so is the gradient of its second layer, but not that of the first."""
    model = Chain(Dense(1, 1), Dense(1, 1))
    params, state = setup(model, lanes=2, dtype="float64")
    for key, value in {"0.weight": 0.0, "0.bias": 1e-200, "1.weight": 1e200, "1.bias": 0.0}.items():
        params[key][...] = value
    ones = np.ones((1, 3, 2))
    case = Case(model, params, 1e200 * ones[0, ..., None], state, ones[0] < 0, ones[0] > 0, ones[0, ..., None], state)
    block = random_block(np.random.default_rng(0), case, LOSSES["mse"]())
    return case, block._replace(x=np.full_like(block.x, 1e200), weight=block.valid.astype(float))
