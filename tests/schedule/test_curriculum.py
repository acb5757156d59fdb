"""Many data sets, one model: order, turns, state that never leaks, and equality with hand-written PyTorch loops."""

import gc
import itertools
import weakref

import numpy as np
import pytest
import torch

import rnnkit as rk
from builders import series as small
from builders.files import write_csv
from rnnkit.data.joined import Joined

MODEL = rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 1))
BACKENDS = ["numpy", "numba", "torch"]
WAYS = [rk.OneByOne(), rk.RoundRobin(), rk.RoundRobin(2), rk.Sampling(), rk.Sampling(3.0), rk.SideBySide()]
STILL = rk.SGD(1e-300)
"""A rule whose updates change nothing, so that a data set can reach another through its state alone."""


def wave(rows, seed, scale=1.0):
    return small.wave(rows, seed, period=5 + seed, noise=0.2, level=3, scale=scale)


SERIES = {"a": wave(150, 0), "b": wave(90, 1, 30.0), "c": wave(61, 2, 0.1)}


def sequences(**changed):
    return {name: rk.Sequence(values, name=name) for name, values in (SERIES | changed).items()}


def curriculum(datasets=None, splitter=None, policy=None, **settings):
    datasets = sequences() if datasets is None else datasets
    return rk.Curriculum(datasets, splitter or rk.Continuation(length=16, lanes=2), policy or rk.Carry(), **settings)


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


# --- order, passes, phases


def names_of(course, epoch=0):
    return [turn.names for turn in course.turns(epoch)]


def test_orders():
    assert names_of(curriculum()) == [("a",), ("b",), ("c",)]
    assert names_of(curriculum(order=["b", "c", "a"])) == [("b",), ("c",), ("a",)]
    assert names_of(curriculum(order="rows")) == [("c",), ("b",), ("a",)]
    assert names_of(curriculum(dict(reversed(sequences().items())), order="name")) == [("a",), ("b",), ("c",)]
    assert names_of(curriculum(order=lambda facts: -facts.rows)) == [("a",), ("b",), ("c",)]


def test_a_shuffled_order_is_drawn_anew_each_epoch_from_the_seed():
    orders = [tuple(names_of(curriculum(order="shuffled", seed=7), epoch)) for epoch in range(12)]
    assert len(set(orders)) > 2
    assert all(sorted(order) == [("a",), ("b",), ("c",)] for order in orders)
    assert orders == [tuple(names_of(curriculum(order="shuffled", seed=7), epoch)) for epoch in range(12)]
    assert orders != [tuple(names_of(curriculum(order="shuffled", seed=8), epoch)) for epoch in range(12)]


def test_groups_are_open_together_in_their_order():
    assert names_of(curriculum(interleave=rk.RoundRobin(2))) == [("a", "b"), ("c",)]
    assert names_of(curriculum(interleave=rk.SideBySide())) == [("a", "b", "c")]


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_turns_have_the_steps_that_they_say(way):
    sets = {name: rk.DataSet(series, passes=2 if name == "b" else 1) for name, series in sequences().items()}
    splitter = rk.Continuation(length=rk.Geometric(10)) if not isinstance(way, rk.Sampling) else None
    course = curriculum(sets, splitter, interleave=way, seed=3)
    for epoch in range(3):
        for turn in course.turns(epoch):
            assert turn.steps == sum(1 for _ in turn.batches())


def test_passes_go_through_a_data_set_again_from_the_initial_state():
    sets = {name: rk.DataSet(series, passes=2 if name == "b" else 1) for name, series in sequences().items()}
    assert names_of(curriculum(sets)) == [("a",), ("b",), ("b",), ("c",)]
    for way in (rk.RoundRobin(), rk.SideBySide()):
        (turn,) = curriculum(sets, rk.Continuation(length=16), interleave=way).turns()
        with turn.open() as feed:
            rows = np.concatenate([block.rows[block.valid] for block, _ in feed.blocks()])
        assert len(rows) == 149 + 2 * 89 + 60


