"""The PyTorch backend's training against the textbook backend, torch.optim and a loop written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from rnnkit_torch.losses import entry_losses

import rnnkit as rk
from builders.training import train_through
from rnnkit.backend import backend, map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import initial_rule_state, slot_names
from rnnkit.schedule.batch import Block, Slots

TORCH, TEXTBOOK = backend("torch"), backend("numpy")
MODEL = rk.Chain(rk.LSTM(3, 5), rk.Dense(5, 2, "tanh"), rk.LSTM(2, 6), rk.Dense(6, 3))
LOSSES = [rk.MSE(), rk.MAE(), rk.Huber(0.3), rk.CrossEntropy(), rk.BinaryCrossEntropy()]
K, T, B = 7, 13, 4


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def arrays(tree: Any) -> list[np.ndarray]:
    """All arrays of a tree, in order."""
    if isinstance(tree, dict):
        return [a for value in tree.values() for a in arrays(value)]
    if isinstance(tree, tuple):
        return [a for value in tree for a in arrays(value)]
    return [tree.detach().numpy() if isinstance(tree, torch.Tensor) else np.asarray(tree)]


def assert_same(got: Any, expected: Any, relative: float = 1e-10) -> None:
    got, expected = arrays(got), arrays(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert np.isfinite(b).all()
        assert np.abs(a - b).max(initial=0) <= relative * max(np.abs(b).max(initial=0), 1e-3)


def start(dtype: str = "float64") -> tuple[Any, Any]:
    """Parameters and a state that is not zero."""
    params, zeros = rk.setup(MODEL, seed=1, lanes=B, dtype=dtype)
    rng = np.random.default_rng(1)
    return params, map_arrays(lambda a: rng.normal(size=a.shape).astype(dtype), zeros)


RULES = {
    "sgd": (rk.SGD(0.1), torch.optim.SGD, {}),
    "sgd decay": (rk.SGD(0.1, weight_decay=0.3), torch.optim.SGD, {"weight_decay": 0.3}),
    "sgd momentum": (rk.SGD(0.1, momentum=0.8), torch.optim.SGD, {"momentum": 0.8}),
    "sgd nesterov": (
        rk.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.3),
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
    ),
    "adam": (rk.Adam(0.1), torch.optim.Adam, {}),
    "adam options": (
        rk.Adam(0.1, beta1=0.7, beta2=0.8, epsilon=1e-3, weight_decay=0.3),
        torch.optim.Adam,
        {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "adamw": (rk.AdamW(0.1), torch.optim.AdamW, {}),
    "adamw options": (
        rk.AdamW(0.1, beta1=0.7, beta2=0.8, epsilon=1e-3, weight_decay=0.3),
        torch.optim.AdamW,
        {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "rmsprop": (rk.RMSProp(0.1), torch.optim.RMSprop, {}),
    "rmsprop momentum": (rk.RMSProp(0.1, momentum=0.6), torch.optim.RMSprop, {"momentum": 0.6}),
    "rmsprop centered": (rk.RMSProp(0.1, centered=True), torch.optim.RMSprop, {"centered": True}),
    "rmsprop options": (
        rk.RMSProp(0.1, alpha=0.8, epsilon=1e-3, momentum=0.6, centered=True, weight_decay=0.3),
        torch.optim.RMSprop,
        {"alpha": 0.8, "eps": 1e-3, "momentum": 0.6, "centered": True, "weight_decay": 0.3},
    ),
}


@pytest.mark.parametrize(("rule", "optimizer", "options"), RULES.values(), ids=RULES)
def test_every_rule_steps_like_the_textbook_and_like_torch_optim(rule: Any, optimizer: Any, options: dict) -> None:
    expected, _ = start()
    expected_state = initial_rule_state(rule, expected)
    params, rule_state = TORCH.from_numpy(expected), TORCH.from_numpy(expected_state)
    parameters = {key: torch.nn.Parameter(torch.tensor(p)) for key, p in expected.items()}
    by_torch = optimizer(parameters.values(), lr=rule.learning_rate, **options)
    rng = np.random.default_rng(3)
    for n in range(1, 8):
        grads = {key: rng.normal(size=p.shape) for key, p in expected.items()}
        expected, expected_state = TEXTBOOK.update(rule, expected, grads, expected_state)
        params, rule_state = TORCH.update(rule, params, TORCH.from_numpy(grads), rule_state)
        for key, p in parameters.items():
            p.grad = torch.tensor(grads[key])
        by_torch.step()
        assert_same(params, expected, relative=1e-12)
        assert_same(params, parameters, relative=1e-12)
        assert rule_state.step == n
        assert_same(rule_state.slots, expected_state.slots, relative=1e-12)
    assert tuple(rule_state.slots) == slot_names(rule)


def make_block(loss: Any = None, dtype: str = "float64") -> Block:
    """Windows with resets, padding, uneven weights and mixed origins; one unscored, the last is short."""
    rng = np.random.default_rng(5)
    reset, valid = rng.random((K, T, B)) < 0.05, np.ones((K, T, B), bool)
    reset[1], valid[1, :, 3], valid[-1, -5:], valid[3] = False, False, False, rng.random((T, B)) < 0.8
    reset[:, :4] = False  # or the state that a lane carries in would have no influence
    weight = np.where(valid & (rng.random((K, T, B)) < 0.8), rng.uniform(0.5, 2, (K, T, B)), 0)
    weight[0], weight[2] = 1.0, 0
    y = rng.uniform(size=(K, T, B, 3))
    if isinstance(loss, rk.CrossEntropy):
        y = rng.integers(0, 3, (K, T, B))
    else:
        y[weight == 0] = np.nan
        y = y.astype(dtype)
    origin = np.array(
        [
            [-1, T, T, -1],
            [T, T, T, T],
            [T, 4, -1, 9],
            [0, -1, T, T],
            [4, 4, 4, 4],
            [-1] * 4,
            [T, 1, T, 6],
            [T, 2, -1, 0],
        ]
    )
    x = rng.normal(size=(K, T, B, 3)).astype(dtype)
    provenance = np.zeros((K, T, B), np.int64), np.zeros((K, B), np.int64), np.zeros((K, B), np.int64)
    return Block(x, y, reset, valid, weight.astype(dtype), origin, *provenance)


def settings(**changes: Any) -> dict[str, Any]:
    rates = np.linspace(0.02, 0.05, K)
    return {"rule": rk.Adam(), "loss": rk.MSE(), "clip": None, "learning_rates": rates} | changes


def train_both(block: Block, chosen: dict[str, Any]) -> tuple[Any, Any]:
    """The backend's own block trainer, and the one composed from the textbook's functions."""
    params, state = start()
    rule_state = initial_rule_state(chosen["rule"], params)
    given = map(TORCH.from_numpy, (params, state, rule_state))
    got = train_through(TORCH, MODEL, *given, block, **chosen)
    return got, train_through(TEXTBOOK, MODEL, params, state, rule_state, block, **chosen)


def assert_same_result(got: Any, expected: Any) -> None:
    assert got.done == expected.done
    assert got.rule_state.step == expected.rule_state.step
    np.testing.assert_allclose(got.loss, expected.loss, rtol=1e-10)
    np.testing.assert_allclose(got.norm, expected.norm, rtol=1e-9)
    assert got.loss.dtype == got.norm.dtype == np.float64
    assert_same(
        (got.params, got.state, got.rule_state.slots),
        (expected.params, expected.state, expected.rule_state.slots),
        1e-8,
    )


@pytest.mark.parametrize("clip", [None, rk.ClipNorm(0.05), rk.ClipNorm(50.0), rk.ClipValue(0.01)], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_block_is_trained_as_the_composed_one_for_every_loss_and_clip(loss: Any, clip: Any) -> None:
    got, expected = train_both(make_block(loss), settings(loss=loss, clip=clip))
    assert expected.done == K
    assert expected.loss[2] == 0
    assert (np.delete(expected.loss, 2) > 0).all()
    assert_same_result(got, expected)


@pytest.mark.parametrize("rule", [r for r, _, _ in RULES.values()], ids=RULES)
def test_a_block_is_trained_as_the_composed_one_for_every_rule(rule: Any) -> None:
    assert_same_result(*train_both(make_block(), settings(rule=rule)))


@pytest.mark.parametrize(
    "chosen", [{}, {"remat": 4}, {"frozen": frozenset({"0.weight_hh", "3.bias"})}], ids=["plain", "remat", "frozen"]
)
def test_a_block_with_rows_outside_the_gradient_is_trained_as_the_composed_one(chosen: Any) -> None:
    assert_same_result(*train_both(make_block()._replace(detached=3), settings(**chosen)))


@pytest.mark.parametrize("where", ["x", "x of a row not scored", "y"])
def test_a_block_stops_before_the_update_of_a_window_that_is_not_finite(where: str) -> None:
    block = make_block()
    block.valid[4, 3, 1], block.weight[4, 3, 1], block.reset[4, 4:, 1] = True, 1.0, False
    block.y[4, 3, 1] = np.inf if where == "y" else 0
    if where != "y":
        block.x[4, 3, 1] = np.nan
    if where == "x of a row not scored":
        block.weight[4, 3:, 1] = 0
    with np.errstate(invalid="ignore"):  # NumPy warns where infinities meet
        got, expected = train_both(block, settings())
    assert got.done == expected.done == 4
    assert np.isfinite(got.loss[4]) == (where == "x of a row not scored")
    assert not np.isfinite(got.norm[4])
    assert (got.loss[5:] == 0).all()
    assert got.rule_state.step == 3  # window 2 has no scored row
    np.testing.assert_allclose(got.loss, expected.loss, rtol=1e-10)
    np.testing.assert_allclose(got.norm[:4], expected.norm[:4], rtol=1e-9)
    assert_same(
        (got.params, got.state, got.rule_state.slots),
        (expected.params, expected.state, expected.rule_state.slots),
        1e-8,
    )


@pytest.mark.parametrize("origin", [0, T])
def test_a_learned_initial_state_that_is_handed_on_is_that_before_the_update(origin: int) -> None:
    """Parameters change in place; what a lane has started from, or holds through padding, must not."""
    model = rk.Chain(*MODEL.layers, initial=rk.Learned())
    params, state = rk.setup(model, seed=1, lanes=B, dtype="float64")
    rule_state, block = initial_rule_state(rk.SGD(), params), make_block()
    block.origin[1::2], block.origin[::2] = origin, -1
    block.valid[::2, :, 1:] = False
    block.weight[~block.valid] = 0
    given = map(TORCH.from_numpy, (params, state, rule_state))
    chosen = settings(rule=rk.SGD())
    got = train_through(TORCH, model, *given, block, **chosen)
    assert_same_result(got, train_through(TEXTBOOK, model, params, state, rule_state, block, **chosen))


def test_float32_blocks_train_in_float32() -> None:
    block = make_block(dtype="float32")
    params, state = start("float32")
    rule_state = initial_rule_state(rk.Adam(), params)
    got = train_through(TORCH, MODEL, *map(TORCH.from_numpy, (params, state, rule_state)), block, **settings())
    assert all(
        a.dtype == torch.float32 for a in [*got.params.values(), *got.state[0], *got.rule_state.slots["m"].values()]
    )
    expected = train_through(TEXTBOOK, MODEL, params, state, rule_state, block, **settings())
    np.testing.assert_allclose(got.loss, expected.loss, rtol=1e-3)


def test_a_trajectory_is_that_of_a_loop_written_by_hand() -> None:
    length, epochs = 64, 5
    series = np.sin(np.arange(1562) / 9)[:, None] + np.random.default_rng(2).normal(size=(1562, 1)) / 10
    x, y = series[:-1], series[1:]  # 1561 rows: 24 windows and 25 rows
    model = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1))
    params, state = rk.setup(model, seed=4, dtype="float64")

    lstm = torch.nn.LSTM(1, 10, dtype=torch.float64)
    head = torch.nn.Sequential(torch.nn.Linear(10, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    named = [f"0.{key.removesuffix('_l0')}" for key, _ in lstm.named_parameters()]
    parameters = [*lstm.parameters(), *head.parameters()]
    with torch.no_grad():
        for key, p in zip([*named, "1.weight", "1.bias", "2.weight", "2.bias"], parameters, strict=True):
            p.copy_(torch.tensor(params[key]))
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    by_hand = []
    for _ in range(epochs):
        carried = None
        for start in range(0, len(x), length):
            rows = slice(start, start + length)
            hidden, carried = lstm(torch.tensor(x[rows, None]), carried)
            carried = tuple(s.detach() for s in carried)
            loss = torch.nn.functional.mse_loss(head(hidden), torch.tensor(y[rows, None]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            by_hand.append(loss.item())

    windows = -(-len(x) // length)
    steps = windows * epochs
    assert steps >= 100

    def in_windows(rows: np.ndarray) -> np.ndarray:
        padded = np.zeros((windows * length, 1))
        padded[: len(rows)] = rows
        return np.tile(padded.reshape(windows, length, 1, 1), (epochs, 1, 1, 1))

    valid = in_windows(np.ones((len(x), 1)))[..., 0] > 0
    origin = np.where(np.arange(steps + 1)[:, None] % windows == 0, -1, length)
    none = np.zeros_like(valid)
    block = Block(in_windows(x), in_windows(y), none, valid, valid * 1.0, origin, none, none[:, 0], none[:, 0])
    given = map(TORCH.from_numpy, (params, state, initial_rule_state(rk.Adam(), params)))
    got = train_through(TORCH, model, *given, block, **settings(learning_rates=np.full(steps, 1e-2)))
    np.testing.assert_allclose(got.loss, by_hand, rtol=1e-9)
    assert by_hand[-2] < by_hand[0] / 5


@dataclass(frozen=True)
class Unheard:
    """Neither a rule nor a loss."""

    learning_rate: float = 0.1


def test_what_the_backend_cannot_train_with_is_named() -> None:
    params, state = start()
    rule_state = initial_rule_state(rk.SGD(), params)
    params, state = TORCH.from_numpy(params), TORCH.from_numpy(state)
    no_rule = r"'torch' cannot run the rule Unheard.*it knows SGD, Adam, AdamW, RMSProp"
    no_loss = r"'torch' cannot train with the loss Unheard.*it knows MSE, MAE, Huber, CrossEntropy, Binary"
    with pytest.raises(ModelError, match=no_rule):
        TORCH.update(Unheard(), params, params, rule_state)
    with pytest.raises(ModelError, match=no_loss):
        entry_losses(Unheard(), params["3.bias"], params["3.bias"])
    for changed, message in (({"loss": Unheard()}, no_loss), ({"rule": Unheard()}, no_rule)):
        with pytest.raises(ModelError, match=message):
            train_through(TORCH, MODEL, params, state, rule_state, make_block(), **settings(**changed))


def test_update_and_block_training_change_no_argument_and_share_no_memory_with_results() -> None:
    params, state = map(TORCH.from_numpy, start())
    block, rule = make_block(), rk.SGD(0.1, momentum=0.9)
    rule_state = TORCH.from_numpy(initial_rule_state(rule, start()[0]))
    grads = {key: torch.ones_like(p) for key, p in params.items()}
    given = (params, state, grads, rule_state.slots)
    before = [a.copy() for a in [*arrays(given), *block[:9]]]
    map_arrays(lambda a: a.add_(1), TORCH.update(rule, params, grads, rule_state))
    unscored, broken = block._replace(weight=block.weight * 0), block._replace(x=block.x * np.nan)
    for each, done in ((block, K), (unscored, K), (broken, 0)):
        trained = train_through(TORCH, MODEL, params, state, rule_state, each, **settings(rule=rule))
        assert trained.done == done
        map_arrays(lambda a: a.add_(1), trained[:3])
    for a, b in zip([*arrays(given), *block[:9]], before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not any(p.requires_grad for p in params.values())


@pytest.mark.parametrize("remat", [0, 4])
def test_no_gradient_lands_in_tensors_that_were_given(remat: int) -> None:
    params, state = start()
    stored = map_arrays(lambda a: np.ones((2, a.shape[1])), state)
    rule_state = TORCH.from_numpy(initial_rule_state(rk.Adam(), params))
    given = map_arrays(lambda a: a.requires_grad_(), TORCH.from_numpy((params, state, stored)))
    nothing = np.full((K, B, 1), -1)
    block = make_block()._replace(slots=Slots(np.zeros((K, B), np.int64), nothing, nothing))
    block.origin[1:3, 0] = -2
    trained = train_through(TORCH, MODEL, *given[:2], rule_state, block, **settings(), store=given[2], remat=remat)
    assert trained.done == K
    assert (np.delete(trained.norm, 2) > 0).all()
    for tree in given:
        map_arrays(lambda a: pytest.fail("a gradient has landed") if a.grad is not None else a, tree)
    assert not any(p.requires_grad or p.grad is not None for p in trained.params.values())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("remat", [None, 4])
@pytest.mark.parametrize("initial", [rk.Zeros(), rk.Learned()])
def test_training_where_gradients_are_switched_off_is_the_same_training(mode: Any, remat: Any, initial: Any) -> None:
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1), initial=initial)
    schedule = rk.Schedule(rk.Sequence(np.sin(np.arange(60) / 5)), rk.Continuation(length=8), rk.Reset())
    settings: Any = {"backend": "torch", "epochs": 1, "dtype": "float64", "remat": remat}
    expected = rk.fit(model, schedule, **settings).params
    with mode():
        assert_same(rk.fit(model, schedule, **settings).params, expected, 1e-15)
