"""Where features of a curriculum meet: what goes missing, phases, scalers of sequences, heads of different depth."""

import numpy as np
import pytest

import rnnkit as rk
from builders import series as small
from builders.files import write_csv
from rnnkit.schedule.interleave import Member, Span, interleaved

MODEL = rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 1))


def wave(rows, seed=0, scale=1.0):
    return small.wave(rows, seed, period=4 + seed, noise=0.2, level=3, scale=scale)


def course(datasets, **settings):
    settings = {"splitter": rk.Continuation(length=8), "policy": rk.Carry()} | settings
    return rk.Curriculum(datasets, **settings)


def fit(schedule, model=MODEL, **settings):
    return rk.fit(model, schedule, **({"backend": "numpy", "epochs": 2} | settings))


def csv(folder, name, values):
    return write_csv(folder / f"{name}.csv", value=values)


def test_streams_and_units_ask_which_data_set_too():
    run = fit(course({"a": rk.Sequence(wave(60, scale=30.0)), "b": rk.Sequence(wave(50, 1))}))
    said = r"data sets a, b, which have scalers or heads of their own; .*run.on\('a'\)"
    for asks in (lambda: rk.Stream(run), lambda: run.in_units(np.zeros(3))):
        with pytest.raises(rk.ModelError, match=said):
            asks()
    stream = rk.Stream(run.on("a"))
    predicted = rk.predict(run.on("a"), rk.Sequence(wave(60, scale=30.0)))
    np.testing.assert_allclose(stream.step([[wave(60, scale=30.0)[0]]])[0], predicted[0], rtol=1e-5)


def test_an_epoch_without_a_validation_part_is_never_the_best(tmp_path):
    sets = [rk.DataSet(csv(tmp_path, name, wave(80, seed)), split=(0.6, 0.4)) for seed, name in enumerate("vw")]

    def gone(history):
        if len(history.epochs["loss"]) == 2:
            (tmp_path / "v.csv").unlink()

    run = fit(course(sets, on_error="skip"), epochs=8, on_epoch=gone, early_stopping=rk.EarlyStopping(3))
    losses = run.history.epochs["validation_loss"]
    assert np.isnan(losses).tolist() == [False, False, True, True, True]
    assert run.epoch == 1
    assert "v.csv" in run.skipped["v"]


def test_a_first_epoch_that_compares_with_nothing_is_beaten_by_any():
    stopping = rk.EarlyStopping(1)
    assert stopping.improved([np.nan, 5.0], 0)
    assert not stopping.improved([np.nan, np.nan], 0)
    assert not stopping.improved([1.0, np.nan], 0)


def test_an_epoch_is_better_by_more_than_the_minimum():
    assert rk.EarlyStopping(1).improved([9.0, 2.0, 1.9], 1)
    assert not rk.EarlyStopping(1).improved([9.0, 2.0, 2.0], 1)
    assert rk.EarlyStopping(1, minimum=0.5).improved([9.0, 2.0, 1.25], 1)
    assert not rk.EarlyStopping(1, minimum=0.5).improved([9.0, 2.0, 1.5], 1)
    assert not rk.EarlyStopping(1, minimum=0.5).improved([9.0, 2.0, 1.75], 1)


def rows_by_epoch(curriculum, epochs):
    """First rows of the windows of each data set, in the order in which they are trained on."""
    seen = {}
    for epoch in range(epochs):
        for turn in curriculum.turns(epoch):
            with turn.open() as feed:
                for block, members in feed.blocks():
                    for k, member in enumerate(members):
                        seen.setdefault(feed.names[member], []).append(int(block.row[k, 0]))
    return seen


@pytest.mark.parametrize(
    "settings",
    [
        {"order": "shuffled"},
        {"order": "shuffled", "interleave": rk.Sampling(3.0, open_at_once=2)},
        {"phases": [rk.Phase(["a"], 2), rk.Phase(["a", "b"], 2), rk.Phase(["d", "b"], 2), rk.Phase(epochs=2)]},
    ],
    ids=["shuffled", "shuffled groups", "phases"],
)
def test_evened_out_sampling_goes_on_where_it_stopped_whatever_stands_in_between(settings):
    rows = {"a": 81, "b": 81, "c": 81, "d": 161}
    sets = {name: rk.Sequence(wave(count)) for name, count in rows.items()}
    curriculum = course(sets, **({"interleave": rk.Sampling(3.0)} | settings))
    for name, seen in rows_by_epoch(curriculum, 8).items():
        windows = (rows[name] - 1) // 8
        assert seen == [8 * (k % windows) for k in range(len(seen))], name


