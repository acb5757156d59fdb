"""`LaneState` in loops written by hand, in PyTorch, NumPy and JAX, against `rk.fit`."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import rnnkit as rk

F, H, O = 2, 4, 2  # noqa: E741
LENGTHS = (31, 4, 17, 2, 26)
RATE = 0.3
MODEL = rk.Chain(rk.LSTM(F, H), rk.LSTM(H, H), rk.Dense(H, O))
PAIRS = [
    (rk.Sliding(6, stride=4, lanes=3), rk.Reset()),
    (rk.Sliding(6, stride=4), rk.Carry()),
    (rk.Sliding(6, stride=4), rk.Carry(across_epochs=True)),
    (rk.Sliding(6, stride=3, lanes=3, shuffle=True), rk.Stored()),
    (rk.Sliding(6, stride=4, lanes=3), rk.BurnIn(5)),
    (rk.Chunked(7, lanes=3), rk.Reset()),
    (rk.Chunked(7), rk.Carry()),
    (rk.Chunked(7, lanes=3, shuffle=True), rk.Reset()),
    (rk.Chunked(7, lanes=3, shuffle=True), rk.BurnIn(5)),
    (rk.Chunked(7, lanes=3, shuffle=True), rk.BurnIn(5, in_gradient=True)),
    (rk.Chunked(7, lanes=3, shuffle=True), rk.Stored()),
    (rk.Chunked(7, lanes=3, shuffle=True), rk.Stored(burn_in=3)),
    (rk.Continuation(6, lanes=3), rk.Reset()),
    (rk.Continuation(6, lanes=3), rk.Carry()),
    (rk.Continuation(6, lanes=3, tail="drop"), rk.Carry()),
    (rk.Continuation(6, lanes=3), rk.Carry(reset_every=2)),
    (rk.Continuation(3, lanes=3), rk.Carry(reset_probability=0.4)),
    (rk.Continuation(1, lanes=3), rk.Carry(reset_every=4)),
    (rk.Continuation(6, lanes=3), rk.Carry(across_epochs=True)),
    (rk.Continuation(6, lanes=3, lookback=4), rk.Carry()),
    (rk.Continuation(4, lanes=3, lookback=9), rk.Carry(across_epochs=True)),
    (rk.Continuation(5, lanes=3, lookback=4), rk.BurnIn(3)),
    (rk.Continuation(6, lanes=3), rk.BurnIn(4, in_gradient=True)),
    (rk.Continuation(6, lanes=3), rk.Stored()),
    (rk.Continuation(6, lanes=3, lookback=4), rk.Stored(burn_in=2)),
    (rk.Continuation(rk.Uniform(2, 9), lanes=3), rk.Carry()),
    (rk.Continuation(rk.Geometric(6), lanes=3, lookback=2), rk.Carry(across_epochs=True)),
]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def ragged(score: str = "all") -> rk.Sequence:
    rng = np.random.default_rng(3)
    x, y = ([rng.standard_normal((n, columns)) for n in LENGTHS] for columns in (F, O))
    return rk.Sequence.panel(x, y, score=score)


def start(model: rk.Chain) -> dict[str, np.ndarray]:
    """Parameters that are large enough for the state to matter."""
    rng = np.random.default_rng(4)
    return {key: rng.uniform(-0.8, 0.8, p.shape) for key, p in rk.setup(model, dtype="float64")[0].items()}


def by_rnnkit(model: rk.Chain, schedule: rk.Schedule, epochs: int = 2, rate: float = RATE) -> rk.Run:
    settings = {"rule": rk.SGD(rate), "epochs": epochs, "dtype": "float64"}
    return rk.fit(model, schedule, backend="numpy", params=start(model), **settings)


class Net(torch.nn.Module):
    """Two LSTM layers and a dense one, with rnnkit's parameters: names and shapes are PyTorch's."""

    def __init__(self, params: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(F, H, num_layers=2, dtype=torch.float64)
        self.head = torch.nn.Linear(H, O, dtype=torch.float64)
        own = dict(self.named_parameters())
        with torch.no_grad():
            for key in params:
                if "initial" not in key:
                    own[self.name_of(key)].copy_(torch.tensor(params[key]))

    def name_of(self, key: str) -> str:
        layer, name = key.split(".")
        return f"head.{name}" if layer == "2" else f"lstm.{name}_l{layer}"

    def forward(self, x: Any, state: Any) -> Any:
        y, state = self.lstm(x, state)
        return self.head(y), state


class Trained(NamedTuple):
    losses: list[float]
    params: dict[str, Any]
    state: Any
    pieces: list[int]


def by_hand(schedule: rk.Schedule, epochs: int = 2, learned: bool = False, unscored_graph: bool = True) -> Trained:
    """The loop that a user of PyTorch would write; `learned` initial states are two more parameters."""
    model = rk.Chain(*MODEL.layers, initial=rk.Learned()) if learned else MODEL
    params = start(model)
    net = Net(params)
    h0, c0 = (
        torch.tensor(np.stack([params.get(f"{n}.initial_{k}", np.zeros(H)) for n in (0, 1)])[:, None]) for k in "hc"
    )
    h0.requires_grad_(learned), c0.requires_grad_(learned)
    lanes = rk.LaneState(tuple(a.detach().repeat(1, schedule.lanes, 1) for a in (h0, c0)), axis=1)
    optimizer = torch.optim.SGD([*net.parameters(), *((h0, c0) if learned else ())], lr=RATE)
    losses, pieces = [], []
    for epoch in range(epochs):
        for batch in schedule.batches(epoch, "float64"):
            if learned:
                lanes.initial = tuple(a.expand(2, schedule.lanes, H) for a in (h0, c0))
            x, y, weight = (torch.tensor(a) for a in (batch.x, batch.y, batch.weight))
            outputs = []
            for rows, state in lanes.walk(batch):
                with torch.set_grad_enabled(unscored_graph or rows.stop > batch.detached):
                    out, state = net(x[rows], state)
                lanes.put(state)
                outputs.append(out)
            pieces.append(len(outputs))
            losses.append(0.0)
            if weight.any():
                errors = ((torch.cat(outputs) - y) ** 2).mean(2)
                loss = (errors * weight).sum() / weight.sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses[-1] = loss.item()
    own = dict(net.named_parameters())
    trained = {key: own[net.name_of(key)] for key in params if "initial" not in key}
    if learned:
        trained |= {f"{n}.initial_{k}": a[n, 0] for n in (0, 1) for k, a in zip("hc", (h0, c0), strict=True)}
    return Trained(losses, {key: p.detach().numpy() for key, p in trained.items()}, lanes.state, pieces)


def assert_same(got: Trained, run: rk.Run) -> None:
    np.testing.assert_allclose(got.losses, run.history.steps["loss"], rtol=1e-9, atol=1e-12)
    for key, p in run.params.items():
        np.testing.assert_allclose(got.params[key], p, rtol=1e-9, atol=1e-10, err_msg=key)
    for index, array in enumerate(got.state):
        for layer in (0, 1):
            np.testing.assert_allclose(array[layer], run.state[layer][index], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("splitter", "policy"), PAIRS, ids=lambda value: repr(value))
def test_a_loop_in_pytorch_trains_like_fit(splitter: Any, policy: Any) -> None:
    schedule = rk.Schedule(ragged(), splitter, policy, seed=5)
    assert_same(by_hand(schedule), by_rnnkit(MODEL, schedule))


@pytest.mark.parametrize("policy", [rk.Reset(), rk.BurnIn(3), rk.Stored(burn_in=2)], ids=repr)
def test_a_loop_in_pytorch_trains_like_fit_on_samples_that_are_scored_at_their_end(policy: Any) -> None:
    schedule = rk.Schedule(ragged("last"), rk.Chunked(9, lanes=2, shuffle=True), policy)
    cuts = pytest.warns(rk.RnnkitWarning, match="never reach the loss")
    with nullcontext() if isinstance(policy, rk.Stored) else cuts:
        run = by_rnnkit(MODEL, schedule)
    assert 0 in run.history.steps["loss"]  # some windows only advance the state
    assert_same(by_hand(schedule), run)


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Continuation(6, lanes=3), rk.Carry(reset_every=2)),
        (rk.Chunked(7, lanes=3, shuffle=True), rk.BurnIn(5)),
        (rk.Chunked(7, lanes=3, shuffle=True), rk.BurnIn(5, in_gradient=True)),
        (rk.Chunked(7, lanes=3, shuffle=True), rk.Stored(burn_in=3)),
    ],
    ids=repr,
)
def test_a_learned_initial_state_gets_the_gradient_that_fit_gives_it(splitter: Any, policy: Any) -> None:
    schedule = rk.Schedule(ragged(), splitter, policy)
    got = by_hand(schedule, learned=True)
    run = by_rnnkit(rk.Chain(*MODEL.layers, initial=rk.Learned()), schedule)
    np.testing.assert_allclose(got.losses, run.history.steps["loss"], rtol=1e-9)
    for key, p in run.params.items():
        np.testing.assert_allclose(got.params[key], p, rtol=1e-9, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("policy", [rk.BurnIn(5), rk.Stored(burn_in=3)], ids=repr)
def test_rows_outside_the_gradient_need_no_graph(policy: Any) -> None:
    schedule = rk.Schedule(ragged(), rk.Chunked(7, lanes=3, shuffle=True), policy)
    assert_same(by_hand(schedule, unscored_graph=False), by_rnnkit(MODEL, schedule))


def test_most_windows_are_one_piece() -> None:
    one = rk.Sequence(np.random.default_rng(0).standard_normal((61, F)), np.zeros((61, O)))
    carried = by_hand(rk.Schedule(one, rk.Continuation(6, lanes=3), rk.Carry()), epochs=1)
    assert carried.pieces == [1, 1, 1, 3]  # 21, 20 and 20 rows: one lane's padding begins earlier
    samples = by_hand(rk.Schedule(ragged("last"), rk.Chunked(31, lanes=2), rk.Reset()), epochs=1)
    assert samples.pieces == [1, 1, 2]  # what the padding of ragged samples makes of the state, nobody asks for


def test_a_batch_knows_after_which_row_each_lane_hands_its_state_on() -> None:
    for splitter, policy in PAIRS:
        schedule = rk.Schedule(ragged(), splitter, policy)
        batches = list(schedule.batches())
        for batch, after in itertools.pairwise(batches):
            assert np.array_equal(batch.hand_on, np.minimum(after.origin, len(batch.x)))
        assert (batches[-1].hand_on == len(batches[-1].x)).all()


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def numpy_lstm(params: dict[str, np.ndarray], x: np.ndarray, hc: np.ndarray) -> np.ndarray:
    """One layer that works in the memory it was given: `hc (2, B, H)` is changed in place."""
    ys = []
    for row in x:
        h, c = hc
        gates = row @ params["0.weight_ih"].T + params["0.bias_ih"] + h @ params["0.weight_hh"].T + params["0.bias_hh"]
        i, f, g, o = np.split(gates, 4, axis=1)
        c *= sigmoid(f)
        c += sigmoid(i) * np.tanh(g)
        h[:] = sigmoid(o) * np.tanh(c)
        ys.append(h @ params["1.weight"].T + params["1.bias"])
    return np.stack(ys)


SMALL = rk.Chain(rk.LSTM(F, H), rk.Dense(H, O))
FEW = [
    (rk.Continuation(6, lanes=3, lookback=4), rk.Carry(reset_probability=0.2, across_epochs=True)),
    (rk.Chunked(7, lanes=3, shuffle=True), rk.Stored(burn_in=2)),
]


@pytest.mark.parametrize(("splitter", "policy"), FEW, ids=repr)
def test_a_loop_in_numpy_that_writes_into_its_state_sees_the_losses_of_fit(splitter: Any, policy: Any) -> None:
    schedule = rk.Schedule(ragged(), splitter, policy)
    params, losses = start(SMALL), []
    lanes = rk.LaneState(np.zeros((2, 3, H)), axis=1)
    for epoch in (0, 1):
        for batch in schedule.batches(epoch, "float64"):
            outputs = []
            for rows, state in lanes.walk(batch):
                outputs.append(numpy_lstm(params, batch.x[rows], state))
                lanes.put(state)
                state[:] = np.nan  # its memory is the net's to use again
            errors = ((np.concatenate(outputs) - batch.y) ** 2).mean(2)
            losses.append((errors * batch.weight).sum() / batch.weight.sum())
    run = by_rnnkit(SMALL, schedule, rate=1e-300)
    np.testing.assert_allclose(losses, run.history.steps["loss"], rtol=1e-9)
    np.testing.assert_allclose(lanes.state, np.stack(run.state[0]), rtol=1e-9)


def test_loops_in_jax_train_like_fit_and_walks_under_jit_are_refused() -> None:
    """In a process of its own: JAX has threads that forbid others to fork."""
    file = Path(__file__).with_name("jax_loops.py")
    done = subprocess.run([sys.executable, "-W", "error", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal", "equal", "refused"]


def counted(*arrays: Any, policy: Any = None, **options: Any) -> tuple[rk.LaneState, list[rk.Batch]]:
    """Lanes with one number each, and batches of two lanes of ten rows."""
    schedule = rk.Schedule(rk.Sequence(np.arange(21.0)), rk.Continuation(4, lanes=2), policy or rk.Carry())
    return rk.LaneState(arrays[0] if arrays else np.zeros((2, 1)), **options), list(schedule.batches())


def run_through(lanes: rk.LaneState, batch: rk.Batch) -> None:
    for rows, state in lanes.walk(batch):
        lanes.put(state + batch.x[rows].sum(0))


def test_a_walk_that_was_broken_off_may_be_begun_again() -> None:
    lanes, batches = counted()
    run_through(lanes, batches[0])
    before = lanes.state
    for _ in lanes.walk(batches[1]):
        lanes.put(np.full((2, 1), np.nan))
        break
    assert np.array_equal(lanes.state, before)
    run_through(lanes, batches[1])
    assert lanes.state[0, 0] == sum(range(8))


def test_lanes_can_be_saved_and_copied() -> None:
    lanes, batches = counted()
    run_through(lanes, batches[0])
    for again in (copy.deepcopy(lanes), pickle.loads(pickle.dumps(lanes))):
        run_through(again, batches[1])
        assert again.state[0, 0] == sum(range(8))
    assert lanes.state[0, 0] == sum(range(4))


@pytest.mark.parametrize("array", [np.zeros, torch.zeros])
def test_what_is_not_finite_does_not_leak_into_a_lane_that_starts_anew(array: Any) -> None:
    series = rk.Sequence(np.arange(22.0), horizon=0, segments=[(0, 6), (6, 22)])
    batch = next(rk.Schedule(series, rk.Continuation(8, lanes=2), rk.Carry()).batches())
    lanes = rk.LaneState(array((2, 1)))
    started = []
    for _, state in lanes.walk(batch):
        started.append(state[:, 0].tolist())
        lanes.put(array((2, 1)) + np.nan)
    assert started[0] == [0, 0]
    assert started[1][0] == 0
    assert np.isnan(started[1][1])


def test_initial_is_what_fresh_lanes_start_from() -> None:
    lanes, batches = counted(np.full((2, 1), 5.0))
    assert np.array_equal(lanes.state, [[5], [5]])
    assert np.array_equal(next(lanes.walk(batches[0]))[1], [[5], [5]])
    lanes.initial = np.full((2, 1), 7.0)
    assert np.array_equal(next(lanes.walk(batches[0]))[1], [[7], [7]])
    with pytest.raises(rk.ModelError, match=r"float64 \(2, 1\), as initial, got .* \(3, 1\)"):
        lanes.initial = np.zeros((3, 1))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "as state, got NoneType; put what the net takes"),
        (np.zeros((3, 1)), r"an array of NumPy, float64 \(2, 1\), as state, got an array of NumPy, float64 \(3, 1\)"),
        (np.zeros((2, 1), "float32"), r"got an array of NumPy, float32 \(2, 1\)"),
        (torch.zeros(2, 1, dtype=torch.float64), r"got an array of PyTorch, float64 \(2, 1\)"),
        ([np.zeros((2, 1))], "got a list of 1"),
    ],
    ids=str,
)
def test_a_state_unlike_the_initial_one_is_refused(state: Any, message: str) -> None:
    lanes, batches = counted()
    next(walk := lanes.walk(batches[0]))
    with pytest.raises(rk.ModelError, match=message):
        lanes.put(state)
    walk.close()


def test_a_state_of_another_structure_is_refused_by_its_place() -> None:
    lanes, batches = counted({"cell": [np.zeros((2, 1)), (np.zeros((2, 3)),)]})
    next(walk := lanes.walk(batches[0]))
    with pytest.raises(rk.ModelError, match=r"a tuple of 1 as state\['cell'\]\[1\], got a tuple of 0"):
        lanes.put({"cell": [np.zeros((2, 1)), ()]})
    with pytest.raises(rk.ModelError, match=r"a dict with the keys \[\"'cell'\"\] as state, got a dict"):
        lanes.put({"layer": []})
    walk.close()


def test_a_state_that_is_not_put_or_put_twice_is_an_error() -> None:
    lanes, batches = counted()
    with pytest.raises(rk.ModelError, match=r"got none after rows 0 to 3 of the window; write lanes\.put\(state\)"):
        for _ in lanes.walk(batches[0]):
            pass
    lanes, batches = counted()
    with pytest.raises(rk.ModelError, match=r"once for each piece of walk, got a state between pieces"):
        lanes.put(np.zeros((2, 1)))
    for _, state in lanes.walk(batches[0]):
        lanes.put(state)
        with pytest.raises(rk.ModelError, match="once for each piece"):
            lanes.put(state)


@pytest.mark.parametrize(
    ("initial", "axis", "message"),
    [
        ([0.0, 0.0], 0, r"arrays of NumPy, PyTorch or JAX, .* got float as initial\[0\]"),
        ((), 0, "as many lanes each, got no array"),
        ((np.zeros((2, 1)), np.zeros((3, 1))), 0, r"2 in initial\[0\], 3 in initial\[1\]"),
        ((np.zeros((2, 1)), np.zeros(2)), 1, r"LaneState\(axis=1\) expects .* got initial\[1\] of shape \(2,\)"),
        (np.zeros((2, 1)), -1, r"LaneState\(axis=-1\) .* which axis is that of the lanes, from 0"),
    ],
    ids=str,
)
def test_an_initial_state_that_cannot_be_used_is_refused(initial: Any, axis: int, message: str) -> None:
    with pytest.raises(rk.ModelError, match=message):
        rk.LaneState(initial, axis=axis)


def test_another_number_of_lanes_is_an_error_that_speaks_of_the_axis() -> None:
    lanes, batches = counted(np.zeros((1, 2, 3)))
    with pytest.raises(rk.ScheduleError, match=r"LaneState\(axis=0\) of 1 lane .* of 2; .* which axis theirs is"):
        next(lanes.walk(batches[0]))


@pytest.mark.parametrize("lookback", [0, 2])
def test_a_drawn_length_may_differ_from_that_at_the_end_of_the_epoch_before(lookback: int) -> None:
    edges = [(0, 9), (9, 18), (19, 31), (32, 40), (40, 51), (51, 62), (63, 66), (66, 67)]
    rng = np.random.default_rng(2)
    series = rk.Sequence(rng.standard_normal((67, F)), rng.standard_normal((67, O)), segments=edges)
    params, longer, shorter = start(SMALL), 0, 0
    for seed in range(12):
        splitter = rk.Continuation(rk.Uniform(2, 9), lanes=3, lookback=lookback)
        schedule = rk.Schedule(series, splitter, rk.Carry(reset_probability=0.3, across_epochs=True), seed=seed)
        lanes, losses, last = rk.LaneState(np.zeros((2, 3, H)), axis=1), [], None
        for epoch in range(3):
            for nth, batch in enumerate(schedule.batches(epoch, "float64")):
                if last is not None and not nth:
                    longer, shorter = longer + (last > len(batch.x)), shorter + (last < len(batch.x))
                outputs = []
                for rows, state in lanes.walk(batch):
                    outputs.append(numpy_lstm(params, batch.x[rows], state))
                    lanes.put(state)
                errors = ((np.concatenate(outputs) - batch.y) ** 2).mean(2)
                losses.append((errors * batch.weight).sum() / max(batch.weight.sum(), 1))
                last = len(batch.x)
        run = by_rnnkit(SMALL, schedule, epochs=3, rate=1e-300)
        np.testing.assert_allclose(losses, run.history.steps["loss"], rtol=1e-9)
        np.testing.assert_allclose(lanes.state, np.stack(run.state[0]), rtol=1e-9)
    assert longer > 3
    assert shorter > 3


def test_batches_that_do_not_follow_one_another_are_refused() -> None:
    follows = "expects the batch that follows the one walked before, got one whose lane 0 starts at row"
    lanes, batches = counted()
    with pytest.raises(rk.ContinuityError, match=f"{follows} 4 "):  # none was walked
        run_through(lanes, batches[1])
    run_through(lanes, batches[0])
    with pytest.raises(rk.ContinuityError, match=f"{follows} 8 .* in order, with a LaneState for each schedule"):
        run_through(lanes, batches[2])
    other = rk.Schedule(rk.Sequence(np.arange(21.0)), rk.Continuation(4, lanes=2), rk.Reset())
    run_through(lanes, next(other.batches()))
    with pytest.raises(rk.ContinuityError, match=f"{follows} 4 "):  # the other schedule hands nothing on
        run_through(lanes, batches[1])


def test_recorded_states_are_not_taken_from_nowhere() -> None:
    schedule = rk.Schedule(rk.Sequence(np.arange(21.0)), rk.Chunked(4, lanes=2, shuffle=True), rk.Stored())
    batch = next(schedule.batches(1))
    assert (batch.origin == -2).any()
    with pytest.raises(rk.ContinuityError, match="from a state that is not there; walk every batch of every epoch"):
        run_through(rk.LaneState(np.zeros((2, 1))), batch)


def test_a_gradient_that_is_weighed_inside_a_window_is_refused() -> None:
    splitter = rk.Continuation(rk.Geometric(4), lanes=2, reweight=True)
    schedule = rk.Schedule(rk.Sequence(np.arange(21.0)), splitter, rk.Carry())
    with pytest.raises(rk.ScheduleError, match=r"expects reweight=False: .* train with rk\.fit, or leave reweight out"):
        run_through(rk.LaneState(np.zeros((2, 1))), next(schedule.batches()))
