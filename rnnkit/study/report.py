"""What a study found, in words: a table for the screen, and a Markdown report with pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnkit.study.cells import short
from rnnkit.study.results import CSV, FINISHED, PARQUET, writing
from rnnkit.train.run import write_whole

if TYPE_CHECKING:
    from rnnkit.study.compare import Comparison

REPORT = "report.md"

NOTES = """\
Errors are in the data's own units. A value is the mean over the seeds that are done, ± their standard deviation: with
few seeds that is a rough measure, and two values closer than it are not different. *Seconds* are those of training
alone, on one thread; warming up, compiling and looking at the validation part do not count. Cells that ran side by side
shared the machine: where `cpu_seconds` in the table is far below `seconds`, they disturbed each other. *Gradient*, if
it was measured, compares what a cell trains on with the whole gradient, cut nowhere, after training: 1 and 1 are equal.
"""


def judged(rows: Iterable[dict[str, Any]]) -> str | None:
    """The part that cells are compared on: test, else validation; None where there is neither."""
    known = [part for row in rows for part in ("test", "validation") if row.get(f"{part}_mae") is not None]
    return next((part for part in ("test", "validation") if part in known), None)


def label(row: dict[str, Any], among: Iterable[dict[str, Any]]) -> str:
    """Splitter and policy of a row, and its backend where there are several."""
    several = len({other["backend"] for other in among}) > 1
    return f"{row['splitter']}, {row['policy']}" + (f", {row['backend']}" if several else "")


def table(comparison: Comparison) -> list[list[str]]:
    """The summary: a head, and a line for each splitter, policy and backend that was trained, the best first."""
    part = judged(comparison.rows)
    summary = comparison.summary
    several = len({found["backend"] for found in summary}) > 1
    measures = {f"{part} MAE": f"{part}_mae", "MAE / persistence": f"{part}_ratio"} if part else {}
    if any(found["bias_cosine_mean"] is not None for found in summary):
        measures["gradient: cosine"] = "bias_cosine"
        measures["norm ratio"] = "bias_norm_ratio"
    measures |= {"seconds": "seconds", "rows a second": "rows_per_second"}
    lines = [["splitter", "policy", *(["backend"] if several else []), "seeds", *measures]]
    ranked = sorted(
        (found for found in summary if found["seeds"] or found["diverged"] or found["failed"]),
        key=lambda found: (found.get(f"{part}_mae_mean") is None, found.get(f"{part}_mae_mean") or 0.0),
    )
    for found in ranked:
        seeds = [str(found["seeds"]), *(f"{found[s]} {s}" for s in ("diverged", "failed") if found[s])]
        place = [found[name] for name in ("splitter", "policy", *(["backend"] if several else []))]
        lines.append([*place, ", ".join(seeds), *(_spread(found, name) for name in measures.values())])
    return lines


def as_text(comparison: Comparison) -> str:
    """A comparison as it is printed."""
    counts = ", ".join(f"{count} {status}" for status, count in statuses(comparison.rows).items())
    where = f"; in {str(comparison.folder)!r}" if comparison.folder else ""
    lines = [f"Comparison of {len(comparison.rows)} cells, {comparison.study.equal} each: {counts}{where}"]
    lines += aligned(table(comparison))
    lines += [f"  {pair}: {message}" for pair, message in told(comparison.rows).items()]
    return "\n".join(lines)


def statuses(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many cells ended how."""
    found: dict[str, int] = {}
    for row in rows:
        found[row["status"]] = found.get(row["status"], 0) + 1
    return found


def told(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What is said against pairs that were refused, and about cells that failed or diverged; the first seed's words."""
    found: dict[str, str] = {}
    for row in rows:
        if row["status"] != "done":
            found.setdefault(f"{label(row, rows)}: {row['status']}", row["message"])
    return found


def write_report(comparison: Comparison, parquet: bool) -> None:
    """Write `report.md` and its pictures into the study's folder.

    Args:
        comparison: what was found.
        parquet: whether there is a Parquet file.
    """
    from rnnkit.study.pictures import pictures

    folder = comparison.folder
    assert folder is not None  # the caller has one
    drawn = pictures(comparison)
    with writing(folder):
        for name, (figure, _) in drawn.items():
            figure.savefig(folder / name)
        write_whole(folder / REPORT, _markdown(comparison, parquet, folder, drawn).encode())


def _markdown(comparison: Comparison, parquet: bool, folder: Path, drawn: dict[str, Any]) -> str:
    study, rows = comparison.study, comparison.rows
    names = ("training", "validation", "test")
    lines = [
        f"# {folder.resolve().name}",
        "",
        f"`{study.model!r}`, {study.dtype}, loss {short(study.loss)}, rule {short(study.rule)}.",
    ]
    lines += ["", f"Every cell was trained for {study.equal}.", ""]
    lines += [f"- {name}: {given!r}" for name, given in zip(names, study.parts, strict=True) if given is not None]
    counts = ", ".join(f"{count} {status}" for status, count in statuses(rows).items())
    lines += ["", "## What was found", "", f"{len(rows)} cells: {counts}.", ""]
    lines += _markdown_table(table(comparison))
    lines += ["", NOTES]
    for name, (_, caption) in drawn.items():
        lines += [f"![{caption}]({name})", "", caption, ""]
    if against := told(rows):
        lines += ["## What was not trained to the end", ""]
        lines += [f"- {pair}: {' '.join(message.split())}" for pair, message in against.items()]
        lines.append("")
    lines += ["## What is read and how far it reaches", ""]
    lines += _markdown_table(_coverage(rows))
    tables = f"`{CSV}` and `{PARQUET}`" if parquet else f"`{CSV}`"
    left = (
        ""
        if parquet
        else f" `{PARQUET}` was left out, because pyarrow is not installed: `pip install 'rnnkit[parquet]'`."
    )
    lines += ["", f"A row a cell is in {tables}; the learning curve of each is in `cells`.{left}", ""]
    return "\n".join(lines)


def _coverage(rows: list[dict[str, Any]]) -> list[list[str]]:
    head = [
        "splitter",
        "policy",
        "scored once",
        "more",
        "never",
        "padding",
        "state reaches back",
        "gradient reaches back",
    ]
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] in FINISHED and "scored_once" in row:
            reach = [
                f"{row[f'{name}_minimum']:,} ... {row[f'{name}_median']:,g} ... {row[f'{name}_maximum']:,}"
                for name in ("state_reach", "gradient_reach")
            ]
            scored = [f"{row[f'scored_{name}']:,}" for name in ("once", "more", "never")]
            line = [row["splitter"], row["policy"], *scored, f"{row['padding']:.1%}", *reach]
            lines.setdefault((row["splitter"], row["policy"]), line)
    return [head, *lines.values()]


def _spread(found: dict[str, Any], name: str) -> str:
    """A mean and its spread over seeds."""
    mean, spread = found.get(f"{name}_mean"), found.get(f"{name}_spread")
    if mean is None:
        return ""
    if name == "rows_per_second":
        return f"{mean:,.0f}"
    return f"{mean:.4g}" if spread is None else f"{mean:.4g} ± {spread:.2g}"


def aligned(lines: list[list[str]]) -> list[str]:
    """Lines of cells as text, the columns below each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines)
    return ["  " + "  ".join(line).rstrip() for line in padded]


def _markdown_table(lines: list[list[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
    return [head, "|" + "---|" * len(lines[0]), *body]