def test_shares_add_up_to_the_windows_of_all():
    counts = rk.Sampling(0.3).counts(np.array([100, *[2] * 10]), np.array([800, *[16] * 10]))
    assert counts.sum() == 120
    assert counts.min() == 1


def test_a_sequence_keeps_its_own_scaler_and_weight():
    series = rk.Sequence(wave(60, scale=30.0))
    scaled = series.with_scaler(rk.Standard.fit(series)).with_weight(3.0)
    curriculum = course([rk.DataSet(scaled, "a", scaler=None, weight=2.0)])
    opened = curriculum.open("a")
    assert opened.training.scaler == scaled.scaler == curriculum.facts["a"].scaler
    assert opened.training.weight == 6.0
    alone = rk.fit(MODEL, rk.Schedule(scaled, rk.Continuation(8), rk.Carry()), backend="numpy", rule=rk.SGD(1e-2))
    same = course([rk.DataSet(scaled, "a", scaler=None)])
    run = rk.fit(MODEL, same, backend="numpy", rule=rk.SGD(1e-2))
    assert run.history.steps == alone.history.steps
    assert run.scaler == scaled.scaler


def test_the_matrix_has_every_epoch_though_the_last_data_set_is_gone(tmp_path):
    files = [csv(tmp_path, name, wave(60, seed)) for seed, name in enumerate("ab")]
    for way in (rk.OneByOne(), rk.RoundRobin()):
        csv(tmp_path, "b", wave(60, 1))
        run = fit(
            course(files, on_error="skip", interleave=way),
            epochs=3,
            transfer="epoch",
            on_epoch=lambda history: (tmp_path / "b.csv").unlink(missing_ok=True),
        )
        assert run.transfer.stages == ("start", "epoch 1", "epoch 2", "epoch 3")
        assert run.transfer.trained.tolist() == [[False, False], [True, True], [True, False], [True, False]]
        np.testing.assert_allclose(run.transfer.average, run.transfer.errors[-1, 0])
        run.transfer.plot()


def test_what_is_trained_last_is_measured_when_training_stops_within_a_phase():
    sets = {name: rk.DataSet(rk.Sequence(wave(80, seed)), split=(0.6, 0.4)) for seed, name in enumerate("ab")}
    phases = [rk.Phase(["a"], 1), rk.Phase(["b"], 30)]
    run = fit(
        course(sets, phases=phases),
        epochs=None,
        rule=rk.Adam(0.5),
        transfer="phase",
        early_stopping=rk.EarlyStopping(2),
    )
    assert len(run.history.epochs["loss"]) < 31
    assert run.transfer.stages == ("start", "phase 1", "end")
    assert run.transfer.trained[-1].tolist() == [False, True]


def test_an_epoch_that_is_cut_short_is_not_measured_as_a_whole_one():
    blocks = []
    sets = {name: rk.DataSet(rk.Sequence(wave(80, seed)), split=(0.6, 0.4)) for seed, name in enumerate("ab")}
    run = fit(course(sets), epochs=3, transfer="epoch", stop=lambda run: blocks.append(run) or len(blocks) == 4)
    assert run.transfer.stages == ("start", "epoch 1", "end")  # in the second turn of the second epoch


def test_losses_of_phases_are_not_compared():
    sets = {name: rk.Sequence(wave(60, seed)) for seed, name in enumerate("ab")}
    phases = [rk.Phase(["a"], 2), rk.Phase(["b"], 2)]
    for settings in ({"early_stopping": rk.EarlyStopping(2)}, {"learning_rate": rk.Plateau()}):
        with pytest.raises(rk.ModelError, match=r"expects validation parts beside phases for (EarlyStopping|Plateau)"):
            fit(course(sets, phases=phases), epochs=None, **settings)


def test_a_change_inside_a_folder_is_noticed(tmp_path):
    import zarr

    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(500, 1), chunks=(50, 1), dtype="float64")
    array[:] = wave(500)[:, None]
    curriculum = course([tmp_path / "a.zarr"])
    assert len(curriculum.open("a").training) == 499
    array[300:310] = 1e3
    with pytest.raises(rk.SourceError, match="'a' has changed since it was measured"):
        curriculum.open("a")


