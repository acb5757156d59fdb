"""The page to look at a trace: one file, whose numbers are the trace's, whatever it is made of."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnkit as rk
from builders.commands import refused
from builders.configs import config
from builders.files import write_csv
from builders.series import wave
from builders.traces import broken_walk, traced
from rnnkit.cli.commands import main
from rnnkit.errors import ModelError, ScheduleError, SourceError
from rnnkit.view.page import LIMIT, write, write_page


def numbers(text: str) -> dict[str, Any]:
    """The page's numbers, its arrays as arrays."""
    found = re.search(r'<script type="application/json" id="numbers">\n(.*?)\n</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1], object_hook=_array)


def _array(held: dict[str, Any]) -> Any:
    if held.keys() != {"dtype", "shape", "data"}:
        return held
    return np.frombuffer(base64.b64decode(held["data"]), "<" + np.dtype(held["dtype"]).str[1:]).reshape(held["shape"])


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of `style`."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] == "style":
            self.style += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = traced().write_page(tmp_path_factory.mktemp("page") / "walk.html")
    return file.read_text(encoding="utf-8")


def test_the_page_is_one_file_that_fetches_nothing(page: str) -> None:
    seen = Tags()
    seen.feed(page)
    links = [value for _, attributes in seen.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]
    assert not re.search(r"@import|url\(", seen.style)
    assert {tag for tag, _ in seen.tags} >= {"main", "h1", "table", "style", "script"}
    (policy,) = (
        attributes["content"] for _, attributes in seen.tags if "content-security-policy" in str(attributes).lower()
    )
    assert policy == ("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:")
    assert len(page.encode()) < LIMIT
    assert "{{" not in page.replace(write.plotly_text(), "")


def test_every_control_has_a_label_and_every_part_a_sentence_on_what_to_look_for(page: str) -> None:
    seen = Tags()
    seen.feed(page)
    named = {attributes["for"] for tag, attributes in seen.tags if tag == "label"}
    assert {str(a["id"]) for tag, a in seen.tags if tag in ("select", "input")} <= named
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert len(sections) == 6
    for section in sections:
        figures = len(re.findall('class="figure', section))
        assert len(re.findall(r'class="look">\s*Look ', section)) == max(figures, 1)


def test_the_numbers_on_the_page_are_the_trace_s(page: str) -> None:
    seen, held = traced(), numbers(page)
    assert (held["precision"], held["left_out"], held["all_rows"]) == ("float64", "", 37)
    assert held["rows"].tolist() == seen.rows.tolist() == [*range(5, 20), *range(23, 45)]
    assert held["reset"] == [0, 15]
    np.testing.assert_array_equal(held["loss"], seen.loss)
    np.testing.assert_array_equal(held["observed"], seen.target)
    np.testing.assert_array_equal(held["predicted"], seen.y)
    assert held["mean_loss"] == seen.mean_loss
    for layer, index in zip(held["layers"], (0, 1), strict=True):
        found: Any = seen.layers[index]
        assert layer["units"] == list(range(found.h.shape[1]))
        for name in set(found) - {"x", "d_x"}:
            np.testing.assert_array_equal(layer["arrays"][name], getattr(found, name), strict=True)
        np.testing.assert_array_equal(layer["x"], found.x[:, :1])
        np.testing.assert_array_equal(layer["d_x"], found.d_x[:, :1])
        for order in layer["orders"].values():
            assert sorted(order) == layer["units"]
        for gate in "ifgo":
            rest = found.h_before @ seen.params[f"{index}.weight_hh"].T
            rest = rest[:, "ifgo".index(gate) * found.h.shape[1] :][:, : found.h.shape[1]]
            np.testing.assert_array_equal(layer["arrays"][f"{gate}_from_h"], rest)
            total = layer["arrays"][f"{gate}_from_x"] + rest + layer["bias"][gate]
            np.testing.assert_allclose(total, getattr(found, f"{gate}_pre"), rtol=1e-12, atol=1e-14)
        later = layer["arrays"]
        np.testing.assert_array_equal(later["d_h_later"] + found.d_y, found.d_h)
        tanh_share = found.d_h * (found.o * (1 - found.tanh_c**2))
        np.testing.assert_array_equal(later["d_c_later"] + tanh_share, found.d_c)
        np.testing.assert_allclose(layer["norm"]["c"], np.sqrt((found.d_c**2).sum(1)), rtol=1e-14)
        np.testing.assert_allclose(layer["reach"]["h"], seen.reach(index).h, rtol=1e-6)
        np.testing.assert_allclose(layer["profile"]["c"], seen.reach(index).by_lag("c"), rtol=1e-6)


def test_what_truncation_costs_is_that_of_traces_which_truncate() -> None:
    whole, data = traced(), broken_walk()
    schedule = rk.Schedule(data, rk.Continuation(8), rk.Carry())
    held = numbers(write.page_text(whole, [schedule]))
    assert held["bias"]["lengths"] == [1, 2, 4, 8, 16, 32, 37]
    flat = lambda seen: np.concatenate([g.ravel() for g in seen.gradient.values()])  # noqa: E731
    for length, cosine, ratio in zip(*held["bias"].values(), strict=True):
        a, b = flat(traced(truncate=length)), flat(whole)
        assert cosine == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), rel=1e-12)
        assert ratio == pytest.approx(np.sqrt((a @ a) / (b @ b)), rel=1e-12)
    own = held["variants"][0]
    assert (own["cosine"], own["norm_ratio"]) == (held["bias"]["cosine"][3], held["bias"]["norm_ratio"][3])
    norm = np.linalg.norm(traced(truncate=8).layers[1].d_h, axis=1)  # type: ignore[union-attr]
    np.testing.assert_allclose(own["norms"][1]["h"], norm, rtol=1e-13)
    assert own["starts"] == [8, 16, 24, 32]
    assert own["first"].tolist() == [0] * 8 + [8] * 7 + [15] + [16] * 8 + [24] * 8 + [32] * 5