def test_shuffled_windows_differ_from_pass_to_pass_and_epoch_to_epoch():
    sets = {"a": rk.DataSet(rk.Sequence(SERIES["a"]), passes=2)}
    course = curriculum(sets, rk.Chunked(length=8, shuffle=True), rk.Reset())
    orders = [[int(batch.row[0]) for batch in turn.batches()] for epoch in (0, 1) for turn in course.turns(epoch)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


def test_each_data_set_draws_an_order_of_its_own():
    sets = {name: rk.Sequence(SERIES["a"]) for name in "ab"}
    for way in (rk.OneByOne(), rk.RoundRobin(open_at_once=1), rk.SideBySide(open_at_once=1)):
        course = curriculum(sets, rk.Chunked(length=8, shuffle=True), rk.Reset(), interleave=way)
        orders = [tuple(int(b.row[0]) for b in turn.batches()) for epoch in (0, 1) for turn in course.turns(epoch)]
        assert len(set(orders)) == 4
        assert len({tuple(sorted(order)) for order in orders}) == 1


def test_a_high_temperature_evens_out_and_goes_on_where_it_stopped():
    course = curriculum(splitter=rk.Continuation(length=4), interleave=rk.Sampling(temperature=1e9))
    steps = len(course)
    seen = {name: [] for name in SERIES}
    for epoch in range(3):
        (turn,) = course.turns(epoch)
        with turn.open() as feed:
            for block, members in feed.blocks():
                for k, member in enumerate(members):
                    seen[feed.names[member]].append(int(block.row[k, 0]))
    assert steps == 38 + 23 + 15
    assert {name: len(rows) for name, rows in seen.items()} == {"a": 78, "b": 75, "c": 75}
    for name, rows in seen.items():
        windows = -(-(len(SERIES[name]) - 1) // 4)
        assert rows == [4 * (k % windows) for k in range(len(rows))]


def members_by_window(course, epoch):
    (turn,) = course.turns(epoch)
    with turn.open() as feed:
        return [feed.names[member] for _, members in feed.blocks() for member in members]


def test_sampling_draws_its_turns_anew_each_epoch_from_the_seed():
    course, again, other = (curriculum(interleave=rk.Sampling(), seed=seed) for seed in (3, 3, 4))
    drawn = [members_by_window(course, epoch) for epoch in range(3)]
    assert len(set(map(tuple, drawn))) == 3
    assert drawn == [members_by_window(again, epoch) for epoch in range(3)]
    assert drawn[0] != members_by_window(other, 0)
    assert sorted(drawn[0]) == sorted(drawn[1])


def test_passes_count_in_the_shares_of_sampling():
    sets = {name: rk.DataSet(series, passes=3 if name == "c" else 1) for name, series in sequences().items()}
    course = curriculum(sets, rk.Continuation(length=4), interleave=rk.Sampling(temperature=2.0))
    share = np.sqrt([149, 89, 3 * 60])
    wanted = share / share.sum() * (38 + 23 + 3 * 15)
    found = members_by_window(course, 0)
    assert len(found) == 38 + 23 + 3 * 15
    np.testing.assert_allclose([found.count(name) for name in "abc"], wanted, atol=1)


def test_phases_choose_data_sets_rates_and_frozen_layers():
    phases = [
        rk.Phase(["a", "b"], epochs=2, name="pretrain"),
        rk.Phase(["c"], epochs=1, learning_rate=0.1, frozen="0.*"),
    ]
    course = curriculum(phases=phases)
    assert course.epochs == 3
    assert [names_of(course, epoch) for epoch in range(3)] == [[("a",), ("b",)]] * 2 + [[("c",)]]
    told = []
    run = rk.fit(
        MODEL, course, backend="numpy", rule=rk.Adam(1e-2), on_epoch=lambda h: told.append(len(h.steps["loss"]))
    )
    until = rk.fit(MODEL, curriculum({n: sequences()[n] for n in "ab"}), backend="numpy", rule=rk.Adam(1e-2), epochs=2)
    steps = run.history.steps
    np.testing.assert_allclose(steps["loss"][: told[1]], until.history.steps["loss"], rtol=1e-6)
    np.testing.assert_allclose(steps["learning_rate"][told[1] :], 1e-3)
    for key, value in run.params.items():
        same = np.array_equal(value, until.params[key])
        assert same == key.startswith("0."), key
    assert np.isnan(run.history.epochs["c/loss"][:2]).all()
    assert np.isfinite(run.history.epochs["c/loss"][2])
    assert np.isnan(run.history.epochs["a/loss"][2])


def test_each_phase_lasts_its_epochs_and_the_last_one_goes_on():
    course = curriculum(phases=[rk.Phase(["a"], epochs=2), rk.Phase(["b"], epochs=3), rk.Phase(["c"], epochs=1)])
    assert [names_of(course, epoch) for epoch in range(8)] == [[(name,)] for name in "aabbbccc"]


def test_frozen_parameters_stay_without_a_curriculum_too():
    schedule = rk.Schedule(rk.Sequence(SERIES["a"]), rk.Continuation(length=16), rk.Carry())
    start, _ = rk.setup(MODEL, seed=0)
    run = rk.fit(MODEL, schedule, epochs=1, frozen=("*.bias_*", "1.weight"))
    frozen = {"0.bias_ih", "0.bias_hh", "1.weight"}
    assert {key for key in start if np.array_equal(start[key], run.params[key])} == frozen


# --- opened when their turn comes


class Openers:
    """Functions that open the data sets, and who is open when."""

    def __init__(self, names=SERIES):
        self.alive, self.most, self.count = [], 0, dict.fromkeys(names, 0)
        self.functions = {name: rk.DataSet(lambda name=name: self.open(name), name) for name in names}

    def open(self, name):
        gc.collect()
        self.count[name] += 1
        series = rk.Sequence(SERIES[name].copy(), name=name)
        self.alive = [ref for ref in self.alive if ref() is not None]
        self.alive.append(weakref.ref(series._source.x.array.base))
        self.most = max(self.most, len(self.alive))
        return series


@pytest.mark.parametrize(
    ("way", "most"),
    [(rk.OneByOne(), 1), (rk.RoundRobin(2), 2), (rk.SideBySide(2), 2), (rk.Sampling(open_at_once=1), 1)],
)
def test_data_sets_are_opened_in_their_turn_and_closed_after_it(way, most):
    openers = Openers()
    rk.fit(MODEL, curriculum(openers.functions, interleave=way), backend="numpy", epochs=2)
    assert openers.count == {"a": 3, "b": 3, "c": 3}  # once to be measured, and once an epoch
    assert openers.most == most
    gc.collect()
    assert not [ref for ref in openers.alive if ref() is not None]


def test_batches_open_one_data_set_at_a_time():
    openers = Openers()
    course = curriculum(openers.functions)
    assert sum(1 for _ in course.batches(0)) == len(course) == 10
    assert openers.most == 1


def test_paths_and_globs(tmp_path):
    for name, values in SERIES.items():
        np.save(tmp_path / f"{name}.npy", values)
    course = curriculum([str(tmp_path / "*.npy")])
    assert list(course.facts) == ["a", "b", "c"]
    assert list(curriculum({"x": str(tmp_path / "[ab].npy")}).facts) == ["x/a", "x/b"]
    listed = curriculum(
        [tmp_path / "b.npy", rk.DataSet(tmp_path / "a.npy", options={"horizon": 3})], options={"horizon": 2}
    )
    assert {name: facts.horizon for name, facts in listed.facts.items()} == {"b": 2, "a": 3}
    same = rk.fit(MODEL, curriculum(), epochs=1, backend="numpy")
    assert rk.fit(MODEL, course, epochs=1, backend="numpy").history.steps == same.history.steps


def test_each_series_of_a_long_table_can_be_a_data_set(tmp_path):
    rows = [f"{name},{value}" for k in range(150) for name, values in SERIES.items() for value in values[k : k + 1]]
    (tmp_path / "long.csv").write_text("server,value\n" + "\n".join(rows) + "\n")
    course = curriculum(rk.DataSet.each(tmp_path / "long.csv", "server", learning_rate=0.5))
    assert list(course.facts) == ["a", "b", "c"]
    same = curriculum({name: rk.DataSet(series, learning_rate=0.5) for name, series in sequences().items()})
    losses = [rk.fit(MODEL, each, epochs=1, backend="numpy").history.steps["loss"] for each in (course, same)]
    assert losses[0] == losses[1]


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


def test_scalers_are_own_shared_given_or_none():
    given = rk.Standard((1,), (2,), (1,), (2,))
    series = sequences()
    sets = {
        "a": rk.DataSet(series["a"], scaler="shared"),
        "b": rk.DataSet(series["b"], scaler="shared"),
        "c": rk.DataSet(series["c"]),
        "d": rk.DataSet(series["c"], scaler=None),
        "e": rk.DataSet(series["c"], scaler=given),
    }
    facts = curriculum(sets).facts
    both = np.concatenate([SERIES["a"][:-1], SERIES["b"][:-1]])
    np.testing.assert_allclose((facts["a"].scaler.x_mean, facts["a"].scaler.x_std), ((both.mean(),), (both.std(),)))
    assert facts["b"].scaler == facts["a"].scaler
    assert facts["c"].scaler == rk.Standard.fit(series["c"])
    assert facts["d"].scaler is None
    assert facts["e"].scaler == given


def test_scalers_are_measured_on_the_training_part_alone():
    facts = curriculum({"a": rk.DataSet(rk.Sequence(SERIES["a"]), split=(0.6, 0.2))}).facts
    assert facts["a"].scaler == rk.Standard.fit(rk.Sequence(SERIES["a"]).split(0.6, 0.2)[0])


# --- what it tells


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_turns_and_epochs_tell_a_loss_for_each_data_set(way):
    told = []
    run = rk.fit(MODEL, curriculum(interleave=way), backend="numpy", epochs=2, on_turn=told.append)
    epochs = run.history.epochs
    assert {f"{name}/loss" for name in SERIES} < set(epochs)
    assert all(len(values) == 2 and np.isfinite(values).all() for values in epochs.values())
    assert [name for end in told if end.epoch == 1 for name in end.losses] == list(SERIES)
    if isinstance(way, rk.OneByOne):
        assert [end.losses[name] for end, name in zip(told, "abcabc", strict=True)] == [
            epochs[f"{name}/loss"][epoch] for epoch in (0, 1) for name in "abc"
        ]
    if not isinstance(way, rk.SideBySide):  # there the loss of a data set is that after the turn
        shares = [f.rows for f in curriculum().facts.values()]
        if way != rk.Sampling(3.0):
            mean = np.average([epochs[f"{name}/loss"] for name in SERIES], axis=0, weights=shares)
            np.testing.assert_allclose(epochs["loss"], mean, rtol=1e-6)


def test_validation_parts_decide_which_epoch_is_the_best():
    sets = {name: rk.DataSet(series, split=(0.6, 0.4)) for name, series in sequences().items()}
    run = rk.fit(
        MODEL,
        curriculum(sets),
        backend="numpy",
        rule=rk.Adam(0.3),
        epochs=12,
        early_stopping=rk.EarlyStopping(patience=2),
    )
    epochs = run.history.epochs
    assert len(epochs["validation_loss"]) == len(epochs["a/validation_loss"]) < 12
    assert run.epoch == int(np.argmin(epochs["validation_loss"]))
    course = curriculum(sets)
    rows = [len(course.open(name).validation) for name in SERIES]
    own = [rk.evaluate(run.on(name), course.open(name).validation).loss for name in SERIES]
    np.testing.assert_allclose([epochs[f"{name}/validation_loss"][run.epoch] for name in SERIES], own, rtol=1e-5)
    np.testing.assert_allclose(epochs["validation_loss"][run.epoch], np.average(own, weights=rows), rtol=1e-5)


def test_transfer_is_the_loss_on_every_data_set_at_every_stage():
    sets = {name: rk.DataSet(series, split=(0.6, 0.2)) for name, series in sequences().items()}
    course = curriculum(sets)
    params, _ = rk.setup(MODEL, seed=0)
    run = rk.fit(MODEL, course, backend="numpy", rule=rk.Adam(1e-2), epochs=2, transfer="turn")
    matrix = run.transfer
    assert matrix.names == ("a", "b", "c")
    assert matrix.parts == ("test",) * 3
    assert matrix.stages == ("start", *(f"epoch {e}, {n}" for e in (1, 2) for n in "abc"))
    assert matrix.trained.tolist() == [[False] * 3] + [[n == m for m in "abc"] for n in "abcabc"]
    final = [rk.evaluate(run.on(name), course.open(name).test).loss for name in SERIES]
    np.testing.assert_allclose(matrix.errors[-1], final, rtol=1e-5)
    still = rk.fit(MODEL, course, backend="numpy", rule=STILL, epochs=1, params=params)
    start = [rk.evaluate(still.on(name), course.open(name).test).loss for name in SERIES]
    np.testing.assert_allclose(matrix.errors[0], start, rtol=1e-5)
    np.testing.assert_allclose(matrix.average, np.mean(final), rtol=1e-5)
    e = matrix.errors
    np.testing.assert_allclose(matrix.backward, np.mean([e[6, 0] - e[4, 0], e[6, 1] - e[5, 1]]))
    np.testing.assert_allclose(matrix.forward, np.mean([e[1, 1] - e[0, 1], e[2, 2] - e[0, 2]]))
    assert "forgotten" in str(matrix)
    assert "epoch 2, c" in str(matrix)


def test_transfer_by_epoch_and_phase():
    phases = [rk.Phase(["a"], epochs=2, name="first"), rk.Phase(["b", "c"], epochs=1)]
    for every, stages in (
        ("epoch", ["start", "epoch 1", "epoch 2", "epoch 3"]),
        ("phase", ["start", "first", "phase 2"]),
    ):
        run = rk.fit(MODEL, curriculum(phases=phases), backend="numpy", transfer=every)
        assert list(run.transfer.stages) == stages
        assert run.transfer.trained[-1].tolist() == [False, True, True]
        assert run.transfer.parts == ("training",) * 3


def test_a_run_is_asked_for_one_of_its_data_sets_and_survives_a_folder(tmp_path):
    sets = {name: rk.DataSet(series, split=(0.6, 0.2)) for name, series in sequences().items()}
    course = curriculum(sets)
    run = rk.fit(MODEL, course, backend="numpy", epochs=1, transfer="epoch")
    series = rk.Sequence(SERIES["b"], name="b")
    with pytest.raises(rk.ModelError, match=r"data sets a, b, c, which have scalers or heads of their own; say which"):
        rk.predict(run, series)
    with pytest.raises(rk.ModelError, match=r"the run has the data sets a, b, c; got 'bb'"):
        run.on("bb")
    predicted = rk.predict(run.on("b"), series)
    assert abs(np.nanmean(predicted) - SERIES["b"].mean()) < 60  # in its own units
    run.save(tmp_path / "run")
    again = rk.load(tmp_path / "run")
    np.testing.assert_array_equal(rk.predict(again.on("b"), series), predicted)
    assert again.sets == run.sets
    assert again.skipped == {}
    np.testing.assert_array_equal(again.transfer.errors, run.transfer.errors)
    assert str(again.transfer) == str(run.transfer)


def test_one_scaler_for_all_needs_no_choice():
    sets = {name: rk.DataSet(series, scaler="shared") for name, series in sequences().items()}
    run = rk.fit(MODEL, curriculum(sets), backend="numpy", epochs=1)
    series = rk.Sequence(SERIES["b"])
    np.testing.assert_array_equal(rk.predict(run, series), rk.predict(run.on("b"), series))


@pytest.mark.parametrize("way", [rk.OneByOne(), rk.RoundRobin()], ids=repr)
@pytest.mark.parametrize("backend", BACKENDS)
def test_heads_share_the_layers_before_them(way, backend, tmp_path):
    rng = np.random.default_rng(0)

    def panel(classes, name):
        labels = rng.integers(0, classes, 40)
        samples = [np.sin(np.arange(12) * (1 + label)) + 0.1 * rng.standard_normal(12) for label in labels]
        return rk.Sequence.panel(samples, labels, name=name)

    sets = {n: rk.DataSet(panel(c, n), head=n, scaler=None) for n, c in (("two", 2), ("three", 3))}
    model = rk.Chain(
        rk.LSTM(1, 12), rk.Heads(two=rk.Dense(12, 2), three=rk.Chain(rk.Dense(12, 6, "tanh"), rk.Dense(6, 3)))
    )
    course = rk.Curriculum(sets, rk.Chunked(length=12, lanes=8, shuffle=True), rk.Reset(), interleave=way)
    run = rk.fit(model, course, backend=backend, loss="cross_entropy", rule=rk.Adam(2e-2), epochs=12, dtype="float64")
    wrong = {name: rk.evaluate(run.on(name), course.open(name).training).model.mae for name in sets}
    assert max(wrong.values()) < 0.1
    run.save(tmp_path / "run")
    again = rk.load(tmp_path / "run")
    assert again.rule_state.lag == run.rule_state.lag
    assert again.model == model
    assert run.rule_state.step == 12 * 10
    assert set(run.rule_state.lag.values()) == {60}
    other = rk.fit(model, course, backend="numpy", loss="cross_entropy", rule=rk.Adam(2e-2), epochs=1, dtype="float64")
    np.testing.assert_allclose(run.history.steps["loss"][:10], other.history.steps["loss"], rtol=1e-9)


# --- bad input


def csv(tmp_path, name, values):
    return write_csv(tmp_path / f"{name}.csv", value=values)


def test_a_data_set_that_cannot_be_opened_stops_or_is_skipped_by_choice(tmp_path):
    good = csv(tmp_path, "good", SERIES["a"])
    with pytest.raises(rk.SourceError, match=r"data set 'gone': .*gone.csv"):
        curriculum([good, tmp_path / "gone.csv"]).facts  # noqa: B018
    course = curriculum([good, tmp_path / "gone.csv"], on_error="skip")
    run = rk.fit(MODEL, course, backend="numpy", epochs=1)
    assert list(run.sets) == ["good"]
    assert "gone.csv" in run.skipped["gone"]
    with pytest.raises(rk.DataError, match=r"expects a data set that can be opened, got none: data set 'gone'"):
        curriculum([tmp_path / "gone.csv"], on_error="skip").facts  # noqa: B018


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("way", [rk.OneByOne(), rk.RoundRobin()], ids=repr)
def test_a_data_set_that_changes_between_epochs_is_named_and_nothing_is_lost(tmp_path, way, skip):
    files = [csv(tmp_path, name, values) for name, values in SERIES.items()]
    course = curriculum(files, interleave=way, on_error="skip" if skip else "stop")

    def change(history):
        if len(history.epochs["loss"]) == 1:
            csv(tmp_path, "b", SERIES["b"][:-1])

    if skip:
        run = rk.fit(MODEL, course, backend="numpy", epochs=2, on_epoch=change)
        assert "has changed since it was measured: it has 88 rows to train on, and had 89" in run.skipped["b"]
        assert np.isnan(run.history.epochs["b/loss"][1])
        assert np.isfinite(run.history.epochs["c/loss"][1])
        return
    with pytest.raises(
        rk.SourceError, match=r"data set 'b' has changed since it was measured: it has 88 rows"
    ) as caught:
        rk.fit(MODEL, course, backend="numpy", epochs=2, on_epoch=change)
    assert len(caught.value.run.history.epochs["loss"]) == 1


def test_a_data_set_that_goes_missing_leaves_a_gap_in_what_is_measured(tmp_path):
    sets = [rk.DataSet(csv(tmp_path, name, values), split=(0.6, 0.2)) for name, values in SERIES.items()]

    def change(history):
        (tmp_path / "b.csv").unlink(missing_ok=True)

    run = rk.fit(MODEL, curriculum(sets, on_error="skip"), backend="numpy", epochs=2, on_epoch=change, transfer="epoch")
    assert np.isnan(run.transfer.errors).tolist() == [[False] * 3, [False] * 3, [False, True, False]]
    assert np.isnan(run.history.epochs["b/validation_loss"]).tolist() == [False, True]
    assert np.isnan(run.history.epochs["validation_loss"]).tolist() == [False, True]  # it would compare with no other
    assert list(run.skipped) == ["b"]

    def all_gone(history):
        for name in SERIES:
            (tmp_path / f"{name}.csv").unlink(missing_ok=True)

    course = curriculum([csv(tmp_path, name, values) for name, values in SERIES.items()], on_error="skip")
    with pytest.raises(rk.DataError, match=r"expects a data set that can be opened in epoch 1: data set 'a'") as caught:
        rk.fit(MODEL, course, backend="numpy", epochs=2, on_epoch=all_gone)
    assert len(caught.value.run.history.epochs["loss"]) == 1


def test_the_same_rows_with_other_values_have_changed_too(tmp_path):
    values = [SERIES["a"].copy()]
    course = curriculum([rk.DataSet(lambda: rk.Sequence(values[0]), "a")])
    assert course.open("a").training is not None
    assert course.facts
    values[0] = values[0] + 1
    with pytest.raises(rk.SourceError, match="'a' has changed since it was measured"):
        course.open("a")


def generator():
    yield from sequences().values()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: curriculum(generator()), r"got a generator: it is empty after the first epoch, and the second would"),
        (lambda: rk.DataSet(generator(), "a"), r"got a generator: it is empty after the first epoch"),
        (
            lambda: curriculum({"a": generator}).facts,
            r"data set 'a': its function is expected to return a Sequence, got gen",
        ),
        (lambda: curriculum([]), r"expects at least one data set, got none"),
        (lambda: curriculum([rk.Sequence(SERIES["a"]), rk.Sequence(SERIES["b"])]), r"got 'series' twice"),
        (lambda: curriculum(["no/such/*.csv"]), r"files that match 'no/such/\*.csv', found none"),
        (lambda: curriculum([3]), r"a path, a function that opens a Sequence, or a Sequence, got int"),
        (lambda: rk.DataSet(lambda: None), r"expects a name for a function without one"),
        (lambda: curriculum(order="shuffle"), r"got 'shuffle'; did you mean 'shuffled'\?"),
        (lambda: curriculum(order=["a", "b", "d"]), r"expects order to name data sets among a, b, c, got 'd'"),
        (lambda: curriculum(order=["a", "b"]), r"an order of all its data sets, but this one leaves out 'c'"),
        (lambda: curriculum(order=["a", "b", "c", "a"]), r"names a data set twice"),
        (lambda: curriculum(phases=[rk.Phase(["a", "dd"])]), r"a phase to name data sets among a, b, c, got 'dd'"),
        (lambda: rk.Phase("a"), r"Phase expects a list of names, got 'a'"),
        (lambda: rk.Phase(["a"], epochs=0), r"Phase expects epochs to be a whole number >= 1, got 0"),
        (lambda: rk.Phase(["a"], learning_rate=0), r"Phase expects learning_rate to be a number above 0, got 0"),
        (lambda: curriculum(phases=["a"]), r"expects phases to be Phase values, got 'a'"),
        (lambda: curriculum(interleave="round"), r"expects interleave to be OneByOne\(\), RoundRobin"),
        (lambda: curriculum(on_error="warn"), r"expects on_error to be 'stop' or 'skip', got 'warn'"),
        (lambda: rk.RoundRobin(0), r"RoundRobin expects open_at_once to be a whole number >= 1, got 0"),
        (lambda: rk.Sampling(0), r"Sampling expects temperature to be a number above 0, got 0"),
        (lambda: curriculum(policy=rk.Carry(across_epochs=True)), r"begin each data set from the initial state"),
        (lambda: curriculum(policy=rk.Stored(), interleave=rk.Sampling(2.0)), r"a policy other than Stored\(\)"),
        (
            lambda: curriculum(splitter=rk.Continuation(rk.Uniform(4, 9)), interleave=rk.Sampling(2.0)).turns(),
            r"the same windows in every epoch",
        ),
        (
            lambda: curriculum(
                {n: rk.DataSet(s, learning_rate=1 + (n == "b")) for n, s in sequences().items()},
                interleave=rk.SideBySide(),
            ),
            r"to share the learning_rate, too, but 'a' has 1 and 'b' 2",
        ),
        (lambda: rk.DataSet(rk.Sequence([1.0, 2.0]), passes=0), r"passes to be a whole number from 1, got 0"),
        (
            lambda: rk.DataSet(rk.Sequence([1.0, 2.0]), learning_rate=-1),
            r"learning_rate to be a number above 0, got -1",
        ),
        (lambda: rk.DataSet(rk.Sequence([1.0, 2.0]), weight=0), r"weight to be a number above 0, got 0"),
        (
            lambda: rk.DataSet(rk.Sequence([1.0, 2.0]), scaler="all"),
            r"scaler to be 'own', 'shared', a Standard or None",
        ),
        (
            lambda: rk.DataSet(rk.Sequence([1.0, 2.0]), options={"time": 0}),
            r"takes options with a path alone, got time",
        ),
        (lambda: rk.Sequence([1.0, 2.0]).with_weight(0), r"expects a weight above 0, got 0"),
        (lambda: curriculum()["d"], r"has the data sets a, b, c, not 'd'"),
        (
            lambda: curriculum(sequences() | {"d": rk.Sequence(np.zeros((9, 2)), np.zeros(9))}).facts,
            r"the same number of features, got 1 in 'a' and 2 in 'd'",
        ),
        (
            lambda: (
                curriculum(
                    {
                        "a": rk.DataSet(rk.Sequence(SERIES["a"]), scaler="shared"),
                        "b": rk.DataSet(rk.Sequence(SERIES["b"], SERIES["b"]), scaler="shared"),
                    }
                ).facts
            ),
            r"share a scaler expect the same targets, got columns 0 of x in 'a' and 1 apart from x in 'b'",
        ),
        (
            lambda: rk.fit(MODEL, curriculum(), validation=rk.Sequence(SERIES["a"])),
            r"no validation part beside a Curric",
        ),
        (
            lambda: rk.fit(MODEL, curriculum(phases=[rk.Phase(epochs=2)]), epochs=3),
            r"epochs=2, what the curriculum's phases have together, got epochs=3",
        ),
        (lambda: rk.fit(MODEL, curriculum(), frozen="*"), r"some parameters to train, but frozen='\*' leaves none"),
        (
            lambda: rk.fit(MODEL, curriculum(phases=[rk.Phase(frozen=("0.*", "1.*"))])),
            r"some parameters to train, but frozen=\('0.\*', '1.\*'\) leaves none",
        ),
        (lambda: rk.fit(MODEL, curriculum(phases=[rk.Phase(frozen="2.*")])), r"2\.\*"),
        (
            lambda: rk.fit(MODEL, curriculum(), transfer="step"),
            r"expects transfer to be 'turn', 'phase', 'epoch' or None",
        ),
        (
            lambda: rk.fit(MODEL, curriculum({"a": rk.DataSet(rk.Sequence(SERIES["a"]), head="x")})),
            r"data set 'a' expects no head, got 'x'",
        ),
    ],
)
def test_what_cannot_be_used_says_what_to_do(make, message):
    with pytest.raises(rk.RnnkitError, match=message):
        make()