def panel(classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 24)
    return rk.Sequence.panel([np.sin(np.arange(9) * (1 + label)) for label in labels], labels)


HEADS = rk.Heads(two=rk.Dense(5, 2), three=rk.Chain(rk.Dense(5, 4, "tanh"), rk.Dense(4, 3)))


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
@pytest.mark.parametrize("way", [rk.OneByOne(), rk.RoundRobin()], ids=repr)
@pytest.mark.parametrize("initial", [rk.Noise(0.2), rk.Learned()], ids=repr)
def test_heads_of_different_depth_with_any_initial_state(initial, way, backend):
    sets = {n: rk.DataSet(panel(c), head=n, scaler=None) for n, c in (("two", 2), ("three", 3))}
    curriculum = course(sets, splitter=rk.Chunked(9, lanes=4, shuffle=True), policy=rk.Stored(), interleave=way)
    model = rk.Chain(rk.LSTM(1, 5), HEADS, initial=initial)
    settings = {"model": model, "loss": "cross_entropy", "dtype": "float64"}
    run, same = (fit(curriculum, backend=name, **settings) for name in (backend, "numpy"))
    np.testing.assert_allclose(run.history.steps["loss"], same.history.steps["loss"], rtol=1e-9)
    for name in ("two", "three"):
        own = run.on(name)
        assert len(own.state) == len(own.model.layers)
        assert own.store is None
        rk.Stream(own, lanes=4).step(np.ones((4, 1)))


def test_weights_count_in_the_validation_loss_as_in_training():
    sets = {
        name: rk.DataSet(rk.Sequence(wave(80, seed)), split=(0.5, 0.5), weight=weight)
        for seed, (name, weight) in enumerate({"a": 100.0, "b": 1.0}.items())
    }
    epochs = fit(course(sets), epochs=1).history.epochs
    own = [epochs[f"{name}/validation_loss"][0] for name in "ab"]
    np.testing.assert_allclose(epochs["validation_loss"][0], np.average(own, weights=[100, 1]))


def test_an_opener_that_fails_is_named_and_can_be_skipped():
    def broken():
        raise KeyError("no such server")

    sets = [rk.DataSet(broken, "x"), rk.DataSet(rk.Sequence(wave(40)), "a")]
    with pytest.raises(rk.SourceError, match=r"data set 'x': its function failed with KeyError: 'no such server'"):
        course(sets).facts  # noqa: B018
    run = fit(course(sets, on_error="skip"))
    assert list(run.sets) == ["a"]
    assert "KeyError" in run.skipped["x"]


def test_what_does_not_fit_the_model_is_said_before_any_training_and_never_skipped():
    sets = {"a": rk.Sequence(wave(40)), "b": rk.Sequence(wave(40), np.ones((40, 2)))}
    started = []
    with pytest.raises(rk.ModelError, match=r"gives 1 output, but 'b' has 2 targets a row"):
        fit(course(sets, on_error="skip"), on_block=started.append)
    assert not started
    with pytest.raises(rk.ModelError, match=r"expects whole-number labels, one a row, but the targets of 'a'"):
        fit(course(sets), loss="cross_entropy")


def test_a_run_that_made_no_step_survives_a_folder(tmp_path):
    opened = []

    def opener():
        opened.append(1)
        if len(opened) > 1:
            raise OSError("the disk is gone")
        return rk.Sequence(wave(40))

    with pytest.raises(rk.SourceError, match=r"data set 'a'.*the disk is gone") as caught:
        fit(course([rk.DataSet(opener, "a")]))
    caught.value.run.save(tmp_path / "run")
    assert rk.load(tmp_path / "run").history.steps["loss"] == []


