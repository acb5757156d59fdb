"""Frozen parameters and alternating heads: the trajectory of a loop written by hand in PyTorch."""

import copy
import pickle
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from rnnkit_numba import train as compiled_training
from rnnkit_numba.rules import NORM_NUMBERS
from torch import nn

import rnnkit as rk
from builders.training import train_through
from rnnkit.backend import map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import (
    CrossEntropy,
    RuleState,
    head_keys,
    head_parameters,
    head_rule_state,
    initial_rule_state,
    match_parameters,
    parameter_shapes,
    with_head,
    with_head_rule_state,
)
from rnnkit.model.frozen import lag_after, stretches
from rnnkit.schedule.batch import Block

BACKENDS = ("numpy", "numba", "torch")
ROWS, LANES = 7, 3
MODEL = rk.Chain(rk.LSTM(2, 5), rk.Heads(two=rk.Dense(5, 2), three=rk.Chain(rk.Dense(5, 4, "tanh"), rk.Dense(4, 3))))


def block_of(rng, outputs, windows=2, inputs=2, rows=ROWS, lanes=LANES, labels=True):
    """Windows that go on from each other, the first from the initial state."""
    shape = (windows, rows, lanes)
    origin = np.full((windows + 1, lanes), rows)
    origin[0] = -1
    return Block(
        x=rng.normal(size=(*shape, inputs)),
        y=rng.integers(0, outputs, shape) if labels else rng.normal(size=(*shape, outputs)),
        reset=np.zeros(shape, bool),
        valid=np.ones(shape, bool),
        weight=np.ones(shape),
        origin=origin,
        rows=np.zeros(shape, int),
        segment=np.zeros((windows, lanes), int),
        row=np.zeros((windows, lanes), int),
    )


class Visit(NamedTuple):
    """A block of one head, with or without the shared layers frozen."""

    head: str
    frozen: bool
    block: Block


def visits():
    rng = np.random.default_rng(5)
    frozen = [False] * 5 + [True] * 3 + [False] * 3
    outputs = {"two": 2, "three": 3}
    return [
        Visit(head, still, block_of(rng, outputs[head]))
        for head, still in zip(("two", "three", "three", "two", "three") * 3, frozen, strict=False)
    ]


MAXIMUM = 0.3


class ByHand(nn.Module):
    """The model as anyone would write it."""

    def __init__(self, params):
        super().__init__()
        self.lstm = nn.LSTM(2, 5).double()
        self.two = nn.Linear(5, 2).double()
        self.three = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
        with torch.no_grad():
            for key, p in self.by_key().items():
                p.copy_(torch.tensor(params[key]))

    def by_key(self):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        dense = {"1.two": self.two, "1.three.0": self.three[0], "1.three.1": self.three[2]}
        return {f"0.{name}": getattr(self.lstm, f"{name}_l0") for name in names} | {
            f"{key}.{name}": getattr(layer, name) for key, layer in dense.items() for name in ("weight", "bias")
        }


def trained_by_hand(params, optimizer):
    """Parameters, losses and norms after every visit."""
    net = ByHand(params)
    optimizer = optimizer(net.parameters())
    for head, frozen, block in visits():
        net.lstm.requires_grad_(not frozen)
        state, losses, norms = None, [], []
        for x, y in zip(block.x, block.y, strict=True):
            optimizer.zero_grad(set_to_none=True)
            h, state = net.lstm(torch.tensor(x), state)
            logits = getattr(net, head)(h)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(y).flatten())
            loss.backward()
            norms.append(nn.utils.clip_grad_norm_(net.parameters(), MAXIMUM).item())
            losses.append(loss.item())
            optimizer.step()
            state = tuple(s.detach() for s in state)
        yield {key: p.detach().numpy().copy() for key, p in net.by_key().items()}, losses, norms


def trained_by_us(engine, params, rule):
    shared = match_parameters(MODEL, "0.*")
    params, moments = engine.from_numpy((params, initial_rule_state(rule, params)))
    for head, frozen, block in visits():
        model = MODEL.head(head)
        _, state = rk.setup(model, lanes=LANES, dtype="float64")
        result = train_through(
            engine,
            model,
            head_parameters(MODEL, params, head),
            engine.from_numpy(state),
            head_rule_state(MODEL, moments, head),
            block,
            rule=rule,
            loss=CrossEntropy(),
            clip=rk.ClipNorm(MAXIMUM),
            learning_rates=np.full(len(block.x), rule.learning_rate),
            frozen=head_keys(MODEL, head, shared) if frozen else frozenset(),
        )
        params = with_head(MODEL, params, head, result.params)
        moments = with_head_rule_state(MODEL, moments, head, result.rule_state)
        yield engine.to_numpy(params), result.loss, result.norm


