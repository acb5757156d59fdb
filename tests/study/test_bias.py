"""The gradient meter: against the complex step and slow computations of the same definitions, in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import rnnkit as rk
from builders.configs import config
from builders.files import read_csv, write_csv
from builders.series import walk, wave
from rnnkit.cli.commands import main
from rnnkit.model import MSE, initial_state, row_loss
from rnnkit.study.agreement import agreement, with_error
from rnnkit.study.bias import bias_of, first_rows, whole_gradient
from rnnkit.study.lengths import with_length
from rnnkit.study.reach import GradientReach, gradient_reach
from rnnkit.train import epoch_gradient

STEP = 1e-200

MODEL = rk.Chain(rk.LSTM(1, 3), rk.LSTM(3, 2), rk.Dense(2, 1))

NUMPY = rk.backend("numpy")


def series(*segments: tuple[int, int], rows: int = 40) -> rk.Sequence:
    return walk(rows, 1, 3, segments=list(segments) or None)


def parameters(model: rk.Chain = MODEL) -> dict[str, np.ndarray]:
    """Larger than drawn, so that gradients reach far."""
    return {key: 2.5 * p + 0.1 for key, p in rk.setup(model, seed=1, dtype="float64")[0].items()}


def complex_gradient(objective: Any, params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The derivative of `objective(params)`, number by number."""
    stepped = {key: p.astype(complex) for key, p in params.items()}
    slopes = {key: np.zeros(p.shape) for key, p in params.items()}
    for key, p in stepped.items():
        for place in np.ndindex(p.shape):
            p[place] += 1j * STEP
            slopes[key][place] = objective(stepped).imag / STEP
            p[place] = p[place].real
    return slopes


def sum_of_losses(model: rk.Chain, params: Any, data: rk.Sequence, start: int, stop: int, state: Any) -> Any:
    """Sum of the losses of rows start to stop in one lane, and the state after them."""
    x, y = data.take(np.arange(start, stop), np.float64)
    outputs, state, _ = NUMPY.forward(model, params, x[:, None].astype(params["0.weight_ih"].dtype), state)
    return row_loss(MSE(), outputs[:, 0], y).sum(), state


def flat(gradient: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([g.ravel() for g in gradient.values()])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("initial", [rk.Zeros(), rk.Learned()])
def test_the_whole_gradient_is_the_derivative_of_the_mean_loss_over_all_segments(initial: Any) -> None:
    model = rk.Chain(*MODEL.layers, initial=initial)
    data, params = series((0, 17), (20, 31)), parameters(model)

    def mean_loss(stepped: Any) -> Any:
        cold = initial_state(model, stepped, 1)
        return sum(sum_of_losses(model, stepped, data, *segment, cold)[0] for segment in data.segments) / len(data)

    loss, gradient = whole_gradient(model, params, data, backend="numpy")
    assert loss == pytest.approx(mean_loss(params), rel=1e-12)
    expected = complex_gradient(mean_loss, params)
    for key, g in expected.items():
        np.testing.assert_allclose(gradient[key], g, rtol=1e-10, atol=1e-14, err_msg=key)


def test_the_whole_gradient_is_that_of_one_chunk_a_segment() -> None:
    data, params = series((0, 17), (20, 31)), parameters()
    schedule = rk.Schedule(data, rk.Chunked(length=17), rk.Carry())
    loss, chunked = epoch_gradient(MODEL, params, schedule, backend="numpy")
    whole_loss, whole = whole_gradient(MODEL, params, data, backend="numpy")
    assert whole_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(flat(whole), flat(chunked), rtol=1e-10)


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Continuation(8), rk.Carry()),
        (rk.Chunked(8), rk.Carry()),
        (rk.Chunked(8, lanes=2, shuffle=True), rk.Reset()),
        (rk.Sliding(8, stride=40, lanes=3), rk.Reset()),
    ],
)
def test_a_window_as_long_as_the_segment_gives_the_whole_gradient(splitter: Any, policy: Any) -> None:
    found = rk.gradient_bias(
        MODEL, parameters(), rk.Schedule(series(), splitter, policy), lengths=[40], backend="numpy"
    )
    assert found.of()[0]["loss"] == pytest.approx(found.loss, rel=1e-12)
    for row in found.rows:
        assert row["cosine"] == pytest.approx(1, abs=1e-12), row
        assert row["norm_ratio"] == pytest.approx(1, abs=1e-10), row
        assert (row["cosine_error"], row["norm_ratio_error"], row["epochs"]) == (0, 0, 1)


