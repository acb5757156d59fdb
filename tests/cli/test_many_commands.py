"""The command line on many data sets, run in this process on small data; Ctrl-C in a process of its own."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

import rnnkit as rk
from builders.commands import refused
from builders.configs import config
from builders.files import write_csv
from builders.runs import same_parameters
from builders.series import wave
from rnnkit.cli.build import build
from rnnkit.cli.commands import main
from rnnkit.cli.read import read
from rnnkit.view.curriculum import COLOURS, describe, members_of, plot_curriculum, steps_of

SETS = """
[common]
time = "time"
target = "value"
period = 31
warm = 2
[[data]]
path = "small.csv"
learning_rate = 0.5
[[data]]
path = "large.csv"
[curriculum]
order = ["large", "small"]
transfer = "epoch"
"""
CONFIG = config(SETS.lstrip(), lanes=2, train='epochs = 2\nrule = {type = "Adam", learning_rate = 0.02}')

WAYS = {"o": rk.OneByOne(), "r": rk.RoundRobin(), "s": rk.SideBySide()}


def write(file: Path, rows: int, scale: float) -> None:
    write_csv(file, time=range(rows), value=wave(rows, rows, level=10, scale=scale))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and its data."""
    write(tmp_path / "small.csv", 100, 0.01)
    write(tmp_path / "large.csv", 140, 50.0)
    (tmp_path / "m.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a finished run."""
    assert main(["train", "m.toml"]) == 0
    capsys.readouterr()
    return home / "runs" / "m"


def by_hand(home: Path, **settings) -> tuple[rk.Run, rk.Curriculum]:
    """The run of the config, without the command line."""
    options = {"time": "time", "target": "value"}
    sets = [
        rk.DataSet(home / "small.csv", learning_rate=0.5, split=(0.7, 0.15), options=options),
        rk.DataSet(home / "large.csv", split=(0.7, 0.15), options=options),
    ]
    curriculum = rk.Curriculum(sets, rk.Continuation(8, lanes=2), rk.Carry(), order=["large", "small"], **settings)
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
    epochs = None if curriculum.phases else 2
    run = rk.fit(model, curriculum, backend="numpy", rule=rk.Adam(0.02), epochs=epochs, warm=2, transfer="epoch")
    return run, curriculum


def test_train_does_what_fit_does_and_keeps_everything_in_the_run_folder(home, capsys):
    assert main(["train", "m.toml"]) == 0
    said = capsys.readouterr().out
    folder = home / "runs" / "m"
    run, curriculum = by_hand(home)
    kept = rk.load(folder)
    assert same_parameters(kept, run)
    assert kept.sets == run.sets
    names = {"config.toml", "metrics.jsonl", "run.json", "params.safetensors", "state.safetensors", "evaluation.json"}
    pictures = {"loss.png", "forecast.png", "transfer.png"}
    assert {file.name for file in folder.iterdir()} == names | pictures | {"transfer.csv"}
    for picture in pictures:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for name in ("small/loss", "large/loss", "small/validation_loss", "loss"):
        assert [line[name] for line in lines] == run.history.epochs[name]
    found = json.loads((folder / "evaluation.json").read_text())
    assert list(found) == ["small", "large"]
    for name, parts in found.items():
        opened = curriculum.open(name)
        for part in ("validation", "test"):
            expected = rk.evaluate(run.on(name), getattr(opened, part), period=31, warm=2)
            assert expected.persistence is not None
            assert parts[part]["model"]["mae"] == expected.model.mae
            assert f"{expected.model.mae:.5g}" in said
            assert f"{expected.persistence.mae:.5g}" in said
    assert run.transfer is not None
    assert str(run.transfer) in said
    with (folder / "transfer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["start", "epoch 1", "epoch 2"]
    assert [row["trained"] for row in rows] == ["", "small + large", "small + large"]
    assert [float(row["large"]) for row in rows] == pytest.approx(run.transfer.errors[:, 1].tolist(), rel=1e-9)
    assert said.index("loss of large") < said.index("loss of small") < said.index("epoch 1/2   loss")
    assert "turn 2/2" in said
    assert "m: 2 data sets, 166 rows to train on" in said


def test_the_config_of_a_run_trains_the_same_again_from_elsewhere(home, monkeypatch):
    (home / "g.toml").write_text(CONFIG.replace('"small.csv"', '"sm*.csv"'))
    assert main(["train", "g.toml", "--seed", "4", "--out", "deep/er"]) == 0
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert main(["train", "../deep/er/config.toml", "--out", "again"]) == 0
    assert same_parameters(rk.load(home / "deep" / "er"), rk.load("again"))


def test_overwrite_takes_the_transfer_of_the_old_run_away(home, trained, capsys):
    assert "is there already and not empty" in refused(capsys, "train", "m.toml", "--out", "runs/m")
    (trained / "notes.txt").write_text("mine")
    assert main(["train", "m.toml", "--overwrite", "--curriculum.transfer", "none"]) == 0
    left = {file.name for file in trained.iterdir()}
    assert not left & {"transfer.csv", "transfer.png"}
    assert "notes.txt" in left


def test_phases_leave_out_what_they_do_not_train(home, capsys):
    phases = '[{name = "one", names = ["small"], epochs = 2}, {names = ["large"], frozen = ["0.*"]}]'
    tokens = ["--curriculum.phases", phases, "--curriculum.transfer", "phase", "--train.epochs", "3"]
    assert main(["train", "m.toml", *tokens]) == 0
    said = capsys.readouterr().out
    assert "phase one, epochs 1 to 2: small" in said
    assert "phase 2, epoch 3: large; frozen: 0.*" in said
    lines = [json.loads(line) for line in Path("runs/m/metrics.jsonl").read_text().splitlines()]
    assert ["large/loss" in line for line in lines] == [False, False, True]
    assert ["small/loss" in line for line in lines] == [True, True, False]
    assert "NaN" not in Path("runs/m/metrics.jsonl").read_text()
    run = rk.load("runs/m")
    assert run.transfer is not None
    assert run.transfer.stages == ("start", "one", "phase 2")
    first = rk.Phase(("small",), 2)
    halfway, _ = by_hand(home, phases=(first,))
    assert np.array_equal(run.params["0.weight_hh"], halfway.params["0.weight_hh"])
    assert not np.array_equal(run.params["1.weight"], halfway.params["1.weight"])


def test_a_data_set_that_is_not_there_is_counted_when_it_may_be_skipped(home, capsys):
    (home / "small.csv").unlink()
    assert "line 8, data.0.path: found no data file" in refused(capsys, "train", "m.toml")
    assert not (home / "runs").exists()
    assert main(["train", "m.toml", "--curriculum.on_error", "skip"]) == 0
    said = capsys.readouterr().out
    assert "1 data set left out (on_error = 'skip'):\n  small: data set 'small': " in said
    assert list(rk.load("runs/m").sets) == ["large"]
    assert main(["plan", "m.toml", "--curriculum.on_error", "skip"]) == 0
    assert "1 data set left out" in capsys.readouterr().out
    assert main(["evaluate", "runs/m"]) == 0


def when_epoch_ends(epoch: int, monkeypatch: pytest.MonkeyPatch, do) -> None:
    """Do something when an epoch, from 1, has been trained."""
    train_module = import_module("rnnkit.cli.train")
    real = train_module.add_metrics

    def add_metrics(folder, history):
        real(folder, history)
        if len(history.epochs["loss"]) == epoch:
            do()

    monkeypatch.setattr(train_module, "add_metrics", add_metrics)


def test_a_data_set_that_fails_in_a_later_epoch_keeps_the_run_so_far(home, capsys, monkeypatch):
    when_epoch_ends(2, monkeypatch, (home / "small.csv").unlink)
    said = refused(capsys, "train", "m.toml", "--train.epochs", "4")
    assert "data set 'small'" in said
    assert said.splitlines()[-1] == f"The run up to there is in {Path('runs/m')}"
    run = rk.load("runs/m")
    assert len(run.history.epochs["loss"]) == 2
    assert len(Path("runs/m/metrics.jsonl").read_text().splitlines()) == 2
    assert main(["evaluate", "runs/m", "--data-set", "large"]) == 0


def test_a_data_set_that_changes_while_training_goes_on_is_told(home, capsys, monkeypatch):
    when_epoch_ends(1, monkeypatch, lambda: write(home / "small.csv", 90, 0.01))
    said = refused(capsys, "train", "m.toml")
    assert "data set 'small' has changed since it was measured" in said


def test_a_loss_that_is_not_finite_keeps_the_run_up_to_there(home, capsys):
    tokens = ["--train.rule", '{type = "SGD", learning_rate = 1e30}', "--common.scaler", "none"]
    with np.errstate(all="ignore"):
        said = refused(capsys, "train", "m.toml", *tokens)
    assert "of epoch 1, step " in said
    assert "is not finite" in said
    assert said.splitlines()[-1] == f"The run up to there is in {Path('runs/m')}"
    assert all(np.isfinite(value).all() for value in rk.load("runs/m").params.values())


def test_ctrl_c_keeps_the_run_so_far(home):
    tokens = ["train", "m.toml", "--train.epochs", "100000", "--curriculum.transfer", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rnnkit.cli.commands", *tokens],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    metrics = home / "runs" / "m" / ".unfinished" / "metrics.jsonl"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    done = len(rk.load(home / "runs" / "m").history.epochs["loss"])
    assert done >= 2
    assert f"interrupted after {done} epochs; the run so far is in runs/m" in out
    assert len((home / "runs" / "m" / "metrics.jsonl").read_text().splitlines()) == done


def test_evaluate_tells_all_data_sets_or_one(home, trained, capsys):
    run = rk.load(trained)
    assert main(["evaluate", "runs/m", "--out", "errors.json", "--part", "test"]) == 0
    said = capsys.readouterr().out
    found = json.loads(Path("errors.json").read_text())
    assert found == {name: {"test": parts["test"]} for name, parts in _kept(trained).items()}
    assert f"{found['small']['test']['model']['mae']:.5g}" in said
    assert main(["evaluate", "runs/m", "--data-set", "small", "--out", "one.json"]) == 0
    assert json.loads(Path("one.json").read_text()) == _kept(trained)["small"]
    write(home / "new.csv", 50, 0.01)
    assert (
        main(["evaluate", "runs/m", "--data-set", "small", "--data.path", "new.csv", "--part", "all", "--out", "n"])
        == 0
    )
    new = rk.Sequence.open("new.csv", time="time", target="value")
    expected = rk.evaluate(run.on("small"), new, period=31, warm=2)
    assert json.loads(Path("n").read_text())["all"]["model"]["mae"] == expected.model.mae


def _kept(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["evaluate", "runs/m", "--data.path", "x.csv"], "say which of them the data are like, .*: --data-set small"),
        (
            ["evaluate", "runs/m", "--data-set", "smal"],
            "has the data sets small, large, not 'smal'; did you mean 'small'",
        ),
        (["predict", "runs/m"], "the run in 'runs/m' was trained on small, large; choose one: --data-set small"),
        (["forecast", "runs/m", "--steps", "3"], "was trained on small, large; choose one: --data-set small"),
        (["check", "m.toml"], "check works on one data set, but m.toml has small, large; choose one: --data-set small"),
        (["bias", "m.toml"], "bias works on one data set, but m.toml has small, large; choose one: --data-set small"),
        (["compare", "m.toml"], "line 7, data: a study compares on one data set, got a list"),
    ],
)
def test_commands_that_want_one_data_set_say_which_there_are(trained, capsys, tokens, message):
    said = refused(capsys, *tokens)
    assert re.search(message, said), said


def test_a_config_with_one_data_set_takes_no_choice_among_them(home, capsys):
    one = CONFIG.replace("[common]", "[data]\npath = 'small.csv'", 1)
    one = one.replace('[[data]]\npath = "small.csv"\nlearning_rate = 0.5\n[[data]]\npath = "large.csv"\n', "")
    one = one.replace('[curriculum]\norder = ["large", "small"]\ntransfer = "epoch"\n', "")
    Path("one.toml").write_text(one)
    assert main(["train", "one.toml"]) == 0
    capsys.readouterr()
    assert "leave --data-set out" in refused(capsys, "evaluate", "runs/one", "--data-set", "small")
    assert "leave --data-set out" in refused(capsys, "check", "one.toml", "--data-set", "small")


def test_predictions_and_forecasts_are_those_of_the_chosen_data_set(home, trained, capsys):
    run = rk.load(trained)
    assert main(["predict", "runs/m", "--data-set", "large", "--part", "all"]) == 0
    series = rk.Sequence.open("large.csv", time="time", target="value")
    with (trained / "predicted_large_all.csv").open() as file:
        got = [float(row["predicted"]) for row in csv.DictReader(file)]
    expected = rk.predict(run.on("large"), series, warm=2)[: len(got), 0]
    assert got == pytest.approx(expected.tolist(), rel=1e-6)
    assert main(["forecast", "runs/m", "--data-set", "small", "--steps", "3", "--out", "ahead.csv"]) == 0
    series = rk.Sequence.open("small.csv", time="time", target="value")
    with Path("ahead.csv").open() as file:
        got = [float(row["predicted"]) for row in csv.DictReader(file)]
    assert got == pytest.approx(rk.forecast(run.on("small"), series, 3, warm=2)[:, 0].tolist(), rel=1e-6)


def test_check_and_bias_work_on_one_of_them(home, trained, capsys):
    assert main(["check", "m.toml", "--data-set", "large"]) == 0
    assert "the backends agree" in capsys.readouterr().out
    tokens = ["--data-set", "small", "--lengths", "4,8", "--rows", "40", "--run", "runs/m"]
    assert main(["bias", "m.toml", *tokens]) == 0
    assert "parameters of the run in runs/m" in capsys.readouterr().out


def test_plan_shows_data_sets_order_and_lanes(home, capsys):
    tokens = ["--curriculum.interleave", "RoundRobin", "--picture", "plan.png", "--steps", "3"]
    assert main(["plan", "m.toml", *tokens]) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["1.", "large", "+", "small:", "12", "steps"] in lines
    assert ["step", "0", "large", "step", "1", "small", "step", "2", "large"] in lines
    assert ["lane", "0", "*", "0-7", "*", "0-7", ">", "8-15"] in lines
    assert "... and 9 more steps" in said
    assert Path("plan.png").read_bytes().startswith(b"\x89PNG")
    assert not (home / "runs").exists()


def curriculum(way: rk.OneByOne | rk.RoundRobin | rk.SideBySide, lanes: int = 1, **settings) -> rk.Curriculum:
    waves = {name: rk.Sequence(np.arange(rows, dtype=float)) for name, rows in (("a", 21), ("b", 13))}
    return rk.Curriculum(waves, rk.Continuation(8, lanes=lanes), rk.Carry(), interleave=way, **settings)


def test_a_timeline_of_data_sets_side_by_side_counts_rows_in_each():
    lines = [line.split() for line in describe(curriculum(rk.SideBySide(), lanes=1), steps=9).splitlines()]
    assert ["step", "0", "step", "1", "step", "2", "step", "3"] in lines
    assert "lane 0 * a 0-7 > a 8-15 > a 16-19 b 0-3| > b 4-11" in " ".join(" ".join(line) for line in lines)


def test_an_order_that_is_drawn_and_phases_stand_in_the_plan(home, capsys):
    phases = '[{name = "one", epochs = 2}, {names = ["small"], epochs = 3}]'
    text = CONFIG.replace("epochs = 2\n", "").replace('order = ["large", "small"]', 'order = "shuffled"')
    Path("s.toml").write_text(text)
    assert main(["plan", "s.toml", "--curriculum.phases", phases]) == 0
    said = capsys.readouterr().out
    assert "phase one, epochs 1 to 2: all data sets" in said
    assert "epoch 1, phase one: 2 turns" in said
    assert "epoch 2, phase one: 2 turns" in said
    assert "epoch 3, phase 2: 1 turn" in said
    assert "the order is drawn anew in each epoch" in said


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_picture_has_a_bar_for_each_stretch_and_a_mark_for_each_reset(way):
    many = curriculum(way, lanes=2)
    figure = plot_curriculum(many, steps=100)
    (axes,) = figure.axes
    rows, windows = {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}
    resets = 0
    for turn in many.turns(0):
        with turn.open() as feed:
            assert feed is not None
            for step in steps_of(feed):
                found = members_of(feed, step.member, step.batch.rows)
                for place, name in enumerate(feed.names):
                    rows[name] += int((found == place).sum())
                    windows[name] += float((found == place).sum() / len(found))
                resets += int(step.batch.reset.sum()) + int(((step.batch.origin == -1) & step.batch.valid[0]).sum())
    assert rows == {"a": 20, "b": 12}
    widths = dict.fromkeys(COLOURS[:2], 0.0)
    for bars in axes.collections:
        colour = to_hex(bars.get_facecolor()[0]).upper()
        if colour in widths:
            box = bars.get_paths()[0].get_extents()
            widths[colour] += box.width
    assert list(widths.values()) == pytest.approx(list(windows.values()))
    assert len(axes.lines) == resets
    assert resets == 4 if not isinstance(way, rk.SideBySide) else resets == 3
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= {"a", "b", "reset: from the initial state"}


def test_a_state_that_waits_for_its_turn_is_shown_as_carried():
    many = curriculum(rk.RoundRobin())
    (turn,) = many.turns(0)
    with turn.open() as feed:
        assert feed is not None
        steps = list(steps_of(feed))
    assert [step.member for step in steps] == [0, 1, 0, 1, 0]
    assert [int(step.batch.origin[0]) for step in steps] == [-1, -1, 8, 8, 8]
    assert many.plot(steps=3).axes


def test_many_data_sets_are_told_apart_by_hatches_and_turns_left_out_are_counted():
    waves = {f"wave {index}": rk.Sequence(np.arange(20.0)) for index in range(14)}
    figure = plot_curriculum(rk.Curriculum(waves, rk.Continuation(8), rk.Carry()))
    (axes,) = figure.axes
    assert axes.get_xlabel().endswith("; 2 more turns")
    looks = {(str(bars.get_facecolor()[0]), bars.get_hatch()) for bars in axes.collections}
    assert len(looks) == 13  # twelve turns, and padding


def test_the_examples_that_train_on_many_run(home, capsys):
    """With fewer epochs; what their comments tell of the outcome has been looked at with all of them."""
    folder = Path(__file__).parents[2] / "examples"
    draft = read(folder / "many_servers.toml")
    experiment = build(draft)
    assert experiment.entries
    assert [phase.name for phase in experiment.curriculum.phases] == ["steady", "busy", "bursts", "all"]
    assert list(experiment.curriculum.names(59)) == list(experiment.curriculum.facts)
    assert len(experiment.curriculum.facts) == 8
    fewer = ["--curriculum.phases.0.epochs=1", "--curriculum.phases.1.epochs=4"]
    assert main(["train", str(folder / "pretrain_finetune.toml"), *fewer]) == 0
    run = rk.load("runs/pretrain_finetune")
    assert run.transfer is not None
    assert run.transfer.names[-1] == "new"
    assert len(run.transfer.names) == 8
    _, before, after = run.transfer.errors[:, -1]
    assert after < before
    assert build(read(folder / "every_setting_many.toml")).model.heads == ("hot", "cool")


def test_the_config_that_the_readme_shows_means_something(home):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (shown,) = [block for block in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if "[[data]]" in block]
    (home / "servers").mkdir()
    for file in ("servers/server_1.csv", "servers/server_2.csv", "new_server.csv"):
        write(home / file, 100, 1.0)
        (home / file).write_text((home / file).read_text().replace("time,", "timestamp,"))
    layers = '[[model.layers]]\ntype = "LSTM"\nhidden = 3\n[[model.layers]]\ntype = "Dense"\n'
    Path("r.toml").write_text(
        'backend = "numpy"\n' + shown + layers + '[splitter]\ntype = "Continuation"\nlength = 8\n'
    )
    experiment = build(read("r.toml"))
    assert experiment.entries
    assert set(experiment.curriculum.names(0)) == {"server_1", "server_2"}
    assert experiment.curriculum.names(20) == ("new_server",)