RULES = [
    (rk.Adam(0.02, weight_decay=0.01), lambda p: torch.optim.Adam(p, 0.02, weight_decay=0.01)),
    (rk.AdamW(0.02), lambda p: torch.optim.AdamW(p, 0.02)),
    (rk.SGD(0.1, momentum=0.9, weight_decay=0.01), lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01)),
    (
        rk.RMSProp(0.01, momentum=0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    ),
]


@pytest.mark.parametrize(("rule", "optimizer"), RULES, ids=[type(rule).__name__ for rule, _ in RULES])
@pytest.mark.parametrize("name", BACKENDS)
def test_alternating_heads_and_frozen_layers_are_those_of_a_loop_by_hand(name, rule, optimizer):
    params, _ = rk.setup(MODEL, seed=1, dtype="float64")
    before, clipped = params, []
    by_hand = list(trained_by_hand(params, optimizer))
    for visit, ours, theirs in zip(visits(), trained_by_us(rk.backend(name), params, rule), by_hand, strict=True):
        for key, p in theirs[0].items():
            np.testing.assert_allclose(ours[0][key], p, rtol=0, atol=1e-10, err_msg=key)
        np.testing.assert_allclose(ours[1:], theirs[1:], rtol=0, atol=1e-10)
        moved = {key for key, p in ours[0].items() if not np.array_equal(p, before[key])}
        expected = {key for key in params if f".{visit.head}." in key or (key.startswith("0.") and not visit.frozen)}
        assert moved == expected
        before = ours[0]
        clipped += [norm > MAXIMUM for norm in theirs[2]]
    assert {True, False} == set(clipped)


def test_the_lag_counts_what_each_parameter_has_missed():
    rule = rk.Adam()
    params, _ = rk.setup(MODEL, dtype="float64")
    moments, seen = initial_rule_state(rule, params), dict.fromkeys(params, 0)
    shared = match_parameters(MODEL, "0.*")
    for head, frozen, block in visits():
        _, state = rk.setup(model := MODEL.head(head), lanes=LANES, dtype="float64")
        own, remembered = head_parameters(MODEL, params, head), head_rule_state(MODEL, moments, head)
        settings = {"rule": rule, "loss": CrossEntropy(), "clip": None, "learning_rates": np.full(2, 1e-3)}
        still = head_keys(MODEL, head, shared) if frozen else frozenset()
        result = train_through(rk.backend("numba"), model, own, state, remembered, block, frozen=still, **settings)
        params = with_head(MODEL, params, head, result.params)
        moments = with_head_rule_state(MODEL, moments, head, result.rule_state)
        for key in params:
            seen[key] += 2 * (f".{head}." in key or (key in shared and not frozen))
    assert {key: moments.step - moments.lag.get(key, 0) for key in params} == seen


PLAIN = rk.Chain(rk.LSTM(2, 40), rk.Dense(40, 3), initial=rk.Learned())
"""More parameters than are summed in one go, and not a multiple of any vector."""


def trained(
    engine,
    frozen,
    lag=(),
    own=True,
    lanes=LANES,
    rule=rk.Adam(0.01, weight_decay=0.1),  # noqa: B008
    dtype="float64",
    model=PLAIN,
    clip=rk.ClipNorm(0.2),  # noqa: B008
):
    """A model after a block, with moments that would move a parameter without any gradient."""
    rng = np.random.default_rng(2)
    params, state = rk.setup(model, 0, lanes, dtype)
    block = block_of(rng, 3, 3, lanes=lanes, labels=False)
    slots = initial_rule_state(rule, params).slots
    most = {"a": 0.2}  # a mean of gradients, whose square is less than that of their squares
    slots = {
        slot: {key: rng.uniform(0.1, most.get(slot, 1.0), p.shape).astype(dtype) for key, p in s.items()}
        for slot, s in slots.items()
    }
    params, state, moments = engine.from_numpy((params, state, RuleState(9, slots, dict(lag))))
    train = partial(train_through, engine, composed=not own)
    settings = {"loss": rk.MSE(), "clip": clip, "learning_rates": np.full(3, 0.01), "frozen": frozen}
    result = train(model, params, state, moments, block._replace(x=block.x.astype(dtype)), rule=rule, **settings)
    return (params, moments), result


