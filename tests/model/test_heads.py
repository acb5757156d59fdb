"""Several heads on shared layers: descriptions, the way to the chain of one head and back, patterns over parameters."""

import json

import numpy as np
import pytest

import rnnkit as rk
from builders.training import train_through
from rnnkit.errors import ModelError
from rnnkit.model import (
    RuleState,
    head_keys,
    head_names,
    head_parameters,
    head_rule_state,
    initial_rule_state,
    match_parameters,
    parameter_shapes,
    with_head,
    with_head_rule_state,
    zero_state,
)
from rnnkit.model.frozen import Stretch, lag_after, lag_of, stretches
from rnnkit.model.plain import chain_from_plain, chain_to_plain
from rnnkit.schedule.batch import Block

HEADS = rk.Heads(two=rk.Dense(6, 2), three=rk.Chain(rk.Dense(6, 4, "tanh"), rk.Dense(4, 3)))
MODEL = rk.Chain(rk.LSTM(1, 6), HEADS)


def test_heads_are_values_that_read_like_the_call():
    assert rk.Chain(rk.LSTM(1, 6), rk.Heads(**dict(HEADS.heads))) == MODEL
    assert hash(MODEL) == hash(rk.Chain(rk.LSTM(1, 6), rk.Heads(**dict(HEADS.heads))))
    assert rk.Heads(a=rk.Dense(2, 1), b=rk.Dense(2, 1)) != rk.Heads(b=rk.Dense(2, 1), a=rk.Dense(2, 1))
    names = {name: getattr(rk, name) for name in ("Heads", "Chain", "Dense")}
    spaced = rk.Heads(**{"the two": rk.Dense(6, 2), "self": rk.Dense(6, 1)})
    for heads in (HEADS, spaced):
        assert eval(repr(heads), names) == heads
    assert repr(HEADS).startswith("Heads(two=Dense(")


def test_a_head_is_the_plain_chain_with_the_initial_state_of_the_whole():
    assert MODEL.heads == ("two", "three")
    assert MODEL.head("two") == rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 2))
    assert MODEL.head("three") == rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 4, "tanh"), rk.Dense(4, 3))
    learned = rk.Chain(*MODEL.layers, initial=rk.Learned())
    assert learned.head("two").initial == rk.Learned()
    assert (MODEL.inputs, MODEL.head("three").outputs, MODEL.head("two").heads) == (1, 3, ())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.Heads(), "Heads expects at least one head, got none; write"),
        (lambda: rk.Heads(**{"": rk.Dense(1, 1)}), "names that are not empty and have no dot, got ''"),
        (lambda: rk.Heads(**{"a.b": rk.Dense(1, 1)}), "names that are not empty and have no dot, got 'a.b'"),
        (lambda: rk.Heads(a=rk.LSTM(1, 1)), r"a Dense or a Chain of Dense layers, got a=LSTM"),
        (
            lambda: rk.Heads(a=rk.Chain(rk.Dense(1, 1), rk.LSTM(1, 1))),
            "a Dense or a Chain of Dense layers, got a=Chain",
        ),
        (lambda: rk.Heads(a=rk.Chain(HEADS)), "a Dense or a Chain of Dense layers, got a=Chain"),
        (lambda: rk.Heads(a=rk.Chain(rk.Dense(1, 1), initial=rk.Learned())), "a to have no initial state, got one"),
        (lambda: rk.Heads(a=rk.Dense(1, 1), b=rk.Dense(2, 1)), "same inputs for all heads, got 1 for a and 2 for b"),
        (lambda: rk.Chain(HEADS, rk.Dense(6, 1)), "Chain expects Heads as its last entry, got it at position 0 of 2"),
        (lambda: rk.Chain(rk.LSTM(1, 5), HEADS), "layer 0 gives 5 features, but layer 1 .* expects 6"),
        (lambda: MODEL.outputs, r"got one with the heads two, three; choose one with model.head\('two'\)"),
        (lambda: MODEL.head("tow"), "expects one of two, three, got 'tow'; did you mean 'two'?"),
        (lambda: MODEL.head("two").head("two"), "Chain.head expects a chain that ends in Heads, got Chain"),
    ],
)
def test_bad_heads_say_what_to_do(make, message):
    with pytest.raises(ModelError, match=message):
        make()


def test_parameters_have_the_name_of_their_head():
    assert list(parameter_shapes(MODEL).items())[4:] == [
        ("1.two.weight", (2, 6)),
        ("1.two.bias", (2,)),
        ("1.three.0.weight", (4, 6)),
        ("1.three.0.bias", (4,)),
        ("1.three.1.weight", (3, 4)),
        ("1.three.1.bias", (3,)),
    ]


