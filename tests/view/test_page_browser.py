"""The page in a headless Chromium: everything is drawn, nothing is fetched, the numbers follow the controls."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnkit as rk

pytestmark = pytest.mark.browser

MODEL = rk.Chain(rk.LSTM(1, 6), rk.LSTM(6, 4), rk.Dense(4, 1))
SINGLE = rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 1))
LABELS = rk.Chain(rk.LSTM(2, 5), rk.Dense(5, 3))
FIGURES = ("series", "gates", "norms", "reach", "profile", "bias")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
STEP = 1e-200


def wave() -> rk.Sequence:
    values = np.sin(np.arange(130.0) / 4) + 0.2 * np.random.default_rng(0).standard_normal(130)
    return rk.Sequence(values, horizon=1, segments=[(0, 70), (70, 130)], name="wave & <sine>")


def traced(model: rk.Chain = MODEL) -> rk.Trace:
    params = {key: 2 * p for key, p in rk.setup(model, seed=3, dtype="float64")[0].items()}
    return rk.trace(model, wave(), (50, 101), params=params, loss="mse")  # row 69 has no target: place 19 is a reset


def gestures() -> rk.Sequence:
    """Segments of six rows with a class each, of which the last row alone is scored."""
    x = np.random.default_rng(4).standard_normal((48, 2))
    segments = [(k, k + 6) for k in range(0, 48, 6)]
    return rk.Sequence(x, np.arange(48) // 6 % 3, segments=segments, score="last", name="gestures")


def labelled(rows: tuple[int, int], warm: int) -> rk.Trace:
    params = {key: 2 * p for key, p in rk.setup(LABELS, seed=4, dtype="float64")[0].items()}
    return rk.trace(LABELS, gestures(), rows, params=params, loss="cross_entropy", warm=warm)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail("these tests need Chromium and chromedriver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    schedule = rk.Schedule(wave(), rk.Continuation(8, lanes=2), rk.Carry())
    chunks = rk.Schedule(gestures(), rk.Chunked(4), rk.Reset())
    return {
        "labelled": labelled((2, 45), 0).write_page(folder / "labelled.html", [chunks]),
        "warmed": labelled((20, 28), 2).write_page(folder / "warmed.html", [chunks]),
        "inside": labelled((20, 24), 2).write_page(folder / "inside.html", [chunks]),
        "deep": traced().write_page(folder / "deep.html", [schedule]),
        "single": traced(SINGLE).write_page(folder / "single.html", [schedule]),
    }


@pytest.fixture
def page(browser: Any, files: dict[str, Path]) -> Any:
    return opened(browser, files["deep"])


def opened(browser: Any, file: Path) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what was said before
    browser.get(file.as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.execute_script("return document.body.dataset.drawn === 'all'"))
    return browser


def shown(page: Any) -> dict[str, str]:
    """The results of the step, by name, as they are written."""
    script = "return [...document.querySelectorAll('#step b')].map(b => [b.dataset.value, b.textContent])"
    return dict(page.execute_script(script))


def written(value: float) -> str:
    """A number as the page writes it, to five digits."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.4e}".split("e")
    power = int(exponent)
    text = f"{value:.{4 - power}f}" if -3 <= power <= 4 else f"{mantissa}e{power:+d}"
    return text.replace("-", "−")


def chosen(page: Any) -> tuple[int, int, int]:
    """Row among the traced ones, layer and unit."""
    return tuple(page.execute_script("return [chosen.row, chosen.layer, chosen.unit]"))


def choose(page: Any, control: str, value: Any) -> None:
    script = (
        "const c = document.getElementById(arguments[0]); c.value = arguments[1];"
        "c.dispatchEvent(new Event(arguments[0] === 'row' ? 'input' : 'change', { bubbles: true }))"
    )
    page.execute_script(script, control, str(value))


def keys(page: Any, *pressed: str) -> None:
    from selenium.webdriver import ActionChains

    for key in pressed:
        ActionChains(page).send_keys(key).perform()


def expected(seen: rk.Trace, row: int, index: int, unit: int) -> dict[str, str]:
    """What the step has to say, from the trace."""
    layer: Any = seen.layers[index]
    names = [name for name in layer if name not in ("x", "d_x", "tanh_c", "d_y")]
    values = {name: getattr(layer, name)[row, unit] for name in names}
    ends = bool(seen.reset[row])
    values |= {"after": values["h"], "d_x": layer.d_x[row, 0]}
    values |= {"to_h": 0.0 if ends else values["d_h_before"], "to_c": 0.0 if ends else values["d_c_before"]}
    values |= {f"d_w_{gate}": values[f"d_{gate}_pre"] * layer.x[row, 0] for gate in "ifgo"}
    return {name: written(float(value)) for name, value in values.items()}


