"""Data sets that cannot be opened, that change or go missing, and settings that cannot be used."""

import numpy as np
import pytest

import rnnkit as rk
from builders.curricula import MODEL, SERIES, WAYS, curriculum, sequences
from builders.files import write_csv

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