def test_the_reach_is_that_of_losses_which_count_alone() -> None:
    data = broken_walk(segments=[(k, k + 6) for k in range(0, 60, 6)], score="last")
    seen = traced((2, 45), data=data)
    scored = np.flatnonzero(seen.weight)
    assert scored.tolist() == [3, 9, 15, 21, 27, 33, 39]
    for layer in numbers(write.page_text(seen))["layers"]:
        reach = layer["reach"]
        assert (reach["at"], reach["rows"], reach["every"]) == (scored.tolist(), seen.rows[scored].tolist(), True)
        whole = seen.reach(layer["index"]).h
        np.testing.assert_allclose(reach["h"], whole[scored], rtol=1e-6)
        lag_two = whole[scored, scored - 2].mean()  # every segment goes so far back
        assert layer["profile"]["h"][2] == pytest.approx(lag_two, rel=1e-6)


def test_lines_and_small_text_stand_out_from_what_is_behind_them(page: str) -> None:
    def brightness(code: str) -> float:
        parts = np.array([int(code[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        return float(
            np.where(parts > 0.04045, ((parts + 0.055) / 1.055) ** 2.4, parts / 12.92) @ (0.2126, 0.7152, 0.0722)
        )

    def contrast(a: str, b: str) -> float:
        low, high = sorted((brightness(a), brightness(b)))
        return (high + 0.05) / (low + 0.05)

    seen = Tags()
    seen.feed(page)
    themes = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block)) for block in seen.style.split("}")[:2]]
    digits = re.findall(r"#lanes \.rows { fill: (#[0-9a-f]{6});", seen.style)
    assert len(themes) == len(digits) == 2
    for theme, digit in zip(themes, digits, strict=True):
        for box in ("initial", "carried", "recorded"):
            assert contrast(digit, theme[box]) >= 4.5, box
        for line in ("model", "cell", "own", "naive", "initial", "chosen", "cut", "edge"):
            assert contrast(theme["paper"], theme[line]) >= 3, line
        assert contrast(theme["panel"], theme["edge"]) >= 3


def test_a_trace_that_was_cut_keeps_its_numbers_beside_the_whole_gradient() -> None:
    cut, whole = traced(truncate=8), traced()
    held = numbers(write.page_text(cut))
    assert held["truncate"] == 8
    np.testing.assert_array_equal(held["layers"][0]["arrays"]["d_c"], cut.layers[0].d_c)  # type: ignore[union-attr]
    norm = np.linalg.norm(whole.layers[0].d_c, axis=1)  # type: ignore[union-attr]
    np.testing.assert_allclose(held["layers"][0]["norm"]["c"], norm, rtol=1e-13)


def test_what_does_not_fit_is_thinned_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "ROWS", 10)
    monkeypatch.setattr(write, "UNITS", 3)
    held = numbers(write.page_text(traced()))
    assert "10 of 37 rows, evenly spaced" in held["left_out"]
    assert "the 3 of 5 units of layer 0 whose output varies most" in held["left_out"]
    assert held["places"].tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]
    layer, seen = held["layers"][0], traced()
    np.testing.assert_array_equal(
        layer["arrays"]["d_f"],
        seen.layers[0].d_f[held["places"]][:, layer["units"]],  # type: ignore[union-attr]
    )