def test_parameters_are_drawn_as_those_of_plain_layers():
    params, state = rk.setup(MODEL, seed=3, lanes=2, dtype="float64")
    first, _ = rk.setup(MODEL.head("two"), seed=3, dtype="float64")
    assert all(np.array_equal(p, params[key.replace("1.", "1.two.")]) for key, p in first.items())
    for key, bound in {"1.three.0.weight": 6**-0.5, "1.three.1.weight": 4**-0.5}.items():
        assert 0.5 * bound < np.abs(params[key]).max() <= bound
    assert state[0].h.shape == (2, 6)
    assert state[1] == zero_state(MODEL, 1, np.dtype("float32"))[1] == ()


def test_the_summary_counts_every_head():
    summary = rk.summary(MODEL)
    shared, two, three = 4 * 6 * (1 + 6 + 2), 2 * 7, 4 * 7 + 3 * 5
    assert (summary.parameters, summary.state) == (shared + two + three, 12)
    lines = str(summary).splitlines()
    assert [line.split()[-1] for line in lines[3:5]] == [str(two), str(three)]
    assert lines[3].split()[0] == "two:"
    assert "weight 2x6, bias 2" in lines[3]


@pytest.mark.parametrize("model", [MODEL, rk.Chain(HEADS), rk.Chain(*MODEL.layers, initial=rk.Noise(0.5))])
def test_plain_values_and_back(model):
    assert chain_from_plain(json.loads(json.dumps(chain_to_plain(model)))) == model


@pytest.mark.parametrize("initial", [rk.Zeros(), rk.Learned()])
@pytest.mark.parametrize("name", ["two", "three"])
def test_the_parameters_of_a_head_fit_its_chain_and_find_their_way_back(name, initial):
    model = rk.Chain(*MODEL.layers, initial=initial)
    params, _ = rk.setup(model, dtype="float64")
    own = head_parameters(model, params, name)
    assert {key: p.shape for key, p in own.items()} == parameter_shapes(model.head(name))
    assert list(own) == list(parameter_shapes(model.head(name))) == list(head_names(model, name))
    assert all(own[short] is params[full] for short, full in head_names(model, name).items())
    changed = with_head(model, params, name, {key: p + 1 for key, p in own.items()})
    assert list(changed) == list(params)
    for key, p in params.items():
        theirs = not key.startswith("1.") or f".{name}." in key
        assert np.array_equal(changed[key], p + 1) if theirs else changed[key] is p


def test_a_head_of_several_layers_keeps_their_order():
    assert head_names(MODEL, "three") == {
        **{key: key for key in parameter_shapes(rk.Chain(rk.LSTM(1, 6)))},
        "1.weight": "1.three.0.weight",
        "1.bias": "1.three.0.bias",
        "2.weight": "1.three.1.weight",
        "2.bias": "1.three.1.bias",
    }


def test_keys_of_a_head():
    assert head_keys(MODEL, "three", ["0.bias_hh", "1.two.bias", "1.three.1.bias"]) == {"0.bias_hh", "2.bias"}
    with pytest.raises(ModelError, match=r"head_keys expects parameters of the model, .*, got '1\.bias'"):
        head_keys(MODEL, "three", ["1.bias"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: head_parameters(MODEL, {}, "two"), "head_parameters expects a parameter '0.weight_ih', got none"),
        (lambda p: head_parameters(MODEL, p, "one"), "expects one of two, three, got 'one'"),
        (lambda p: head_parameters(MODEL.head("two"), p, "two"), "expects a chain that ends in Heads"),
        (
            lambda p: with_head(MODEL, p, "two", {}),
            r"expects the changed parameters of model.head\('two'\), 0.w.*, got none",
        ),
        (lambda p: with_head(MODEL, p, "two", p), r"changed parameters of .* 1.weight, 1.bias, got .*1.two.weight"),
        (
            lambda p: with_head(MODEL, {}, "two", head_parameters(MODEL, p, "two")),
            "with_head expects a parameter '0.weight_ih', got none",
        ),
    ],
)
def test_parameters_that_are_not_a_heads(call, message):
    with pytest.raises(ModelError, match=message):
        call(rk.setup(MODEL)[0])


def test_other_heads_miss_the_updates_of_a_head():
    params, _ = rk.setup(MODEL)
    state = initial_rule_state(rk.Adam(), params)._replace(step=4, lag={"0.bias_hh": 1, "1.three.1.bias": 2})
    own = head_rule_state(MODEL, state, "three")
    assert (own.step, own.lag) == (4, {"0.bias_hh": 1, "2.bias": 2})
    assert own.slots["m"]["1.weight"] is state.slots["m"]["1.three.0.weight"]
    moved = {slot: {key: m + 1 for key, m in moments.items()} for slot, moments in own.slots.items()}
    after = with_head_rule_state(MODEL, state, "three", RuleState(7, moved, {"0.bias_hh": 4}))
    assert (after.step, after.lag) == (7, {"0.bias_hh": 4, "1.two.weight": 3, "1.two.bias": 3})
    assert after.slots["v"]["1.two.weight"] is state.slots["v"]["1.two.weight"]
    assert after.slots["v"]["1.three.1.weight"] is moved["v"]["2.weight"]
    assert state.lag == {"0.bias_hh": 1, "1.three.1.bias": 2}