def test_nothing_is_fetched_and_nothing_goes_wrong(page: Any) -> None:
    choose(page, "variant", 4)
    choose(page, "layer", 1)
    page.execute_script("document.getElementById('theme').click()")
    assert [entry for entry in page.get_log("browser") if entry["level"] != "INFO"] == []
    assert page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    told = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in told if m["method"] == "Network.requestWillBeSent"]
    assert {url.partition(":")[0] for url in sent} <= {"file", "data"}
    assert sent  # the log is on


def test_all_six_parts_are_drawn(page: Any) -> None:
    for name in FIGURES:
        script = (
            "const f = document.getElementById(arguments[0]); return [f.data.length, f.querySelectorAll('svg').length]"
        )
        traces, drawings = page.execute_script(script, name)
        assert traces >= 2, name
        assert drawings >= 1, name
    heat = page.execute_script(
        "return document.getElementById('gates').data.map(t => [t.type, t.z.length, t.z[0].length])"
    )
    assert heat == [["heatmap", 6, 50]] * 6
    assert len(page.find_elements("css selector", "#step tbody tr")) == 6
    assert len(page.find_elements("css selector", "#lanes rect.initial")) >= 2
    assert page.find_element("id", "name").text == "wave & <sine>"


def test_heat_maps_hold_the_gates_with_zero_in_the_middle_of_signed_ones(page: Any) -> None:
    seen: Any = traced().layers[0]
    choose(page, "order", "index")
    drawn = page.execute_script(
        "return document.getElementById('gates').data.map(t => [t.y, t.z.map(r => Array.from(r)), t.zmin, t.zmax])"
    )
    for (units, values, low, high), name in zip(drawn, "ifgoch", strict=True):
        assert units == [f"unit {k}" for k in range(6)]
        np.testing.assert_array_equal(np.array(values).T, getattr(seen, name))
        assert low == (-high if name in "gch" else 0)


def test_the_step_shows_the_trace_s_numbers_wherever_the_controls_go(page: Any) -> None:
    seen = traced()
    assert seen.reset[19]
    for row, layer, unit in ((0, 0, 0), (19, 0, 3), (18, 1, 2), (49, 1, 0), (37, 0, 5)):
        choose(page, "layer", layer)
        choose(page, "unit", unit)
        choose(page, "row", row)
        assert shown(page) == expected(seen, row, layer, unit)
        assert page.find_element("id", "row-said").text == str(seen.rows[row])
        assert f"Row {seen.rows[row]}; layer {layer}, unit {unit}" in page.find_element("id", "step-said").text


