"""Many data sets, one model: equal to PyTorch loops written by hand, and no state that leaks."""

import itertools

import numpy as np
import pytest
import torch

import rnnkit as rk
from builders.curricula import BACKENDS, MODEL, SERIES, STILL, curriculum, sequences
from rnnkit.data.joined import Joined


class HandWritten:
    """A PyTorch loop of someone who keeps a state for each data set."""

    def __init__(self, params, learning_rate):
        self.lstm, self.dense = torch.nn.LSTM(1, 6).double(), torch.nn.Linear(6, 1).double()
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self.lstm.load_state_dict({f"{name}_l0": torch.from_numpy(params[f"0.{name}"].copy()) for name in names})
        self.dense.load_state_dict({name: torch.from_numpy(params[f"1.{name}"].copy()) for name in ("weight", "bias")})
        self.rate = learning_rate
        self.optimizer = torch.optim.Adam([*self.lstm.parameters(), *self.dense.parameters()], learning_rate)

    def windows(self, values, length=16, lanes=2):
        """Strips of one scaled series, window by window: `(x, y, scored)` each."""
        values = torch.from_numpy((values - values[:-1].mean()) / values[:-1].std())
        x, y = values[:-1], values[1:]
        strips = [len(part) for part in np.array_split(np.arange(len(x)), lanes)]
        starts = np.cumsum([0, *strips])
        found = []
        for at in range(0, max(strips), length):
            rows = [range(s + at, min(s + at + length, s + n)) for s, n in zip(starts, strips, strict=False)]
            if len(rows[0]) != len(rows[1]):  # the shorter strip ends a row earlier
                pad = [
                    torch.cat([v[list(r)], torch.zeros(len(rows[0]) - len(r)).double()]) for v in (x, y) for r in rows
                ]
            else:
                pad = [v[list(r)] for v in (x, y) for r in rows]
            scored = torch.stack([(torch.arange(len(rows[0])) < len(r)).double() for r in rows], 1)
            found.append((torch.stack(pad[:2], 1)[..., None], torch.stack(pad[2:], 1)[..., None], scored))
        return found

    def step(self, window, state, factor=1.0, weight=1.0):
        x, y, scored = window
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        h, state = self.lstm(x, state)
        error = ((self.dense(h) - y) ** 2)[..., 0]
        loss = (error * scored).sum() / scored.sum()
        self.optimizer.zero_grad()
        (weight * loss).backward()
        self.optimizer.step()
        return loss.item(), tuple(s.detach() for s in state)


FACTORS = {"a": 1.0, "b": 0.3, "c": 2.0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_after_the_other_equals_a_hand_written_loop_in_both_epochs(backend):
    sets = {name: rk.DataSet(series, learning_rate=FACTORS[name]) for name, series in sequences().items()}
    course = curriculum(sets, order=["c", "a", "b"])
    params, _ = rk.setup(MODEL, seed=3, dtype="float64")
    run = rk.fit(
        MODEL, course, backend=backend, rule=rk.Adam(1e-2), epochs=2, params=params, dtype="float64", block_rows=70
    )
    loop, expected = HandWritten(params, 1e-2), []
    for _, name in itertools.product(range(2), "cab"):
        state = None  # a data set begins anew
        for window in loop.windows(SERIES[name]):
            loss, state = loop.step(window, state, FACTORS[name])
            expected.append(loss)
    assert len(expected) == 2 * len(course)
    np.testing.assert_allclose(run.history.steps["loss"], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("way", [rk.RoundRobin(), rk.Sampling(), rk.Sampling(3.0)], ids=repr)
@pytest.mark.parametrize("backend", BACKENDS)
def test_window_by_window_equals_a_loop_that_keeps_a_state_for_each_data_set(backend, way):
    weights = {"a": 1.0, "b": 2.0, "c": 0.5}
    sets = {
        name: rk.DataSet(series, learning_rate=FACTORS[name], weight=weights[name])
        for name, series in sequences().items()
    }
    course = curriculum(sets, interleave=way, seed=1)
    params, _ = rk.setup(MODEL, seed=3, dtype="float64")
    run = rk.fit(
        MODEL, course, backend=backend, rule=rk.Adam(1e-2), epochs=3, params=params, dtype="float64", block_rows=130
    )
    loop, expected, orders = HandWritten(params, 1e-2), [], []
    windows = {name: loop.windows(values) for name, values in SERIES.items()}
    place = dict.fromkeys(SERIES, 0)
    for epoch in range(3):
        (turn,) = course.turns(epoch)
        with turn.open() as feed:
            order = [feed.names[k] for _, members in feed.blocks() for k in members]
        state = dict.fromkeys(SERIES)
        for name in order:
            window = windows[name][place[name]]
            before = state[name] if place[name] else None  # a new pass begins anew
            loss, state[name] = loop.step(window, before, FACTORS[name], weights[name])
            place[name] = (place[name] + 1) % len(windows[name])
            expected.append(loss)
        orders.append(order)
    if isinstance(way, rk.RoundRobin):
        assert orders[0] == ["a", "b", "c", "a", "b", "c", "a", "b", "a", "a"] == orders[1]
    else:
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1])
    assert (way == rk.Sampling(3.0)) == any(place.values())  # only there an epoch ends within a pass
    np.testing.assert_allclose(run.history.steps["loss"], expected, rtol=1e-9, atol=0)