def test_cosine_and_norm_ratio_are_those_of_the_truncated_derivative_and_the_whole_one() -> None:
    data, params, length = series(), parameters(), 6
    cold = initial_state(MODEL, params, 1)
    whole = complex_gradient(lambda p: sum_of_losses(MODEL, p, data, 0, 40, cold)[0] / 40, params)
    cut = {key: np.zeros(p.shape) for key, p in params.items()}
    state = cold
    for start in range(0, 40, length):
        stop, begun = min(start + length, 40), state

        def window(p: Any, start: int = start, stop: int = stop, begun: Any = begun) -> Any:
            return sum_of_losses(MODEL, p, data, start, stop, begun)[0] / 40

        cut = {key: g + cut[key] for key, g in complex_gradient(window, params).items()}
        state = sum_of_losses(MODEL, params, data, start, stop, state)[1]
    schedule = rk.Schedule(data, rk.Continuation(11), rk.Carry())
    found = rk.gradient_bias(MODEL, params, schedule, lengths=[length], backend="numpy")
    expected = {"all": (flat(cut), flat(whole))} | {key: (cut[key].ravel(), whole[key].ravel()) for key in params}
    assert [row["parameter"] for row in found.rows] == list(expected)
    for row in found.rows:
        a, b = expected[row["parameter"]]
        assert row["cosine"] == pytest.approx(cosine(a, b), abs=1e-10)
        assert row["norm_ratio"] == pytest.approx(np.linalg.norm(a) / np.linalg.norm(b), rel=1e-10)
        assert row["size"] == len(a)
    assert found.of()[0]["cosine"] < 0.99  # else the case shows nothing


def test_windows_that_forget_have_another_loss() -> None:
    data, params = series(), parameters()
    cold = initial_state(MODEL, params, 1)
    losses = [sum_of_losses(MODEL, params, data, start, start + 5, cold)[0] for start in range(0, 40, 5)]
    schedule = rk.Schedule(data, rk.Chunked(5, lanes=4), rk.Reset())
    found = rk.gradient_bias(MODEL, params, schedule, lengths=[5], backend="numpy")
    assert found.of()[0]["loss"] == pytest.approx(sum(losses) / 40, rel=1e-12)
    assert found.loss == pytest.approx(sum_of_losses(MODEL, params, data, 0, 40, cold)[0] / 40, rel=1e-12)


def test_the_reach_is_the_derivative_of_single_losses_with_respect_to_earlier_states() -> None:
    data, params, lags = series((0, 13), (15, 24), (24, 28)), parameters(), 5
    found = gradient_reach(MODEL, params, data, lags, sample=7, backend="numpy", seed=2)
    assert len(found.rows) == 7
    norms: dict[str, np.ndarray] = {}
    for row in found.rows:
        start = max(segment.start for segment in data.segments if segment.start <= row)
        for lag in range(1, lags + 1):
            first = row - lag + 1
            assert first > start
            _, state = sum_of_losses(MODEL, params, data, start, first, initial_state(MODEL, params, 1))
            stepped = tuple(type(entry)(*(a.astype(complex) for a in entry)) if entry else () for entry in state)
            complex_params = {key: p.astype(complex) for key, p in params.items()}
            squares = {}
            for index, entry in enumerate(stepped):
                for name, values in zip(getattr(entry, "_fields", ()), entry, strict=True):
                    slopes = np.zeros(values.shape)
                    for place in np.ndindex(values.shape):
                        values[place] += 1j * STEP
                        x, y = data.take(np.arange(first, row + 1), np.float64)
                        outputs, _, _ = NUMPY.forward(MODEL, complex_params, x[:, None].astype(complex), stepped)
                        slopes[place] = row_loss(MSE(), outputs[-1, 0], y[-1]).imag / STEP
                        values[place] = values[place].real
                    squares[f"{index}.{name}"] = (slopes**2).sum()
            for name, square in {"all": sum(squares.values()), **squares}.items():
                norms.setdefault(name, np.zeros(lags))[lag - 1] += np.sqrt(square) / len(found.rows)
    assert found.lags.tolist() == [1, 2, 3, 4, 5]
    assert list(found.norms) == ["all", "0.h", "0.c", "1.h", "1.c"]
    for name, expected in norms.items():
        np.testing.assert_allclose(found.norms[name], expected, rtol=1e-12, err_msg=name)
    assert found.table[1] == {"lag": 2, "state": "all", "norm": found.norms["all"][1]}


