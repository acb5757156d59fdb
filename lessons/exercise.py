"""What the lessons share: an exercise with its verdict and its folded solution, and the list of what was shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import marimo as mo
import numpy as np

Mark = Literal["not yet", "right", "wrong"]


class Exercise(NamedTuple):
    """Something to be written by the reader.

    Attributes:
        attempt: the reader's function; as shipped it returns None.
        solution: a function that is right.
        check: takes such a function, and says in a sentence what is wrong, or nothing. What it compares with comes
            from somewhere else than the solution.
    """

    attempt: Callable[..., Any]
    solution: Callable[..., Any]
    check: Callable[[Callable[..., Any]], str]


class Verdict(NamedTuple):
    """A mark, and what to say to the reader."""

    mark: Mark
    text: str


class NothingYet(Exception):
    """The function returned None."""


def judge(function: Callable[..., Any], check: Callable[[Callable[..., Any]], str]) -> Verdict:
    """Ask a function what the exercise asks; whatever it raises is told, not raised."""

    def asked(*arguments: Any) -> Any:
        answer = function(*arguments)
        if answer is None:
            raise NothingYet
        return answer

    try:
        wrong = check(asked)
    except NothingYet:
        return Verdict("not yet", f"Not yet: `{function.__name__}` returns nothing. Replace its last line.")
    except Exception as error:  # the reader's own code may raise anything
        return Verdict("wrong", f"Not quite: `{function.__name__}` raised `{type(error).__name__}: {error}`")
    return Verdict("wrong", f"Not quite: {wrong}") if wrong else Verdict("right", "Right.")


def show(exercise: Exercise) -> mo.Html:
    """The verdict on the reader's attempt, and a solution to unfold."""
    verdict = judge(exercise.attempt, exercise.check)
    kind = {"not yet": "neutral", "right": "success", "wrong": "warn"}[verdict.mark]
    code = inspect.getsource(exercise.solution).partition("def ")
    return mo.vstack(
        [
            mo.callout(mo.md(verdict.text), kind=kind),
            mo.accordion({"A solution": mo.md(f"```python\n{code[1]}{code[2]}```")}),
        ]
    )


def differs(got: Any, wanted: Any, what: str = "the result", tolerance: float = 1e-9) -> str:
    """What is wrong with an array or a number, in a sentence; nothing where it is close."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return f"{what} should have the shape {wanted.shape}, and has {got.shape}."
    if np.allclose(got, wanted, rtol=tolerance, atol=tolerance):
        return ""
    if got.size > 8:
        return f"{what} has the right shape, but is off by up to {np.abs(got - wanted).max():.3g}."
    if np.array_equal(np.round(got, 6), np.round(wanted, 6)):
        return f"{what} is off by {np.abs(got - wanted).max():.3g}, more than rounding makes."
    return f"{what} should be {np.round(wanted, 6).tolist()}, and is {np.round(got, 6).tolist()}."


def summary(checks: Mapping[str, Any]) -> mo.Html:
    """What this run of a lesson has shown."""
    lines = "\n".join(f"- {'✓' if holds else '✗ **does not hold here:**'} {text}" for text, holds in checks.items())
    kind = "success" if all(checks.values()) else "danger"
    return mo.callout(mo.md(f"**Checked while this lesson ran**\n\n{lines}"), kind=kind)