def test_a_data_set_is_called_by_its_own_name_in_errors():
    sets = {"fine": rk.Sequence(wave(60)), "bad": rk.DataSet(rk.Sequence(wave(60) * 1e30), scaler=None)}
    with pytest.raises(rk.NonFiniteError, match=r"rows \d+ to \d+ of 'bad'"):
        fit(course(sets))
    with pytest.raises(rk.ScheduleError, match=r"'short' has 4 rows, fewer than lanes"):
        course({"short": rk.Sequence(wave(5))}, splitter=rk.Continuation(2, lanes=9)).turns()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: course({2020: rk.Sequence(wave(9))}), r"DataSet expects its name as text, got 2020; write '2020'"),
        (lambda: course(None), r"expects a list of data sets, or a dict by name, got None"),
        (lambda: course([rk.Sequence(wave(9))], splitter=5), r"Curriculum expects a splitter, got 5; write rk.Cont"),
        (lambda: course([rk.Sequence(wave(9))], splitter=rk.Continuation), r"expects a splitter, got <class"),
        (lambda: course([rk.Sequence(wave(9))], policy=None), r"Curriculum expects a policy, got None"),
        (lambda: course([rk.DataSet(rk.Sequence(wave(9)), policy=3)]), r"DataSet expects a policy, got 3"),
        (lambda: rk.DataSet(rk.Sequence(wave(9)), split=0.7), r"expects split to be the sizes .*, got 0.7"),
        (lambda: course([rk.Sequence(wave(9))], phases=rk.Phase()), r"expects phases as a list, got Phase"),
        (lambda: course([rk.Sequence(wave(9))], order=5), r"expects order to be one of .*, got 5"),
        (lambda: course([rk.Sequence(wave(9))], seed=-1), r"expects seed to be a whole number >= 0, got -1"),
        (lambda: course([rk.Sequence(wave(9))], seed="x"), r"expects seed to be a whole number >= 0, got 'x'"),
        (lambda: rk.Phase([]), r"Phase expects at least one name, got none"),
    ],
)
def test_settings_of_another_kind_say_what_to_write(make, message):
    with pytest.raises(rk.RnnkitError, match=message):
        make()


@pytest.mark.parametrize("way", [rk.OneByOne(), rk.RoundRobin(), rk.Sampling(), rk.SideBySide()], ids=repr)
def test_a_phase_of_which_nothing_can_be_opened_says_why(tmp_path, way):
    sets = [csv(tmp_path, "a", wave(40)), tmp_path / "gone.csv"]
    phases = [rk.Phase(["gone"], 1), rk.Phase(["a"], 1)]
    curriculum = course(sets, on_error="skip", phases=phases, interleave=way)
    with pytest.raises(rk.DataError, match=r"a data set that can be opened in epoch 0: data set 'gone'"):
        fit(curriculum, epochs=None)


def test_planning_cuts_each_data_set_a_few_times_alone():
    cut = []

    class Counted(rk.Continuation):
        def grid(self, lengths, rng, name="the series"):
            cut.append(name)
            return super().grid(lengths, rng, name)

    sets = {str(n): rk.Sequence(wave(40 + n)) for n in range(60)}
    curriculum = course(sets, splitter=Counted(length=8), interleave=rk.Sampling(3.0))
    assert len(curriculum.turns(5)) == 1
    assert len(cut) <= 3 * 60


def test_globs_patterns_and_parts_for_all(tmp_path):
    for seed, name in enumerate(("web-1", "web-2", "db")):
        csv(tmp_path, name, wave(60, seed))
    sets = [rk.DataSet(tmp_path / "web-*.csv", learning_rate=0.5), rk.DataSet(tmp_path / "db.csv", split=(0.5, 0.5))]
    curriculum = course(sets, split=(0.6, 0.2), phases=[rk.Phase(["web-*"]), rk.Phase(["db"])])
    assert list(curriculum.facts) == ["web-1", "web-2", "db"]
    assert [curriculum[name].learning_rate for name in curriculum.facts] == [0.5, 0.5, 1.0]
    assert [len(facts.parts) for facts in curriculum.facts.values()] == [3, 3, 2]
    assert [[turn.names for turn in curriculum.turns(epoch)] for epoch in (0, 1)] == [
        [("web-1",), ("web-2",)],
        [("db",)],
    ]
    assert list(course([rk.DataSet(tmp_path / "web-*.csv", "servers")]).facts) == ["servers/web-1", "servers/web-2"]
    bracketed = course({"a[1]": rk.Sequence(wave(40)), "a1": rk.Sequence(wave(40))}, phases=[rk.Phase(["a[1]"])])
    assert bracketed.names() == ("a[1]", "a1")  # the name itself, and what it fits as a pattern
    with pytest.raises(rk.ScheduleError, match=r"a phase to name data sets among web-1, web-2, db, got 'mail-\*'"):
        course(sets, phases=[rk.Phase(["mail-*"])])
    with pytest.raises(rk.DataError, match=r"takes the options of Sequence.open, .*, got 'tme'; did you mean 'time'"):
        course(sets, options={"tme": "t"})