def test_the_lag_survives_every_backend():
    params, _ = rk.setup(MODEL)
    assert initial_rule_state(rk.Adam(), params).lag == RuleState(0, {}).lag == {}
    for name in ("numpy", "numba", "torch"):
        engine = rk.backend(name)
        kept = engine.to_numpy(engine.from_numpy(RuleState(5, {"m": params}, {"0.bias_hh": 2})))
        assert (kept.step, kept.lag) == (5, {"0.bias_hh": 2})


def test_parameters_are_cut_into_stretches_that_are_treated_alike():
    shapes = {"a": (2, 3), "b": (4,), "c": (1,), "d": (5,)}
    assert stretches(shapes, RuleState(0, {})) == [Stretch(0, 16, 0, False)]
    state = RuleState(9, {}, {"b": 2, "c": 2, "d": 2})
    assert stretches(shapes, state) == [Stretch(0, 6, 0, False), Stretch(6, 16, 2, False)]
    assert stretches(shapes, state, {"a", "c"}) == [
        Stretch(0, 6, 0, True),
        Stretch(6, 10, 2, False),
        Stretch(10, 11, 2, True),
        Stretch(11, 16, 2, False),
    ]
    assert lag_after(state, {"a", "d"}, 3) == {"a": 3, "b": 2, "c": 2, "d": 5}
    assert lag_after(RuleState(1, {}), {"a"}, 0) == {}


@pytest.mark.parametrize(
    ("lag", "message"),
    [
        ({"c": 1}, "a rule state expects no lag of 'c', got 1; the parameters are a, b"),
        ({"b": 4}, "the lag of 'b' between 0 and its 3 steps, got 4"),
        ({"b": -1}, "the lag of 'b' between 0 and its 3 steps, got -1"),
        ({"b": 1.0}, "the lag of 'b' between 0 and its 3 steps, got 1.0"),
    ],
)
def test_a_lag_that_cannot_be(lag, message):
    with pytest.raises(ModelError, match=message):
        lag_of(RuleState(3, {}, lag), ["a", "b"])


def one_row():
    x, no = np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1), bool)
    nowhere = np.zeros((1, 1), int)
    return Block(x, x, no, ~no, no + 1.0, np.zeros((2, 1), int), no * 1, nowhere, nowhere)


@pytest.mark.parametrize("name", ["numpy", "numba", "torch"])
def test_backends_want_one_head(name):
    engine, rule = rk.backend(name), rk.Adam()
    params, state = engine.from_numpy(rk.setup(MODEL, dtype="float64"))
    moments = initial_rule_state(rule, rk.setup(MODEL, dtype="float64")[0])
    x, block = engine.from_numpy(np.zeros((2, 1, 1))), one_row()
    settings = {"rule": rule, "loss": rk.MSE(), "clip": None, "learning_rates": np.ones(1)}
    calls = [
        lambda: engine.forward(MODEL, params, x, state),
        lambda: train_through(engine, MODEL, params, state, moments, block, **settings),
        lambda: train_through(engine, MODEL, params, state, moments, block, composed=True, **settings),
    ]
    calls.append(lambda: engine.outputs(MODEL, params, x, state))
    calls.append(lambda: engine.stepper(MODEL, params, 1, state).step(np.zeros((1, 1))))
    for call in calls:
        with pytest.raises(ModelError, match=r"got one with the heads two, three; choose one with model.head\('two'\)"):
            call()


def test_patterns_choose_parameters():
    assert match_parameters(MODEL, "0.*") == {"0.weight_ih", "0.weight_hh", "0.bias_ih", "0.bias_hh"}
    assert match_parameters(MODEL, ["1.two.*", "*.1.bias"]) == {"1.two.weight", "1.two.bias", "1.three.1.bias"}
    assert match_parameters(MODEL, "0.bias_[ih]h") == {"0.bias_ih", "0.bias_hh"}
    assert match_parameters(MODEL, []) == frozenset()
    with pytest.raises(ModelError, match=r"got '0.weigth_ih', which fits none of 0.weight_ih, .*mean '0.weight_ih'\?"):
        match_parameters(MODEL, ["0.*", "0.weigth_ih"])
    with pytest.raises(ModelError, match=r"expects patterns such as '0\.\*', got 0"):
        match_parameters(MODEL, [0])
