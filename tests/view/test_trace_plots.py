"""Pictures of a trace: what is drawn is what was traced."""

from __future__ import annotations

import io
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import rnnkit as rk
from rnnkit.tracing import unit_order
from rnnkit.view.trace_plots import KINDS, LOSSES, plot_gates, plot_gradient, plot_reach, plot_rows

DEEP = rk.Chain(rk.LSTM(1, 5), rk.LSTM(5, 4), rk.Dense(4, 1))


def traced(rows: Any = (5, 45), model: rk.Chain = DEEP, truncate: int | None = 8) -> rk.Trace:
    rng = np.random.default_rng(0)
    data = rk.Sequence(rng.standard_normal(60), segments=[(0, 20), (23, 60)], name="walk")
    params = {key: 2 * p for key, p in rk.setup(model, seed=2)[0].items()}
    return rk.trace(model, data, rows, params=params, truncate=truncate, warm=0)


def mesh(axes: Any) -> np.ndarray:
    """The numbers of the heat map of some axes."""
    (found,) = [artist for artist in axes.collections if isinstance(artist, QuadMesh)]
    return np.ma.filled(found.get_array(), np.nan)  # type: ignore[arg-type]


def upright(axes: Any) -> list[float]:
    """Where lines go up all the way, sorted."""
    lines = (line.get_xdata() for line in axes.lines if list(line.get_ydata()) == [0, 1])
    return sorted(float(x[0]) for x in lines)


def texts(figure: Figure) -> str:
    axes = [text for a in figure.axes for text in (a.get_title("left"), a.get_xlabel(), a.get_ylabel())]
    labels = [text.get_text() for a in figure.axes if (key := a.get_legend()) for text in key.get_texts()]
    return "\n".join([*axes, *labels, *(text.get_text() for text in figure.texts), figure.get_suptitle()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "truncate"), [((16, 40), 8), ((30, 31), None)])
def test_every_picture_is_a_figure_that_can_be_drawn(kind: Any, rows: Any, truncate: int | None) -> None:
    figure = traced(rows, truncate=truncate).plot(kind)
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    assert file.getvalue().startswith(b"\x89PNG")


def test_rows_show_what_comes_what_was_predicted_and_the_loss() -> None:
    seen = traced()
    figure = plot_rows(seen)
    above, below = figure.axes
    arrays = seen.to_numpy()
    for line, name in zip(above.lines, ("observed", "predicted"), strict=False):
        x, y = (np.asarray(values, float) for values in line.get_data())
        assert np.flatnonzero(np.isnan(y)).tolist() == [14]  # no line goes from one segment to the next
        np.testing.assert_array_equal(np.delete(x, 14), np.arange(len(seen)))
        np.testing.assert_array_equal(np.delete(y, 14), arrays[name][:, 0])
    np.testing.assert_array_equal(below.patches[0].get_data().values, seen.loss)
    for axes in figure.axes:  # resets at places 0 and 14, cuts every 8
        assert upright(axes) == [-0.5, 7.5, 13.5, 15.5, 23.5, 31.5]
    assert "what comes, 1 row later" in texts(figure)
    assert "state reset\ngradient cut" in texts(figure)
    figure.draw_without_rendering()
    ticks = [text.get_text() for text in below.get_xticklabels() if text.get_text()]
    assert set(ticks) <= {str(row) for row in seen.rows}
    assert ticks[0] == "5"


def test_the_pictures_of_classes_show_classes() -> None:
    rng = np.random.default_rng(0)
    data = rk.Sequence(rng.standard_normal(30), rng.integers(0, 3, 30))
    for loss, outputs in (("cross_entropy", 3), ("binary_cross_entropy", 1)):
        model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, outputs))
        wanted = data if outputs == 3 else rk.Sequence(rng.standard_normal(30), rng.integers(0, 2, 30))
        seen = rk.trace(model, wanted, (0, 30), params=rk.setup(model)[0], loss=loss)
        shown = np.asarray(plot_rows(seen).axes[0].lines[1].get_ydata(), float)
        expected = seen.y.argmax(-1) if outputs == 3 else 1 / (1 + np.exp(-seen.y[:, 0]))
        np.testing.assert_allclose(shown, expected, rtol=1e-12)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("order", ["similar", "peak", "index"])
def test_gates_are_heat_maps_of_every_unit(layer: int, order: Any) -> None:
    seen = traced()
    figure = plot_gates(seen, layer, order)
    numbers: Any = seen.layers[layer]
    units = unit_order(numbers, order)
    panels = figure.axes[:7]
    for axes, name in zip(panels[1:], ("i", "f", "g", "o", "c", "h"), strict=True):
        np.testing.assert_array_equal(mesh(axes), getattr(numbers, name)[:, units].T)
        image = axes.collections[0]
        low, high = image.get_clim()
        if name in "gch":  # zero is in the middle, and white
            assert low == -high
            np.testing.assert_allclose(image.cmap(0.5)[:3], 0.97, atol=0.02)
        else:
            assert (low, high) == (0, 1)
        assert axes.get_title("left").startswith(f"{name}, ")
    assert figure.get_suptitle().startswith(f"walk, layer {layer}: {5 - layer} units, ")
    np.testing.assert_array_equal(panels[0].lines[0].get_ydata(), numbers.x[:, 0])


