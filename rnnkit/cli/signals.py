"""Signals that ask a process to end: each interrupts a command as Ctrl-C does, so that it keeps what it has."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rnnkit.cli.status import INTERRUPTED

ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""By name, as no system knows all: Ctrl-C, `docker stop` and batch systems, a closed terminal, and Windows's."""

REPEATED = 1.0
"""Seconds within which a signal is one with the one before: Ctrl-C is pressed twice by many."""


class Heard:
    """Which signals came while a command ran."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._at = 0.0

    def __call__(self, number: int, frame: Any) -> None:
        """Interrupt what runs."""
        now, before = time.monotonic(), self._at
        self._last, self._at = number, now
        if not before or now - before > REPEATED:
            raise KeyboardInterrupt

    def status(self, status: int) -> int:
        """The exit status of a command, that of an interrupted one by the signal: 130, 143 or 129."""
        return status if status != INTERRUPTED or self._last is None else 128 + self._last


@contextmanager
def hearing() -> Iterator[Heard]:
    """Let signals that ask this process to end interrupt it, for as long as a context lasts."""
    heard = Heard()
    with _handling(heard):
        yield heard


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let what is begun be ended first, such as writing a run; a signal that came meanwhile is answered then."""
    came: list[int] = []
    with _handling(lambda number, frame: came.append(number)):
        yield
    if came:
        signal.raise_signal(came[0])


@contextmanager
def _handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Give signals to a handler; those that are ignored, as after `nohup`, stay so."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other may
        for number in (getattr(signal, name) for name in ENDING if hasattr(signal, name)):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            with suppress(ValueError):
                signal.signal(number, old)
