"""The command line, run in this process on small data; Ctrl-C in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

import rnnkit as rk
import rnnkit.cli.check as check_module
from builders.commands import refused
from builders.configs import config
from builders.files import write_csv
from builders.runs import same_parameters
from builders.series import wave
from rnnkit.backend import CompleteBackend
from rnnkit.cli.build import build
from rnnkit.cli.commands import main
from rnnkit.cli.files import check_new
from rnnkit.cli.read import read
from rnnkit.cli.report import live
from rnnkit.cli.train import lowest_before_the_end
from rnnkit.errors import SourceError

EXAMPLES = Path(__file__).parents[2] / "examples"

CONFIG = config(
    'path = "wave.csv"\ntime = "time"\ntarget = "value"\nperiod = 31\nwarm = 2',
    lanes=2,
    policy="Carry",
    train="""
epochs = 2
rule = {type = "Adam", learning_rate = 0.02}
clip = {type = "ClipNorm", maximum = 0.05}
learning_rate = {type = "Cosine", floor = 0.1}
""",
)

RUN_FILES = {"config.toml", "metrics.jsonl", "run.json", "params.safetensors", "state.safetensors"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and its data."""
    write_csv(tmp_path / "wave.csv", time=range(300), value=wave(300, level=10, scale=10))
    (tmp_path / "a.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a finished run."""
    assert main(["train", "a.toml"]) == 0
    capsys.readouterr()
    return home / "runs" / "a"


def by_hand(home: Path, epochs: int = 2, seed: int = 0) -> tuple[rk.Run, rk.Sequence, rk.Sequence, rk.Sequence]:
    """The run of the config, without the command line; and the three parts in the data's own units."""
    series = rk.Sequence.open(home / "wave.csv", time="time", target="value")
    training, validation, test = series.split(0.7, 0.15)
    assert validation is not None
    assert test is not None
    scaler = rk.Standard.fit(training)
    run = rk.fit(
        rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1)),
        rk.Schedule(training.with_scaler(scaler), rk.Continuation(8, lanes=2), rk.Carry()),
        backend="numpy",
        rule=rk.Adam(0.02),
        clip=rk.ClipNorm(0.05),
        learning_rate=rk.Cosine(floor=0.1),
        epochs=epochs,
        seed=seed,
        validation=validation.with_scaler(scaler),
        warm=2,
    )
    return run, training, validation, test


