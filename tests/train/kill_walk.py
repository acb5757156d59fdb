"""Kills a process before each of its operations on files, one after the other, or lets each fail: see `walk`.

An operation is what Python audits (opening for writing, renaming, removing, making a folder) and every `os.fsync`, at
which half of the file is there. Run in a process of its own, `python kill_walk.py SCENARIO FOLDER [EVERY]`, it prints
how often it killed, and after how many kills the new run was there.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import rnnkit as rk

AUDITED = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


class Operations:
    """Counts the operations below a folder; at the n-th, kills the process or raises."""

    def __init__(self) -> None:
        self.folder, self.at, self.full, self.seen = "", -1, False, 0
        os.fsync = self.sync  # none is meant for the disk here
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if self.folder and (writes or event in AUDITED) and self.is_here(arguments[0]):
            self.count()

    def is_here(self, path: int | str | bytes | os.PathLike) -> bool:
        if isinstance(path, int):  # opened before
            return False
        name = os.fsdecode(path)  # shutil.rmtree calls what is in a folder by its name there
        return not os.path.isabs(name) or name.startswith(self.folder)

    def sync(self, descriptor: int) -> None:
        if self.folder and self.seen + 1 == self.at and os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        self.count()

    def count(self) -> None:
        if not self.folder:
            return
        self.seen += 1
        if self.full and self.seen >= self.at > 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


EVERY = int(sys.argv[3]) if len(sys.argv) > 3 else 1
"""Which operations are tried: all of them, or every so many."""


def walk(prepare: Callable[[], Path], do: Callable[[], None], check: Callable[[bool], None], full: bool) -> int:
    """Do something again and again, each time in a process that is killed before its next operation.

    Args:
        prepare: makes the folder as it was before, and returns it.
        do: what is done.
        check: called after each time, with whether it was done to the end.
        full: instead of being killed, find the disk full from the n-th operation on.

    Returns:
        How often it was killed or failed.
    """
    operations = Operations()
    for at in itertools.count(1, EVERY):
        folder = prepare()
        child = os.fork()
        if not child:
            operations.folder, operations.at, operations.full = str(folder.absolute()), at, full
            try:
                do()
            except BaseException as error:
                if not full:
                    print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0 if operations.seen < at else 2)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in ((0, 1, 2) if full else (0, -signal.SIGKILL)), (at, status)
        check(status in (0, 2))
        if status == 0:
            return (at - 1) // EVERY
    raise AssertionError


def small_run(seed: int) -> rk.Run:
    """A run whose numbers all depend on the seed."""
    series = rk.Sequence(np.sin(np.arange(40) / 3 + seed))
    model = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
    return rk.fit(
        model, rk.Schedule(series, rk.Continuation(8), rk.Carry()), backend="numpy", epochs=1 + seed, seed=seed
    )


def same(a: rk.Run, b: rk.Run) -> bool:
    """Whether two runs are one in every number that training made."""
    arrays = zip((*a.params.values(), *a.state[0]), (*b.params.values(), *b.state[0]), strict=True)
    return a.history.steps == b.history.steps and all(np.array_equal(one, other) for one, other in arrays)


def found(folder: Path) -> rk.Run | None:
    """The run in a folder, or None."""
    try:
        return rk.load(folder)
    except rk.SourceError as error:
        if "damaged" in str(error):
            raise
        return None


def save(home: Path, full: bool, old: bool) -> tuple[int, int]:
    """`Run.save` over an old run, or where there is none."""
    first, second, folder, came_out = small_run(0), small_run(1), home / "run", 0
    if old:
        first.save(home / "kept")
    (home / "kept").mkdir(exist_ok=True)
    (home / "kept" / "notes.txt").write_text("mine")

    def prepare() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(home / "kept", folder)
        return folder

    def check(done: bool) -> None:
        nonlocal came_out
        run = found(folder)
        new = run is not None and same(run, second)
        assert new or not done
        assert new or (same(run, first) if run is not None and old else run is None and not old)
        came_out += new
        second.save(folder, overwrite=True)  # whatever the dead have left
        assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, "notes.txt"))
        assert same(rk.load(folder), second)

    return walk(prepare, lambda: second.save(folder, overwrite=True), check, full), came_out


def train(home: Path, full: bool) -> tuple[int, int]:
    """`rnnkit train --overwrite` over an old run, by the config `a.toml`; pictures are of one byte."""
    import rnnkit.cli.train as command
    from rnnkit.cli.commands import main

    command.plot_history = command.plot_forecast = lambda *drawn: SimpleNamespace(
        savefig=picture, get_layout_engine=lambda: None
    )
    os.chdir(home)

    def fit(seed: int) -> None:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            if main(["train", "a.toml", "--train.epochs", str(seed), "--seed", str(seed), "--overwrite"]):
                raise OSError

    folder, came_out = home / "runs" / "a", 0
    fit(2)
    second = rk.load(folder)
    shutil.rmtree(folder)
    fit(1)
    first = rk.load(folder)
    whole = {path.name for path in folder.iterdir()}
    (folder / "notes.txt").write_text("mine")
    (folder / "transfer.csv").write_text("of the old run alone")
    shutil.copytree(folder, home / "kept")

    def prepare() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(home / "kept", folder)
        return folder

    def check(done: bool) -> None:
        nonlocal came_out
        run = found(folder)
        assert run is not None
        new = same(run, second)
        assert new or (same(run, first) and not done)
        came_out += new
        from rnnkit.cli.after import read_run

        epochs = read_run(folder, None, []).config.train.epochs  # puts a finished run where it belongs
        assert epochs == len(run.history.epochs["loss"]), "the config of another run"
        measured = (folder / "metrics.jsonl").read_text().splitlines()
        assert len(measured) == epochs
        assert (folder / "transfer.csv").exists() != new
        if not done and operations_left():
            fit(2)
            assert {path.name for path in folder.iterdir()} == {*whole, "notes.txt"}
            assert same(rk.load(folder), second)

    turn = 0

    def operations_left() -> bool:
        nonlocal turn
        turn += 1
        return turn % 5 == 0  # it takes a while

    return walk(prepare, lambda: fit(2), check, full), came_out


def picture(content: io.BytesIO, format: str) -> None:
    content.write(b"p")


FILES = ("run.json", "params.safetensors", "state.safetensors")

SCENARIOS = {
    "save": lambda home: save(home, full=False, old=True),
    "save-first": lambda home: save(home, full=False, old=False),
    "save-full": lambda home: save(home, full=True, old=True),
    "train": lambda home: train(home, full=False),
    "train-full": lambda home: train(home, full=True),
}

if __name__ == "__main__":
    print(*SCENARIOS[sys.argv[1]](Path(sys.argv[2])))