def test_arrow_keys_and_buttons_go_from_row_to_row(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    seen, (row, layer, unit) = traced(), chosen(page)
    assert row == int(np.argmax(seen.loss))  # where there is most to see
    choose(page, "row", 10)
    keys(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert shown(page) == expected(seen, 12, layer, unit)
    keys(page, Keys.ARROW_LEFT)
    assert chosen(page)[0] == 11
    page.find_element("id", "row").send_keys(Keys.ARROW_RIGHT)  # once, though the slider knows the key itself
    assert chosen(page)[0] == 12
    page.execute_script("document.getElementById('back').click()")
    assert chosen(page)[0] == 11
    choose(page, "row", 0)
    keys(page, Keys.ARROW_LEFT)
    assert chosen(page)[0] == 0
    page.execute_script("document.getElementById('lanes').focus()")  # there they scroll
    keys(page, Keys.ARROW_RIGHT)
    assert chosen(page)[0] == 0


def test_the_chosen_row_is_marked_in_every_figure_over_rows(page: Any) -> None:
    choose(page, "row", 33)
    marks = page.execute_async_script("""
        const done = arguments[0];
        const at = (name) => {
            const figure = document.getElementById(name);
            const area = figure.querySelector(".nsewdrag").getBoundingClientRect();
            return [...figure.parentElement.querySelectorAll(".here")].map(mark => {
                const box = mark.getBoundingClientRect();
                return mark.classList.contains("level")
                    ? (box.y + box.height / 2 - area.y) / area.height : (box.x + box.width / 2 - area.x) / area.width;
            });
        };
        requestAnimationFrame(() => setTimeout(() => done(["series", "gates", "norms", "reach"].map(at)), 50));
    """)
    share = (33 + 0.5) / 50
    for found, count in zip(marks, (1, 1, 1, 2), strict=True):
        assert found == pytest.approx([share] * count, abs=5e-3)
    assert len(page.find_elements("css selector", "#lanes-chosen rect")) == 1
    reach = traced().reach(0)
    own = page.execute_script("return document.getElementById('profile').data[2].y")
    at_lags = reach.h[33, 19:34][::-1]  # back to the reset
    np.testing.assert_allclose(own[:15], at_lags, rtol=1e-6)
    assert own[15:] == [None] * 35


def test_another_variant_redraws_the_gradient_and_the_schedule(page: Any) -> None:
    script = """return [
        document.getElementById("norms").data[2].y.filter(v => v !== null),
        document.getElementById("reach").data[2].x,
        document.getElementById("profile").data[1].y,
        document.getElementById("lanes").textContent,
        document.getElementById("lanes-said").textContent,
        document.getElementById("norms").layout.shapes.filter(s => s.line.dash === "dash").map(s => s.x0)]"""
    before = page.execute_script(script)
    choose(page, "variant", 1)
    after = page.execute_script(script)
    for old, new in zip(before, after, strict=True):
        assert old != new
    assert before[4].startswith("Continuation(length=8, lanes=2) with Carry(): windows of 8 rows")
    assert after[4].startswith("Continuation(length=4, lanes=2) with Carry(): windows of 4 rows")
    assert before[5] == [x - 0.5 for x in (8, 16, 24, 32, 40, 48)]
    params = traced().params
    for shown_norm, length in ((before[0], 8), (after[0], 4)):
        cut: Any = rk.trace(MODEL, wave(), (50, 101), params=params, truncate=length).layers[0]
        np.testing.assert_allclose(shown_norm, np.linalg.norm(cut.d_h, axis=1), rtol=1e-12)


def test_rows_that_are_not_scored_are_said_to_be_so(browser: Any, files: dict[str, Path]) -> None:
    page, seen = opened(browser, files["labelled"]), labelled((2, 45), 0)
    scored = np.flatnonzero(seen.weight)
    best = int(scored[np.argmax(seen.loss[scored])])
    assert seen.loss[0] > seen.loss[best]  # row 2 would be chosen, if it counted
    assert chosen(page)[0] == best
    told = "return document.getElementById('step-said').textContent"
    own = "const own = document.getElementById('profile').data[2]; return [own.y.filter(v => v !== null), own.name]"
    classes = f"predicted class {seen.y[best].argmax()}, target class {seen.rows[best] // 6 % 3}"
    assert page.execute_script(told).endswith(f": {classes}, loss {written(seen.loss[best])}.")
    values, name = page.execute_script(own)
    assert name == "loss of the chosen row"
    np.testing.assert_allclose(values, seen.reach(0).h[best, best - len(values) + 1 : best + 1][::-1], rtol=1e-6)
    choose(page, "row", 0)
    assert page.execute_script(told).endswith(", not scored.")
    page.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    assert page.execute_script(own) == [[], "chosen row: not scored"]
    lines = page.execute_script(
        "return document.getElementById('reach').data[0].z.flatMap((z, t) => z.some(v => v !== null) ? [t] : [])"
    )
    assert lines == scored.tolist()
    names = page.execute_script("return document.getElementById('series').data.map(d => d.name)")
    assert names[:2] == ["target class", "predicted class"]


def test_windows_are_said_to_begin_anew_where_a_border_between_segments_is_crossed(
    browser: Any, files: dict[str, Path]
) -> None:
    for name, crossed in (("labelled", True), ("warmed", True), ("inside", False)):
        said = opened(browser, files[name]).find_element("id", "variant-said").text
        assert said.startswith("Chunked(length=4) with Reset(): ")
        assert said.endswith("and anew from each reset." if crossed else "from the first row."), name


def test_what_to_look_for_and_what_is_said_follow_a_lookback(page: Any) -> None:
    look = page.find_element("id", "norms-look").text
    assert look.startswith("Look just left of each dashed border")
    choose(page, "variant", 3)
    assert "lookback=8" in page.find_element("id", "variant-said").text
    assert "8 new rows and 8 read again" in page.find_element("id", "variant-said").text
    assert "windows of 8 new rows and 8 read again" in page.find_element("id", "lanes-said").text
    assert page.find_element("id", "norms-look").text.startswith(
        "Look further left of each dashed border than the 8 rows"
    )
    choose(page, "variant", 0)
    assert page.find_element("id", "norms-look").text == look


def test_what_a_row_hands_back_is_what_the_row_before_takes_as_later(page: Any) -> None:
    layer: Any = traced().layers[0]
    choose(page, "row", 12)
    equations = page.execute_script("return [...document.querySelectorAll('#step code')].map(code => code.textContent)")
    for part in "hc":
        assert f"d_{part}(later) of row t−1 = d_{part}⁻, or 0 after a reset" in equations
    unit = chosen(page)[2]
    told = float(shown(page)["to_h"].replace("−", "-"))
    assert told == pytest.approx(layer.d_h[11, unit] - layer.d_y[11, unit], rel=1e-4)
    assert "of the whole gradient, whatever windows are chosen above" in page.find_element("id", "step-note").text


def test_dark_and_light_by_the_system_and_by_the_button(page: Any, files: dict[str, Path]) -> None:
    for theme, other in (("dark", "light"), ("light", "dark")):
        features = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        opened(page, files["deep"])
        look = "return [document.documentElement.dataset.theme, document.getElementById('series').layout.font.color]"
        named, ink = page.execute_script(look)
        assert named == theme
        page.execute_script("document.getElementById('theme').click()")
        assert page.execute_script(look)[0] == other
        assert page.execute_script(look)[1] != ink


def test_a_phone_needs_no_scrolling_sideways(page: Any, files: dict[str, Path]) -> None:
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened(page, files["deep"])
    assert page.execute_script("return document.documentElement.scrollWidth") == 400
    widths = page.execute_script("return [...document.querySelectorAll('.js-plotly-plot')].map(f => f.offsetWidth)")
    assert len(widths) == len(FIGURES)
    assert max(widths) <= 400
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def mean_loss(seen: rk.Trace, name: str, row: int, unit: int) -> complex:
    """The mean loss of the rows, complex, with one number of one row of the single layer nudged by iε."""
    p, steps = seen.params, len(seen)
    h, c = (np.array(a[0], complex) for a in seen.state[0])

    def nudged(values: np.ndarray, what: str, t: int) -> np.ndarray:
        if (what, t) == (name, row):
            values = values.copy()
            values[unit] += 1j * STEP
        return values

    total = 0j
    for t in range(steps):
        if seen.reset[t]:
            h, c = np.zeros(5, complex), np.zeros(5, complex)
        h, c = nudged(h, "h_before", t), nudged(c, "c_before", t)
        a = p["0.weight_ih"] @ seen.x[t] + p["0.bias_ih"] + p["0.weight_hh"] @ h + p["0.bias_hh"]
        pre = [nudged(part, f"{gate}_pre", t) for gate, part in zip("ifgo", np.split(a, 4), strict=True)]
        sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
        i, f, g, o = sigmoid(pre[0]), sigmoid(pre[1]), np.tanh(pre[2]), sigmoid(pre[3])
        i, f, g, o = (nudged(v, gate, t) for gate, v in zip("ifgo", (i, f, g, o), strict=True))
        c = nudged(f * c + i * g, "c", t)
        h = nudged(o * np.tanh(c), "h", t)
        y = p["1.weight"] @ h + p["1.bias"]
        total += ((y - seen.target[t]) ** 2).mean() / steps
    return total


def test_what_the_page_says_is_the_derivative_of_the_loss(browser: Any, files: dict[str, Path]) -> None:
    page, seen = opened(browser, files["single"]), traced(SINGLE)
    names = ["h", "c", *"ifgo", *(f"{gate}_pre" for gate in "ifgo"), "h_before", "c_before"]
    for row, unit in ((7, 1), (18, 3), (30, 4)):
        choose(page, "unit", unit)
        choose(page, "row", row)
        said = shown(page)
        for name in names:
            derivative = mean_loss(seen, name, row, unit).imag / STEP
            assert derivative != 0
            told = float(said[f"d_{name}"].replace("−", "-"))
            assert told == pytest.approx(derivative, rel=6e-5), (row, unit, name)