def test_the_gradient_is_shown_by_its_size_its_sign_and_what_rows_add() -> None:
    seen = traced()
    figure = plot_gradient(seen, 1)
    sizes, cells, added = figure.axes[:3]
    numbers: Any = seen.layers[1]
    for line, name in zip(sizes.lines, ("d_h", "d_c", "d_y"), strict=False):
        y = np.asarray(line.get_ydata(), float)
        assert np.isnan(y[14])  # no line goes from one segment to the next
        np.testing.assert_allclose(np.delete(y, 14), np.linalg.norm(getattr(numbers, name), axis=1), rtol=1e-12)
    np.testing.assert_array_equal(mesh(cells), numbers.d_c[:, unit_order(numbers)].T)
    shown = {str(line.get_label()): line.get_ydata() for line in added.lines}
    for label, key in (("1.weight_hh", "1.weight_hh"), ("both biases", "1.bias_hh")):
        norm = seen.contribution_norm(key)
        np.testing.assert_array_equal(shown[label], np.insert(np.where(norm > 0, norm, np.nan), 14, np.nan))
    assert (sizes.get_yscale(), added.get_yscale()) == ("log", "log")


def test_a_value_that_stands_alone_is_a_dot() -> None:
    x = np.sin(np.arange(30.0))
    samples = rk.Sequence(x, x, segments=[(0, 10), (10, 20), (20, 30)], score="last")
    seen = rk.trace(DEEP, samples, (0, 30), params=rk.setup(DEEP)[0])
    hidden, _, scored = plot_gradient(seen, 1).axes[0].lines[:3]
    known = np.flatnonzero(np.isfinite(np.asarray(scored.get_ydata(), float)))
    assert np.asarray(scored.get_xdata())[known].tolist() == [9, 19, 29]
    assert scored.get_marker() == "o"
    assert scored.get_markevery() == known.tolist()
    assert hidden.get_marker() == "None"
    for figure in (plot_rows(traced((30, 31))), plot_gradient(traced((30, 31)))):
        assert figure.axes[0].lines[0].get_markevery() == [0]


def test_the_reach_is_shown_with_the_cut() -> None:
    seen = traced((25, 49))
    figure = plot_reach(seen, 1)
    matrix, lags = figure.axes[:2]
    reach = seen.reach(1)
    shown = mesh(matrix)
    np.testing.assert_array_equal(np.isnan(shown), reach.h == 0)
    np.testing.assert_array_equal(shown[reach.h > 0], reach.h[reach.h > 0])
    x, y = (np.asarray(values, float) for values in matrix.lines[-1].get_data())
    assert list(zip(x, y, strict=True)) == [
        (-0.5, -0.5), (-0.5, 7.5), (7.5, 7.5), (7.5, 15.5), (15.5, 15.5), (15.5, 23.5)
    ]  # fmt: skip
    for line, part in zip(lags.lines, ("h", "c"), strict=False):
        np.testing.assert_array_equal(line.get_ydata(), reach.by_lag(part))
    assert upright(lags) == [7.5]
    assert "gradient cut every 8 rows" in texts(figure)
    assert "cut" not in texts(plot_reach(traced((25, 49), truncate=None)))


def test_a_long_reach_shows_some_of_its_rows() -> None:
    model = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
    data = rk.Sequence(np.sin(np.arange(701.0)))
    seen = rk.trace(model, data, (0, 700), params=rk.setup(model)[0])
    assert mesh(plot_reach(seen).axes[0]).shape == (LOSSES, 700)


def test_a_picture_says_what_it_leaves_out() -> None:
    model = rk.Chain(rk.LSTM(1, 140), rk.Dense(140, 1))
    seen = rk.trace(model, rk.Sequence(np.sin(np.arange(30.0))), (0, 29), params=rk.setup(model)[0])
    figure = plot_gates(seen)
    assert mesh(figure.axes[1]).shape == (128, 29)
    assert "row of series (shown: the 128 of 140 units of layer 0 whose output varies most)" in texts(figure)
    wide = rk.Chain(rk.LSTM(6, 3), rk.Dense(3, 6))
    data = rk.Sequence(np.random.default_rng(0).standard_normal((30, 6)), target=list(range(6)))
    assert "(shown: the first 4 of 6 targets)" in texts(
        rk.trace(wide, data, (0, 9), params=rk.setup(wide)[0]).plot("rows")
    )


def test_a_picture_is_not_covered_with_lines() -> None:
    model = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
    data = rk.Sequence(np.sin(np.arange(151.0)))
    for truncate, lines in ((1, 1), (2, 75)):
        seen = rk.trace(model, data, (0, 150), params=rk.setup(model)[0], truncate=truncate, warm=0)
        figure = plot_rows(seen)
        assert len(upright(figure.axes[0])) == lines
        assert ("row of series (shown: no line at a gradient cut)" in texts(figure)) == (truncate == 1)


def test_a_picture_that_there_is_not() -> None:
    seen = traced()
    with pytest.raises(rk.ModelError, match=r"Trace.plot expects one of rows, gates, gradient, reach, got 'gate'; did"):
        seen.plot("gate")  # type: ignore[arg-type]
    for kind in ("gates", "gradient", "reach"):
        with pytest.raises(rk.ModelError, match=rf"plot_{kind} expects a recurrent layer, one of 0, 1, got 2"):
            seen.plot(kind, 2)  # type: ignore[arg-type]


def test_tracing_needs_neither_matplotlib_nor_a_fast_backend() -> None:
    code = """
import sys, numpy as np, rnnkit as rk
assert "rnnkit_numpy" not in sys.modules
model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
seen = rk.trace(model, rk.Sequence(np.zeros(9)), (0, 8), params=rk.setup(model)[0])
assert not {"matplotlib", "numba", "torch"} & set(sys.modules)
seen.plot("gates")
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_picture_is_among_the_plots():
    for name in rk.plots.__all__:
        assert callable(getattr(rk.plots, name))
    found = {
        name
        for module in ("plots", "forecasts", "trace_plots", "transfer", "bias", "curriculum")
        for name in dir(import_module(f"rnnkit.view.{module}"))
        if name.startswith("plot_")
    }
    assert found - set(rk.plots.__all__) == {"plot_forecasts"}