SOME = frozenset({"0.weight_hh", "0.initial_c", "1.bias"})


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("own", [True, False])
def test_frozen_parameters_and_their_moments_keep_their_bits(name, own):
    engine = rk.backend(name)
    (params, moments), result = trained(engine, SOME, {"1.bias": 2, "0.bias_ih": 1}, own)
    assert result.rule_state.lag == {"1.bias": 5, "0.bias_ih": 1, "0.weight_hh": 3, "0.initial_c": 3}
    assert (result.done, result.rule_state.step) == (3, 12)
    slots = [(moments.slots[slot], result.rule_state.slots[slot]) for slot in ("m", "v")]
    for before, after in [(params, result.params), *slots]:
        before, after = engine.to_numpy(before), engine.to_numpy(after)
        still = {key for key in before if before[key].tobytes() == after[key].tobytes()}
        assert still == SOME


@pytest.mark.parametrize("frozen", [SOME, frozenset(parameter_shapes(PLAIN)), frozenset({"0.weight_ih"})])
@pytest.mark.parametrize("name", ["numba", "torch"])
def test_many_frozen_parameters_are_left_out_as_the_textbook_does(name, frozen):
    assert sum(np.prod(shape) for shape in parameter_shapes(PLAIN).values()) > NORM_NUMBERS
    engine, lag = rk.backend(name), {"0.weight_ih": 4, "1.weight": 9}
    (_, result), (_, expected) = trained(engine, frozen, lag), trained(rk.backend("numpy"), frozen, lag)
    np.testing.assert_allclose([result.loss, result.norm], [expected.loss, expected.norm], rtol=1e-10)
    for key, p in expected.params.items():
        np.testing.assert_allclose(engine.to_numpy(result.params)[key], p, rtol=0, atol=1e-10, err_msg=key)
    assert result.rule_state.lag == expected.rule_state.lag
    assert (expected.norm == 0).all() == (len(frozen) == len(expected.params))


NARROW = rk.Chain(rk.LSTM(2, 5), rk.Dense(5, 3), initial=rk.Learned())
"""The two learned initial states are ten numbers: one of them alone is no whole number of vectors."""


