"""What a training on many data sets tells: losses, the best epoch, transfer, a run of each."""

import numpy as np
import pytest

import rnnkit as rk
from builders.curricula import BACKENDS, MODEL, SERIES, STILL, WAYS, curriculum, sequences

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
