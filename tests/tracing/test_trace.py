"""A trace: every number of it against the backends, the complex step, and slow computations of the same things."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
import types
from typing import Any

import numpy as np
import pytest

import rnnkit as rk
from builders.series import walk
from rnnkit.backend import PARTS
from rnnkit.model import Loss, as_loss, initial_state, row_loss, window_loss
from rnnkit.testing import relative_difference
from rnnkit.tracing import worked_step
from rnnkit.tracing.worked import example
from rnnkit.train import epoch_gradient

STEP = 1e-200

LAYERS = rk.LSTM(2, 4), rk.LSTM(4, 3), rk.Dense(3, 2, "tanh"), rk.Dense(2, 1)
MODEL = rk.Chain(*LAYERS)
LEARNED = rk.Chain(*LAYERS, initial=rk.Learned())
SINGLE = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))


def series(rows: int = 60, **settings: Any) -> rk.Sequence:
    """A walk in three segments."""
    return walk(rows, seed=3, **{"segments": [(0, 21), (24, 31), (31, rows)]} | settings)


def parameters(model: rk.Chain = MODEL, seed: int = 1) -> dict[str, np.ndarray]:
    """Larger than drawn, so that gradients reach far."""
    return {key: 1.8 * p + 0.1 for key, p in rk.setup(model, seed=seed, dtype="float64")[0].items()}


def by_backend(
    name: str, model: rk.Chain, params: Any, data: rk.Sequence, rows: np.ndarray, reset: Any, warmed: int, loss: Loss
) -> Any:
    """Loss and gradients of a window of some rows, as a backend computes them in float64."""
    engine = rk.backend(name)
    own = engine.from_numpy(params)
    state = engine.from_numpy(initial_state(model, params, 1))
    first = int(rows[0])
    if warmed:
        _, state, _ = engine.forward(
            model, own, engine.from_numpy(data.read_x(first - warmed, first, float)[:, None]), state
        )
    x, target = data.take(rows[:, None], float)
    y, _, tape = engine.forward(model, own, engine.from_numpy(x), state, np.array(reset)[:, None])
    weight = data.scored(rows)[:, None].astype(float)
    value, d_y = window_loss(loss, engine.to_numpy(y), target, weight)
    gradients = engine.to_numpy(engine.backward(model, own, tape, engine.from_numpy(d_y)))
    return float(value), engine.to_numpy(y)[:, 0], gradients


@pytest.mark.parametrize("model", [MODEL, LEARNED], ids=["zeros", "learned"])
@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
@pytest.mark.parametrize(
    ("rows", "warm", "traced", "resets"),
    [
        ((40, 55), 8, range(40, 55), []),  # inside a segment, warmed over fewer rows than there are
        ((5, 18), 100, range(5, 18), []),  # warmed over all rows before
        ((33, 45), 0, range(33, 45), [0]),  # cold
        ((15, 40), 6, [*range(15, 21), *range(24, 40)], [6, 13]),  # across three segments and rows of none
        ((24, 31), 9, range(24, 31), [0]),  # from the start of a segment: nothing to warm over
    ],
)
def test_a_trace_equals_what_every_backend_computes(
    model: rk.Chain, backend: str, rows: Any, warm: int, traced: Any, resets: list[int]
) -> None:
    data, params = series(), parameters(model)
    seen = rk.trace(model, data, rows, params=params, warm=warm)
    reset = np.isin(np.arange(len(traced)), resets)
    warmed = 0 if reset[0] else min(warm, rows[0])
    assert (seen.rows.tolist(), seen.reset.tolist(), seen.warmed) == (list(traced), reset.tolist(), warmed)
    value, y, gradients = by_backend(backend, model, params, data, seen.rows, reset, warmed, as_loss("mse"))
    assert seen.mean_loss == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(seen.y, y, rtol=1e-10, atol=1e-12)
    assert relative_difference(seen.gradient, gradients.params) < 1e-10
    assert relative_difference(seen.d_x[:, None], gradients.x) < 1e-10
    assert relative_difference(seen.d_state, gradients.state) < 1e-10
    assert all(np.abs(g).max() > 1e-7 or "initial" in key for key, g in seen.gradient.items())


def test_parameters_of_torch_are_read_too() -> None:
    data, params = series(), parameters()
    tensors = rk.backend("torch").from_numpy(params)
    assert not isinstance(tensors["0.weight_ih"], np.ndarray)
    a, b = (rk.trace(MODEL, data, (40, 50), params=p) for p in (params, tensors))
    assert relative_difference(a.gradient, b.gradient) == 0


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "huber", "mae"])
def test_every_loss_and_rows_that_do_not_count(loss: str) -> None:
    rng = np.random.default_rng(0)
    samples = [rng.standard_normal((length, 2)) for length in (7, 5, 9, 6)]
    data = rk.Sequence.panel(samples, [0, 1, 1, 0])
    classes = 2 if loss == "cross_entropy" else 1
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, classes))
    params, objective = parameters(model), as_loss(loss)
    seen = rk.trace(model, data, (2, 24), params=params, loss=loss, warm=2)
    assert np.flatnonzero(seen.weight).tolist() == [4, 9, 18]  # the ends of three samples
    wanted = data if loss == "cross_entropy" else data.as_numbers()
    value, _, gradients = by_backend("numba", model, params, wanted, seen.rows, seen.reset, 2, objective)
    assert seen.mean_loss == pytest.approx(value, rel=1e-10)
    assert relative_difference(seen.gradient, gradients.params) < 1e-10


@pytest.mark.parametrize("model", [MODEL, LEARNED], ids=["zeros", "learned"])
@pytest.mark.parametrize("length", [1, 5, 9, 60])
def test_a_truncated_trace_is_the_gradient_of_windows_that_carry(model: rk.Chain, length: int) -> None:
    data, params = series(), parameters(model)
    start, stop = 31, 55
    piece = rk.Sequence(data.read_x(start, stop, float), data.read_y(start, stop, float), name="piece")
    schedule = rk.Schedule(piece, rk.Continuation(length=length), rk.Carry())
    loss, gradient = epoch_gradient(model, params, schedule, backend="numba")
    seen = rk.trace(model, data, (start, stop), params=params, truncate=length)
    assert seen.mean_loss == pytest.approx(loss, rel=1e-10)
    assert relative_difference(seen.gradient, gradient) < 1e-10
    assert np.flatnonzero(seen.cut).tolist() == list(range(length, 24, length))


def test_a_truncated_trace_counts_its_windows_through_segments() -> None:
    data, params = series(), parameters(LEARNED)
    schedule = rk.Schedule(data, rk.Continuation(length=8), rk.Carry())
    loss, gradient = epoch_gradient(LEARNED, params, schedule, backend="numba")
    seen = rk.trace(LEARNED, data, slice(None), params=params, truncate=8)
    assert len(seen) == len(data) == 57
    assert seen.mean_loss == pytest.approx(loss, rel=1e-10)
    assert relative_difference(seen.gradient, gradient) < 1e-10
    whole = rk.trace(LEARNED, data, slice(None), params=params)
    assert relative_difference(seen.gradient, whole.gradient) > 1e-3  # else the case shows nothing


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_step_of_training_walks_along_the_traced_gradient(backend: str) -> None:
    data, params = series(segments=None), parameters()
    schedule = rk.Schedule(data, rk.Chunked(length=60), rk.Carry())
    run = rk.fit(MODEL, schedule, backend=backend, rule=rk.SGD(1.0), epochs=1, params=params, dtype="float64")
    seen = rk.trace(MODEL, data, (0, 60), params=params)
    assert run.history.steps["loss"] == [pytest.approx(seen.mean_loss, rel=1e-10)]
    moved = {key: params[key] - p for key, p in run.params.items()}
    assert relative_difference(moved, {key: seen.gradient[key] for key in moved}) < 1e-9


def test_a_run_is_traced_on_what_it_predicts() -> None:
    raw = rk.Sequence(50 + 10 * np.sin(np.arange(80.0)), name="season")
    scaled = raw.with_scaler(rk.Standard.fit(raw))
    model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
    run = rk.fit(model, rk.Schedule(scaled, rk.Continuation(8), rk.Carry()), backend="numba", dtype="float64", epochs=2)
    seen, arrays = (found := rk.trace(run, raw, range(30, 50))), found.to_numpy()
    np.testing.assert_allclose(arrays["predicted"], rk.predict(run, raw)[30:50], rtol=1e-10)
    np.testing.assert_allclose(arrays["observed"][:, 0], 50 + 10 * np.sin(np.arange(31.0, 51)), rtol=1e-12)
    again = rk.trace(model, scaled, (30, 50), params=run.params, loss="mse")
    assert relative_difference(again.gradient, seen.gradient) < 1e-12
    single = rk.fit(model, rk.Schedule(scaled, rk.Continuation(8), rk.Carry()), backend="torch", epochs=1)
    assert rk.trace(single, raw, (30, 50)).gradient["0.weight_hh"].dtype == np.float64


def test_a_part_is_warmed_over_the_rows_before_it() -> None:
    whole = rk.Sequence(np.sin(np.arange(60.0)), name="sine")
    _, _, test = whole.split(0.6, 0.2)
    assert test is not None
    model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
    params, first = parameters(model), int(test.starts[0])
    seen = rk.trace(model, test, slice(first, None), params=params)
    assert (seen.warmed, bool(seen.reset[0]), int(seen.rows[-1])) == (first, False, 58)
    np.testing.assert_array_equal(seen.y, rk.trace(model, whole, (first, 59), params=params).y)


def test_a_long_warm_up_goes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rk.trace(MODEL, series(), (50, 59), params=parameters())
    monkeypatch.setattr("rnnkit.tracing.rows.PASS_ROWS", 5)
    pieces = rk.trace(MODEL, series(), (50, 59), params=parameters())
    np.testing.assert_allclose(pieces.y, whole.y, rtol=1e-13)


# every derivative, number by number


def nudged(seen: rk.Trace, layer: int, name: str, t: int, unit: int) -> np.ndarray:
    """The losses `(T,)` of the rows, complex, with one number of one row of one layer nudged by iε."""
    params, losses = seen.params, []
    state = [tuple(np.array(a[0], complex) for a in entry) for entry in seen.state]
    cold = initial_state(seen.model, params, 1)
    for row in range(len(seen)):
        a = seen.x[row].astype(complex)
        for k, kind in enumerate(seen.model.layers):

            def nudge(value: Any, label: str, k: int = k, row: int = row) -> Any:
                if (k, label, row) == (layer, name, t):
                    value = value.copy()
                    value[unit] += 1j * STEP
                return value

            p = {key.partition(".")[2]: v for key, v in params.items() if key.startswith(f"{k}.")}
            a = nudge(a, "x")
            if isinstance(kind, rk.Dense):
                pre = nudge(p["weight"] @ a + p["bias"], "pre")
                a = nudge(np.tanh(pre) if kind.activation == "tanh" else pre, "y")
                continue
            h, c = (e[0] for e in cold[k]) if seen.reset[row] else state[k]
            h, c = nudge(np.array(h, complex), "h_before"), nudge(np.array(c, complex), "c_before")
            parts = np.split(p["weight_ih"] @ a + p["weight_hh"] @ h + p["bias_ih"] + p["bias_hh"], 4)
            i, f, g, o = (nudge(part, f"{gate}_pre") for gate, part in zip("ifgo", parts, strict=True))
            i, f, o = (1 / (1 + np.exp(-part)) for part in (i, f, o))
            i, f, g, o = (nudge(v, gate) for gate, v in zip("ifgo", (i, f, np.tanh(g), o), strict=True))
            c = nudge(f * c + i * g, "c")
            h = nudge(o * np.tanh(c), "h")
            state[k], a = (h, c), h
        losses.append(((a - seen.target[row]) ** 2).mean())
    return np.array(losses)


NAMES = ("x", "h_before", "c_before", "i_pre", "f_pre", "g_pre", "o_pre", "i", "f", "g", "o", "c", "h")


@pytest.mark.parametrize("rows", [(40, 46), (28, 34)], ids=["one segment", "two segments"])
def test_every_derivative_is_the_complex_step(rows: tuple[int, int]) -> None:
    seen = rk.trace(MODEL, series(), rows, params=parameters(), warm=3)
    for layer, traced in enumerate(seen.layers):
        names = NAMES if layer < 2 else ("x", "pre", "y")
        for name in names:
            expected = np.zeros_like(getattr(traced, name))
            for place in np.ndindex(expected.shape):
                expected[place] = nudged(seen, layer, name, *place).imag.mean() / STEP
            found = getattr(traced, f"d_{name}")
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-15, err_msg=f"{layer}.{name}")
            assert np.abs(expected).max() > 1e-6


def test_the_numbers_of_the_forward_pass_obey_the_equations() -> None:
    seen = rk.trace(MODEL, series(), (15, 40), params=parameters(), warm=3)
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    for k in seen.recurrent:
        layer: Any = seen.layers[k]
        for gate in "ifo":
            np.testing.assert_allclose(getattr(layer, gate), sigmoid(getattr(layer, f"{gate}_pre")), rtol=1e-13)
        np.testing.assert_allclose(layer.g, np.tanh(layer.g_pre), rtol=1e-13)
        np.testing.assert_allclose(layer.c, layer.f * layer.c_before + layer.i * layer.g, rtol=1e-13)
        np.testing.assert_allclose(layer.tanh_c, np.tanh(layer.c), rtol=1e-13)
        np.testing.assert_allclose(layer.h, layer.o * layer.tanh_c, rtol=1e-13)
        on = np.flatnonzero(~seen.reset[1:]) + 1
        np.testing.assert_array_equal(layer.h_before[on], layer.h[on - 1])
        np.testing.assert_array_equal(layer.h_before[seen.reset], 0)
        np.testing.assert_allclose(layer.d_h[-1], layer.d_y[-1], rtol=1e-15)
    np.testing.assert_array_equal(seen.layers[1].x, seen.layers[0].h)
    np.testing.assert_array_equal(seen.loss, row_loss(as_loss("mse"), seen.y, seen.target))


@pytest.mark.parametrize("layer", [0, 1])
def test_the_reach_is_the_complex_step(layer: int) -> None:
    seen = rk.trace(MODEL, series(), (27, 36), params=parameters(), warm=3, truncate=2)
    reach = seen.reach(layer)
    for name, found in (("h", reach.h), ("c", reach.c)):
        squares = np.zeros((9, 9))
        for s, unit in np.ndindex(getattr(seen.layers[layer], name).shape):
            squares[:, s] += (nudged(seen, layer, name, s, unit).imag / STEP) ** 2
        np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-11, atol=1e-16)
    assert reach.since.tolist() == [0] * 4 + [4] * 5  # the segment that begins at row 31
    assert (reach.h[4:, :4] == 0).all()
    assert (reach.h[np.tril_indices(4)] > 0).all()
    some = seen.reach(layer, at=np.array([6, 2, 8]))
    assert some.at.tolist() == [2, 6, 8]
    np.testing.assert_allclose(some.h, reach.h[some.at], rtol=1e-12)
    np.testing.assert_allclose(some.c, reach.c[some.at], rtol=1e-12)


def test_a_gradient_that_has_died_away_is_followed_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {key: 0.1 * p for key, p in parameters().items()}
    seen = rk.trace(MODEL, series(segments=None), (0, 60), params=params)
    whole = seen.reach(0)
    monkeypatch.setattr("rnnkit.tracing.reach.FAINT", 1e-9)
    cut = seen.reach(0)
    ended = (cut.h == 0) & (whole.h > 0)
    assert ended.any()
    assert whole.h[ended].max() < 1e-9
    np.testing.assert_allclose(cut.h[~ended], whole.h[~ended], rtol=1e-12)


def test_the_reach_by_lag_is_a_mean_over_the_rows_that_go_so_far_back() -> None:
    reach = rk.trace(MODEL, series(), (27, 36), params=parameters()).reach(1)
    for part in ("h", "c"):
        found, matrix = reach.by_lag(part), getattr(reach, part)
        for lag in range(5):
            pairs = [matrix[t, t - lag] for t in range(9) if t - lag >= (4 if t >= 4 else 0)]
            assert found[lag] == pytest.approx(np.mean(pairs), rel=1e-12)
        assert np.isnan(found[5:]).all()


def test_what_the_rows_contribute_adds_up_to_the_gradient() -> None:
    seen = rk.trace(LEARNED, series(), (15, 40), params=parameters(LEARNED), warm=4, truncate=7)
    assert list(seen.gradient) == list(seen.params)
    for key, gradient in seen.gradient.items():
        rows = seen.contribution(key)
        assert rows.shape == (len(seen), *gradient.shape)
        np.testing.assert_allclose(rows.sum(0), gradient, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(
            seen.contribution_norm(key), np.sqrt((rows.reshape(len(seen), -1) ** 2).sum(1)), rtol=1e-12
        )
    assert np.flatnonzero(seen.contribution_norm("0.initial_h")).tolist() == [6, 13]  # where segments begin


def test_what_a_row_contributes_is_its_part_of_the_derivative() -> None:
    """The weights of one row alone are nudged: the same as its pre-activations, by what stands before the weight."""
    seen = rk.trace(SINGLE, series(), (40, 46), params=parameters(SINGLE), warm=3)
    layer: Any = seen.layers[0]
    for t in (0, 4):
        for gate, unit in (("i", 0), ("o", 2)):
            slope = nudged(seen, 0, f"{gate}_pre", t, unit).imag.mean() / STEP
            row = 3 * "ifgo".index(gate) + unit
            expected = slope * layer.h_before[t]
            np.testing.assert_allclose(seen.contribution("0.weight_hh")[t, row], expected, rtol=1e-11)


# shapes to look at, to keep and to send on


def test_flat_arrays_hold_everything_by_name() -> None:
    seen = rk.trace(MODEL, series(), (15, 40), params=parameters())
    arrays = seen.to_numpy()
    assert all(isinstance(a, np.ndarray) for a in arrays.values())
    assert arrays["0.f"] is seen.layers[0].f  # type: ignore[union-attr]
    for name, shape in {
        "rows": (22,),
        "loss": (22,),
        "y": (22, 1),
        "0.d_f_pre": (22, 4),
        "1.d_h": (22, 3),
        "2.pre": (22, 2),
        "param.1.weight_hh": (12, 3),
        "gradient.1.weight_hh": (12, 3),
        "contribution.1.weight_hh": (22,),
    }.items():
        assert arrays[name].shape == shape, name
    timed = rk.trace(SINGLE, series(segments=None, time=np.arange(60) * 2), (5, 9), params=parameters(SINGLE))
    assert timed.to_numpy()["times"].tolist() == [10, 12, 14, 16]


def test_a_saved_trace_is_read_by_numpy(tmp_path: Any) -> None:
    seen = rk.trace(MODEL, series(), (15, 40), params=parameters())
    with np.load(seen.save(tmp_path / "trace.npz")) as kept:
        assert set(kept) == set(seen.to_numpy())
        np.testing.assert_array_equal(kept["1.d_c"], seen.layers[1].d_c)  # type: ignore[union-attr]


def test_the_table_is_long_and_goes_into_a_file(tmp_path: Any) -> None:
    seen = rk.trace(MODEL, series(), (15, 40), params=parameters())
    table = seen.table()
    assert list(table) == ["row", "layer", "unit", "quantity", "value"]
    assert len({len(column) for column in table.values()}) == 1

    def value(row: int, layer: int, unit: int, quantity: str) -> float:
        (place,) = np.flatnonzero(
            (table["row"] == row)
            & (table["layer"] == layer)
            & (table["unit"] == unit)
            & (table["quantity"] == quantity)
        )
        return float(table["value"][place])

    at = seen.rows.tolist().index(26)
    assert value(26, 0, 3, "d_f_pre") == seen.layers[0].d_f_pre[at, 3]  # type: ignore[union-attr]
    assert value(26, 2, 1, "pre") == seen.layers[2].pre[at, 1]  # type: ignore[union-attr]
    assert value(26, -1, 0, "loss") == seen.loss[at]
    with open(seen.write_table(tmp_path / "trace.csv"), newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == list(table)
    assert len(lines) == len(table["row"]) + 1
    assert float(lines[100][4]) == table["value"][99]


def test_thinning_says_what_it_leaves_out() -> None:
    seen = rk.trace(MODEL, series(), (15, 40), params=parameters())
    whole = seen.thinned()
    assert (whole.left_out, len(whole.places)) == ("", 22)
    thin = seen.thinned(rows=5, units=2)
    assert thin.left_out == (
        "5 of 22 rows, evenly spaced; the 2 of 4 units of layer 0 whose output varies most; the 2 of 3 units of layer "
        "1 whose output varies most"
    )
    assert (thin.places[0], thin.places[-1], len(thin.places)) == (0, 21, 5)
    spread = seen.layers[0].h.std(0)  # type: ignore[union-attr]
    assert set(thin.units[0].tolist()) == set(np.argsort(spread)[-2:].tolist())
    assert thin.arrays["0.f"].shape == (5, 2)
    first: Any = seen.layers[0]
    np.testing.assert_array_equal(thin.arrays["0.f"], first.f[thin.places][:, thin.units[0]])
    np.testing.assert_array_equal(thin.arrays["1.x"], first.h[thin.places][:, thin.units[0]])
    assert thin.arrays["0.x"].shape == (5, 2)
    assert thin.arrays["param.0.weight_hh"].shape == (16, 4)
    table = thin.table()
    assert set(table["unit"][(table["layer"] == 0) & (table["quantity"] == "f")]) == set(thin.units[0].tolist())
    assert set(table["row"]) == set(seen.rows[thin.places])
    with pytest.raises(rk.DataError, match=r"Trace.thinned expects rows to be a whole number >= 1, got 0"):
        seen.thinned(rows=0)


def test_a_long_trace_is_thinned_unless_asked_otherwise() -> None:
    model = rk.Chain(rk.LSTM(1, 520), rk.Dense(520, 1))
    data = rk.Sequence(np.sin(np.arange(6.0)))
    seen = rk.trace(model, data, (0, 5), params=rk.setup(model)[0])
    assert seen.thinned().left_out == "the 512 of 520 units of layer 0 whose output varies most"
    small = rk.Chain(rk.LSTM(1, 1))
    long = rk.trace(small, rk.Sequence(np.zeros(4200)), (0, 4150), params=rk.setup(small)[0])
    assert long.thinned().left_out == "4,096 of 4,150 rows, evenly spaced"


def test_units_that_do_alike_stand_together() -> None:
    from rnnkit.tracing import unit_order

    t = np.arange(100)
    phases = np.array([0.0, 2.0, 0.1, 4.0, 2.1, 4.1])
    waves = np.sin(t[:, None] / 7 - phases)
    order = unit_order(waves, "similar").tolist()
    for a, b in ((0, 2), (1, 4), (3, 5)):
        assert abs(order.index(a) - order.index(b)) in (1, 5)  # side by side, or at both ends of the circle
    peaks = np.eye(4)[:, [2, 0, 3, 1]]
    assert unit_order(peaks, "peak").tolist() == [1, 3, 0, 2]
    assert unit_order(peaks, "index").tolist() == [0, 1, 2, 3]
    with pytest.raises(rk.DataError, match="unit_order expects 'similar', 'peak' or 'index', got 'size'"):
        unit_order(peaks, "size")  # type: ignore[arg-type]


def test_a_trace_says_what_it_is() -> None:
    seen = rk.trace(SINGLE, series(), (40, 46), params=parameters(SINGLE), warm=3, truncate=4)
    assert repr(seen) == (
        "Trace('walk', rows 40 to 45: 6 rows, warmed over 3 rows, Chain(LSTM(inputs=2, hidden=3), Dense(inputs=3, "
        f"outputs=1, activation='identity')), mean loss {seen.mean_loss:.6g}, gradient cut every 4 rows)"
    )
    cold = repr(rk.trace(SINGLE, series(), (40, 41), params=parameters(SINGLE), warm=0))
    assert "rows 40 to 40: 1 row, from the initial state" in cold
    assert "gradient uncut" in cold


def test_parameters_are_copied_and_nothing_of_the_caller_is_changed() -> None:
    params = parameters(SINGLE)
    before = {key: p.copy() for key, p in params.items()}
    seen = rk.trace(SINGLE, series(), (40, 46), params=params)
    params["0.weight_hh"][:] = 7
    np.testing.assert_array_equal(seen.params["0.weight_hh"], before["0.weight_hh"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.truncate = 3  # type: ignore[misc]


# what cannot be traced


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((50, 61), r"rows of 'walk', which are 0 to 59, at least one, got rows 50 to 60"),
        ((-3, 5), r"rows of 'walk', which are 0 to 59, at least one, got rows -3 to 4"),
        ((7, 7), r"which are 0 to 59, at least one, got rows 7 to 6"),
        (slice(-70, None), r"which are 0 to 59, at least one, got rows -10 to 59"),
        ((21, 24), r"none of the rows 21 to 23 of 'walk' has a target; those with one lie between rows 0 and 59"),
        (
            slice(0, 10, 2),
            r"rows as \(start, stop\), range\(start, stop\) or slice\(start, stop\), got slice\(0, 10, 2\)",
        ),
        (range(10, 0, -1), r"rows as \(start, stop\)"),
        ((0, 5, 9), r"rows as \(start, stop\)"),
        ((0.0, 5), r"rows as \(start, stop\)"),
        ((True, 5), r"rows as \(start, stop\)"),
        (12, r"rows as \(start, stop\).*got 12"),
    ],
)
def test_rows_that_are_not_there(rows: Any, message: str) -> None:
    with pytest.raises(rk.DataError, match=message):
        rk.trace(MODEL, series(), rows, params=parameters())


def test_rows_of_a_slice_count_from_the_end() -> None:
    assert rk.trace(SINGLE, series(), slice(-4, None), params=parameters(SINGLE)).rows.tolist() == [56, 57, 58, 59]


def test_rows_of_which_none_counts() -> None:
    data = rk.Sequence.panel([np.zeros((6, 2)), np.ones((6, 2))], [0.5, 1.5])
    with pytest.raises(rk.DataError, match=r"none of the rows 1 to 3 of 'panel' counts in the loss, which looks at"):
        rk.trace(SINGLE, data, (1, 4), params=parameters(SINGLE))


def short_run() -> tuple[rk.Run, rk.Sequence]:
    data = series(segments=None)
    return rk.fit(SINGLE, rk.Schedule(data, rk.Continuation(16), rk.Carry()), backend="numpy", epochs=1), data


def test_a_run_that_does_not_fit() -> None:
    run, data = short_run()
    with pytest.raises(rk.ModelError, match=r"trace expects the Sequence whose rows are traced, got NoneType; a run"):
        rk.trace(run, None, (0, 9))  # type: ignore[arg-type]
    with pytest.raises(rk.ModelError, match="trace expects params and loss with a Chain alone: a Run has its own"):
        rk.trace(run, data, (0, 9), params=run.params)
    with pytest.raises(rk.ModelError, match="trace expects params and loss with a Chain alone"):
        rk.trace(run, data, (0, 9), loss="mse")
    other = dataclasses.replace(run, model=rk.Chain(rk.LSTM(2, 5), rk.Dense(5, 1)))
    with pytest.raises(
        rk.ModelError, match=r"the model expects parameter '0.weight_ih' of shape \(20, 2\), got \(12, 2"
    ):
        rk.trace(other, data, (0, 9))
    with pytest.raises(rk.ModelError, match="the model expects 2 features, but 'series' has 1"):
        rk.trace(run, rk.Sequence(np.zeros(9), np.zeros(9)), (0, 9))
    with pytest.raises(rk.ModelError, match="the run was trained to predict 0 rows ahead, but 'series' has horizon=1"):
        rk.trace(run, rk.Sequence(np.zeros((9, 2)), target=0), (0, 8))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "LSTM"}, rk.ModelError, "trace expects a Run, or a Chain with params, got str"),
        ({"series": np.zeros(9)}, rk.ModelError, "trace expects the Sequence whose rows are traced, got ndarray"),
        ({"params": None}, rk.ModelError, "trace expects params with a Chain, got none; make them with rk.setup"),
        ({"params": [1.0]}, rk.ModelError, "trace expects params as a dict of arrays, got list"),
        ({"params": {"0.bias_ih": "x"}}, rk.ModelError, "trace expects parameters that NumPy can read: could not conv"),
        ({"params": {}}, rk.ModelError, "the model expects a parameter '0.weight_ih' of shape"),
        ({"model": rk.Chain(rk.Dense(2, 1))}, rk.ModelError, "trace expects a model with a recurrent layer, got Chain"),
        ({"loss": "mze"}, rk.ModelError, "expected a loss among mse.*did you mean"),
        ({"loss": "cross_entropy"}, rk.ModelError, "the loss cross_entropy expects whole-number labels"),
        ({"warm": -1}, rk.DataError, "trace expects warm to be a number of rows >= 0, got -1; 0 starts cold"),
        ({"warm": 2.5}, rk.DataError, "trace expects warm to be a number of rows >= 0, got 2.5"),
        ({"truncate": 0}, rk.ScheduleError, "trace expects truncate to be a whole number of rows >= 1, or None, got 0"),
        ({"truncate": True}, rk.ScheduleError, "trace expects truncate to be a whole number of rows >= 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    settings = {"model": MODEL, "series": series(), "rows": (0, 9), "params": parameters()} | settings
    with pytest.raises(error, match=message):
        rk.trace(settings.pop("model"), settings.pop("series"), settings.pop("rows"), **settings)


def test_the_gradient_may_be_cut_at_a_number_of_numpy() -> None:
    seen = rk.trace(SINGLE, series(), (0, 9), params=parameters(SINGLE), truncate=np.int64(3))  # type: ignore[arg-type]
    assert np.flatnonzero(seen.cut).tolist() == [3, 6]
    assert type(seen.truncate) is int


def test_a_model_of_which_no_head_was_chosen_is_refused() -> None:
    model = rk.Chain(rk.LSTM(2, 3), rk.Heads(a=rk.Dense(3, 1), b=rk.Dense(3, 1)))
    with pytest.raises(rk.ModelError, match=r"^trace expects a chain with one output, got one with the heads a, b; "):
        rk.trace(model, series(), (0, 9), params=parameters(model))


def test_questions_that_a_trace_cannot_answer() -> None:
    seen = rk.trace(SINGLE, series(), (40, 46), params=parameters(SINGLE))
    with pytest.raises(
        rk.ModelError, match=r"expects a parameter among 0.weight_ih, .*got '0.weight_hx'; did you mean"
    ):
        seen.contribution("0.weight_hx")
    with pytest.raises(rk.ModelError, match=r"Trace.reach expects a recurrent layer, one of 0, got 1"):
        seen.reach(1)
    for at in ([6], [-1], [], [0.5]):
        with pytest.raises(rk.ModelError, match=r"Trace.reach expects places from 0 to 5, got \["):
            seen.reach(at=at)  # type: ignore[arg-type]


# numbers by hand


def test_the_worked_step_shows_the_numbers_of_the_textbook() -> None:
    """Every line: its numbers make its result; and the results are those of the textbook backend."""
    env = {"σ": lambda a: 1 / (1 + math.exp(-a)), "tanh": math.tanh}
    shown: dict[str, float] = {}
    unit = ""
    for line in worked_step().splitlines():
        unit = line[5:] if line.startswith("unit ") else "" if line.startswith("what") else unit
        if not re.match(r"\(\d'?\)", line):
            continue
        name, *_, numbers, result = line[5:].split(" = ")
        if "w_" in line or "Σ" in line or "later" in line or "·" in numbers or "(" in numbers:
            value = eval(numbers.replace("·", "*").replace("²", "**2"), {"__builtins__": {}}, env)
            assert value == pytest.approx(float(result), abs=3e-4), line  # its numbers are rounded, too
        name = name.strip()
        shown[name + unit if name.startswith("d_") and unit else name] = float(result)
    engine, step = rk.backend("numpy"), example()
    model, params = rk.Chain(step.layer), {f"0.{name}": p for name, p in step.params.items()}
    state, d_after = (rk.LSTMState(*(s[None] for s in values)) for values in (step.before, step.d_later))
    y, after, tape = engine.forward(model, params, step.x[None], (state,))
    grads = engine.backward(model, params, tape, step.d_y[None, None], (d_after,))
    expected = {"d_x": grads.x.item(), "d_b": grads.params["0.bias_ih"][2], "d_w_x": grads.params["0.weight_ih"][2, 0]}
    for number in (1, 2):
        k = number - 1
        expected |= {f"h{number}": y[0, 0, k], f"c{number}": after[0].c[0, k]}
        expected |= {f"d_h{number}_before": grads.state[0].h[0, k], f"d_c_before{number}": grads.state[0].c[0, k]}
        expected |= {f"d_w_{number}": grads.params["0.weight_hh"][2, k]}
        for place, gate in enumerate("ifgo"):
            expected[f"d_{gate}_pre{number}"] = grads.params["0.bias_ih"][2 * place + k]
    for name, value in expected.items():
        assert shown[name] == pytest.approx(value, abs=5.1e-5), name
    assert len(shown) == 2 * (11 + 11) + 3 + 4


def test_the_worked_step_is_the_same_text_every_time() -> None:
    assert worked_step() == worked_step()
    assert "(4)  c1          = f1 c1_before + i1 g1 = 0.8389 · 1 + 0.7773 · 0.964 = 1.5882" in worked_step()
    assert all(line == line.rstrip() for line in worked_step().splitlines())


def test_a_backend_that_shows_no_numbers_says_so_and_the_one_that_it_names_does() -> None:
    model = rk.Chain(rk.LSTM(1, 2))
    params = rk.setup(model, dtype="float64")[0]
    other = types.SimpleNamespace(**{part: getattr(rk.backend("numpy"), part) for part in PARTS} | {"name": "other"})
    with pytest.raises(rk.BackendError, match="backend 'other' does not show its numbers; the backend 'numpy' does"):
        rk.backend(other).explain(model, params)  # type: ignore[arg-type]
    assert len(rk.backend("numpy").explain(model, params)) == 1


def test_a_step_of_a_layer_without_a_cell_is_refused_and_of_the_named_one_is_worked() -> None:
    with pytest.raises(rk.ModelError, match=r"worked_step expects the class of a recurrent layer, one of .*LSTM"):
        worked_step(rk.Dense)  # type: ignore[arg-type]
    assert worked_step(rk.LSTM) == worked_step()