def test_a_page_keeps_below_its_limit_first_by_precision_then_by_rows_and_units() -> None:
    wide = rk.Chain(rk.LSTM(2, 40), rk.Dense(40, 1))
    seen, library = traced(model=wide), len(write.plotly_text().encode())
    for room, precision, thinned in ((300_000, "float32", ""), (60_000, "float32", "units of layer 0")):
        limit = library + write.SPARE + room
        text = write.page_text(seen, limit=limit)
        held = numbers(text)
        assert len(text.encode()) <= limit
        assert held["precision"] == precision
        assert thinned in held["left_out"]
        assert bool(thinned) == bool(held["left_out"])


def test_names_of_a_series_cannot_break_out_of_the_page() -> None:
    name = "</script><script>alert(1)</script>"
    text = write.page_text(traced(data=broken_walk(name=name)))
    assert name not in text
    assert numbers(text)["name"] == name


def test_times_are_shown_no_finer_than_they_are(tmp_path: Path) -> None:
    times = np.datetime64("2024-03-01T00:30") + 30 * np.arange(12)
    (tmp_path / "a.csv").write_text("\n".join(["at,v", *(f"{time},{k}" for k, time in enumerate(times))]))
    data = rk.Sequence.open(tmp_path / "a.csv", time="at", target="v")
    seen = traced((2, 6), rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), data)
    assert numbers(write.page_text(seen))["times"][:2] == ["2024-03-01 01:30", "2024-03-01 02:00"]


def test_a_gradient_of_zero_has_a_page_too() -> None:
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))
    params = {key: 0 * p for key, p in rk.setup(model)[0].items()}
    data = rk.Sequence(np.ones((9, 2)), np.zeros((9, 1)))
    held = numbers(write.page_text(rk.trace(model, data, (0, 1), params=params)))
    assert held["bias"] == {"lengths": [1], "cosine": [None], "norm_ratio": [None]}


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "page.html"
    with pytest.raises(ModelError, match=r"write_page expects a Trace, got int; make one with rk.trace"):
        write_page(3, file)  # type: ignore[arg-type]
    with pytest.raises(ScheduleError, match=r"write_page expects schedules, got Carry; write rk.Schedule"):
        write_page(traced(), file, [rk.Carry()])  # type: ignore[list-item]
    with pytest.raises(SourceError, match=r"write_page expects a file that can be written, got .*no_folder"):
        write_page(traced(), tmp_path / "no_folder" / "page.html")
    file.write_text("mine")
    with pytest.raises(SourceError, match=r"page.html' is there already; name another file, or give overwrite=True"):
        write_page(traced(), file)
    assert file.read_text() == "mine"
    assert traced().write_page(file, overwrite=True) == file
    assert file.read_text().startswith("<!DOCTYPE html>")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(SourceError, match=r'needs plotly, which is not installed; pip install -e "\.\[inspect\]"'):
        write_page(traced(), tmp_path / "other.html")


