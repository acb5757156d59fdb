"""Which folder a run goes to, held against other processes while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from rnnkit.cli.folder import CONFIG, METRICS, writing
from rnnkit.errors import SourceError
from rnnkit.files import Lock, holder
from rnnkit.train.exchange import FINISHED, OWN, settle, standing
from rnnkit.train.saving import DESCRIPTION

LEFT = (".config.toml.new",)
"""What earlier versions left of a training that was killed before its first step."""


@contextmanager
def claimed(out: Path, number: bool, overwrite: bool) -> Iterator[tuple[Path, str]]:
    """Hold a folder for a run for as long as a context lasts; a folder that was made for it and is empty then goes.

    Args:
        out: the folder that is asked for.
        number: whether another may be used instead, `out-2` or `out-3`, where this one holds something.
        overwrite: whether a run in it may be replaced.

    Yields:
        The folder, and why it is another than `out`, or nothing.

    Raises:
        SourceError: it is a file, is in use, cannot be written, holds anything (without `overwrite`), or no run.
    """
    folder, why, lock, made = _first_free(out, number, overwrite)
    try:
        yield folder, why
    finally:
        lock.release()
        _remove(made)


def _first_free(out: Path, number: bool, overwrite: bool) -> tuple[Path, str, Lock, list[Path]]:
    """The folder, why it is another than the one that is asked for, its lock, and the folders that were made for it."""
    folder, place, why = out, 1, ""
    while True:
        try:
            return folder, why, *_hold(folder, overwrite)
        except _Taken as taken:
            if not number:
                raise SourceError(str(taken)) from None
            why, place = why or taken.what, place + 1
            folder = out.with_name(f"{out.name}-{place}")


class _Taken(Exception):
    """A folder that this run cannot have, though another one could.

    Attributes:
        what: why, in few words.
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


def _hold(folder: Path, overwrite: bool) -> tuple[Lock, list[Path]]:
    """The lock of a folder that is free, and the folders that were made for it, the innermost first."""
    with writing(folder):
        _check_free(folder, overwrite)
        made: list[Path] = []
        for path in reversed([*takewhile(lambda path: not path.exists(), (folder, *folder.parents))]):
            path.mkdir(exist_ok=True)
            made.insert(0, path)
        try:
            lock = Lock.take(folder)
        except OSError:
            _remove(made)
            raise
        if lock is None:
            who = holder(folder)
            message = f"the run folder {str(folder)!r} is in use by {who}; wait until it has ended, or name another"
            raise _Taken(f"{message} with --out", f"is in use by {who}")
        try:
            settle(folder)
            _check_free(folder, overwrite)  # it may not have been any more
        except BaseException:
            lock.release()
            raise
        return lock, made


def _check_free(folder: Path, overwrite: bool) -> None:
    """Whether a run may be written into a folder; what a training that was killed has left there does not count.

    Raises:
        SourceError: it is a file, or (with `overwrite`) holds no run of ours.
        _Taken: it holds anything.
    """
    if folder.exists() and not folder.is_dir():
        raise SourceError(f"the run folder {str(folder)!r} is a file; name another folder with --out")
    held = OWN.union(LEFT) - {FINISHED}
    if not folder.is_dir() or all(path.name in held for path in folder.iterdir()):
        return
    ours = standing(folder, CONFIG).is_file() and any(standing(folder, n).is_file() for n in (METRICS, DESCRIPTION))
    if overwrite and not ours:
        raise SourceError(
            f"--overwrite replaces a run, but {str(folder)!r} holds other files and no {CONFIG} with "
            f"{METRICS}; name another folder with --out"
        )
    if not overwrite:
        advice = "name another with --out, or replace it with --overwrite" if ours else "name another with --out"
        message = f"the run folder {str(folder)!r} is there already and not empty; {advice}"
        raise _Taken(message, "holds a run" if ours else "holds other files")


def _remove(made: list[Path]) -> None:
    """Take away folders that are empty; what cannot be taken away, or is somebody's by now, stays."""
    with suppress(OSError):
        for path in made:
            path.rmdir()
