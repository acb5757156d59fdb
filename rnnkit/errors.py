"""The one exception family: *who* expects *what*, got *what*, do *this*.

Every error is a `RnnkitError` and also the built-in exception that a caller would expect to catch.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parent)


class RnnkitError(Exception):
    """Base of every error that rnnkit raises on purpose.

    Attributes:
        run: where `fit` raised it after training had begun, what was trained up to there; else None.
    """

    run: Any = None

    def __str__(self) -> str:  # KeyError and OSError would decorate the message
        return str(self.args[0]) if self.args else ""


class DataError(RnnkitError, ValueError):
    """Rows, columns, targets or segments that cannot be used."""


class SourceError(RnnkitError, OSError):
    """A file that is not there, cannot be read, or would be overwritten."""


class ScheduleError(RnnkitError, ValueError):
    """A splitter or a policy that does not fit its sequence."""


class ContinuityError(ScheduleError):
    """State would be carried into a window that does not continue the one the state has seen."""


class ModelError(RnnkitError, ValueError):
    """A model, parameter, loss, rule or array of the wrong shape or kind."""


class BackendError(RnnkitError, LookupError):
    """A backend that is unknown, declared twice, or not installed."""


class ConfigError(RnnkitError, ValueError):
    """A configuration with one or more errors, each with its dotted path and line."""


class NonFiniteError(RnnkitError, ArithmeticError):
    """A loss or gradient that is not finite; `run` holds the last good parameters."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training; `run` holds everything up to the last finished block."""

    run: Any = None


class RnnkitWarning(UserWarning):
    """Something that is used as it is, but is rarely meant; says what to do, or which option silences it."""


def warn(message: str) -> None:
    """Warn of what is rarely meant, at the place of the caller's code that called rnnkit.

    Args:
        message: one line: *who* has *what*, and what to do or which option silences it.
    """
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, RnnkitWarning, stacklevel=depth)


ALIKE = 0.65
"""How alike two words are at least, by `difflib`'s ratio, for one to be a slip of the other."""


def listed(names: Iterable[str], most: int, what: str) -> str:
    """Names with commas between them, the middle of a list of more than `most` left out and their number said."""
    known = list(names)
    if len(known) <= most:
        return ", ".join(known)
    return f"{', '.join(known[: most - 2])}, ... {known[-1]} ({len(known)} {what})"


def counted(number: int, thing: str) -> str:
    """So many of a thing: `"1 row"`, `"2,000 rows"`, `"2 classes"`, `"3 series"`."""
    ending = "" if number == 1 or thing.endswith("series") else "es" if thing.endswith("s") else "s"
    return f"{number:,} {thing}{ending}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest known word, or nothing."""
    found = closest(word, known)
    return f"; did you mean {found!r}?" if found else ""


def did_you_mean_file(name: str, known: Iterable[str]) -> str:
    """Like `did_you_mean` for names of files: one is near that has a near name before its suffix."""
    stem, dot, suffix = name.rpartition(".")
    near = {each.rpartition(".")[0] or each: each for each in known}
    found = closest(stem if dot else suffix, near)
    return f"; did you mean {near[found]!r}?" if found else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, whatever the case of its letters: two in three of them are the same."""
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=ALIKE)
    return folded[near[0]] if near else None