def test_train_does_what_fit_does_and_keeps_everything_in_the_run_folder(home, capsys):
    assert main(["train", "a.toml"]) == 0
    said = capsys.readouterr().out
    folder = home / "runs" / "a"
    assert {file.name for file in folder.iterdir()} == RUN_FILES | {"loss.png", "forecast.png", "evaluation.json"}
    run, _, validation, test = by_hand(home)
    assert same_parameters(rk.load(folder), run)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["loss"] for line in lines] == run.history.epochs["loss"]
    assert [line["validation_loss"] for line in lines] == run.history.epochs["validation_loss"]
    for part in (validation, test):
        found = rk.evaluate(run, part, period=31, warm=2)
        assert found.persistence is not None
        assert found.seasonal_naive is not None
        for errors in (found.model, found.persistence, found.seasonal_naive):
            assert f"{errors.mae:.5g}" in said
            assert f"{errors.rmse:.5g}" in said
        kept = json.loads((folder / "evaluation.json").read_text())["validation" if part is validation else "test"]
        assert kept == {
            "model": _plain(found.model),
            "persistence": _plain(found.persistence),
            "seasonal_naive": _plain(found.seasonal_naive),
        }
    assert "epoch 2/2   loss" in said
    assert "rows a second" in said
    assert f"the run is in {Path('runs/a')}" in said
    for picture in ("loss.png", "forecast.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def _plain(errors: rk.Errors) -> dict[str, float]:
    return {"mae": errors.mae, "rmse": errors.rmse, "rows": errors.rows}


def test_the_config_of_a_run_has_the_overrides_and_trains_the_same_again(home, monkeypatch):
    assert main(["train", "a.toml", "--train.epochs", "3", "--seed=4", "--out", "deep/er"]) == 0
    kept = read(home / "deep" / "er" / "config.toml").config
    assert (kept.train.epochs, kept.seed, kept.out, kept.name) == (3, 4, "deep/er", "a")
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert main(["train", "../deep/er/config.toml", "--out", "again"]) == 0
    first, second = rk.load(home / "deep" / "er"), rk.load("again")
    assert same_parameters(first, second)
    assert same_parameters(first, by_hand(home, epochs=3, seed=4)[0])
    assert len(second.history.epochs["loss"]) == 3


def test_early_stopping_keeps_the_best_epoch(home):
    tokens = ["--train.early_stopping.patience", "2", "--train.epochs", "60", "--train.rule.learning_rate", "0.5"]
    assert main(["train", "a.toml", *tokens, "--train.clip", "none", "--out", "2024"]) == 0
    run = rk.load("2024")
    losses = run.history.epochs["validation_loss"]
    assert len(losses) < 60
    assert run.epoch == int(np.argmin(losses)) == len(losses) - 3


def test_the_backend_is_one_word(home):
    assert main(["train", "a.toml", "--backend", "torch", "--dtype", "float64", "--out", "torch"]) == 0
    assert main(["train", "a.toml", "--dtype", "float64", "--out", "numpy"]) == 0
    one, other = rk.load("torch"), rk.load("numpy")
    assert (one.backend.name, other.backend.name) == ("torch", "numpy")
    for key, value in other.params.items():
        np.testing.assert_allclose(one.params[key], value, rtol=1e-8)


def test_a_run_folder_that_is_there_is_left_alone_unless_told(home, trained, capsys):
    before = {file.name: file.read_bytes() for file in trained.iterdir()}
    said = refused(capsys, "train", "a.toml", "--out", "runs/a")
    assert "the run folder 'runs/a' is there already and not empty; name another with --out, or replace" in said
    assert before == {file.name: file.read_bytes() for file in trained.iterdir()}
    (trained / "notes.txt").write_text("mine")
    (trained / "predicted_test.csv").write_text("row\n")
    assert main(["train", "a.toml", "--overwrite", "--train.epochs", "1"]) == 0
    assert len(rk.load(trained).history.epochs["loss"]) == 1
    assert len((trained / "metrics.jsonl").read_text().splitlines()) == 1
    assert (trained / "notes.txt").read_text() == "mine"


def test_overwrite_replaces_nothing_but_a_run(home, capsys):
    (home / "mine").mkdir()
    (home / "mine" / "notes.txt").write_text("mine")
    said = refused(capsys, "train", "a.toml", "--out", "mine", "--overwrite")
    assert "--overwrite replaces a run, but 'mine' holds other files" in said
    assert [file.name for file in (home / "mine").iterdir()] == ["notes.txt"]
    assert "the run folder 'a.toml' is a file" in refused(capsys, "train", "a.toml", "--out", "a.toml")


def test_a_run_that_is_refused_leaves_the_old_one(home, trained, capsys):
    before = {file.name: file.read_bytes() for file in trained.iterdir()}
    refused(capsys, "train", "a.toml", "--overwrite", "--train.epochs", "0")
    refused(capsys, "train", "a.toml", "--overwrite", "--splitter.lanes", "9999")
    assert before == {file.name: file.read_bytes() for file in trained.iterdir()}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["b.toml"], "found no config file 'b.toml'"),
        (["wave.csv"], "wave.csv, line 1: this is no TOML"),
        (["a.toml", "--data.path", "tide.csv"], "option --data.path: found no data file"),
        (["a.toml", "--data.target", "valeu"], "has no column 'valeu'"),
        (["a.toml", "--backend", "nmba"], "got 'nmba'; did you mean 'numba'?"),
        (["a.toml", "--model.layers.0.type", "LTSM"], "expects one of LSTM, Dense, got 'LTSM'; did you mean 'LSTM'?"),
        (["a.toml", "--train.loss", "mze"], "got 'mze'; did you mean 'mse'?"),
        (["a.toml", "--policy", "Cary"], "got 'Cary'; did you mean 'Carry'?"),
        (["a.toml", "--splitter.type", "Slidng"], "got 'Slidng'; did you mean 'Sliding'?"),
        (["a.toml", "--splitter.lanes", "500"], "'wave' has 209 rows, fewer than lanes; use lanes <= 209"),
        (["a.toml", "--train.epohcs", "3"], "unknown option --train.epohcs; did you mean --train.epochs?"),
        (["a.toml", "--train.epochs"], "--train.epochs expects a value, got none"),
        (["a.toml", "--device", "cuda"], "backend 'numpy' takes no options, got device"),
        (["--train.epochs", "3", "a.toml"], "options go after the config"),
        ([], "CONFIG requires an argument"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(home, capsys, tokens, message):
    before = sorted(home.iterdir())
    assert message in refused(capsys, "train", *tokens)
    assert sorted(home.iterdir()) == before


def test_several_errors_are_all_shown(home, capsys):
    tokens = ["--train.epochs", "0", "--splitter.length", "x", "--data.horizn", "2"]
    lines = refused(capsys, "train", "a.toml", *tokens).splitlines()
    assert lines[0] == "rnnkit: a.toml has 3 errors:"
    assert len(lines) == 4
    assert not (home / "runs").exists()


def test_a_broken_continuity_is_shown_in_full(home, capsys):
    (home / "a.toml").write_text(CONFIG.replace('"Continuation"', '"Chunked"'))
    said = refused(capsys, "train", "a.toml")
    assert 'a.toml, line 17, policy: "Carry" over {type = "Chunked", length = 8, lanes = 2' in said
    assert "the window at step 1, lane 0 reads rows 16 to 23 of 'wave'" in said
    assert 'has seen row 7 last; use {type = "Continuation", length = 8, lanes = 2}' in said
    assert len(said.splitlines()) <= 3
    assert not (home / "runs").exists()


def test_what_a_backend_refuses_leaves_nothing_behind(home, capsys, monkeypatch):
    def picky(*arguments, **settings):
        raise rk.ModelError("this backend runs no such loss")

    monkeypatch.setattr(CompleteBackend, "train_block", picky)
    assert "this backend runs no such loss" in refused(capsys, "train", "a.toml")
    assert not (home / "runs").exists()


def test_a_loss_that_is_not_finite_keeps_the_run_up_to_there(home, capsys):
    tokens = ["--train.rule", '{type = "SGD", learning_rate = 1e30}', "--data.scale", "false"]
    with np.errstate(all="ignore"):
        said = refused(capsys, "train", "a.toml", *tokens)
    assert "of epoch 1, step " in said
    assert "is not finite" in said
    assert said.splitlines()[1] == f"The run up to there is in {Path('runs/a')}"
    run = rk.load("runs/a")
    assert all(np.isfinite(value).all() for value in run.params.values())
    assert (home / "runs" / "a" / "config.toml").is_file()


def test_a_first_step_that_is_not_finite_keeps_nothing(home, capsys):
    lines = (home / "wave.csv").read_text().splitlines()
    lines[1] = "0,1e308"
    (home / "wave.csv").write_text("\n".join(lines) + "\n")
    with np.errstate(all="ignore"):
        said = refused(capsys, "train", "a.toml", "--data.scale", "false", "--train.loss", "mse")
    assert "of epoch 1, step 0" in said
    assert "is not finite" in said
    assert "The run up to there" not in said
    assert not (home / "runs").exists()


def test_ctrl_c_keeps_the_run_so_far(home):
    command = [sys.executable, "-m", "rnnkit.cli.commands", "train", "a.toml", "--train.epochs", "100000"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    metrics = home / "runs" / "a" / ".unfinished" / "metrics.jsonl"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    run = rk.load(home / "runs" / "a")
    done = len(run.history.epochs["loss"])
    assert done >= 2
    assert f"interrupted after {done} epochs; the run so far is in runs/a" in out
    assert len((home / "runs" / "a" / "metrics.jsonl").read_text().splitlines()) == done
    assert main(["evaluate", "runs/a"]) == 0


def test_a_run_is_kept_where_nobody_reads_its_lines_to_the_end(home):
    command = [sys.executable, "-m", "rnnkit.cli.commands", "train", "a.toml"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()  # as `| head -1` does
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert same_parameters(rk.load(home / "runs" / "a"), by_hand(home)[0])


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Let training end in an error after some blocks."""
    real, done = CompleteBackend.train_block, []

    def train(*arguments):
        if len(done) == steps:
            raise error
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(CompleteBackend, "train_block", train)


def test_ctrl_c_before_the_first_step_keeps_nothing(home, capsys, monkeypatch):
    stop_after(0, monkeypatch)
    assert main(["train", "a.toml", "--out", "deep/er"]) == 130
    assert "interrupted before the first step; nothing was kept" in capsys.readouterr().out
    assert not (home / "deep").exists()


def test_ctrl_c_before_the_first_step_keeps_the_old_run(home, trained, capsys, monkeypatch):
    before = {file.name: file.read_bytes() for file in trained.iterdir()}
    stop_after(0, monkeypatch)
    assert main(["train", "a.toml", "--overwrite"]) == 130
    assert before == {file.name: file.read_bytes() for file in trained.iterdir()}


def test_ctrl_c_in_the_second_epoch_draws_the_loss_of_the_first(home, capsys, monkeypatch):
    stop_after(1, monkeypatch)  # an epoch of this config is one block
    assert main(["train", "a.toml"]) == 130
    assert "interrupted after 1 epoch; the run so far is in" in capsys.readouterr().out
    assert (home / "runs" / "a" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert len(rk.load(home / "runs" / "a").history.epochs["loss"]) == 1


def test_whatever_ends_training_before_a_step_leaves_nothing(home, monkeypatch):
    stop_after(0, monkeypatch, RuntimeError)
    with pytest.raises(RuntimeError):
        main(["train", "a.toml"])
    assert not (home / "runs").exists()
    stop_after(0, monkeypatch, MemoryError)
    assert main(["train", "a.toml"]) == 2
    assert not (home / "runs").exists()


def test_a_run_folder_that_cannot_be_made_is_refused_before_training(home, capsys, monkeypatch):
    before = sorted(home.iterdir())
    said = refused(capsys, "train", "a.toml", "--out", "wave.csv/deep/er")
    assert "train expects a run folder that can be written, got 'wave.csv/deep/er': Not a directory; name" in said

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module("rnnkit.cli.folder"), "write_whole", full)
    assert "got 'runs/a': No space left on device; name another with --out" in refused(capsys, "train", "a.toml")
    stop_after(0, monkeypatch, AssertionError)
    refused(capsys, "train", "a.toml")
    assert sorted(home.iterdir()) == before


def test_a_run_folder_that_is_full_during_training_is_no_traceback(home, capsys, monkeypatch):
    folder = import_module("rnnkit.cli.folder")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.json, "dumps", full)
    assert "got 'runs/a': No space left on device" in refused(capsys, "train", "a.toml")


def test_a_lower_validation_loss_in_an_earlier_epoch_is_told(home, capsys):
    tokens = ["--train.rule.learning_rate", "0.5", "--train.clip", "none", "--train.epochs", "12", "--out", "b"]
    assert main(["train", "a.toml", *tokens]) == 0
    losses = rk.load("b").history.epochs["validation_loss"]
    lowest = int(np.argmin(losses)) + 1
    assert lowest < 12
    assert f"validation was lowest in epoch {lowest}: " in (said := capsys.readouterr().out)
    assert "early_stopping = {patience = 10} keeps the parameters of the best epoch" in said
    assert main(["train", "a.toml", *tokens, "--overwrite", "--train.early_stopping.patience", "50"]) == 0
    assert "validation was lowest" not in capsys.readouterr().out
    history = rk.History(epochs={"loss": [3.0, 2.0, 1.0], "validation_loss": [3.0, 2.0, 1.0]})
    assert lowest_before_the_end(history) == ""
    assert lowest_before_the_end(rk.History(epochs={"loss": [1.0, 2.0]})) == ""


def test_ctrl_c_before_training_leaves_nothing(home, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rk.Sequence, "open", interrupted)
    assert main(["train", "a.toml"]) == 130
    assert capsys.readouterr().err == "rnnkit: interrupted\n"
    assert not (home / "runs").exists()


def test_plan_shows_schedule_and_model_and_loads_no_backend(home, capsys, monkeypatch):
    def nothing(name):
        raise AssertionError("a backend was loaded")

    monkeypatch.setattr(import_module("rnnkit.backend.load"), "_load", nothing)
    assert main(["plan", "a.toml", "--picture", "plan.png"]) == 0
    said = capsys.readouterr().out
    experiment = build(read("a.toml"))
    assert experiment.schedule.describe() in said
    assert str(rk.summary(experiment.model)) in said
    assert "'wave': 209 rows in 1 segment" in said
    assert (home / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert "'plan.png' is there already" in refused(capsys, "plan", "a.toml", "--picture", "plan.png")
    assert main(["plan", "a.toml", "--picture", "plan.png", "--overwrite"]) == 0
    assert "ends in .png, .pdf or .svg, got 'plan.xyz'" in refused(capsys, "plan", "a.toml", "--picture", "plan.xyz")
    assert "--picture expects a file, got the folder" in refused(
        capsys, "plan", "a.toml", "--picture", _folder("f.png")
    )
    assert "there is no folder 'gone'" in refused(capsys, "plan", "a.toml", "--picture", "gone/plan.png")
    assert not (home / "runs").exists()


def _folder(name: str) -> str:
    Path(name).mkdir()
    return name


def test_plan_shows_as_many_steps_as_wanted(home, capsys, monkeypatch):
    assert main(["plan", "a.toml", "--steps", "9"]) == 0
    said = capsys.readouterr().out
    assert "step 8" in said
    assert "step 9" not in said
    drawn = []
    monkeypatch.setattr(rk.Schedule, "plot", lambda schedule, steps=12: drawn.append(steps) or Figure())
    assert main(["plan", "a.toml", "--steps", "3", "--picture", "plan.png"]) == 0
    assert main(["plan", "a.toml", "--picture", "plan.png", "--overwrite"]) == 0
    assert drawn == [3, 12]
    assert "plan expects --steps of at least 1, got 0" in refused(capsys, "plan", "a.toml", "--steps", "0")


def test_rows_that_are_left_out_are_told_with_their_reasons(home, capsys):
    lines = (home / "wave.csv").read_text().splitlines()
    lines[21], lines[23] = "20,", "22,"  # row 21 alone lies between two missing values
    (home / "wave.csv").write_text("\n".join(lines) + "\n")
    tokens = ["--data.missing", "cut", "--data.short", "drop"]
    tails = "4 whose target would lie beyond their segment or part (horizon 1)"
    expected = (
        f"7 of 300 rows left out: {tails}, "
        f"3 with missing values (missing = 'cut') or in segments of 1 row or fewer (short = 'drop')"
    )
    for command in ("plan", "train"):
        assert main([command, "a.toml", *tokens]) == 0
        assert expected in capsys.readouterr().out
    assert main(["plan", "a.toml", *tokens, "--data.train", "1.0", "--data.validation", "0.0"]) == 0
    assert "5 of 300 rows left out: 2 whose target" in capsys.readouterr().out
    lines[23] = "22,1.5"
    (home / "wave.csv").write_text("\n".join(lines) + "\n")
    assert main(["plan", "a.toml", "--data.missing", "cut"]) == 0
    assert "1 with missing values (missing = 'cut')\n" in capsys.readouterr().out
    # the first part ends one row after the missing value: a piece without a target
    assert main(["plan", "a.toml", "--data.missing", "cut", "--data.train", "21"]) == 0
    assert "1 in pieces of 1 row or fewer at the ends of parts" in capsys.readouterr().out


def test_nothing_is_said_where_no_row_is_left_out(home, capsys):
    assert main(["plan", "a.toml", "--data.features", '["time"]', "--data.time", "none", "--data.horizon", "0"]) == 0
    assert "left out" not in capsys.readouterr().out


def test_check_compares_every_backend_with_the_textbook(home, capsys):
    assert main(["check", "a.toml"]) == 0
    said = capsys.readouterr().out
    for part in ("outputs", "gradient 0.weight_hh", "gradient 1.bias", "gradient x", "gradient 0.h0", "gradient 0.c0"):
        assert part in said
    assert "numba" in said
    assert "torch" in said
    assert "the backends agree" in said


def test_check_finds_a_wrong_gradient_and_skips_what_is_not_installed(home, capsys, monkeypatch):
    class Wrong:
        name = "wrong"
        textbook = rk.backend("numpy")
        forward, update = textbook.forward, textbook.update
        from_numpy, to_numpy = textbook.from_numpy, textbook.to_numpy

        @classmethod
        def backward(cls, *arguments):
            grads = cls.textbook.backward(*arguments)
            return grads._replace(params={**grads.params, "0.bias_hh": grads.params["0.bias_hh"] * (1 + 1e-9)})

    def find(name):
        if name == "absent":
            raise rk.BackendError("backend 'absent' needs 'absent', which is not installed")
        return Wrong if name == "wrong" else rk.backend(name)

    monkeypatch.setattr(check_module, "installed_backends", lambda: ["absent", "numpy", "wrong"])
    monkeypatch.setattr(check_module, "backend", find)
    assert main(["check", "a.toml"]) == 1
    said = capsys.readouterr().out
    marked = [line for line in said.splitlines() if "!" in line]
    assert len(marked) == 1
    assert "gradient 0.bias_hh" in marked[0]
    assert "1.0e-09" in marked[0]
    assert "absent: skipped: backend 'absent' needs 'absent', which is not installed" in said
    assert "the backends disagree: 1.0e-09 is more than 1e-10" in said


def test_predict_writes_what_predict_gives(home, trained, capsys, monkeypatch):
    monkeypatch.chdir(home / "runs")
    assert main(["predict", "a"]) == 0
    assert main(["predict", "a", "--part", "all", "--out", "all.csv", "--backend", "numpy"]) == 0
    run, _, _, test = by_hand(home)
    values = np.loadtxt(home / "wave.csv", delimiter=",", skiprows=1)[:, 1]
    table = np.genfromtxt(trained / "predicted_test.csv", delimiter=",", skip_header=1)
    assert (trained / "predicted_test.csv").read_text().startswith("row,time,predicted,observed,is_future\n")
    (segment,) = test.segments
    assert np.array_equal(table[:, 0], np.arange(segment.start, 300) + 1)  # the last is the forecast
    assert np.array_equal(table[:, 1], table[:, 0])  # the times of this file are its rows
    np.testing.assert_allclose(table[:, 2], rk.predict(run, test, warm=2)[segment.start : 300, 0], rtol=1e-6)
    np.testing.assert_allclose(table[:-1, 3], values[table[:-1, 0].astype(int)])
    assert np.isnan(table[-1, 3])
    assert table[:, 4].tolist() == [0] * (len(table) - 1) + [1]
    assert len(np.genfromtxt("all.csv", delimiter=",", skip_header=1)) == 300
    assert "predictions of 300 rows of the part 'all', 1 of them in the future" in " ".join(
        capsys.readouterr().out.split()
    )
    said = refused(capsys, "predict", "a")
    assert "is there already; name another file with --out, or replace it with --overwrite" in said
    (trained / "predicted_test.csv").write_text("old")
    assert main(["predict", "a", "--overwrite"]) == 0
    assert len((trained / "predicted_test.csv").read_text()) > 100


def test_predictions_have_the_times_of_the_rows_that_they_are_for(home, capsys):
    start = np.datetime64("2014-01-01T00:00")
    values = (home / "wave.csv").read_text().splitlines()[1:]
    lines = [f"{start + 30 * k},{line.split(',')[1]}" for k, line in enumerate(values)]
    (home / "wave.csv").write_text("time,value\n" + "\n".join(lines) + "\n")
    assert main(["train", "a.toml", "--train.epochs", "1"]) == 0
    assert main(["predict", "runs/a", "--part", "all", "--out", "all.csv"]) == 0
    first = (home / "all.csv").read_text().splitlines()[1].split(",")
    assert first[:2] == ["1", "2014-01-01T00:30:00"]
    assert float(first[3]) == pytest.approx(float(lines[1].split(",")[1]))


def test_a_run_predicts_new_data(home, trained, capsys, monkeypatch):
    fresh = "\n".join(f"{t},{100 + 10 * np.cos(t / 5)}" for t in range(12))  # too short for the run's schedule
    (home / "new.csv").write_text(f"time,value\n{fresh}\n")
    monkeypatch.chdir(home / "runs")
    new = ["--data.path", "../new.csv"]
    assert main(["predict", "a", *new, "--part", "all", "--out", "new.csv"]) == 0
    run, series = rk.load(trained), rk.Sequence.open(home / "new.csv", time="time", target="value")
    table = np.genfromtxt("new.csv", delimiter=",", skip_header=1)
    np.testing.assert_allclose(table[:, 2], rk.predict(run, series, warm=2)[:, 0], rtol=1e-6)
    assert main(["predict", "a", *new, "--part", "all", "--out", "6.csv", "--data.horizon", "1", "--data.warm=0"]) == 0
    assert main(["forecast", "a", *new, "--steps", "3", "--out", "ahead.csv"]) == 0
    table = np.loadtxt("ahead.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 2], rk.forecast(run, series, 3, warm=2)[:, 0], rtol=1e-6)
    capsys.readouterr()
    assert main(["evaluate", "a", *new, "--part", "all", "--out", "errors.json", "--data.period", "none"]) == 0
    found = rk.evaluate(run, series, warm=2)
    assert f"{found.model.mae:.5g}" in capsys.readouterr().out
    assert found.persistence is not None
    expected = {"all": {"model": _plain(found.model), "persistence": _plain(found.persistence)}}
    assert json.loads(Path("errors.json").read_text()) == expected
    assert "'errors.json' is there already" in refused(capsys, "evaluate", "a", "--out", "errors.json")
    assert "unknown option --data.paht; did you mean --data.path" in refused(
        capsys, "evaluate", "a", "--data.paht", "x"
    )


def test_a_run_folder_that_was_moved_says_how_to_find_its_data(home, trained, capsys):
    (home / "far" / "away").mkdir(parents=True)
    moved = trained.rename(home / "far" / "away" / "b")
    said = refused(capsys, "evaluate", str(moved))
    assert "found no data file" in said
    assert "say where it is with --data.path" in said
    assert main(["evaluate", str(moved), "--data.path", "wave.csv"]) == 0
    for command in ("predict", "forecast", "evaluate"):
        assert main([command, "--help"]) == 0
        assert "--data.path new.csv" in capsys.readouterr().out


def test_forecast_writes_what_forecast_gives(home, trained, capsys):
    assert main(["forecast", "runs/a", "--steps", "7", "--picture", "ahead.png"]) == 0
    assert (trained / "forecast_7.csv").read_text().startswith("row,time,predicted\n")
    table = np.loadtxt(trained / "forecast_7.csv", delimiter=",", skiprows=1)
    run, *_ = by_hand(home)
    series = rk.Sequence.open(home / "wave.csv", time="time", target="value")
    assert np.array_equal(table[:, 0], np.arange(300, 307))
    assert np.array_equal(table[:, 1], table[:, 0])  # the times of this file are its rows
    np.testing.assert_allclose(table[:, 2], rk.forecast(run, series, 7, warm=2)[:, 0], rtol=1e-6)
    assert (home / "ahead.png").read_bytes().startswith(b"\x89PNG")
    assert "is there already" in refused(capsys, "forecast", "runs/a", "--steps", "7")
    assert "to be a whole number >= 1, got 0" in refused(capsys, "forecast", "runs/a", "--steps", "0")
    assert not (trained / "forecast_0.csv").exists()
    assert main(["forecast", "runs/a", "--steps", "7", "--picture", "ahead.png", "--overwrite"]) == 0
    assert "forecast expects a number of rows, got none; write rnnkit forecast runs/a --steps 48" in refused(
        capsys, "forecast", "runs/a"
    )


def test_several_columns_have_their_names_in_tables_and_pictures(home, capsys, monkeypatch):
    rows = [f"{np.sin(t / 5)},{np.cos(t / 5)}" for t in range(300)]
    (home / "wave.csv").write_text('temp,"wind, gusts"\n' + "\n".join(rows) + "\n")
    text = CONFIG.replace('time = "time"\ntarget = "value"', 'target = ["temp", "wind, gusts"]')
    (home / "a.toml").write_text(text)
    labels = []
    real = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda f, *to, **how: labels.append([axes.get_ylabel() for axes in f.axes]) or real(f, *to, **how),
    )
    assert main(["train", "a.toml", "--train.epochs", "1"]) == 0
    assert main(["predict", "runs/a"]) == 0
    assert main(["forecast", "runs/a", "--steps", "2", "--picture", "ahead.png"]) == 0
    assert labels[-1] == labels[-2] == ["temp", "wind, gusts"]
    header = (home / "runs" / "a" / "predicted_test.csv").read_text().splitlines()[0]
    assert header == 'row,predicted_temp,"predicted_wind, gusts",observed_temp,"observed_wind, gusts",is_future'
    header = (home / "runs" / "a" / "forecast_2.csv").read_text().splitlines()[0]
    assert header == 'row,predicted_temp,"predicted_wind, gusts"'


def test_evaluate_prints_the_table_again(home, trained, capsys):
    assert main(["evaluate", "runs/a", "--backend", "torch"]) == 0
    assert "persistence" in capsys.readouterr().out
    assert main(["evaluate", "runs/a"]) == 0
    said = capsys.readouterr().out
    run, _, validation, test = by_hand(home)
    for part in (validation, test):
        assert f"{rk.evaluate(run, part, warm=2).model.mae:.5g}" in said


def test_a_folder_without_a_run_is_refused(home, trained, capsys):
    (home / "empty").mkdir()
    for tokens in (["predict", "empty"], ["evaluate", "gone"], ["forecast", "empty", "--steps", "2"]):
        assert "it has no config.toml; give the folder that `train` named" in refused(capsys, *tokens)
    rk.load("runs/a").save("saved")
    assert "it has no config.toml; read it in Python, with rk.load" in refused(capsys, "evaluate", "saved")
    (trained / "run.json").unlink()
    assert "has no run.json" in refused(capsys, "evaluate", "runs/a")
    assert "has no validation part" in _without_validation(home, capsys)


def _without_validation(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["train", "a.toml", "--data.validation", "0.0", "--out", "two", "--train.epochs", "1"]) == 0
    capsys.readouterr()
    return refused(capsys, "predict", "two", "--part", "validation")


def test_classes_are_trained_predicted_and_drawn(home, capsys):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(300)
    rows = [f"{value:.4f},{int(value > 0)}" for value in x]
    (home / "wave.csv").write_text("value,kind\n" + "\n".join(rows) + "\n")
    text = CONFIG.replace('time = "time"', 'features = ["value"]\nhorizon = 0').replace(
        '"value"\nperiod', '"kind"\nperiod'
    )
    (home / "a.toml").write_text(text + 'loss = "cross_entropy"\n')
    tokens = ["--model.layers.1.outputs", "2"]
    assert "is required, but missing: cross_entropy wants an output" in refused(capsys, "train", "a.toml")
    one_too_few = [*tokens[:1], "1"]
    assert "expects labels 0 to 0" in refused(capsys, "train", "a.toml", *one_too_few)
    assert not (home / "runs").exists()
    assert main(["train", "a.toml", *tokens, "--train.epochs", "20"]) == 0
    assert "share wrong" in capsys.readouterr().out
    assert main(["predict", "runs/a"]) == 0
    table = np.loadtxt(home / "runs" / "a" / "predicted_test.csv", delimiter=",", skiprows=1)
    assert set(np.unique(table[:, 1])) <= {0.0, 1.0}
    assert np.mean(table[:, 1] != table[:, 2]) < 0.2


def test_a_terminal_has_a_progress_bar():
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with live(console, 4) as show:
        show(rk.Progress(epoch=1, epochs=4, step=5, steps=10, loss=0.25))
    assert isinstance(console.file, StringIO)
    assert "epoch 2/4  loss 0.25" in console.file.getvalue()
    assert "38%" in console.file.getvalue()


@pytest.mark.parametrize(
    ("name", "segments"),
    [("nyc_taxi", 1), ("machine_temperature", 2), ("ambient_temperature", 11), ("every_setting", 1)],
)
def test_the_examples_can_be_trained(name, segments):
    experiment = build(read(EXAMPLES / f"{name}.toml"))
    assert len(experiment.data.series.segments) == segments
    assert experiment.schedule.coverage().scored_never == 0


def test_the_example_with_every_setting_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(EXAMPLES / "every_setting.toml")]) == 0
    assert len(rk.load("runs/every_setting").history.epochs["loss"]) == 3
    assert main(["predict", "runs/every_setting"]) == 0
    lines = (tmp_path / "runs" / "every_setting" / "predicted_test.csv").read_text().splitlines()
    assert lines[0] == "row,time,predicted,observed,is_future"
    assert lines[-2].split(",")[1] == "2015-01-31T23:30:00"
    assert lines[-1].split(",")[1] == "2015-02-01T00:00:00"
    assert lines[-1].endswith(",,1")


def test_the_cut_of_the_machine_is_where_its_example_says(capsys):
    config = EXAMPLES / "machine_temperature.toml"
    assert main(["plan", str(config), "--splitter.length", "1024"]) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lane") and "|" in line]
    assert len(marked) == 1
    assert marked[0].startswith("lane 2")
    batches = build(read(config)).schedule.batches()
    resets = {step: batch.reset[1:].any(0).nonzero()[0].tolist() for step, batch in enumerate(batches)}
    assert {step: lanes for step, lanes in resets.items() if lanes} == {34: [2]}


def test_the_taxi_example_beats_persistence_by_far(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(EXAMPLES / "nyc_taxi.toml"), "--train.epochs", "25"]) == 0
    run = rk.load("runs/nyc_taxi")
    series = rk.Sequence.open(EXAMPLES / "data" / "nyc_taxi.csv", time="timestamp", target="value")
    found = rk.evaluate(run, series.split(0.7, 0.15)[2])
    assert found.persistence is not None
    assert found.model.mae < 0.65 * found.persistence.mae


def test_warmup_leaves_nothing_to_compile(capfd):
    assert main(["warmup"]) == 0
    capfd.readouterr()
    code = "import rnnkit_numba; rnnkit_numba.warmup()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "compiling" not in done.stderr


def test_threads_are_the_backends_to_take(home, capsys):
    assert main(["train", "a.toml", "--backend", "numba", "--threads", "2", "--train.epochs", "1", "--out", "two"]) == 0
    assert main(["train", "a.toml", "--backend.name", "numba", "--backend.threads", "1", "--out", "one"]) == 0
    assert read(home / "one" / "config.toml").config.backend.model_dump() == {"name": "numba", "threads": 1}
    assert main(["evaluate", "one"]) == main(["evaluate", "one", "--backend", "numpy"]) == 0
    assert main(["train", "a.toml", "--backend", "numpy", "--threads", "2"]) == 2
    assert "backend 'numpy' takes no options, got threads" in capsys.readouterr().err


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for overwrite in (True, False):
        with pytest.raises(SourceError, match=r"--out expects a file, got the device or pipe .*pipe'; name a file"):
            check_new(tmp_path / "pipe", "--out", overwrite)