def test_steps_of_a_picture_stand_in_their_epochs():
    sets = {name: rk.Sequence(wave(rows)) for name, rows in (("a", 200), ("b", 30))}
    run = fit(course(sets, phases=[rk.Phase(["a"]), rk.Phase(["b"], 2)]), epochs=None)
    assert run.history.epochs["steps"] == [25, 4, 4]
    from rnnkit.view.plots import plot_history

    axes = plot_history(run.history).axes[0]
    assert axes.yaxis.get_major_formatter()(0.01) == "0.01"  # and no formula, which is slow to draw
    line = axes.lines[0].get_xdata()
    np.testing.assert_allclose(line, [*np.arange(25) / 25, *(1 + np.arange(4) / 4), *(2 + np.arange(4) / 4)])


def test_labels_without_their_loss_are_told_which():
    with pytest.raises(
        rk.ModelError, match=r"gives 2 outputs, but 'a' has 1 target a row; .*or say loss='cross_entropy'"
    ):
        fit(course({"a": panel(2)}), model=rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 2)))


@pytest.mark.parametrize(
    ("errors", "shares"),
    [([1.0, 0.1, 0.01], [1.0, 0.5, 0.0]), ([1.0, 0.5, 0.0], [1.0, 0.5, 0.0])],  # by ratio; as they are beside a zero
)
def test_colours_of_a_transfer_matrix_compare_errors_by_ratio(errors, shares):
    trained = np.array([[False], [True], [True]])
    matrix = rk.Transfer(("a",), ("start", "a", "b"), trained, np.array(errors)[:, None], ("validation",))
    (image,) = matrix.plot().axes[0].get_images()
    np.testing.assert_allclose(np.ma.filled(image.get_array(), np.nan)[:, 0], shares, atol=1e-12)


class Mixed:
    """A policy of one's own: by turns, lanes go on from the step before or from what was recorded at their row."""

    def slots(self, grid):
        return rk.Stored().slots(grid)

    def origins(self, grid, first, stop):
        carried, recorded = (policy.origins(grid, first, stop) for policy in (rk.Carry(), rk.Stored()))
        return np.where((np.arange(first, stop)[:, None] + np.arange(grid.lanes)) % 2, carried, recorded)


class Twice:
    """Windows of 5 rows of which every third is read again from the row at which it starts."""

    def grid(self, lengths, rng, name):
        offset = np.array([0, 5, 5, 10, 15, 15, 20])
        nothing = 0 * offset

        def pieces(first, stop):
            step = np.arange(len(offset))
            return rk.Pieces(*(f[first:stop] for f in (step, nothing, nothing, nothing, offset, nothing + 5)))

        return rk.Grid(5, 0, 1, len(offset), pieces)


def starts_from(window, at, held, before, member):
    """By lane, what the state is that a window starts from: `(member, step, lane, rows of it)` or "initial"."""
    step, lanes = at, window.x.shape[1]
    start = []
    for lane in range(lanes):
        origin = int(window.origin[lane])
        if origin == -2:
            start.append(held[int(window.slots.read[lane])])
        else:
            start.append("initial" if origin < 0 else state_of(before, (member, step - 1), lane, origin))
    return start


def state_of(window_and_start, place, lane, at):
    window, start = window_and_start
    rows = int(window.valid[:at, lane].sum())
    return (*place, lane, rows) if rows else start[lane]


def record(held, window, start, place):
    slots = window.slots
    if slots is None:
        return
    found = {
        int(slot): state_of((window, start), place, lane, int(slots.at[lane, w]))
        for (lane, w), slot in np.ndenumerate(slots.write)
        if slot >= 0
    }
    held |= found