def test_the_sample_of_the_reach_is_drawn_from_rows_with_enough_before_them() -> None:
    data, params = series((0, 13), (15, 24), (24, 28)), parameters()
    known = {row for start, stop in data.segments for row in range(start + 4, stop)}
    every = gradient_reach(MODEL, params, data, 4, sample=100, backend="numpy")
    assert set(every.rows.tolist()) == known
    some, again, other = (gradient_reach(MODEL, params, data, 4, sample=5, backend="numpy", seed=s) for s in (0, 0, 1))
    assert set(some.rows.tolist()) < known
    assert some.rows.tolist() == again.rows.tolist() != other.rows.tolist()
    assert np.array_equal(some.norms["all"], again.norms["all"])


def test_nothing_reaches_back_without_a_recurrent_layer() -> None:
    model = rk.Chain(rk.Dense(1, 2, "tanh"), rk.Dense(2, 1))
    found = gradient_reach(model, rk.setup(model)[0], series(), 3, backend="numpy")
    assert {name: norms.tolist() for name, norms in found.norms.items()} == {"all": [0, 0, 0]}


def test_a_schedule_that_draws_is_averaged_over_epochs() -> None:
    params = parameters()
    schedule = rk.Schedule(series(), rk.Continuation(5), rk.Carry(reset_probability=0.5), seed=4)
    found = rk.gradient_bias(MODEL, params, schedule, lengths=[5], backend="numpy", draws=3)
    epochs = [epoch_gradient(MODEL, params, schedule, backend="numpy", epoch=1 + k) for k in range(3)]
    mean, whole = sum(flat(g) for _, g in epochs) / 3, flat(whole_gradient(MODEL, params, series(), backend="numpy")[1])
    (row,) = found.of()
    assert row["epochs"] == 3
    assert row["cosine"] == pytest.approx(cosine(mean, whole), abs=1e-12)
    assert row["norm_ratio"] == pytest.approx(np.linalg.norm(mean) / np.linalg.norm(whole), rel=1e-12)
    assert row["loss"] == pytest.approx(np.mean([loss for loss, _ in epochs]), rel=1e-12)
    assert row["cosine_error"] > 0
    assert row["norm_ratio_error"] > 0
    assert "± one standard error" in str(found)


def test_standard_errors_are_those_of_a_mean_where_the_measure_is_linear() -> None:
    found = np.array([[1.0], [2.0], [4.0], [9.0]])
    value, error = with_error(found, np.array([2.0]))
    assert value == (1.0, 2.0)
    assert error.norm_ratio == pytest.approx(np.std(found / 2, ddof=1) / 2, rel=1e-12)
    assert error.cosine == 0