def gradient(course, model=MODEL, **settings):
    """That of the only step of an epoch, by what SGD at rate 1 does; and the mean loss."""
    params, _ = rk.setup(model, seed=5, dtype="float64")
    run = rk.fit(model, course, rule=rk.SGD(1.0), epochs=1, params=params, dtype="float64", **settings)
    assert len(run.history.steps["loss"]) == 1
    return {key: params[key] - run.params[key] for key in params}, run.history.steps["loss"][0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 0.5, 3)])
def test_lanes_that_hold_different_data_sets_give_the_sum_of_their_gradients(backend, weights):
    """Three lanes of about 100 rows: data sets of 149, 89 and 60 rows begin inside lanes, and lanes inside them."""
    rows = {name: len(values) - 1 for name, values in SERIES.items()}
    weight = dict(zip(SERIES, weights, strict=True))
    sets = {name: rk.DataSet(series, weight=weight[name]) for name, series in sequences().items()}
    strips = [len(part) for part in np.array_split(np.arange(sum(rows.values())), 3)]
    mixed, loss = gradient(
        curriculum(sets, rk.Continuation(length=max(strips), lanes=3), interleave=rk.SideBySide()), backend=backend
    )
    edges = np.cumsum([0, *strips])
    offset = dict(zip(rows, np.cumsum([0, *rows.values()]).tolist(), strict=False))
    total, loss_sum = {key: np.zeros_like(value) for key, value in mixed.items()}, 0.0
    for name, values in SERIES.items():
        scaler = rk.Standard.fit(rk.Sequence(values))
        inside = [int(e) - offset[name] for e in edges if 0 < e - offset[name] < rows[name]]  # a lane begins there
        segments = list(itertools.pairwise([0, *inside, rows[name]]))
        cut = rk.Sequence(values[:-1], values[1:], segments=segments).with_scaler(scaler)
        alone, own = gradient(
            rk.Schedule(cut, rk.Chunked(length=rows[name], lanes=len(segments)), rk.Reset()), backend=backend
        )
        for key in total:
            total[key] += weight[name] * rows[name] * alone[key]
        loss_sum += weight[name] * rows[name] * own
    count = sum(rows.values())
    for key in total:
        np.testing.assert_allclose(mixed[key], total[key] / count, rtol=0, atol=1e-12)
    np.testing.assert_allclose(loss, loss_sum / sum(weight[name] * rows[name] for name in rows), rtol=1e-12)