def test_a_notebook_shows_a_small_table_and_needs_no_plotly() -> None:
    text = traced(data=broken_walk(name="<walk>"), truncate=8)._repr_html_()
    assert text.startswith("<table>")
    assert "&lt;walk&gt;" in text
    assert "<walk>" not in text
    norm = np.linalg.norm(traced(truncate=8).gradient["0.weight_ih"])
    assert f"<tr><th>‖gradient‖ of 0.weight_ih</th><td>{norm:.6g}</td></tr>" in text
    assert "cut every 8 rows" in text
    code = "import sys, rnnkit, rnnkit.tracing, rnnkit.view.page; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


CONFIG = config(lanes=2, policy="Carry")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a finished run, its data beside it in the working directory."""
    write_csv(tmp_path / "wave.csv", value=wave(300, level=10, scale=10))
    (tmp_path / "a.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "a.toml"]) == 0
    capsys.readouterr()
    return tmp_path / "runs" / "a"


def test_inspect_writes_the_trace_of_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(trained), "--rows", "100:130", "--out", "bptt.html"]) == 0
    assert "rows 100 to 129, forward and back, are in bptt.html (" in capsys.readouterr().out
    held = numbers(Path("bptt.html").read_text())
    seen = rk.trace(rk.load(trained), rk.Sequence.open("wave.csv"), (100, 130))
    np.testing.assert_array_equal(held["layers"][0]["arrays"]["d_g_pre"], seen.layers[0].d_g_pre)  # type: ignore[union-attr]
    np.testing.assert_array_equal(held["predicted"], seen.to_numpy()["predicted"])
    assert held["warmed"] == 100
    assert held["variants"][0]["label"] == "Continuation(length=8, lanes=2) with Carry()"
    assert held["variants"][0]["lanes"]["all_steps"] == 14


def test_inspect_shows_the_end_of_the_training_part_unless_told_otherwise(trained: Path) -> None:
    assert main(["inspect", str(trained)]) == 0
    held = numbers((trained / "inspect_81_209.html").read_text())
    assert held["rows"].tolist() == list(range(81, 209))
    assert main(["inspect", str(trained), "--rows", "290:", "--out", str(trained / "end.html")]) == 0
    assert numbers((trained / "end.html").read_text())["rows"].tolist() == list(range(290, 299))


@pytest.mark.parametrize(
    ("tokens", "match"),
    [
        (["--rows", "2000:2128"], r"trace expects rows of 'wave', which are 0 to 299, .* got rows 2000 to 2127"),
        (["--rows", "5:5"], r"trace expects rows of 'wave', which are 0 to 299, at least one, got rows 5 to 4"),
        (["--rows", "20-28"], r"inspect expects --rows as START:STOP, got '20-28'; write --rows 2000:2128"),
        (["--rows", "299:300"], r"none of the rows 299 to 299 of 'wave' has a target"),
        (["--data.path", "gone.csv"], r"found no data file .*gone.csv'.*; say where it is with --data.path"),
        (["--out", "there.html"], r"'there.html' is there already; name another file with --out, or replace it with"),
        (["--out", "nowhere/a.html"], r"cannot be written: there is no folder 'nowhere'"),
    ],
)
def test_inspect_refuses_what_cannot_be_shown(
    trained: Path, tokens: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.html").write_text("mine")
    assert re.search(match, refused(capsys, "inspect", str(trained), *tokens))
    assert Path("there.html").read_text() == "mine"
    assert not list(trained.glob("inspect*"))


def test_inspect_refuses_a_run_whose_data_are_gone_and_takes_them_elsewhere(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wave.csv").rename("moved.csv")
    assert re.search(r"found no data file .*wave.csv'.*; say where", refused(capsys, "inspect", str(trained)))
    assert main(["inspect", str(trained), "--rows", "3:9", "--data.path", "moved.csv"]) == 0


def test_inspect_refuses_a_model_without_recurrent_layer(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.toml").write_text(CONFIG.replace('[[model.layers]]\ntype = "LSTM"\nhidden = 3\n', ""))
    assert main(["train", "a.toml", "--overwrite"]) == 0
    capsys.readouterr()
    said = refused(capsys, "inspect", str(trained))
    assert "trace expects a model with a recurrent layer, got Chain(Dense(" in said


def test_inspect_says_at_once_that_plotly_is_missing(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    Path("wave.csv").unlink()
    assert 'pip install -e ".[inspect]"' in refused(capsys, "inspect", str(trained))