@pytest.mark.parametrize(
    ("splitter", "policy", "initial", "epochs"),
    [
        (rk.Continuation(5), rk.Carry(), rk.Zeros(), 1),
        (rk.Continuation(5, lanes=2), rk.Carry(across_epochs=True), rk.Zeros(), 1),
        (rk.Chunked(5, lanes=2, shuffle=True), rk.Reset(), rk.Zeros(), 1),  # the same windows in another order
        (rk.Chunked(5, shuffle=True), rk.BurnIn(3), rk.Zeros(), 1),
        (rk.Chunked(5, lanes=3, shuffle=True, tail="drop"), rk.Reset(), rk.Zeros(), 2),  # other windows are dropped
        (rk.Chunked(5, shuffle=True), rk.Stored(), rk.Zeros(), 2),
        (rk.Chunked(5), rk.Stored(), rk.Zeros(), 1),
        (rk.Continuation(rk.Uniform(3, 7)), rk.Reset(), rk.Zeros(), 2),
        (rk.Continuation(rk.Geometric(5.0), reweight=True), rk.Carry(), rk.Zeros(), 2),
        (rk.Continuation(5), rk.Carry(), rk.Noise(0.5), 2),
    ],
)
def test_epochs_are_averaged_only_where_they_differ(splitter: Any, policy: Any, initial: Any, epochs: int) -> None:
    model = rk.Chain(*MODEL.layers, initial=initial)
    schedule = rk.Schedule(series(), splitter, policy)
    found = rk.gradient_bias(model, parameters(), schedule, lengths=[5], backend="numpy", draws=2, lags=2)
    assert found.of()[0]["epochs"] == epochs


def test_states_that_go_on_from_epoch_to_epoch_are_those_of_the_epoch_before() -> None:
    data, params = series(), parameters()
    schedule = rk.Schedule(data, rk.Continuation(7), rk.Carry(across_epochs=True))
    first, state = sum_of_losses(MODEL, params, data, 0, 40, initial_state(MODEL, params, 1))
    second, _ = sum_of_losses(MODEL, params, data, 0, 40, state)
    losses = [epoch_gradient(MODEL, params, schedule, backend="numpy", epoch=epoch)[0] for epoch in (0, 1)]
    assert losses == pytest.approx([first / 40, second / 40], rel=1e-12)
    assert losses[0] != pytest.approx(losses[1], rel=1e-6)


def test_recorded_states_are_those_of_the_epoch_before_until_they_are_recorded_anew() -> None:
    data, params = series(), parameters()
    schedule = rk.Schedule(data, rk.Chunked(8, shuffle=True), rk.Stored(), seed=1)
    cold, recorded, means = initial_state(MODEL, params, 1), {}, []
    for epoch in (0, 1):
        total = 0.0
        for batch in schedule.batches(epoch):
            row = int(batch.row[0])
            loss, recorded[row + 8] = sum_of_losses(MODEL, params, data, row, row + 8, recorded.get(row, cold))
            total += loss
        means.append(total / 40)
    losses = [epoch_gradient(MODEL, params, schedule, backend="numpy", epoch=epoch)[0] for epoch in (0, 1)]
    assert losses == pytest.approx(means, rel=1e-12)
    assert means[0] != pytest.approx(means[1], rel=1e-6)


def test_a_length_is_put_into_any_splitter() -> None:
    assert with_length(rk.Continuation(64, lanes=2, lookback=3), 8) == rk.Continuation(8, lanes=2, lookback=3)
    assert with_length(rk.Sliding(64, stride=2), 8) == rk.Sliding(8, stride=2)
    assert with_length(rk.Sliding(64, stride=32), 8) == rk.Sliding(8, stride=8)  # or rows would be left out
    assert with_length(rk.Continuation(rk.Geometric(64.0)), 8) == rk.Continuation(rk.Geometric(8))
    assert with_length(rk.Continuation(rk.Uniform(10, 30)), 8) == rk.Continuation(rk.Uniform(4, 12))
    assert with_length(rk.Continuation(rk.Uniform(1, 99)), 1) == rk.Continuation(rk.Uniform(1, 1))


def test_lengths_left_out_are_powers_of_two_and_the_schedules_own() -> None:
    schedule = rk.Schedule(series(), rk.Continuation(5), rk.Carry())
    found = rk.gradient_bias(MODEL, parameters(), schedule, backend="numpy")
    assert [row["length"] for row in found.of()] == [5, 8, 16, 32]
    assert found.own == 5
    assert len(found.reach.lags) == 20  # half the segment
    short = replace(schedule, series=series((0, 4)), splitter=rk.Continuation(64))
    assert [row["length"] for row in rk.gradient_bias(MODEL, parameters(), short, backend="numpy").of()] == [4]


