"""Names from data and configs are shown as they are: they command no terminal, page, report or picture."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

import rnnkit as rk
from builders.files import write_csv
from builders.series import wave
from rnnkit.cli.commands import main
from rnnkit.cli.report import Output
from rnnkit.view.text import drawn, markdown, markdown_code, visible

EVIL = (
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![p](javascript:alert(1))",
    "<javascript:alert(1)>",
    "`code` **bold** _i_ # head | cell",
    "[ref]: javascript:alert(1)",
    "&lt;script&gt; $x^2$ \\[a\\](b)",
    "new\nline\n# head",
)


@pytest.mark.parametrize("name", EVIL)
def test_markdown_shows_a_name_as_it_is(name):
    """As a well-kept renderer, which lets HTML through as Markdown says, shows it."""
    for written, tag in ((markdown(name), "p"), (markdown_code(name), "code")):
        page = MarkdownIt("commonmark", {"html": True}).enable("table").render(f"Name: {written}\n")
        text = html.unescape(page.removeprefix("<p>Name: ").removesuffix("</p>\n"))
        shown = " ".join(name.split())
        assert text == (f"<code>{shown}</code>" if tag == "code" else shown)
        assert not any(f"<{made}" in page for made in ("img", "a ", "script", "strong", "em", "h1"))


def test_a_report_of_a_study_has_no_markup_of_its_data(tmp_path):
    series = rk.Sequence(np.sin(np.arange(200) / 5), name="".join(EVIL))
    found = rk.compare(
        rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), series.split(0.7, 0.15), splitters=[rk.Continuation(length=8)],
        policies=[rk.Carry()], backends=["numpy"], equal=rk.Equal(rows=60), jobs=1, out=tmp_path / "<b>[x](y)",
    )  # fmt: skip
    assert found.folder is not None
    report = (found.folder / "report.md").read_text()
    assert "<" not in report
    assert "](javascript" not in report.replace(r"\](javascript", "")
    assert [line for line in report.splitlines() if line.startswith("# ")] == [r"# &lt;b&gt;\[x\](y)"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("\u202edesrever", r"\u202edesrever"),
        ("\x9b31m", r"\x9b31m"),
        ("half \ud800", r"half \ud800"),
        ("plain ünï 🎉", "plain ünï 🎉"),
    ],
)
def test_control_characters_are_shown(text, shown):
    assert visible(text) == shown


def test_no_name_commands_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv("a.csv", v=wave())
    Path("a.toml").write_text(
        'name = "\\u001b]0;owned\\u0007\\u001b[31m[red]$x$"\nout = "out"\nbackend = "numpy"\n[[data]]\npath = "a.csv"\n'
        'name = "\\u001b]0;owned\\u0007\\u001b[31m[red]$x$"\n[model]\nlayers = [{type = "LSTM", hidden = 2}, '
        '{type = "Dense"}]\n[splitter]\ntype = "Continuation"\nlength = 8\n[train]\nepochs = 1\n'
    )
    for command in (["plan", "a.toml", "--picture", "plan.png"], ["train", "a.toml"], ["evaluate", "out"]):
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "\x07" not in out + err
        assert (r"\x1b]0;ow" in out) == (command[0] != "evaluate")  # a table may break it
    assert main(["predict", "out", "--data-set", "\x1b[31m"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_colours_of_our_own_stay(capsys):
    console = Output(force_terminal=True, color_system="standard", highlight=False)
    console.print("[red]warm[/red] \x1b[32m")
    said = capsys.readouterr().out
    assert "\x1b[31mwarm" in said
    assert r"\x1b[32m" in said


def test_pictures_take_no_name_for_mathematics():
    figure = rk.plots.plot_forecast(rk.Sequence(np.arange(50.0), name=r"$\frac{$ and $x_1$"), np.zeros((49, 1)))
    figure.canvas.draw()
    (title,) = {axes.get_title(loc="left") for axes in figure.axes}
    assert title.startswith(r"\$\frac{\$ and \$x_1\$: the last")
    assert drawn("x" * 20_000)[100:] == "xxxxxx ... " + "x" * 40
    names = {"$a$ and $\\b$": rk.Sequence(np.arange(40.0)), "_c": rk.Sequence(np.arange(40.0))}
    figure = rk.Curriculum(names, rk.Continuation(length=8)).plot()
    figure.canvas.draw()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == [r"\$a\$ and \$\b\$", " _c"]
