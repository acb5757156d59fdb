"""The compiled backend against the textbook: every number, every option, every flavour of array."""

import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import rnnkit_numba as compiled
import rnnkit_numpy as textbook
from numba.core import config
from rnnkit_numba import compiled as compiling
from rnnkit_numba.compiled import entry, source_digest
from rnnkit_numba.layers.recurrence import GATES_IN_CACHE
from rnnkit_numba.layout import GROUP_LANES, extent
from rnnkit_numba.protocol import run_backward, run_forward, run_update
from rnnkit_numba.train import run_block

from builders.training import train_through
from rnnkit.backend import Backend
from rnnkit.backend.block import train_block
from rnnkit.errors import ModelError
from rnnkit.model import (
    LSTM,
    MAE,
    MSE,
    SGD,
    Adam,
    AdamW,
    BinaryCrossEntropy,
    Chain,
    ClipNorm,
    ClipValue,
    CrossEntropy,
    Dense,
    Huber,
    Learned,
    LSTMState,
    RMSProp,
    RuleState,
    initial_rule_state,
    setup,
)
from rnnkit.schedule.batch import Block

CHAINS = {
    "lstm": Chain(LSTM(3, 4)),
    "dense": Chain(Dense(3, 4, "relu")),
    "lstm, dense": Chain(LSTM(3, 7), Dense(7, 2)),
    "B equals H": Chain(LSTM(2, 5), Dense(5, 3, "tanh")),
    "dense, lstm": Chain(Dense(2, 3, "sigmoid"), LSTM(3, 6)),
    "two": Chain(LSTM(1, 6), LSTM(6, 3), Dense(3, 2, "relu"), Dense(2, 4, "tanh")),
    "wide end": Chain(LSTM(2, 3), Dense(3, 19)),
    "three": Chain(LSTM(2, 9), Dense(9, 8, "tanh"), LSTM(8, 3), Dense(3, 4, "sigmoid"), LSTM(4, 7)),
}
RULES = [
    SGD(0.1),
    SGD(0.1, weight_decay=0.02),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
    Adam(0.03),
    Adam(0.03, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.02),
    AdamW(0.03),
    AdamW(0.03, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.2),
    RMSProp(0.02),
    RMSProp(0.02, alpha=0.9, epsilon=1e-3, momentum=0.7, weight_decay=0.02),
    RMSProp(0.02, centered=True),
    RMSProp(0.02, alpha=0.9, momentum=0.7, centered=True),
]
STEPS, LANES = 11, 5
RATES = np.linspace(0.02, 0.01, 6)


def like(rng, state):
    """A state of random numbers."""
    return tuple(type(e)(*(rng.normal(size=a.shape).astype(a.dtype) for a in e)) if e else () for e in state)