def test_one_schedule_on_its_first_rows_is_what_the_table_says_of_them() -> None:
    params, data = parameters(), series()
    schedule = rk.Schedule(data, rk.Continuation(6, lanes=2), rk.Carry())
    part = rk.Schedule(data.split(25, 0)[0], rk.Continuation(6, lanes=2), rk.Carry())
    (row,) = rk.gradient_bias(MODEL, params, part, lengths=[6], backend="numpy").of()
    quick = bias_of(MODEL, params, schedule, backend="numpy", rows=25)
    assert quick == pytest.approx((row["cosine"], row["norm_ratio"]), rel=1e-12)
    assert bias_of(MODEL, params, schedule, backend="numpy") != pytest.approx(quick, rel=1e-6)


def test_a_comparison_measures_each_cell_at_its_trained_parameters() -> None:
    parts, splitter = series(rows=80).split(), rk.Continuation(6)
    model, equal = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1)), rk.Equal(epochs=1)
    found = rk.compare(
        model, parts, splitters=[splitter], policies=[rk.Carry()], backends=["numpy"], equal=equal, jobs=1, bias=True
    )
    schedule = rk.Schedule(parts[0], splitter, rk.Carry())
    run = rk.fit(model, schedule, backend="numpy", epochs=1)
    (row,) = rk.gradient_bias(model, run.params, schedule, lengths=[6], backend="numpy").of()
    trial = found.rows[0]
    assert (trial["bias_cosine"], trial["bias_norm_ratio"]) == pytest.approx(
        (row["cosine"], row["norm_ratio"]), rel=1e-5
    )


@pytest.mark.parametrize("rows", [1, 2, 37, 38, 39, 40, 41, 10_000])
def test_the_first_rows_of_a_series(rows: int) -> None:
    data = rk.Sequence(np.arange(43.0), segments=[(0, 3), (3, 43)], horizon=2)
    if rows < 3:
        with pytest.raises(rk.DataError, match="the training part has"):
            first_rows(data, rows)
        return
    part = first_rows(data, rows)
    expected = [row for start, stop in ((0, 3), (3, min(rows, 43))) for row in range(start, stop - 2)]
    if rows >= 41:  # too few would be left for a part of their own
        expected = [0, *range(3, 41)]
    assert [row for start, stop in part.segments for row in range(start, stop)] == expected


def test_a_gradient_of_zero_has_no_direction() -> None:
    assert agreement(np.zeros(2), np.ones(2))[1] == 0
    assert np.isnan(agreement(np.zeros(2), np.ones(2))[0])
    assert np.isnan(agreement(np.ones(2), np.zeros(2))).all()
    data = rk.Sequence(np.zeros(20), np.zeros((20, 1)))
    params = {key: np.zeros_like(p) for key, p in parameters().items()}
    found = rk.gradient_bias(MODEL, params, rk.Schedule(data, rk.Continuation(5), rk.Carry()), backend="numpy")
    assert "there is no direction to compare with" in str(found)
    assert isinstance(found.plot(), Figure)