def test_an_empty_data_set_is_named(tmp_path):
    csv(tmp_path, "empty", [])
    with pytest.raises(rk.RnnkitError, match=r"data set 'empty': "):
        curriculum([tmp_path / "empty.csv"]).facts  # noqa: B018


def heads(**classes):
    return rk.Chain(rk.LSTM(1, 4), rk.Heads(**{name: rk.Dense(4, count) for name, count in classes.items()}))


def test_labels_and_heads_that_do_not_fit_are_named_before_any_training():
    samples = [np.arange(5.0)] * 6
    labels = [0, 1, 1, 3, 0, 3]
    sets = {"p": rk.DataSet(rk.Sequence.panel(samples, labels, name="p"), head="three", scaler=None)}
    course = rk.Curriculum(sets, rk.Chunked(length=5), rk.Reset())
    message = r"data set 'p' has the label 3 in sample 3 \(row 15\), but head 'three' has 3 outputs, for labels 0 to 2"
    with pytest.raises(rk.ModelError, match=message):
        rk.fit(heads(two=2, three=3), course, loss="cross_entropy")
    with pytest.raises(
        rk.ModelError, match=r"data set 'p' expects one of the model's heads \(two, thre\), got 'three'"
    ):
        rk.fit(heads(two=2, thre=4), course, loss="cross_entropy")
    schedule = rk.Schedule(rk.Sequence.panel(samples, labels), rk.Chunked(length=5), rk.Reset())
    with pytest.raises(rk.ModelError, match=r"expects a Curriculum for a model with the heads two, four"):
        rk.fit(heads(two=2, four=4), schedule, loss="cross_entropy")


def test_a_loss_that_is_not_finite_names_the_data_set_and_its_rows():
    for way in WAYS:
        sets = {n: rk.DataSet(s, scaler=None) for n, s in sequences(b=SERIES["b"] * 1e30).items()}
        with pytest.raises(rk.NonFiniteError, match=r"rows \d+ to \d+ of 'b'"):
            rk.fit(MODEL, curriculum(sets, interleave=way), backend="numpy", epochs=2)