def leaves(tree):
    """Every array of a tree, in order."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, tuple):
        return [leaf for value in tree for leaf in leaves(value)]
    return [] if tree is None else [np.asarray(tree)]


def assert_close(got, expected, tolerance=1e-10):
    """Same tree, each array equal relative to its largest entry."""
    if isinstance(expected, dict):
        assert list(got) == list(expected)
    got, expected = leaves(got), leaves(expected)
    assert [a.shape for a in got] == [a.shape for a in expected]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-300, np.abs(b).max(initial=0)))


def assert_same_bits(got, expected):
    """Same tree, bit by bit."""
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@dataclass
class Case:
    """Everything that goes into one forward and one backward pass."""

    model: Chain
    params: dict
    x: np.ndarray
    state: tuple
    reset: np.ndarray
    valid: np.ndarray
    d_y: np.ndarray
    d_state: tuple

    def run(self, backend):
        y, state, tape = backend.forward(self.model, self.params, self.x, self.state, self.reset, self.valid)
        return y, state, backend.backward(self.model, self.params, tape, self.d_y, self.d_state)


def case(model, seed=0, steps=STEPS, lanes=LANES, dtype="float64"):
    """Random numbers, resets, and padding: row 0, the end, a whole lane, and a row with a reset."""
    rng = np.random.default_rng(seed)
    params, state = setup(model, seed, lanes, dtype)
    reset, valid = rng.random((steps, lanes)) < 0.2, np.ones((steps, lanes), bool)
    valid[0, 0] = valid[steps // 2 :, 1 % lanes] = valid[:, 2 % lanes] = False
    valid[4 % steps, 3 % lanes] = False
    reset[4 % steps, 3 % lanes] = reset[0, 0] = True
    return Case(
        model,
        {key: (3 * p).astype(dtype) for key, p in params.items()},
        rng.normal(size=(steps, lanes, model.inputs)).astype(dtype),
        like(rng, state),
        reset,
        valid,
        rng.normal(size=(steps, lanes, model.outputs)).astype(dtype),
        like(rng, state),
    )


def test_the_module_is_a_backend():
    assert isinstance(compiled, Backend)
    assert compiled.name == "numba"


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("seed", [0, 1])
def test_outputs_state_and_every_gradient_are_the_textbooks(chain, seed):
    c = case(CHAINS[chain], seed)
    assert_close(c.run(compiled), c.run(textbook))


@pytest.mark.parametrize(("steps", "lanes"), [(1, 1), (1, 5), (9, 1), (4, 2 * GROUP_LANES + 3)])
def test_windows_and_lanes_of_any_number(steps, lanes):
    c = case(CHAINS["two"], 2, steps, lanes)
    if lanes == 1:  # rows are taken in one go between those that are padding, or reset
        c.valid[:, 0] = np.arange(steps) % 5 != 3
    assert_close(c.run(compiled), c.run(textbook))


@pytest.mark.parametrize("lanes", [1, 5])
def test_windows_of_more_gates_than_are_multiplied_ahead(lanes):
    hidden = 64
    c = case(Chain(LSTM(2, hidden)), steps=GATES_IN_CACHE // (4 * hidden * lanes) + 3, lanes=lanes)
    c.valid[:], c.reset[:] = True, False
    c.params = {key: p / 3 for key, p in c.params.items()}  # or rounding would grow from row to row
    assert_close(c.run(compiled), c.run(textbook))


def test_without_masks_and_without_a_gradient_of_the_state():
    c = case(CHAINS["three"])
    got, expected = (
        (y, state, backend.backward(c.model, c.params, tape, c.d_y))
        for backend in (compiled, textbook)
        for y, state, tape in [backend.forward(c.model, c.params, c.x, c.state)]
    )
    assert_close(got, expected)


def test_whole_equals_chunked_with_the_gradient_through_the_state():
    c = case(CHAINS["three"])
    y, state, gradients = c.run(compiled)
    first, second = slice(0, 4), slice(4, None)
    y1, middle, tape1 = compiled.forward(c.model, c.params, c.x[first], c.state, c.reset[first], c.valid[first])
    y2, end, tape2 = compiled.forward(c.model, c.params, c.x[second], middle, c.reset[second], c.valid[second])
    g2 = compiled.backward(c.model, c.params, tape2, c.d_y[second], c.d_state)
    g1 = compiled.backward(c.model, c.params, tape1, c.d_y[first], g2.state)
    assert_same_bits((np.concatenate([y1, y2]), end), (y, state))
    assert_close(np.concatenate([g1.x, g2.x]), gradients.x, 1e-13)
    assert_close(g1.state, gradients.state, 1e-13)
    assert_close({key: g1.params[key] + g2.params[key] for key in c.params}, gradients.params, 1e-13)


@pytest.mark.parametrize("chain", CHAINS)
def test_float32_is_float64_rounded(chain):
    got = case(CHAINS[chain], dtype="float32").run(compiled)
    assert {a.dtype for a in leaves(got)} == {np.dtype(np.float32)}
    assert_close(got, case(CHAINS[chain]).run(compiled), 2e-5)


@pytest.mark.parametrize("chain", ["dense", "lstm, dense", "three"])
def test_what_stands_at_padding_has_no_influence(chain):
    c = case(CHAINS[chain])
    expected = c.run(compiled)
    c.x[~c.valid] = np.nan
    c.d_y[~c.valid] = np.inf
    assert_same_bits(c.run(compiled), expected)
    assert not expected[0][~c.valid].any()
    assert not expected[2].x[~c.valid].any()


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_not_swallowed(activation, bad):
    c = case(Chain(LSTM(2, 3), Dense(3, 2, activation)))
    c.valid[:], c.reset[:] = True, False
    c.params["1.weight"][0, 0] = bad
    y, _, gradients = c.run(compiled)
    assert not np.isfinite(gradients.x).any()
    if np.isnan(bad):
        assert np.isnan(y[..., 0]).all()


@pytest.mark.parametrize("hidden", [1, 3, 8, 17])
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("before", [None, Dense(1, 1, "relu"), Dense(1, 1)], ids=repr)
def test_an_infinite_input_saturates_gates_and_spoils_no_more_than_in_the_textbook(hidden, lanes, before):
    layers = LSTM(1, hidden), Dense(hidden, 1, "relu"), LSTM(1, hidden), Dense(hidden, 1)
    c = case(Chain(*layers) if before is None else Chain(before, *layers), lanes=lanes)
    c.valid[:], c.reset[:] = True, False
    c.x[2, 0] = np.inf
    if before is not None:  # what a layer gives may overflow, too
        c.params["0.weight"][:], c.x[2, 0] = 10, 1e308
    with np.errstate(invalid="ignore", over="ignore"):
        expected = c.run(textbook)
    got = c.run(compiled)
    assert np.isfinite(expected[0]).all()
    assert np.isfinite(expected[2].params[f"{int(before is not None)}.weight_hh"]).all()
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_saturated_gates_stay_finite():
    c = case(CHAINS["lstm, dense"])
    c.x *= 1e6
    for a in leaves(c.run(compiled)):
        assert np.isfinite(a).all()
    assert_close(c.run(compiled)[0], c.run(textbook)[0])


def test_same_bits_every_time_and_arguments_unchanged():
    c = case(CHAINS["three"])
    before = [a.copy() for a in leaves((c.params, c.x, c.state, c.reset, c.valid, c.d_y, c.d_state))]
    first = c.run(compiled)
    y, state, tape = compiled.forward(c.model, c.params, c.x, c.state, c.reset, c.valid)
    for _ in range(2):  # a tape may be used again
        gradients = compiled.backward(c.model, c.params, tape, c.d_y, c.d_state)
        assert_same_bits((y, state, gradients), first)
    assert_same_bits(tuple(leaves((c.params, c.x, c.state, c.reset, c.valid, c.d_y, c.d_state))), tuple(before))


def strided(a):
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("flavour", [np.asfortranarray, strided, read_only])
def test_the_flavour_of_an_array_changes_nothing_and_compiles_nothing(flavour):
    c, (run, train) = case(CHAINS["three"]), flavours()
    expected = c.run(compiled), run(), train()
    compilations = [len(f.signatures) for f in (run_forward, run_backward, run_update, run_block)]
    c.params = {key: flavour(p) for key, p in c.params.items()}
    c.x, c.reset, c.valid, c.d_y = (flavour(a) for a in (c.x, c.reset, c.valid, c.d_y))
    c.state, c.d_state = (tuple(LSTMState(*map(flavour, e)) if e else () for e in s) for s in (c.state, c.d_state))
    assert_same_bits((c.run(compiled), run(flavour), train(flavour)), expected)
    assert [len(f.signatures) for f in (run_forward, run_backward, run_update, run_block)] == compilations


def flavours():
    """An update and a training run, as functions of what is done to every array that goes in."""
    model = CHAINS["two"]
    params, state = setup(model, 0, LANES, "float64")
    rule, block = Adam(0.01), block_of(model)
    slots = initial_rule_state(rule, params).slots

    def tree(change, values):
        return {key: change(p) for key, p in values.items()}

    def update(change=np.array):
        remembered = RuleState(3, {name: tree(change, slot) for name, slot in slots.items()})
        return compiled.update(rule, tree(change, params), tree(change, params), remembered)

    def train(change=np.array):
        remembered = RuleState(3, {name: tree(change, slot) for name, slot in slots.items()})
        changed = Block(*map(change, block[:9]))
        cold = tuple(LSTMState(*map(change, e)) if e else () for e in state)
        rates = change(np.full(len(block.x), 0.01))
        return own(
            model,
            tree(change, params),
            cold,
            remembered,
            changed,
            rule=rule,
            loss=MSE(),
            clip=None,
            learning_rates=rates,
        )

    return update, train


def test_one_compilation_serves_every_architecture():
    for chain in CHAINS.values():
        for dtype in ("float32", "float64"):
            case(chain, dtype=dtype).run(compiled)
            train(own, chain, block_of(chain), dtype=dtype)
    for function in (run_forward, run_backward, run_block):
        dtypes = ["float32" if "array(float32" in str(types) else "float64" for types in function.signatures]
        assert sorted(dtypes) == ["float32", "float64"]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_update_is_the_textbooks(rule):
    rng = np.random.default_rng(0)
    params, _ = setup(CHAINS["two"], dtype="float64")
    ours = theirs = (params, initial_rule_state(rule, params))
    for _ in range(4):
        grads = {key: rng.normal(size=p.shape) for key, p in params.items()}
        before = [a.copy() for a in leaves((ours, grads))]
        new = compiled.update(rule, ours[0], grads, ours[1])
        assert_same_bits(tuple(leaves((ours, grads))), tuple(before))
        ours, theirs = new, textbook.update(rule, theirs[0], grads, theirs[1])
    assert ours[1].step == 4
    assert list(ours[1].slots) == list(theirs[1].slots)
    assert_close(ours, theirs)


def block_of(model, windows=6, steps=8, lanes=LANES, seed=0, loss=None):
    """A block whose lanes hand on at the end, in the middle, at row 0 or not at all, with padding."""
    rng = np.random.default_rng(seed)
    shape = (windows, steps, lanes)
    valid = np.ones(shape, bool)
    valid[-1, 5:] = False  # the last window is short
    valid[:, :, 2 % lanes] = False
    valid[1, 3, 0] = False
    weight = rng.random(shape) * (rng.random(shape) < 0.7) * valid
    weight[2] = 0  # only advances the state
    if isinstance(loss, CrossEntropy):
        y = rng.integers(0, model.outputs, shape)
    elif isinstance(loss, BinaryCrossEntropy):
        y = rng.random((*shape, model.outputs))
    else:
        y = rng.normal(size=(*shape, model.outputs))
    y[~valid] = 0
    return Block(
        x=rng.normal(size=(*shape, model.inputs)) * valid[..., None],
        y=y,
        reset=rng.random(shape) < 0.1,
        valid=valid,
        weight=weight,
        origin=rng.choice([-1, 0, 3, steps], (windows + 1, lanes)),
        rows=np.zeros(shape, int),
        segment=np.zeros((windows, lanes), int),
        row=np.zeros((windows, lanes), int),
    )


own = partial(train_through, compiled)
reference = partial(train_through, textbook, composed=True)


def train(trainer, model, block, *, rule=None, loss=None, clip=None, dtype="float64", params=None, rates=RATES):
    rule = rule or Adam(0.01)
    drawn, state = setup(model, 0, block.x.shape[2], dtype)
    params = drawn if params is None else params
    block = block._replace(x=block.x.astype(dtype), weight=block.weight.astype(dtype))
    state = like(np.random.default_rng(1), state)
    remembered = initial_rule_state(rule, params)
    return trainer(
        model,
        params,
        state,
        remembered,
        block,
        rule=rule,
        loss=loss or MSE(),
        clip=clip,
        learning_rates=rates,
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chain", CHAINS)
def test_a_block_is_the_composed_block_whatever_the_origins(chain, seed):
    block = block_of(CHAINS[chain], seed=seed)
    expected = train(reference, CHAINS[chain], block)
    got = train(own, CHAINS[chain], block)
    assert got.done == expected.done == 6
    assert got.rule_state.step == expected.rule_state.step == 5  # one window has no scored row
    assert got.loss[2] == got.norm[2] == 0
    assert_close(got, expected, 1e-9)


@pytest.mark.parametrize("clip", [None, ClipNorm(0.05), ClipNorm(1e6), ClipValue(0.01)], ids=repr)
@pytest.mark.parametrize("loss", [MSE(), MAE(), Huber(0.6), CrossEntropy(), BinaryCrossEntropy()], ids=repr)
def test_a_block_with_every_loss_and_clip(loss, clip):
    model = CHAINS["two"]
    block = block_of(model, loss=loss)
    expected = train(reference, model, block, loss=loss, clip=clip)
    assert_close(train(own, model, block, loss=loss, clip=clip), expected, 1e-9)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_block_with_every_rule(rule):
    model = CHAINS["B equals H"]
    block = block_of(model)
    expected = train(reference, model, block, rule=rule)
    assert_close(train(own, model, block, rule=rule), expected, 1e-8)


@pytest.mark.parametrize(
    "rule", [Adam(0.02, epsilon=0), AdamW(0.02, epsilon=0), RMSProp(0.02, epsilon=0, momentum=0.5)]
)
@pytest.mark.parametrize("lanes", [1, LANES])
def test_without_epsilon_only_what_has_no_gradient_becomes_nan(rule, lanes):
    model = Chain(LSTM(2, 3), Dense(3, 2), initial=Learned())  # sizes that are padded
    block = block_of(model, lanes=lanes)
    origin = np.where(block.origin < 0, 0, block.origin)
    block = block._replace(weight=np.ones_like(block.weight), valid=np.ones_like(block.valid), origin=origin)
    block.reset[:] = False
    for start, teaches in ((-1, True), (0, False)):  # the initial state is used, or has no gradient
        block.origin[0] = start
        with np.errstate(invalid="ignore"):
            expected = train(reference, model, block, rule=rule)
        got = train(own, model, block, rule=rule)
        assert np.isfinite(expected.params["0.initial_h"]).all() == teaches
        assert np.isfinite(got.params["1.weight"]).all()
        for a, b in zip(leaves(got), leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", [Adam(0.02, epsilon=1e-60), RMSProp(0.02, epsilon=1e-60)], ids=repr)
def test_an_epsilon_that_is_nothing_in_float32_spoils_no_parameter(rule):
    model = CHAINS["B equals H"]  # sizes that are padded
    block = block_of(model)
    everywhere = {"weight": np.ones_like(block.weight), "valid": np.ones_like(block.valid)}
    block = block._replace(**everywhere)  # every parameter has a gradient
    block.reset[:] = False
    got = train(own, model, block, rule=rule, dtype="float32")
    assert got.done == 6
    assert all(np.isfinite(p).all() for p in got.params.values())


@pytest.mark.parametrize("loss", [MSE(), MAE(), Huber(0.6), CrossEntropy(), BinaryCrossEntropy()], ids=repr)
def test_losses_of_outputs_that_are_large_or_exact(loss):
    model = Chain(LSTM(2, 5), Dense(5, 3))
    params, _ = setup(model, dtype="float64")
    params["1.weight"][:], params["1.bias"][:] = 0, (-2000, 0, 2000)
    block = block_of(model, loss=loss)
    if loss != CrossEntropy():
        block.y[..., 1] = 0
    settings = {"rule": SGD(1e-4), "loss": loss, "params": params}
    got, expected = (train(t, model, block, **settings) for t in (own, reference))
    assert expected.done == 6
    assert_close(got, expected, 1e-9)


def test_a_block_of_more_lanes_than_go_together():
    model, block = CHAINS["two"], block_of(CHAINS["two"], lanes=2 * GROUP_LANES + 3)
    assert_close(train(own, model, block), train(reference, model, block), 1e-9)


def test_a_block_in_float32_is_close_and_has_one_dtype():
    model, block = CHAINS["two"], block_of(CHAINS["two"])
    got = train(own, model, block, rule=SGD(0.01), dtype="float32")
    assert {a.dtype for a in leaves((got.params, got.rule_state.slots, got.state))} == {np.dtype(np.float32)}
    assert got.loss.dtype == got.norm.dtype == np.float64
    expected = train(own, model, block, rule=SGD(0.01))
    assert_close(got, expected, 1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_stops_before_the_update_of_a_window_that_is_not_finite(bad):
    model, block = CHAINS["B equals H"], block_of(CHAINS["B equals H"])
    t, b = np.argwhere(block.weight[4] > 0)[0]
    block.y[4, t, b, 0] = bad
    got = train(own, model, block)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = train(reference, model, block)
    assert got.done == expected.done == 4
    assert got.rule_state.step == 3
    assert not np.isfinite(got.loss[4])
    np.testing.assert_array_equal(np.isfinite(got.norm), np.isfinite(expected.norm))
    assert not got.loss[5:].any()
    assert_close((got.params, got.rule_state, got.state), (expected.params, expected.rule_state, expected.state), 1e-9)
    good = Block(*(a[:4] for a in block[:9]))._replace(origin=block.origin[:5])
    whole = train(own, model, good, rates=RATES[:4])
    assert_same_bits((got.params, got.rule_state, got.state), (whole.params, whole.rule_state, whole.state))


def test_a_parameter_that_is_not_finite_stops_the_first_window():
    model, block = CHAINS["B equals H"], block_of(CHAINS["B equals H"])
    params, _ = setup(model, dtype="float64")
    params["0.weight_hh"][1, 1] = np.nan
    got = train(own, model, block, params=params)
    assert got.done == 0
    assert got.rule_state.step == 0
    assert np.isnan(got.loss[0])
    assert_same_bits(got.params, params)


def test_targets_and_inputs_at_unscored_rows_may_be_anything():
    model, block = CHAINS["two"], block_of(CHAINS["two"])
    expected = train(own, model, block)
    block.y[~(block.weight > 0)] = np.nan
    block.x[~block.valid] = np.nan
    assert_same_bits(train(own, model, block), expected)


def test_a_weight_at_padding_scores_a_zero_that_teaches_nothing():
    model, block = CHAINS["two"], block_of(CHAINS["two"])
    block.weight[:] = 0.5
    block.y[~block.valid] = 3
    assert_close(train(own, model, block), train(reference, model, block), 1e-9)


def test_a_weight_behind_the_last_valid_row_scores_a_zero():
    model = CHAINS["lstm, dense"]
    block = block_of(model)
    valid = block.valid.copy()
    valid[:, 5:] = False
    block = block._replace(valid=valid, reset=block.reset & valid, weight=np.ones_like(block.weight))
    ours, theirs = (train(trainer, model, block) for trainer in (own, reference))
    assert_close(ours.loss, theirs.loss)
    assert_close(ours.params, theirs.params)


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_no_update_is_made_where_all_rows_are_detached(bad):
    model = CHAINS["lstm, dense"]
    block = block_of(model)
    block.y[0, 0] += bad
    block = block._replace(detached=block.x.shape[1])
    ours, theirs = (train(trainer, model, block) for trainer in (own, reference))
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-12)
    assert_close(ours.state, theirs.state)
    assert_same_bits(ours.norm, theirs.norm)
    assert ours.rule_state.step == 0
    assert ours.done == 6
    assert_same_bits(ours.params, setup(model, 0, LANES, "float64")[0])


def test_a_block_changes_no_argument_and_repeats_its_bits():
    model, block, rule = CHAINS["two"], block_of(CHAINS["two"]), RMSProp(momentum=0.5, centered=True)
    params, state = setup(model, 0, LANES, "float64")
    arguments = (
        model,
        params,
        like(np.random.default_rng(0), state),
        initial_rule_state(rule, params),
        block,
    )
    rates = np.full(6, 0.01)
    before = [a.copy() for a in leaves((*arguments[1:], rates))]
    settings = {"rule": rule, "loss": MSE(), "clip": ClipValue(0.01), "learning_rates": rates}
    first = own(*arguments, **settings)
    assert_same_bits(own(*arguments, **settings), first)
    assert_same_bits(tuple(leaves((*arguments[1:], rates))), tuple(before))


def test_from_numpy_makes_arrays_contiguous_and_keeps_the_tree():
    tree = {
        "a": np.zeros((4, 6), np.float32).T,
        "b": (LSTMState(np.ones((2, 3))[:, ::2], np.ones(2)), (), None),
    }
    plain = compiled.from_numpy(tree)
    assert all(a.flags.c_contiguous for a in (plain["a"], *plain["b"][0]))
    assert isinstance(plain["b"][0], LSTMState)
    assert plain["b"][1:] == ((), None)
    assert_same_bits(compiled.to_numpy(plain)["a"], tree["a"])


@dataclass(frozen=True)
class Unknown:
    learning_rate: float = 0.1


def test_unknown_descriptions_are_refused():
    model, block = CHAINS["two"], block_of(CHAINS["two"])
    params, state = setup(model, 0, LANES, "float64")
    nothing = RuleState(0, {})
    with pytest.raises(ModelError, match="backend 'numba' cannot run the rule Unknown"):
        compiled.update(Unknown(), params, params, nothing)

    def go(**settings):
        settings = {"rule": SGD(), "loss": MSE(), "clip": None, "learning_rates": np.ones(6), **settings}
        own(model, params, state, nothing, block, **settings)

    with pytest.raises(ModelError, match="backend 'numba' cannot run the loss Unknown"):
        go(loss=Unknown())
    with pytest.raises(ModelError, match="backend 'numba' cannot run the clipping Unknown"):
        go(clip=Unknown())
    with pytest.raises(ModelError, match=r"learning_rates of shape \(6,\), got \(5,\)"):
        go(learning_rates=np.ones(5))
    with pytest.raises(ModelError, match=r"moments \('m', 'v'\) for Adam"):
        go(rule=Adam())
    with pytest.raises(ModelError, match="backend 'numba' cannot run the layer Unknown"):
        extent(Unknown(), 3, 8)


def test_arrays_that_do_not_fit_are_refused():
    c = case(CHAINS["two"])
    _, _, tape = compiled.forward(c.model, c.params, c.x, c.state)
    with pytest.raises(ModelError, match=r"d_y of shape \(11, 5, 4\), got \(11, 5, 3\)"):
        compiled.backward(c.model, c.params, tape, c.d_y[..., :3])
    with pytest.raises(ModelError, match=r"expects a state of arrays \[\(5, 6\)"):
        compiled.backward(c.model, c.params, tape, c.d_y, c.d_state[1:])
    with pytest.raises(ModelError, match="backward expects a tape of Chain"):
        compiled.backward(CHAINS["lstm"], setup(CHAINS["lstm"], dtype="float64")[0], tape, c.d_y)
    half = {key: p.astype(np.float16) for key, p in c.params.items()}
    with pytest.raises(ModelError, match="cannot run parameters of dtype float16"):
        compiled.forward(c.model, half, c.x.astype(np.float16), c.state)
    with pytest.raises(ModelError, match="expects arrays like the parameters"):
        compiled.update(SGD(), c.params, {}, RuleState(0, {}))


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("x", lambda a: a[0], r"block.x of shape \(K, T, B, 1\)"),
        ("y", lambda a: a[..., :1], r"block.y of shape \(6, 8, 5, 4\), got \(6, 8, 5, 1\)"),
        ("weight", lambda a: a[:5], r"block.weight of shape \(6, 8, 5\)"),
        ("origin", lambda a: a[:6], r"block.origin of shape \(7, 5\)"),
        ("origin", lambda a: a + 6, "block.origin between -1 and 8"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(field, change, message):
    block = block_of(CHAINS["two"])
    block = block._replace(**{field: change(getattr(block, field))})
    with pytest.raises(ModelError, match=message):
        train(own, CHAINS["two"], block)


def test_labels_that_are_no_class_are_refused():
    loss = CrossEntropy()
    block = block_of(CHAINS["two"], loss=loss)
    t, b = np.argwhere(block.weight[0] > 0)[0]
    block.y[0, t, b] = 4
    with pytest.raises(ModelError, match="integer labels from 0 to 3, got int64"):
        train(own, CHAINS["two"], block, loss=loss)


def double(a):
    return a + a


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A function that compiles `double` as a fresh process would, with its cache in an empty folder."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return lambda: entry(double)


def test_compiled_code_is_read_from_disk(cached):
    first, second = cached(), cached()
    assert first(2.0) == second(2.0) == 4.0
    assert sum(first.stats.cache_hits.values()) == 0
    assert sum(second.stats.cache_hits.values()) == 1


def first_number(a):
    return a[0]


def test_who_waits_is_told_what_for_and_how_long_it_took(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert entry(first_number)(np.ones(1)) == 1
    begun, done = capfd.readouterr().err.splitlines()
    assert (
        begun
        == "rnnkit: compiling first_number for float64, once on this machine (rnnkit warmup compiles all ahead) ..."
    )
    assert re.fullmatch(r"rnnkit: first_number for float64 took \d+\.\d s to compile", done)
    assert entry(first_number)(np.ones(1)) == 1  # read from disk
    assert capfd.readouterr().err == ""


def test_who_waits_in_every_process_is_told_why(monkeypatch, capfd):
    def no_folder(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(compiling, "PackageCache", no_folder)
    assert entry(first_number)(np.ones(1, np.float32)) == 1
    begun, done = capfd.readouterr().err.splitlines()
    assert "compiling first_number for float32, in every process" in begun
    assert begun.endswith("set NUMBA_CACHE_DIR ...")
    assert "first_number for float32 took" in done


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_damaged_cache_is_compiled_anew(cached, tmp_path, suffix, keep):
    assert cached()(2.0) == 4.0
    (damaged,) = tmp_path.rglob(f"*.{suffix}")
    damaged.write_bytes(damaged.read_bytes()[: int(keep * damaged.stat().st_size)])
    assert cached()(2.0) == 4.0
    third = cached()
    assert third(2.0) == 4.0
    assert sum(third.stats.cache_hits.values()) == 1  # the second has repaired it


def test_machine_code_with_a_changed_byte_is_not_run(cached, tmp_path):
    assert cached()(2.0) == 4.0
    (damaged,) = tmp_path.rglob("*.nbc")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    second, third = cached(), cached()
    assert second(2.0) == third(2.0) == 4.0
    assert sum(second.stats.cache_hits.values()) == 0
    assert sum(third.stats.cache_hits.values()) == 1


def test_machine_code_of_another_function_or_other_types_is_not_run(monkeypatch, tmp_path):
    """Files that were mixed up, whole as they are: by a sync tool, say, or by hand."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert entry(double)(2.0) == 4.0
    assert entry(first_number)(np.array([3.0])) == 3.0
    assert entry(first_number)(np.array([3], np.int64)) == 3
    code = {path.name.partition("-")[0] + path.name[-6:]: path for path in tmp_path.rglob("*.nbc")}
    of_double = code[f"{__name__.rpartition('.')[2]}.double.1.nbc"].read_bytes()
    floats, whole = (code[f"{__name__.rpartition('.')[2]}.first_number.{n}.nbc"] for n in (1, 2))
    for wrong in (of_double, whole.read_bytes()):
        right = floats.read_bytes()
        floats.write_bytes(wrong)
        again, third = entry(first_number), entry(first_number)
        assert again(np.array([3.5])) == third(np.array([3.5])) == 3.5
        assert sum(again.stats.cache_hits.values()) == 0
        assert sum(third.stats.cache_hits.values()) == 1  # compiled anew, and kept
        assert len(floats.read_bytes()) == len(right)


