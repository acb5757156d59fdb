"""What the trials of a study are compared on, and what that is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rnnkit.train.targets import is_classification

if TYPE_CHECKING:
    from rnnkit.study.trials import Study

PARTS = ("validation", "test")


def judged(rows: Iterable[dict[str, Any]]) -> str | None:
    """The part that trials are compared on: validation, else test; None where there is neither."""
    known = [part for row in rows for part in PARTS if row.get(f"{part}_mae") is not None]
    return next((part for part in PARTS if part in known), None)


def error_name(study: Study) -> str:
    """What the column of errors is called: for classifiers they are shares of wrong classes."""
    return "share wrong" if is_classification(study.loss) else "MAE"


def baseline(rows: Iterable[dict[str, Any]]) -> str:
    """The naive prediction that errors are divided by, which is the same for every trial."""
    return next((row["baseline"] for row in rows if row.get("baseline")), "persistence")


def label(row: dict[str, Any], among: Iterable[dict[str, Any]]) -> str:
    """Splitter and policy of a row, and its backend where there are several."""
    several = len({other["backend"] for other in among}) > 1
    return f"{row['splitter']}, {row['policy']}" + (f", {row['backend']}" if several else "")
