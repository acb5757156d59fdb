"""The folder of `rnnkit train`: which one, held by one process, and kept whatever ends the process or its output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

import rnnkit as rk
from builders.commands import leave_pictures_out, refused
from builders.configs import config
from builders.files import write_csv
from builders.series import wave
from rnnkit.cli.commands import main
from rnnkit.cli.output import Unbroken
from rnnkit.cli.read import read
from rnnkit.train.exchange import FINISHED, UNFINISHED

CONFIG = config(hidden=2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and its data."""
    write_csv(tmp_path / "wave.csv", value=wave(90))
    (tmp_path / "a.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    leave_pictures_out(monkeypatch)
    return tmp_path


def epochs(folder: str | Path) -> int:
    return len(rk.load(folder).history.epochs["loss"])


def started(*tokens: str, **options) -> subprocess.Popen:
    """A training that goes on until it is ended, in its second epoch or later."""
    command = [sys.executable, "-m", "rnnkit.cli.commands", "train", "a.toml", "--train.epochs", "100000", *tokens]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    process = subprocess.Popen(command, text=True, **pipes)
    metrics = Path("runs/a", UNFINISHED, "metrics.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def test_a_default_folder_that_is_taken_gets_a_number(home, capsys):
    assert main(["train", "a.toml"]) == 0
    assert "runs/a-2" not in capsys.readouterr().out
    assert main(["train", "a.toml", "--train.epochs", "2"]) == 0
    said = capsys.readouterr().out
    assert "runs/a holds a run: this run goes to runs/a-2; --overwrite would replace the one in runs/a" in said
    assert "the run is in runs/a-2" in said
    assert main(["train", "a.toml", "--train.epochs", "3"]) == 0
    assert [epochs(folder) for folder in ("runs/a", "runs/a-2", "runs/a-3")] == [1, 2, 3]
    assert read("runs/a-2/config.toml").config.out == "runs/a-2"
    assert main(["train", "a.toml", "--train.epochs", "4", "--overwrite"]) == 0  # as the message says
    assert epochs("runs/a") == 4
    assert not Path("runs/a-4").exists()


def test_a_folder_that_is_named_never_gets_a_number(home, capsys):
    assert main(["train", "a.toml", "--out", "runs/a"]) == 0
    for tokens in (["--out", "runs/a"], ["--out=runs/a"]):
        assert "'runs/a' is there already and not empty; name another with --out, or replace" in refused(
            capsys, "train", "a.toml", *tokens
        )
    Path("b.toml").write_text('out = "runs/a"\n' + CONFIG)
    assert "'runs/a' is there already and not empty" in refused(capsys, "train", "b.toml")
    assert "'runs/a' is there already and not empty" in refused(capsys, "train", "runs/a/config.toml")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["a"]


def test_other_files_in_a_default_folder_are_left_alone(home, capsys):
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/notes.txt").write_text("mine")
    assert main(["train", "a.toml"]) == 0
    assert "runs/a holds other files: this run goes to runs/a-2" in capsys.readouterr().out
    assert [path.name for path in Path("runs/a").iterdir()] == ["notes.txt"]


def test_what_a_killed_training_left_is_no_run(home, capsys):
    process = started()
    process.kill()
    process.communicate()
    assert sorted(path.name for path in Path("runs/a").iterdir()) == [".lock", UNFINISHED]
    with pytest.raises(
        rk.SourceError, match=r"no run.json.*what is in .unfinished is of a training that has not ended"
    ):
        rk.load("runs/a")
    assert "found no run of" in refused(capsys, "evaluate", "runs/a")
    assert main(["train", "a.toml", "--out", "runs/a"]) == 0
    assert epochs("runs/a") == 1
    assert not Path("runs/a", UNFINISHED).exists()


def test_two_trainings_never_share_a_folder(home, capsys):
    process = started()
    try:
        said = refused(capsys, "train", "a.toml", "--out", "runs/a")
        assert f"the run folder 'runs/a' is in use by process {process.pid} on " in said
        assert "wait until it has ended, or name another with --out" in said
        assert f"in use by process {process.pid} on " in refused(capsys, "train", "a.toml", "--overwrite")
        assert main(["train", "a.toml"]) == 0
        assert f"runs/a is in use by process {process.pid}" in capsys.readouterr().out
        assert epochs("runs/a-2") == 1
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    assert f"until it ends, its epochs are in {Path('runs/a', UNFINISHED, 'metrics.jsonl')}" in out
    assert f"interrupted after {epochs('runs/a')} epochs; the run so far is in runs/a" in out
    assert len(Path("runs/a/metrics.jsonl").read_text().splitlines()) == epochs("runs/a")
    assert {".lock", UNFINISHED}.isdisjoint(path.name for path in Path("runs/a").iterdir())


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_that_end_a_process_keep_the_run_so_far(home, monkeypatch, capsys, name, status):
    module = import_module("rnnkit.cli.train")
    real = module.add_metrics

    def add_metrics(folder, history):
        real(folder, history)
        if len(history.epochs["loss"]) == 2:
            signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr(module, "add_metrics", add_metrics)
    assert main(["train", "a.toml", "--train.epochs", "9"]) == status
    assert "interrupted after 2 epochs; the run so far is in runs/a" in capsys.readouterr().out
    assert epochs("runs/a") == 2
    assert not Path("runs/a", UNFINISHED).exists()


def test_a_signal_that_is_ignored_stays_so(home, monkeypatch):
    module = import_module("rnnkit.cli.train")
    monkeypatch.setattr(module, "add_metrics", lambda folder, history: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as after nohup
    try:
        assert main(["train", "a.toml"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_before_training_has_its_status(home, monkeypatch, capsys):
    monkeypatch.setattr(rk.Sequence, "open", lambda *arguments, **options: signal.raise_signal(signal.SIGTERM))
    assert main(["train", "a.toml"]) == 143
    assert capsys.readouterr().err == "rnnkit: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_while_the_run_is_written_waits(home, monkeypatch, capsys):
    train = import_module("rnnkit.cli.train")
    real = train.write_run

    def write_run(run, folder):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        real(run, folder)

    monkeypatch.setattr(train, "write_run", write_run)
    assert main(["train", "a.toml"]) == 143
    assert "interrupted after 1 epoch; the run so far is in runs/a" in capsys.readouterr().out
    assert epochs("runs/a") == 1


def test_an_old_run_stays_until_the_new_one_is_whole(home, monkeypatch, capsys):
    assert main(["train", "a.toml"]) == 0
    before = {path.name: path.read_bytes() for path in Path("runs/a").iterdir()}
    seen = []
    module = import_module("rnnkit.cli.train")
    real = module.add_metrics

    def add_metrics(folder, history):
        real(folder, history)
        seen.append(all(Path("runs/a", name).read_bytes() == content for name, content in before.items()))

    monkeypatch.setattr(module, "add_metrics", add_metrics)
    assert main(["train", "a.toml", "--overwrite", "--train.epochs", "2"]) == 0
    assert seen == [True, True]
    assert epochs("runs/a") == 2


def test_a_disk_that_is_full_leaves_the_old_run(home, monkeypatch, capsys):
    assert main(["train", "a.toml"]) == 0
    before = {path.name: path.read_bytes() for path in Path("runs/a").iterdir()}

    def full(run, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module("rnnkit.cli.train"), "write_run", full)
    said = refused(capsys, "train", "a.toml", "--overwrite")
    assert "train expects a run folder that can be written, got 'runs/a': No space left on device" in said
    assert before == {path.name: path.read_bytes() for path in Path("runs/a").iterdir()}


def test_metrics_that_cannot_be_written_do_not_end_training(home, monkeypatch, capsys):
    def full(folder, history):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module("rnnkit.cli.train"), "add_metrics", full)
    assert main(["train", "a.toml", "--train.epochs", "3"]) == 0
    said = capsys.readouterr().out
    assert said.count("metrics.jsonl cannot be written now (No space left on device)") == 1
    assert [json.loads(line)["epoch"] for line in Path("runs/a/metrics.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_a_run_that_is_whole_but_not_in_place_is_put_there(home, capsys):
    assert main(["train", "a.toml"]) == 0
    folder = Path("runs/a")
    (folder / FINISHED).mkdir()
    for name in ("config.toml", "state.safetensors", "run.json"):  # where a process was killed between two of them
        (folder / name).rename(folder / FINISHED / name)
    assert epochs(folder) == 1
    assert main(["evaluate", "runs/a"]) == 0
    assert not (folder / FINISHED).exists()
    assert (folder / "config.toml").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
def test_output_that_cannot_be_written_does_not_end_training(home):
    command = [sys.executable, "-W", "error", "-m", "rnnkit.cli.commands", "train", "a.toml"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "rnnkit: standard output cannot be written (No space left on device); going on in silence\n"
    assert epochs("runs/a") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
def test_output_and_errors_that_cannot_be_written_do_not_end_training(home, monkeypatch):
    for terminal in (False, True):  # with the progress bar
        with open("/dev/full", "w") as out, open("/dev/full", "w") as errors:
            monkeypatch.setattr(sys, "stdout", out)
            monkeypatch.setattr(sys, "stderr", errors)
            monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
            assert main(["train", "a.toml", "--overwrite", "--train.epochs", "3"]) == 1
            monkeypatch.undo()
        assert epochs(home / "runs" / "a") == 3
        monkeypatch.chdir(home)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
@pytest.mark.parametrize("command", ["evaluate runs/a", "plan a.toml", "predict runs/a", "--help", "check a.toml"])
def test_a_command_whose_output_is_lost_fails(home, monkeypatch, capsys, command):
    assert main(["train", "a.toml"]) == 0
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(command.split()) == 1
        monkeypatch.undo()
    assert "standard output cannot be written (No space left on device)" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_failure(home, monkeypatch):
    monkeypatch.chdir(home)
    read, write = os.pipe()
    os.close(read)
    with suppress(BrokenPipeError), open(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["plan", "a.toml"]) == 0
        monkeypatch.undo()


def test_streams_that_fail_fall_silent_once(capsys):
    class Full:
        def __init__(self) -> None:
            self.tried = 0

        def write(self, text: str) -> None:
            self.tried += 1
            raise OSError(28, "No space left on device")

    first = Full()
    stream = Unbroken(first, "standard output", Unbroken(sys.stdout, "standard error"))
    for _ in range(3):
        print("epoch", file=stream)
    stream.flush()
    assert first.tried == 1
    assert capsys.readouterr().out.count("going on in silence") == 1


def test_characters_that_an_encoding_lacks_do_not_end_training(home, monkeypatch):
    Path("a.toml").write_text('name = "µ"\n' + CONFIG, encoding="utf-8")
    out = TextIOWrapper(BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["train", "a.toml", "--out", "here"]) == 0
    assert out.buffer.getvalue().startswith(b"?: ")  # pyright: ignore[reportAttributeAccessIssue]