def test_without_compilation_the_backend_says_so_and_the_advice_works():
    script = (
        "import numpy as np, rnnkit as rk\n"
        "series = rk.Sequence(np.sin(np.arange(60) / 5))\n"
        "schedule = rk.Schedule(series, rk.Continuation(length=8), rk.Carry())\n"
        "model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))\n"
        "for name in ('numba', 'numpy'):\n"
        "    try:\n"
        "        print(len(rk.fit(model, schedule, backend=name, epochs=1).history.steps['loss']))\n"
        "    except rk.BackendError as error:\n"
        "        print(error)\n"
    )
    forbidden = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=forbidden, capture_output=True, text=True, check=True)
    said, steps = done.stdout.splitlines()
    assert "backend 'numba' needs Numba to compile, and NUMBA_DISABLE_JIT in the environment forbids it" in said
    assert "use backend='numpy'" in said
    assert steps == "8"


def test_an_edit_in_any_source_asks_for_a_new_compilation(tmp_path):
    def digest():
        source_digest.cache_clear()
        return source_digest(tmp_path)

    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 1\n")
    first = digest()
    assert digest() == first
    (tmp_path / "b.py").write_text("y = 2\n")
    assert digest() != first


def test_the_public_functions_have_the_protocols_signatures():
    ours, theirs = inspect.signature(compiled.train_block), inspect.signature(train_block)
    assert list(ours.parameters) == list(theirs.parameters)[1:]
    for name in ("forward", "backward", "update"):
        assert list(inspect.signature(getattr(compiled, name)).parameters) == list(
            inspect.signature(getattr(textbook, name)).parameters
        )