@pytest.mark.parametrize(
    ("splitters", "policy"),
    [
        ([rk.Continuation(8, lanes=2), rk.Continuation(5, lanes=2)], rk.Carry()),
        ([rk.Continuation(rk.Geometric(6), lanes=2, reweight=True)] * 2, rk.Carry()),
        ([rk.Sliding(7, 3, lanes=2, shuffle=True), rk.Sliding(7, 3, lanes=2)], rk.Stored(burn_in=2)),
        ([rk.Continuation(6, lanes=2), rk.Continuation(4, lanes=2)], Mixed()),
        ([Twice(), Twice()], rk.Carry()),
    ],
    ids=["lengths", "drawn lengths", "recorded", "carried and recorded", "from the same row"],
)
@pytest.mark.parametrize("way", [rk.RoundRobin(), rk.Sampling()], ids=repr)
def test_windows_that_take_turns_are_those_of_each_data_set_alone(way, splitters, policy):
    """The same rows, weights and scales, and each starts from the very state that it would start from alone."""
    segments = [(0, 37), (40, 90)], [(0, 51), (51, 70)]
    schedules = [
        rk.Schedule(rk.Sequence(wave(count, count), segments=runs).with_weight(weight), splitter, policy, seed=count)
        for count, runs, weight, splitter in zip((90, 70), segments, (2.0, 1.0), splitters, strict=True)
    ]
    members = tuple(Member(lambda n, s=s: s, (Span(0, 0, len(s)),)) for s in schedules)
    alone, done = [list(s.batches(dtype="float64")) for s in schedules], [0, 0]
    before, before_alone = [None, None], [None, None]
    held, held_alone, padded = {}, [{}, {}], set()
    for block, picks in interleaved(members, way, np.random.default_rng(1)).blocks("float64", rows=90):
        for k, member in enumerate(picks.tolist()):
            window, step = block.batch(k), done[member]
            own = alone[member][step]
            rows = min(len(own.x), len(window.x))
            padded.add(len(window.x) - schedules[member].grid().length)
            assert not own.valid[rows:].any()
            assert not window.valid[rows:].any()
            for name in ("x", "y", "reset", "valid", "weight", "rows"):
                np.testing.assert_array_equal(getattr(window, name)[:rows], getattr(own, name)[:rows], err_msg=name)
            assert (window.scale or 1, window.detached) == (own.scale or 1, own.detached)
            if own.reweight is not None:
                np.testing.assert_array_equal(window.reweight, schedules[member].grid().reweight[: len(window.x)])
            start = starts_from(window, step, held, before[member], member)
            start_alone = starts_from(own, step, held_alone[member], before_alone[member], member)
            filled = np.flatnonzero(own.row >= 0)
            assert [start[lane] for lane in filled] == [start_alone[lane] for lane in filled]
            record(held, window, start, (member, step))
            record(held_alone[member], own, start_alone, (member, step))
            before[member], before_alone[member] = (window, start), (own, start_alone)
            done[member] += 1
    assert done == [len(s) for s in schedules]
    if not schedules[0].grid().varies:
        assert padded == {0}  # windows of another length stand in a block of their own


def test_windows_in_turn_are_one_of_each_until_each_is_through():
    assert rk.RoundRobin().picks(np.array([3, 1, 2]), np.random.default_rng(0)).tolist() == [0, 1, 2, 0, 2, 0]


def test_blocks_tell_how_far_the_epoch_is_and_its_mean_loss_so_far():
    sets = {"a": rk.Sequence(wave(60)), "b": rk.Sequence(wave(70, 1)).with_weight(2.0)}
    curriculum = course(sets, splitter=rk.Continuation(length=8, lookback=3))
    told, turns = [], []
    run = fit(curriculum, block_rows=24, on_block=told.append, on_turn=turns.append)
    loss, weight = (np.array(run.history.steps[name]) for name in ("loss", "weight"))
    steps = len(curriculum)
    assert [now.step for now in told if now.epoch == 1] == [2, 4, 6, 8, 10, 12, 14, 16, 17]
    for now in told:
        done = slice(now.epoch * steps, now.epoch * steps + now.step)
        assert (now.epochs, now.steps, now.names) == (2, steps, ("a",) if now.step <= 8 else ("b",))
        assert now.loss == pytest.approx(np.average(loss[done], weights=weight[done]), rel=1e-6)
    read = [59 + 7 * 3, 69 + 8 * 3]  # what is looked back on is read again
    assert [end.rows for end in turns] == read * 2
    assert run.history.epochs["rows"] == [sum(read)] * 2
    for end in turns:
        here = slice(end.epoch * steps + 8 * end.turn, end.epoch * steps + (8, steps)[end.turn])
        assert end.losses == {"ab"[end.turn]: pytest.approx(np.average(loss[here], weights=weight[here]), rel=1e-6)}
