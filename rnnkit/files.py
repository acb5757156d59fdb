"""Writing a file whole or not at all, and holding a folder against other processes."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rnnkit.errors import SourceError

LOCK = ".lock"
"""The file in a folder by which a process holds it; gone when it does not."""

ABANDONED = 3600
"""Seconds after which a file that was being written beside its place belongs to a process that was killed."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all: beside it first, then moved into place.

    What processes that were killed left beside it is taken away.

    Raises:
        OSError: it cannot be written; what stood there before still does.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or the name could outlive the bytes when the machine goes down
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    remove_abandoned(path)


def remove_abandoned(path: Path) -> None:
    """Take away what killed processes left that were writing a file, but nothing that may still be written."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError):  # another process takes it away
            if left.suffix[1:].isdigit() and time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


class Lock:
    """A folder held by this process, until it lets go or ends, however it ends.

    On POSIX the lock is that of `flock`, on Windows that of `msvcrt.locking`: the system takes it back from a process
    that is killed, so that none is ever left over. A file system that knows neither lets everybody in.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> lock = Lock.take(folder)
        >>> Lock.take(folder) is None
        True
        >>> lock.release()
    """

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file, self._descriptor = file, descriptor

    @classmethod
    def take(cls, folder: Path) -> Lock | None:
        """Hold a folder that is there; None where another process, or this one, holds it already.

        Raises:
            OSError: nothing can be written there.
        """
        file = folder / LOCK
        while True:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            if not _locked(descriptor):
                os.close(descriptor)
                return None
            if _is_at(file, descriptor):
                break
            os.close(descriptor)  # whoever held it took the file away between the two calls
        from socket import gethostname

        with suppress(OSError):  # it is for people alone
            os.ftruncate(descriptor, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(descriptor, f"process {os.getpid()} on {gethostname()}, since {since}".encode())
        return cls(file, descriptor)

    def release(self) -> None:
        """Let go."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
        os.close(self._descriptor)
        with suppress(OSError):  # Windows lets nobody take away what is open
            if os.name == "nt":
                self._file.unlink(missing_ok=True)


def holder(folder: Path) -> str:
    """Who holds a folder, for messages."""
    try:
        return (folder / LOCK).read_text(errors="replace") or "another process"
    except OSError:
        return "another process"


PATIENCE = 2.0
"""Seconds to wait for a folder that somebody else holds: to write a run takes less, to train one more."""


@contextmanager
def held(folder: Path, who: str) -> Iterator[None]:
    """Hold a folder that is there for as long as a context lasts.

    Args:
        folder: which.
        who: how the message begins.

    Raises:
        SourceError: somebody else holds it.
        OSError: nothing can be written there.
    """
    until = time.monotonic() + PATIENCE
    while (lock := Lock.take(folder)) is None and time.monotonic() < until:
        time.sleep(0.05)
    if lock is None:
        raise SourceError(
            f"{who} found {str(folder)!r} in use by {holder(folder)}; wait until it has ended, or name another folder"
        )
    try:
        yield
    finally:
        lock.release()


def _locked(descriptor: int) -> bool:
    """Whether an open file could be locked."""
    try:
        import fcntl
    except ImportError:
        return _locked_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _locked_on_windows(descriptor: int) -> bool:
    import msvcrt

    os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read then
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    except OSError:
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def _is_at(file: Path, descriptor: int) -> bool:
    """Whether an open file still stands under its name."""
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except OSError:
        return False
