"""Many data sets: order, passes, phases, and what is open when."""

import gc
import weakref

import numpy as np
import pytest

import rnnkit as rk
from builders.curricula import MODEL, SERIES, WAYS, curriculum, sequences

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
