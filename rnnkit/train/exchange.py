"""How a run takes the place of another in a folder: all of its files in one rename.

    OUT/.unfinished/    what is being written; whoever holds the folder owns it, and what the dead left of it is removed
    OUT/.finished/      a whole run: until a file has been moved to OUT, it is this one that counts
    OUT/                the run

A run is written into `.unfinished`, which becomes `.finished` in one rename: before it the folder holds the old run,
after it the new one, wherever the process is killed. Then file after file is moved to where people look for it; whoever
holds the folder next goes on with that. `standing` says where a file is meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rnnkit.errors import SourceError
from rnnkit.files import LOCK, held, remove_abandoned, write_whole

UNFINISHED, FINISHED = ".unfinished", ".finished"

OWN = frozenset((UNFINISHED, FINISHED, LOCK))
"""What may stand in a folder that holds nothing."""

GONE = ".gone"
"""Names of the old run's files that the new one has no successor of, a list in JSON; in `.finished`."""


def standing(folder: Path, name: str) -> Path:
    """Where a file of the run in a folder is."""
    moving = folder / FINISHED / name
    return moving if moving.is_file() else folder / name


def begin(folder: Path, names: Iterable[str]) -> Path:
    """The empty `.unfinished` of a folder that is held, for a run of some files."""
    settle(folder)
    unfinished = folder / UNFINISHED
    if unfinished.exists():
        shutil.rmtree(unfinished)
    for name in names:
        remove_abandoned(folder / name)
    unfinished.mkdir()
    return unfinished


def finish(folder: Path, replaced: Iterable[str] = ()) -> None:
    """Let the run in `.unfinished` take the place of the one in the folder, which is held.

    Args:
        folder: which.
        replaced: files of an old run that go, unless the new one has them, too.

    Raises:
        OSError: nothing has changed.
    """
    unfinished = folder / UNFINISHED
    gone = [name for name in replaced if (folder / name).exists() and not (unfinished / name).exists()]
    if gone:
        write_whole(unfinished / GONE, json.dumps(gone).encode())
    _sync(unfinished)
    os.rename(unfinished, folder / FINISHED)
    _sync(folder)
    with suppress(OSError):  # it is whole where it is; who holds the folder next goes on
        settle(folder)


def settle(folder: Path) -> None:
    """Go on with moving a whole run to where people look for it; the folder is held.

    Raises:
        OSError: a file cannot be moved; the run is whole still.
    """
    finished = folder / FINISHED
    if not finished.is_dir() or finished.is_symlink():
        return
    if (finished / GONE).is_file():  # else it had been taken away before anything was moved
        for name in _names(finished / GONE):
            (folder / name).unlink(missing_ok=True)
        (finished / GONE).unlink()
    for path in sorted(finished.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            os.replace(path, folder / path.name)
    shutil.rmtree(finished)


def settle_held(folder: Path, who: str) -> None:
    """Go on with moving a whole run, as `settle` does, in a folder that nobody holds.

    Args:
        folder: which.
        who: how messages begin.

    Raises:
        SourceError: somebody holds it, or it cannot be written.
    """
    if not (folder / FINISHED).is_dir():
        return
    try:
        with held(folder, who):
            settle(folder)
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(
            f"{who} found a run in {str(folder / FINISHED)!r} that is to be moved to {str(folder)!r}, which cannot be "
            f"written: {error.strerror or error}; make it writable, or copy the folder to where it is"
        ) from error


def _names(file: Path) -> list[str]:
    """Names in a list of JSON; any that would lead out of the folder is left aside."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []
    listed = found if isinstance(found, list) else []
    return [name for name in listed if isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name)]


def _sync(folder: Path) -> None:
    """Let the names in a folder reach the disk, where the system can be asked to."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