@dataclass(frozen=True)
class Nameless:
    """A splitter whose windows have no `length`."""

    rows: int

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str) -> rk.Grid:
        return rk.Chunked(self.rows).grid(lengths, rng, name)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lengths": [0]}, rk.ScheduleError, r"lengths to be whole numbers >= 1, got 0"),
        ({"lengths": [8.5]}, rk.ScheduleError, r"lengths to be whole numbers >= 1, got 8.5"),
        ({"lengths": []}, rk.ScheduleError, r"expects at least one length, got none"),
        ({"lengths": [41]}, rk.ScheduleError, r"'walk' has 40 rows .*a window of 41; use lengths <= 40"),
        ({"draws": 0}, rk.ScheduleError, r"expects draws to be a whole number >= 1, got 0"),
        ({"lags": 0}, rk.DataError, r"expects lags to be a whole number >= 1, got 0"),
        ({"lags": 40}, rk.DataError, r"longest segment of 'walk' has 40 rows with a target; use lags <= 39"),
        ({"sample": 0}, rk.DataError, r"expects sample to be a whole number >= 1, got 0"),
        ({"model": rk.LSTM(1, 3)}, rk.ModelError, r"expects a Chain first, got LSTM; write rk.Chain\(LSTM"),
        ({"params": None}, rk.ModelError, r"expects parameters second, got NoneType; give rk.setup"),
        ({"params": {}}, rk.ModelError, r"expects a parameter '0.weight_ih'"),
        ({"schedule": series()}, rk.ScheduleError, r"expects a Schedule third, got Sequence; write rk.Schedule"),
        (
            {"schedule": rk.Schedule(series(), Nameless(8), rk.Carry())},
            rk.ScheduleError,
            r"splitter that is a dataclass with a length.*got Nameless\(rows=8\)",
        ),
        ({"loss": "cross_entropy"}, rk.ModelError, r"cross_entropy expects whole-number labels"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    schedule = rk.Schedule(series(), rk.Continuation(5), rk.Carry())
    fitting: dict[str, Any] = {"model": MODEL, "params": parameters(), "schedule": schedule, "backend": "numpy"}
    with pytest.raises(error, match=message):
        rk.gradient_bias(**(fitting | changes))


def test_an_unknown_parameter_is_refused() -> None:
    found = rk.gradient_bias(
        MODEL, parameters(), rk.Schedule(series(), rk.Continuation(5), rk.Carry()), lengths=[5], backend="numpy"
    )
    with pytest.raises(rk.ModelError, match=r"expects one of all, 0.weight_ih, .*got '9.bias'"):
        found.of("9.bias")


def bias_with(
    cosines: dict[int, float], norms: list[float], losses: tuple[float, float] = (1, 1), own: int = 16
) -> rk.GradientBias:
    """A result with given numbers."""
    rows = [
        {
            "length": length,
            "parameter": "all",
            "size": 4,
            "cosine": value,
            "cosine_error": 0.0,
            "norm_ratio": value / 2,
            "norm_ratio_error": 0.0,
            "loss": losses[0],
            "epochs": 1,
        }
        for length, value in cosines.items()
    ]
    reach = GradientReach(np.arange(1, len(norms) + 1), {"all": np.array(norms)}, np.arange(9))
    schedule = rk.Schedule(series(), rk.Continuation(own), rk.Carry())
    return rk.GradientBias(schedule, losses[1], own, rows, reach)


@pytest.mark.parametrize(
    ("cosines", "said"),
    [
        (
            {8: 0.5, 16: 0.96, 32: 0.94, 64: 0.98},
            "Windows of 64 rows give 98 % of the gradient's direction and 49 % of",
        ),
        ({8: 0.5, 16: 0.96}, "; those of 8 rows 50 % and 25 %."),
        ({8: 0.96, 16: 0.97}, "Even windows of 8 rows give 96 % of the gradient's direction and 48 % of its length."),
        ({8: 0.5, 16: 0.7, 32: 0.6}, "None of these lengths gives 95 % of the gradient's direction and stays there: "),
        ({8: 0.5, 16: 0.7, 32: 0.6}, "the best has 16 rows and a cosine of 0.7."),
        ({8: 0.5, 16: 0.9968}, "Windows of 16 rows give 99.68 % of the gradient's direction"),
    ],
)
def test_the_words_say_from_which_length_on_the_direction_is_right(cosines: dict[int, float], said: str) -> None:
    assert said in str(bias_with(cosines, [1.0, 0.5]))


def test_the_words_say_whether_the_state_is_cut_too() -> None:
    assert "the gradient alone is cut" in str(bias_with({8: 1.0}, [1.0], (2.0001, 2.0)))
    said = str(bias_with({8: 1.0, 16: 1.0}, [1.0], (2.5, 2.0)))
    assert "mean loss of windows of 16 rows is 2.5, uncut it is 2: they start from other states" in said
    assert "alone" not in said
    assert "windows of 8 rows is" in str(bias_with({4: 1.0, 8: 1.0}, [1.0], (2.5, 2.0)))  # the longest, without its own


def test_the_words_say_how_far_the_gradient_reaches() -> None:
    dying = [2.0, 1.0, 0.01, 0.05, 0.01, 1e-9]
    said = str(bias_with({2: 1.0}, dying, own=2))
    assert (
        "stays below 1 % of that at lag 1 from lag 5 on, in the mean over 9 rows; 50 % of it is left at lag 2" in said
    )
    assert "less than 0.01 % of it is left at lag 6" in str(bias_with({6: 1.0}, dying, own=6))
    said = str(bias_with({2: 1.0}, dying[:4], own=16))
    assert "reaches beyond the 4 rows looked at: there it is 2.5 % of that at lag 1, in the mean over 9 rows." in said
    assert "do not reach the state before them" in str(bias_with({2: 1.0}, [0.0, 0.0]))


def test_the_table_has_a_line_for_each_length() -> None:
    lines = str(bias_with({8: 0.5, 16: 0.96}, [1.0, 0.5], (2.5, 2.0))).splitlines()
    assert lines[0] == f"Continuation(length=16) with Carry() over {series()!r}"
    assert [line.split() for line in lines[3:7]] == [
        ["window", "cosine", "norm", "ratio", "mean", "loss"],
        ["8", "rows", "0.5000", "0.2500", "2.5"],
        ["16", "rows", "0.9600", "0.4800", "2.5", "this", "schedule"],
        ["uncut", "1", "1", "2"],
    ]


def test_the_picture_has_a_panel_for_the_lengths_and_one_for_the_lags() -> None:
    schedule = rk.Schedule(series(), rk.Continuation(5), rk.Carry())
    found = rk.gradient_bias(MODEL, parameters(), schedule, lengths=[5, 20], backend="numpy", lags=9)
    above, below = found.plot().axes
    drawn = {line.get_label(): line for line in above.containers[0].get_children()[:1]}
    assert np.allclose(next(iter(drawn.values())).get_xydata(), [(r["length"], r["cosine"]) for r in found.of()])
    lines = {line.get_label(): line.get_xydata() for line in below.get_lines()}
    for label, name in {"all states": "all", "layer 0, h": "0.h", "layer 1, c": "1.c"}.items():
        assert np.allclose(lines[label], np.column_stack([found.reach.lags, found.reach.norms[name]]))
    marks = {line.get_xdata()[0] for line in below.get_lines() if len(set(line.get_xdata())) == 1}
    assert marks == {5, 20}
    assert below.get_yscale() == "log"


def test_the_default_backend_measures_the_same() -> None:
    schedule = rk.Schedule(series(), rk.Continuation(5, lanes=2), rk.Carry())
    fast = rk.gradient_bias(MODEL, parameters(), schedule, lengths=[5, 12])
    slow = rk.gradient_bias(MODEL, parameters(), schedule, lengths=[5, 12], backend="numpy")
    for a, b in zip(fast.rows, slow.rows, strict=True):
        assert (a["cosine"], a["norm_ratio"]) == pytest.approx((b["cosine"], b["norm_ratio"]), rel=1e-9)
    for name, norms in slow.reach.norms.items():
        np.testing.assert_allclose(fast.reach.norms[name], norms, rtol=1e-9)


CONFIG = config(
    'path = "wave.csv"\ntarget = "value"',
    top='dtype = "float64"',
    length=6,
    lanes=2,
    train='epochs = 2\nrule = {type = "Adam", learning_rate = 0.05}',
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and its data: 84 rows of it to train on."""
    write_csv(tmp_path / "wave.csv", value=wave(120, period=3, noise=0.2))
    (tmp_path / "a.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_hand(home: Path, params: dict[str, np.ndarray] | None, lengths: list[int], rows: int = 84) -> rk.GradientBias:
    """What the command measures, without it."""
    training = rk.Sequence.open(home / "wave.csv", target="value").split(0.7, 0.15)[0]
    training = training.with_scaler(rk.Standard.fit(training))
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
    part = training if rows == 84 else training.split(rows, 0)[0]
    schedule = rk.Schedule(part, rk.Continuation(6, lanes=2), rk.Carry())
    drawn = rk.setup(model, 0, dtype="float64")[0] if params is None else params
    return rk.gradient_bias(model, drawn, schedule, lengths=lengths, backend="numpy")


def test_the_command_prints_the_table_and_writes_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bias", "a.toml", "--lengths", "6, 12", "--out", "found/here"]) == 0
    told = capsys.readouterr().out
    expected = by_hand(home, None, [6, 12])
    assert "a: all rows of the training part with a target; parameters drawn from seed 0" in told
    assert str(expected) in told
    folder = home / "found" / "here"
    assert sorted(path.name for path in folder.iterdir()) == ["bias.csv", "bias.png", "reach.csv"]
    rows = read_csv(folder / "bias.csv")
    assert [(row["length"], row["parameter"]) for row in rows] == [
        (str(row["length"]), row["parameter"]) for row in expected.rows
    ]
    for name in ("cosine", "norm_ratio", "loss"):
        assert [float(row[name]) for row in rows] == pytest.approx([row[name] for row in expected.rows], rel=1e-8)
    reach = read_csv(folder / "reach.csv")
    assert [float(row["norm"]) for row in reach] == pytest.approx(
        [row["norm"] for row in expected.reach.table], rel=1e-8
    )
    assert (folder / "bias.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_uses_the_first_rows(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bias", "a.toml", "--lengths", "6", "--rows", "50"]) == 0
    told = capsys.readouterr().out
    assert "a: the first 49 of 83 rows of the training part with a target" in told
    assert str(by_hand(home, None, [6], 50)) in told


def test_the_command_measures_at_the_parameters_of_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "a.toml"]) == 0
    capsys.readouterr()
    assert main(["bias", "a.toml", "--lengths", "6", "--run", "runs/a"]) == 0
    told = capsys.readouterr().out
    assert "parameters of the run in runs/a" in told
    assert str(by_hand(home, rk.load(home / "runs" / "a").params, [6])) in told
    assert str(by_hand(home, None, [6])) not in told
    assert main(["bias", "a.toml", "--run", "runs/a", "--model.layers.0.hidden", "4"]) == 2
    assert "--run expects a run of the config's model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lengths", "8,x"], "--lengths to be whole numbers from 1 with commas between them, got '8,x'; write"),
        (["--lengths", "8,0"], "--lengths to be whole numbers from 1"),
        (["--lengths", ""], "--lengths to be whole numbers from 1"),
        (["--lengths", "84"], "fewer than a window of 84; use lengths <= 83"),
        (["--rows", "0"], "--rows of at least 1, got 0"),
        (["--rows", "1"], "the training part has 1 row"),
        (["--out", "a.toml"], "--out expects a folder, got the file 'a.toml'"),
        (["--run", "nowhere"], "load expects a folder with run.json"),
        (["--splitter.lanes", "0"], "lanes"),
    ],
)
def test_the_command_refuses_what_does_not_fit(
    home: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(home.rglob("*"))
    assert main(["bias", "a.toml", *options]) == 2
    assert message in capsys.readouterr().err
    assert sorted(home.rglob("*")) == before


def test_the_command_replaces_files_only_when_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "found").mkdir()
    (home / "found" / "bias.png").write_text("mine")
    assert main(["bias", "a.toml", "--lengths", "6", "--out", "found"]) == 2
    assert "bias.png' is there already" in capsys.readouterr().err
    assert [path.name for path in (home / "found").iterdir()] == ["bias.png"]
    assert main(["bias", "a.toml", "--lengths", "6", "--out", "found", "--overwrite"]) == 0
    assert (home / "found" / "bias.png").read_bytes().startswith(b"\x89PNG")
