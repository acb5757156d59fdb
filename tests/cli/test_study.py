"""`rnnkit compare`: a study's file means what `compare` is told, and what is wrong with it is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rnnkit as rk
import rnnkit.study.measure as measure
from builders.files import write_csv
from builders.studies import CHUNKS, MODEL, STRIPS, parts_of, read_table
from rnnkit.cli.commands import main
from rnnkit.cli.config import POLICIES, SPLITTERS, tables_at
from rnnkit.cli.study import StudyConfig, build_plan, read_study
from rnnkit.study.plan import make_plan
from rnnkit.study.report import with_spread

EXAMPLES = Path(__file__).parents[2] / "examples"

STUDY = """\
splitters = [{type = "Continuation", length = 10, lanes = 2}, {type = "Chunked", length = 10, lanes = 2}]
policies = ["Carry", {type = "Reset"}]
backends = ["numpy"]
seeds = 2
equal = {rows = 200}
[data]
path = "wave.csv"
time = "time"
target = "value"
warm = 2
[[model.layers]]
type = "LSTM"
hidden = 3
[[model.layers]]
type = "Dense"
[train]
rule = {type = "Adam", learning_rate = 0.02}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a study and its data."""
    series = parts_of()[0]
    values = series.with_scaler(None).read_x(0, 300, "float64")[:, 0]
    write_csv(tmp_path / "wave.csv", time=range(300), value=values)
    (tmp_path / "a.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_does_what_compare_does(home, capsys, undrawn):
    assert main(["compare", "a.toml", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    series = rk.Sequence.open("wave.csv", time="time", target="value")
    training, validation, test = series.split(0.7, 0.15)
    parts = (training.with_scaler(rk.Standard.fit(training)), validation, test)
    expected = rk.compare(
        MODEL, parts, splitters=[STRIPS, CHUNKS], backends=["numpy"], seeds=2, equal=rk.Equal(rows=200),
        rule=rk.Adam(0.02), warm=2, jobs=1,
    )  # fmt: skip
    table = read_table(home / "runs" / "a")
    assert [row["test_mae"] for row in table] == [row.get("test_mae") for row in expected.rows]
    assert "8 trials, each trained for 200 scored rows" in said
    assert "refused: Chunked(length=10, lanes=2) with Carry(): " in said
    assert "6 trials to run" in said
    assert "6/6 Chunked(length=10, lanes=2), Reset(), numpy, seed 1: done   validation MAE" in said
    best = expected.summary[0]
    assert with_spread(best["test_mae_mean"], best["test_mae_spread"]) in said
    assert f"the report is {Path('runs/a/report.md')}" in said
    assert main(["compare", "a.toml"]) == 0
    assert "0 trials to run" in capsys.readouterr().out


def test_a_study_without_a_validation_part_is_refused_and_the_advice_works(home, capsys, undrawn):
    assert main(["compare", "a.toml", "--jobs", "1", "--data.validation", "0.0"]) == 2
    said = capsys.readouterr().err
    assert "--data.validation: compare expects a validation part to choose by" in said
    assert "[data] validation = 0.15" in said
    assert main(["compare", "a.toml", "--jobs", "1", "--data.validation", "0.15"]) == 0
    assert "Chosen by its MAE on the validation part: C" in capsys.readouterr().out


def test_options_reach_into_the_study(home, capsys, undrawn):
    tokens = ["--seeds", "[5]", "--policies", '["Reset"]', "--splitters.1.lanes", "3", "--equal", "{epochs = 1}"]
    assert main(["compare", "a.toml", "--jobs", "1", "--out", "here", *tokens]) == 0
    table = read_table(home / "here")
    assert [(row["splitter"], row["seed"], row["epochs"]) for row in table] == [
        ("Continuation(length=10, lanes=2)", 5, 1),
        ("Chunked(length=10, lanes=3)", 5, 1),
    ]
    assert main(["compare", "a.toml", "--jobs", "1", "--out", "here", *tokens, "--fresh"]) == 0
    assert "2 trials to run" in capsys.readouterr().out


def test_a_failed_cell_gives_exit_status_1(home, capsys, monkeypatch):
    monkeypatch.setattr(measure, "errors_of", lambda study, run: 1 / 0)
    assert main(["compare", "a.toml", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "failed: ZeroDivisionError: division by zero" in said


def test_ctrl_c_keeps_finished_cells_and_the_same_command_goes_on(home):
    (home / "a.toml").write_text(STUDY.replace("seeds = 2", "seeds = 8").replace("200", "1000"))
    command = [sys.executable, "-u", "-W", "error", "-m", "rnnkit.cli.commands", "compare", "a.toml", "--jobs", "2"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " 2/24 " in line:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to the children too
                break
        said, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "trials are finished and kept in 'runs/a'; run it again to go on" in said
    assert "Warning" not in complaints
    kept = len(list((home / "runs" / "a" / "trials").glob("*.json")))
    assert 2 <= kept < 24
    plan = build_plan(read_study("a.toml"), fresh=False)
    assert len(plan.remaining) == 24 - kept


def test_splitters_and_policies_of_a_study_are_those_of_a_config():
    for key, kinds in (("splitters", SPLITTERS), ("policies", POLICIES)):
        assert tuple(table.kind for table in tables_at(StudyConfig, key)) == kinds


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'policies = ["Carry"',
            'policies = ["Cary"',
            "line 2, policies.0: expects one of .*'Cary'; did you mean 'Carry'",
        ),
        ("seeds = 2", 'seeds = "two"', "line 4, seeds: expects a whole number or a list, got 'two'"),
        ("seeds = 2", "seeds = [1, -2]", "line 4, seeds: .*whole numbers from 0 on, got -2"),
        ("seeds = 2", "seed = 2", "line 4, seed: unknown key; did you mean 'seeds'"),
        ('backends = ["numpy"]', 'backends = ["numpi"]', "line 3, backends.0: .*'numpi'; did you mean 'numpy'"),
        ('backends = ["numpy"]', 'backends = "numpy"', "line 3, backends: expects a list, got 'numpy'"),
        ("equal = {rows = 200}", "equal = {rows = 0}", "line 5, equal.rows: Equal expects rows to be a whole number"),
        ("equal = {rows = 200}", "equal = {rows = 5, seconds = 2}", "line 5, equal.rows: .*got rows = 5, seconds = 2"),
        ("equal = {rows = 200}", "equal = {row = 5}", "line 5, equal.row: unknown key; did you mean 'rows'"),
        ("[train]", "[train]\nepochs = 7", r"line 17, train.epochs: .*leave it out, or write equal = \{epochs = 7\}"),
        ("[train]", "[train]\nearly_stopping = {}", "line 17, train.early_stopping: .*trains every trial alike"),
        ("[train]", "[train]\nlearning_rate = {type = 'Plateau'}", "line 17, train.learning_rate: .*type = .Plateau."),
        ("length = 10, lanes = 2}, {", "length = 0, lanes = 2}, {", "line 1, splitters.0.length: .*>= 1, got 0"),
        ("length = 10, lanes = 2}]", "length = 10, lane = 2}]", "splitters.1.lane: unknown key; did you mean 'lanes'"),
        ('policies = ["Carry", {type = "Reset"}]', "", "policies: is required, but missing"),
        ('policies = ["Carry", {type = "Reset"}]', "policies = []", "line 2, policies: expects at least one entry"),
        ('policies = ["Carry", ', 'policies = ["Reset", ', "line 2, policies: .*differ, got .Reset."),
        ("hidden = 3", 'hidden = "3"', "line 13, model.layers.0.hidden: expects a whole number, got '3'"),
        ('path = "wave.csv"', 'path = "wafe.csv"', "line 7, data.path: .*did you mean 'wave.csv'"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_with_its_line(home, capsys, old, new, said):
    assert old in STUDY
    (home / "a.toml").write_text(STUDY.replace(old, new))
    assert main(["compare", "a.toml", "--jobs", "1"]) == 2
    complaint = capsys.readouterr().err
    assert "Traceback" not in complaint
    with pytest.raises(rk.ConfigError, match=said):
        raise rk.ConfigError(complaint)
    assert not (home / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "tokens", "said"),
    [
        (
            'policies = ["Carry", {type = "Reset"}]',
            'policies = "Carry"',
            [],
            """line 2, policies: expects a list, got 'Carry'; write ["Carry"]""",
        ),
        (
            'policies = ["Carry", {type = "Reset"}]',
            'policies = {type = "Carry"}',
            [],
            'line 2, policies: expects a list, got {type = "Carry"}; write [{type = "Carry"}]',
        ),
        (
            STUDY.splitlines()[0],
            'splitters = {type = "Chunked", length = 10}',
            [],
            'line 1, splitters: expects a list, got {type = "Chunked", length = 10}; '
            'write [{type = "Chunked", length = 10}]',
        ),
        (
            "",
            "",
            ["--policies", "Carry"],
            """option --policies: expects a list, got 'Carry'; write --policies '["Carry"]'""",
        ),
        (
            "length = 10, lanes = 2}, {",
            'length = {type = "Geometric", mean = 0.5}, lanes = 2}, {',
            [],
            "line 1, splitters.0.length.mean: Geometric expects mean > 1 (rows), got 0.5",
        ),
    ],
)
def test_a_table_in_place_of_a_list_and_one_within_another_are_told_in_their_form(home, capsys, old, new, tokens, said):
    assert old in STUDY
    (home / "a.toml").write_text(STUDY.replace(old, new, 1))
    assert main(["compare", "a.toml", "--jobs", "1", *tokens]) == 2
    assert capsys.readouterr().err == f"rnnkit: a.toml, {said}\n"


def test_a_study_draws_lengths(home):
    drawn = '{type = "Geometric", mean = 8}'
    text = STUDY.replace("length = 10, lanes = 2}, {", f"length = {drawn}, lanes = 2, reweight = true}}, {{")
    (home / "a.toml").write_text(text)
    for tokens, mean in (([], 8), (["--splitters.0.length.mean", "16"], 16)):
        plan = build_plan(read_study("a.toml", tokens), fresh=True)
        assert plan.trials[0].trial.splitter == rk.Continuation(rk.Geometric(mean), lanes=2, reweight=True)


def test_all_that_is_wrong_is_said_at_once(home, capsys):
    (home / "a.toml").write_text(STUDY.replace("hidden = 3", "hidden = 0").replace("rows = 200", "rows = -1"))
    assert main(["compare", "a.toml", "--polices", "Reset"]) == 2
    said = capsys.readouterr().err
    assert "has 3 errors" in said
    assert "unknown option --polices; did you mean --policies?" in said


def test_a_study_without_equal_trains_for_the_epochs_of_train(home):
    text = STUDY.replace("equal = {rows = 200}\n", "").replace("[train]", "[train]\nepochs = 3")
    (home / "a.toml").write_text(text)
    assert build_plan(read_study("a.toml"), fresh=False).study.equal == rk.Equal(epochs=3)


def test_the_example_plans_what_its_comments_say():
    plan = build_plan(read_study(EXAMPLES / "compare_states.toml"), fresh=True)
    assert len(plan.trials) == 4 * 2 * 5
    assert set(plan.refused) == {
        ("Chunked(length=40, lanes=4)", "Carry()"),
        ("Sliding(length=40, lanes=4, shuffle=True)", "Carry()"),
    }
    training = plan.study.parts[0]
    assert plan.study.equal.rows / len(training) == pytest.approx(140, abs=3)
    again = make_plan(plan.study, [rk.Sliding(length=40, lanes=4)], [rk.Reset()], ["numba"], 1)
    scored = rk.Schedule(training, again.trials[0].trial.splitter, rk.Reset())
    rows = sum(float(block.weight.sum()) for block in scored.blocks())
    assert plan.study.equal.rows / rows == pytest.approx(3.5, abs=0.05)