@pytest.mark.parametrize("clip", [rk.ClipNorm(0.01), rk.ClipValue(1e-4), None], ids=repr)
@pytest.mark.parametrize("rule", [rule for rule, _ in RULES], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("still", ["initial_h", "initial_c"])
def test_what_is_left_behind_whole_vectors_is_clipped_and_trained_as_the_textbook_does(still, rule, clip):
    frozen = frozenset({f"0.{still}"})
    (_, result), (_, expected) = (
        trained(rk.backend(name), frozen, model=NARROW, rule=rule, clip=clip) for name in ("numba", "numpy")
    )
    _, unclipped = trained(rk.backend("numpy"), frozen, model=NARROW, rule=rule, clip=None)
    for key, p in expected.params.items():
        np.testing.assert_allclose(result.params[key], p, rtol=0, atol=1e-12, err_msg=key)
        if key not in frozen and clip is not None:  # else clipping would not show
            assert np.abs(p - unclipped.params[key]).max() > 1e-9, key
    assert not result.params[f"0.{still}"].any()  # as it began


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frozen_parameters_and_lags_give_the_same_bits_on_any_number_of_threads(monkeypatch, dtype):
    monkeypatch.setattr(compiled_training, "SMALL_FLOPS", 0)

    def bits(threads):
        _, result = trained(rk.backend("numba", threads=threads), SOME, {"1.weight": 9}, lanes=50, dtype=dtype)
        arrays = [*result.params.values(), *(a for slot in result.rule_state.slots.values() for a in slot.values())]
        return [a.tobytes() for a in (*arrays, result.loss, result.norm)]

    assert bits(1) == bits(2) == bits(4)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_lag_of_nothing_is_no_lag(name):
    engine = rk.backend(name)
    (_, result), (_, expected) = (trained(engine, frozenset(), lag) for lag in ({"0.bias_ih": 0, "1.bias": 0}, {}))
    assert not any(result.rule_state.lag.values())
    for key, p in engine.to_numpy(expected.params).items():
        assert p.tobytes() == engine.to_numpy(result.params)[key].tobytes()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("own", [True, False])
def test_a_gradient_that_overflows_where_it_is_frozen_stops_nothing(name, own):
    engine, model = rk.backend(name), rk.Chain(rk.Dense(1, 1), rk.Dense(1, 1))
    params = {"0.weight": [[0.0]], "0.bias": [1e-200], "1.weight": [[1e200]], "1.bias": [0.0]}
    params, state = {key: np.array(p) for key, p in params.items()}, ((), ())
    block = block_of(np.random.default_rng(0), 1, 1, inputs=1, labels=False)
    block = block._replace(x=np.full_like(block.x, 1e200))
    train = partial(train_through, engine, composed=not own)
    settings = {"rule": rk.SGD(0.1), "loss": rk.MSE(), "clip": None, "learning_rates": np.full(1, 0.1)}
    given = (model, *engine.from_numpy((params, state, RuleState(0, {}))), block)
    assert train(*given, **settings).done == 0
    assert train(*given, **settings, frozen=frozenset({"0.weight", "0.bias"})).done == 1
    model = rk.Chain(rk.Dense(1, 1, "tanh"), rk.Dense(1, 1))
    params["0.weight"][:], params["1.weight"][:] = 1, 1
    block = block._replace(x=np.full_like(block.x, np.inf))
    given = (model, *engine.from_numpy((params, state, RuleState(0, {}))), block)
    assert train(*given, **settings, frozen=frozenset({"0.weight"})).done == 1


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("own", [True, False])
def test_a_loss_that_is_not_finite_stops_where_everything_is_frozen(name, own):
    engine, model = rk.backend(name), rk.Chain(rk.Dense(1, 1))
    params, state = engine.from_numpy(rk.setup(model, lanes=LANES, dtype="float64"))
    block = block_of(np.random.default_rng(0), 1, 3, inputs=1, labels=False)
    block.y[1] = np.inf
    train = partial(train_through, engine, composed=not own)
    settings = {"rule": rk.SGD(0.1), "loss": rk.MSE(), "clip": None, "learning_rates": np.full(3, 0.1)}
    with np.errstate(all="ignore"):
        result = train(model, params, state, RuleState(0, {}), block, **settings, frozen=frozenset(params))
    assert (result.done, result.rule_state.step) == (1, 1)
    assert result.rule_state.lag == dict.fromkeys(params, 1)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("own", [True, False])
def test_what_cannot_be_frozen_or_lag_is_named(name, own):
    message = r"train_block expects frozen parameters among 0.weight_ih, .*, got '0.weight_hi'; did you mean '0.w.*'\?"
    with pytest.raises(ModelError, match=message):
        trained(rk.backend(name), frozenset({"0.weight_hi"}), own=own)
    with pytest.raises(ModelError, match=r"expects the lag of '1\.bias' between 0 and its 9 steps, got 10"):
        trained(rk.backend(name), frozenset(), {"1.bias": 10}, own=own)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("own", [True, False])
def test_a_lag_of_numpy_is_a_lag_in_every_backend(name, own):
    engine = rk.backend(name)
    found, expected = (trained(engine, SOME, {"1.bias": two}, own)[1] for two in (np.int64(2), 2))
    assert found.rule_state.lag == expected.rule_state.lag
    for key, p in engine.to_numpy(expected.params).items():
        np.testing.assert_array_equal(engine.to_numpy(found.params)[key], p)


@pytest.mark.parametrize("again", [lambda state: pickle.loads(pickle.dumps(state)), copy.deepcopy, copy.copy])
def test_a_rule_state_can_be_saved_and_copied(again):
    bare = again(RuleState(3, {"m": {"a": np.ones(2)}}))
    assert (type(bare), bare.step, bare.lag) == (RuleState, 3, {})
    assert bare.slots["m"]["a"].tolist() == [1, 1]
    assert again(RuleState(3, {}, {"a": 2})).lag == {"a": 2}


def test_a_lag_may_be_a_number_of_numpy():
    found = stretches({"a": (2,)}, RuleState(9, {}, {"a": np.int64(2)}))  # pyright: ignore[reportArgumentType]
    assert found == [(0, 2, 2, False)]
    after = lag_after(RuleState(9, {}, {"a": np.int64(2)}), ["a"], 3)  # pyright: ignore[reportArgumentType]
    assert after == {"a": 5}
    assert type(found[0].lag) is type(after["a"]) is int


@pytest.mark.parametrize("name", BACKENDS)
def test_an_update_counts_the_steps_of_each_parameter(name):
    engine, rng = rk.backend(name), np.random.default_rng(3)
    params = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}
    grads = map_arrays(lambda p: rng.normal(size=p.shape), params)
    rule = rk.Adam(0.1)
    state = initial_rule_state(rule, params)._replace(step=6, lag={"b": 6})
    new, after = engine.to_numpy(engine.update(rule, *engine.from_numpy((params, grads, state))))
    assert (after.step, after.lag) == (7, {"b": 6})
    # from zero moments Adam's first step is of the size of the rate; a seventh one is shorter
    first = (
        rule.learning_rate / (1 - rule.beta1**7) * (1 - rule.beta1) / ((1 - rule.beta2) / (1 - rule.beta2**7)) ** 0.5
    )
    np.testing.assert_allclose(new["b"], params["b"] - 0.1 * np.sign(grads["b"]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(new["a"], params["a"] - first * np.sign(grads["a"]), rtol=0, atol=1e-6)
    assert first != pytest.approx(0.1, rel=0.1)
