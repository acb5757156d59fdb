"""Output that never ends the work: where it cannot be written, the work goes on in silence and keeps its results."""

from __future__ import annotations

import errno
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

QUIET = (errno.EPIPE, errno.EIO)
"""What nobody needs to be told of: a reader that has seen enough, as behind `| head`, and a terminal that is closed."""


class Unbroken:
    """A text stream whose writer never fails.

    Args:
        stream: the one to write to.
        name: what it is called.
        other: the one to say on, once, that this one cannot be written; or None.
    """

    def __init__(self, stream: Any, name: str, other: Unbroken | None = None) -> None:
        self._stream, self._name, self.other, self._silent = stream, name, other, False
        self._lost = False

    def write(self, text: str) -> int:
        """Write, if it can be; characters that the stream's encoding lacks become question marks."""
        if not self._silent:
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                self.write(text.encode(error.encoding, "replace").decode(error.encoding))
            except OSError as error:
                self._fall_silent(error)
        return len(text)

    def flush(self) -> None:
        """Flush, if it can be."""
        if not self._silent:
            try:
                self._stream.flush()
            except OSError as error:
                self._fall_silent(error)

    def is_lost(self) -> bool:
        """Whether something could not be written that somebody may be waiting for."""
        self.flush()
        return self._lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fall_silent(self, error: OSError) -> None:
        self._silent = True
        with suppress(OSError, ValueError, AttributeError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())  # or Python would complain at its end
        self._lost = error.errno not in QUIET
        if self.other is not None and self._lost:
            self.other.write(
                f"rnnkit: {self._name} cannot be written ({error.strerror or error}); going on in silence\n"
            )
            self.other.flush()


@contextmanager
def unbroken() -> Iterator[Unbroken | None]:
    """Let nothing that is printed end the work, and a fault in compiled code say where it was; yields standard output.

    Such a fault is a memory map whose file another process cuts short between the check of its size and its reading:
    the signal ends this process, and Python's own handler writes the lines that were being carried out.
    """
    streams = sys.stdout, sys.stderr
    output = streams[0] and Unbroken(streams[0], "standard output")
    errors = streams[1] and Unbroken(streams[1], "standard error", output)
    if output is not None:
        output.other = errors
    sys.stdout, sys.stderr = output, errors
    watching = False
    if not faulthandler.is_enabled():
        with suppress(OSError, ValueError, AttributeError, RuntimeError):  # no file behind standard error
            faulthandler.enable(streams[1])
            watching = True
    try:
        yield output
    finally:
        for stream in (output, errors):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = streams
        if watching:
            faulthandler.disable()
