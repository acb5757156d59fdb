"""What the studies share: their options, and the table and the pages over several comparisons."""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rnnkit as rk
from rnnkit.study.report import aligned, baseline
from rnnkit.study.results import COLUMNS


@dataclass(frozen=True)
class Options:
    """Options of a study's command line.

    Attributes:
        out: the folder of its results.
        jobs: trials at a time.
        quick: a hundredth of every budget and one seed, to see whether everything runs.
    """

    out: Path
    jobs: int
    quick: bool

    def seeds(self, count: int) -> int:
        """How many seeds."""
        return 1 if self.quick else count

    def rows(self, count: int) -> rk.Equal:
        """A budget of scored rows."""
        return rk.Equal(rows=max(count // 100, 1) if self.quick else count)

    def seconds(self, count: float) -> rk.Equal:
        """A budget of seconds."""
        return rk.Equal(seconds=count / 100 if self.quick else count)


def options(study: str, about: str) -> Options:
    """Read the command line of a study."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, default=Path("runs") / study, help="the folder of the results")
    parser.add_argument("--jobs", type=int, default=-1, help="trials at a time; -1: one for each processor")
    parser.add_argument("--quick", action="store_true", help="a hundredth of every budget, one seed")
    given = parser.parse_args()
    return Options(given.out / "quick" if given.quick else given.out, given.jobs, given.quick)


def carry_out(given: Options, cases: dict[str, Callable[[Path], rk.Comparison]]) -> None:
    """Make one comparison after the other, print each, and write the table over all.

    Args:
        given: the options.
        cases: for each case its name and a function from its folder to its comparison.
    """
    began, found = time.perf_counter(), {}
    for name, compare in cases.items():
        found[name] = compare(given.out / name)
        print(f"\n{name}: {found[name].study.equal} a trial", *aligned(by_loss(found[name])), sep="\n", flush=True)
    with (given.out / "results.csv").open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["case", *COLUMNS])
        for name, comparison in found.items():
            lines.writerows([name, *(row.get(column) for column in COLUMNS)] for row in comparison.rows)
    page = [f"# {given.out.name}", "", f"{os.cpu_count()} processors, {given.jobs} jobs."]
    for name, comparison in found.items():
        head, *body = by_loss(comparison)
        page += ["", f"## {name}", "", f"{comparison.study.equal} a trial. A loss of 1 is that of the mean.", ""]
        page += [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body)]
        page += ["", f"[Report]({name}/report.md)"]
    (given.out / "report.md").write_text("\n".join(page) + "\n")
    print(f"\n{time.perf_counter() - began:.0f} s in all; {given.out / 'report.md'}, {given.out / 'results.csv'}")


def by_loss(comparison: rk.Comparison) -> list[list[str]]:
    """A head, and a line for each splitter and policy that was trained: mean ± spread over seeds, least loss first.

    Most rows of some tasks want 0, so that the mean absolute error says little there: the loss decides.
    """
    measures = {"test loss": "test_loss", "test MAE": "test_mae", f"MAE / {baseline(comparison.rows)}": "test_ratio"}
    if any(found["bias_cosine_mean"] is not None for found in comparison.summary):
        measures |= {"gradient: cosine": "bias_cosine", "norm ratio": "bias_norm_ratio"}
    measures["seconds"] = "seconds"
    trained = [found for found in comparison.summary if not found["refused"]]
    trained.sort(key=lambda found: (found["test_loss_mean"] is None, found["test_loss_mean"]))
    lines = [["splitter", "policy", "seeds", *measures]]
    for found in trained:
        seeds = [str(found["seeds"]), *(f"{found[s]} {s}" for s in ("diverged", "failed") if found[s])]
        values = [(found[f"{name}_mean"], found[f"{name}_spread"]) for name in measures.values()]
        told = [
            "" if mean is None else f"{mean:.4g}" + (f" ± {spread:.2g}" if spread else "") for mean, spread in values
        ]
        lines.append([found["splitter"], found["policy"], ", ".join(seeds), *told])
    return lines


def scaled(series: rk.Sequence) -> tuple[rk.Sequence, rk.Sequence | None, rk.Sequence | None]:
    """The parts of a series: 70 % to train on, 15 % to validate, 15 % to test; the scaler of the first."""
    training, validation, test = series.split(0.7, 0.15)
    return training.with_scaler(rk.Standard.fit(training)), validation, test