def test_a_weight_multiplies_the_gradient_of_a_data_set_that_trains_alone():
    one = {"a": rk.DataSet(rk.Sequence(SERIES["a"]), weight=1.0)}
    three = {"a": rk.DataSet(rk.Sequence(SERIES["a"]), weight=3.0)}
    splitter = rk.Continuation(length=200)
    (plain, loss), (weighed, same) = (gradient(curriculum(sets, splitter)) for sets in (one, three))
    for key in plain:
        np.testing.assert_allclose(weighed[key], 3 * plain[key], rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(loss, same, rtol=1e-12)


SPLITTERS = [rk.Continuation(length=16, lanes=2), rk.Continuation(length=12, lookback=5), rk.Chunked(length=20)]


POLICIES = [rk.Carry(), rk.Reset(), rk.BurnIn(4), rk.Stored(), rk.Carry(reset_probability=0.3)]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
@pytest.mark.parametrize("way", [rk.OneByOne(), rk.RoundRobin(), rk.Sampling(), rk.SideBySide()], ids=repr)
def test_not_one_float_goes_from_a_data_set_to_another(way, splitter, policy, backend):
    def losses(course):
        run = rk.fit(MODEL, course, backend=backend, rule=STILL, epochs=2, dtype="float64")
        steps = np.array(run.history.steps["loss"]) * run.history.steps["weight"]
        members, at = [], 0
        for epoch in range(2):
            for turn in course.turns(epoch):
                with turn.open() as feed:
                    for block, which in feed.blocks():
                        for k, member in enumerate(which):
                            members.append(only(feed, block.rows[k]) if member < 0 else feed.names[member])
                            at += 1
        return steps, np.array(members)

    def only(feed, rows):
        inside = np.unique(feed.source.series.member_of(rows[rows >= 0]))
        return feed.names[inside[0]] if len(inside) == 1 else "several"

    if isinstance(way, rk.SideBySide) and isinstance(splitter, rk.Continuation):
        splitter = rk.Continuation(length=splitter.length, lookback=splitter.lookback)  # else none has a batch alone
    steps, members = losses(curriculum(None, splitter, policy, interleave=way))
    changed, _ = losses(curriculum(sequences(a=SERIES["a"] ** 2 - 40), splitter, policy, interleave=way))
    others = (members == "b") | (members == "c")
    assert others.sum() >= 8
    assert (members == "a").any()
    assert not np.array_equal(steps[members == "a"], changed[members == "a"])
    np.testing.assert_array_equal(steps[others], changed[others])


def test_side_by_side_resets_stand_where_a_data_set_begins():
    course = curriculum(splitter=rk.Continuation(length=50, lanes=2), interleave=rk.SideBySide())
    (turn,) = course.turns()
    with turn.open() as feed:
        joined, found = feed.source.series, []
        for block, _ in feed.blocks():
            fresh = block.reset.copy()
            fresh[:, 0] |= block.origin[:-1] == -1
            found += block.rows[fresh & block.valid].tolist()
    lane = -(-(149 + 89 + 60) // 2)  # the second lane begins in row 0 of b: a has just its 149 rows
    assert lane == 149
    assert sorted(found) == [0, 150, 240] == joined.offsets[:3].tolist()


def test_joined_rows_are_those_of_the_members():
    members = [series.with_scaler(rk.Standard.fit(series)) for series in sequences().values()]
    joined = Joined(tuple(members))
    rows = np.array([[0, 149, 150], [-1, 239, 240], [300, 10, 171]])
    x, y = joined.take(rows, np.float64)
    for (i, j), row in np.ndenumerate(rows):
        if row < 0:
            assert x[i, j] == 0 == y[i, j]
            continue
        index = int(np.searchsorted([150, 240], row, side="right"))
        own = members[index].take(np.array([row - [0, 150, 240][index]]), np.float64)
        assert (x[i, j], y[i, j]) == (own[0][0], own[1][0])


@pytest.mark.parametrize("way", [rk.OneByOne(), rk.RoundRobin(), rk.Sampling(), rk.SideBySide()], ids=repr)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_loop_of_ones_own_sees_the_same_losses(way, policy):
    course = curriculum(policy=policy, interleave=way)
    params, _ = rk.setup(MODEL, seed=3, dtype="float64")
    run = rk.fit(MODEL, course, backend="numpy", rule=rk.Adam(1e-2), epochs=2, params=params, dtype="float64")
    loop, losses = HandWritten(params, 1e-2), []
    zeros = torch.zeros(1, 2, 6).double()
    for epoch in range(2):
        for turn in course.turns(epoch):
            lanes = rk.LaneState((zeros, zeros), axis=1)
            for batch in turn.batches("float64"):
                x, y, weight = (torch.from_numpy(a.copy()) for a in (batch.x, batch.y, batch.weight))
                outputs = []
                for rows, state in lanes.walk(batch):
                    h, state = loop.lstm(x[rows], state)
                    lanes.put(state)
                    outputs.append(loop.dense(h))
                loss = (((torch.cat(outputs) - y) ** 2)[..., 0] * weight).sum() / weight.sum()
                loop.optimizer.zero_grad()
                loss.backward()
                loop.optimizer.step()
                losses.append(loss.item())
    np.testing.assert_allclose(losses, run.history.steps["loss"], rtol=1e-9)
