"""What a study found, in words: a table for the screen, and a Markdown report with pictures."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnkit.errors import counted
from rnnkit.files import write_whole
from rnnkit.schedule.brief import brief
from rnnkit.study.judging import PARTS, baseline, error_name, judged, label
from rnnkit.study.results import CSV, FINISHED, PARQUET, ranked, writing
from rnnkit.train.targets import is_classification
from rnnkit.view.text import markdown, markdown_code

if TYPE_CHECKING:
    from rnnkit.study.compare import Comparison

REPORT = "report.md"

NOTES = """\
{errors} A value is the mean over the seeds that are done, ± their standard deviation: with
few seeds that is a rough measure, and two values closer than it are not different. *Seconds* are those of training
alone, on one thread; warming up, compiling and looking at the validation part do not count. Trials that ran side by
side shared the machine: where `cpu_seconds` in the table is far below `seconds`, they disturbed each other.
"""

OWN_UNITS, SHARE_WRONG = "Errors are in the data's own units.", "Errors are shares of classes that are wrong."

COMPARED = """\
*Gradient* compares what a trial trains on with the whole gradient, cut nowhere: 1 and 1 are equal."""

CARRIED = """\
Every trial is judged with its state carried through the validation and test part, whatever its policy was in \
training."""

CHOSEN = """\
Lines are in the order of their validation error, mean over the seeds, those of which a seed was lost last. Choose by
it: the lowest of many test errors flatters, for it was found by looking."""

NOISY = """\
Gradient: measured after training, where the whole gradient is close to zero; its direction is noisy there."""


def table(comparison: Comparison) -> list[list[str]]:
    """The summary: a head, and a line for each splitter, policy and backend that was trained, in their order."""
    summary, part = comparison.summary, judged(comparison.rows)
    several = len({found["backend"] for found in summary}) > 1
    error = error_name(comparison.study)
    shown = [part for part in PARTS if any(found.get(f"{part}_mae_mean") is not None for found in summary)]
    measures = {f"{part} {error}": f"{part}_mae" for part in shown}
    if shown and any(found.get(f"{shown[-1]}_ratio_mean") is not None for found in summary):
        measures[f"{error} / {baseline(comparison.rows)}"] = f"{shown[-1]}_ratio"
    if _has_gradient(summary):
        measures["gradient: cosine"] = "bias_cosine"
        measures["norm ratio"] = "bias_norm_ratio"
    measures |= {"seconds": "seconds", "rows a second": "rows_per_second"}
    lines = [["splitter", "policy", *(["backend"] if several else []), "seeds", *measures]]
    for found in ranked(summary, part):
        seeds = [str(found["seeds"]), *(f"{found[s]} {s}" for s in ("diverged", "failed") if found[s])]
        place = [found[name] for name in ("splitter", "policy", *(["backend"] if several else []))]
        lines.append([*place, ", ".join(seeds), *(_spread(found, name) for name in measures.values())])
    return lines


def choice(comparison: Comparison) -> str:
    """What was chosen and its test error, in a sentence; nothing where nothing could be chosen."""
    best, error = comparison.chosen, error_name(comparison.study)
    if best is None:
        return ""
    where = label(best, comparison.summary)
    if best["test_mae_mean"] is None:
        return (
            f"Chosen by its {error} on the validation part, {_spread(best, 'validation_mae')}: {where}. There is no "
            f"test part; on new data expect it to be worse, for the best of several was taken."
        )
    ratio = best["test_ratio_mean"]
    naive = baseline(comparison.rows)
    times = "" if ratio is None else f", {ratio:.3g} times that of {'' if naive == 'persistence' else 'the '}{naive}"
    return (
        f"Chosen by its {error} on the validation part: {where}. On the test part, which had no say in it, its {error} "
        f"is {_spread(best, 'test_mae')}{times}."
    )


def as_text(comparison: Comparison) -> str:
    """A comparison as it is printed."""
    counts = ", ".join(f"{count} {status}" for status, count in statuses(comparison.rows).items())
    where = f"; in {str(comparison.folder)!r}" if comparison.folder else ""
    lines = [f"Comparison of {counted(len(comparison.rows), 'trial')}, {comparison.study.equal} each: {counts}{where}"]
    lines += aligned(table(comparison))
    lines += [f"  {sentence}" for sentence in (choice(comparison), *_judging(comparison)) if sentence]
    lines += [f"  {pair}: {message}" for pair, message in told(comparison.rows).items()]
    return "\n".join(lines)


def _judging(comparison: Comparison) -> list[str]:
    """What has to be known to read the table: a sentence for each of its measures that misleads."""
    carried = [" ".join(CHOSEN.split()), CARRIED] if judged(comparison.rows) else []
    return carried + ([NOISY] if _has_gradient(comparison.summary) else [])


def _has_gradient(summary: Iterable[dict[str, Any]]) -> bool:
    return any(found["bias_cosine_mean"] is not None for found in summary)


def statuses(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many trials ended how."""
    found: dict[str, int] = {}
    for row in rows:
        found[row["status"]] = found.get(row["status"], 0) + 1
    return found


def told(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What is said against refused pairs, and about trials that failed or diverged; the first seed's words."""
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
        f"# {markdown(folder.resolve().name)}",
        "",
        f"{markdown_code(repr(study.model))}, {study.dtype}, loss {markdown(brief(study.loss))}, rule "
        f"{markdown(brief(study.rule))}.",
    ]
    lines += ["", f"Every trial was trained for {study.equal}.", ""]
    lines += [
        f"- {name}: {markdown(repr(given))}"
        for name, given in zip(names, study.parts, strict=True)
        if given is not None
    ]
    counts = ", ".join(f"{count} {status}" for status, count in statuses(rows).items())
    lines += ["", "## What was found", "", f"{counted(len(rows), 'trial')}: {counts}.", ""]
    if best := choice(comparison):
        lines += [markdown(best), ""]
    lines += _markdown_table(table(comparison))
    lines += ["", NOTES.format(errors=SHARE_WRONG if is_classification(study.loss) else OWN_UNITS)]
    for sentence in ([COMPARED] if _has_gradient(comparison.summary) else []) + _judging(comparison):
        lines += [sentence, ""]
    for name, (_, caption) in drawn.items():
        lines += [f"![{caption}]({name})", "", caption, ""]
    if against := told(rows):
        lines += ["## What was not trained to the end", ""]
        lines += [f"- {markdown(pair)}: {markdown(message)}" for pair, message in against.items()]
        lines.append("")
    lines += ["## What is read and how far it reaches", ""]
    lines += _markdown_table(_coverage(rows))
    tables = f"`{CSV}` and `{PARQUET}`" if parquet else f"`{CSV}`"
    left = (
        ""
        if parquet
        else f" `{PARQUET}` was left out, because pyarrow is not installed: `pip install 'rnnkit[parquet]'`."
    )
    lines += ["", f"A row a trial is in {tables}; the learning curve of each is in `trials`.{left}", ""]
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
    return f"{mean:.4g}" if spread is None else with_spread(mean, spread)


def with_spread(mean: float, spread: float) -> str:
    """A mean with two digits of its spread, and no more of its own than those.

    Example:
        >>> with_spread(1043.7, 162.0), with_spread(0.2461, 0.1704)
        ('1040 ± 160', '0.25 ± 0.17')
    """
    if not spread or not isfinite(spread):
        return f"{mean:.4g} ± {spread:g}"
    last = 1 - int(f"{spread:.1e}".partition("e")[2])  # decimal place of the spread's second digit, once rounded
    if last > 6:  # more zeros than anyone counts
        return f"{mean:.4g} ± {spread:.2g}"
    mean, spread = round(mean, last), round(spread, last)
    return f"{mean:.{max(last, 0)}f} ± {spread:.{max(last, 0)}f}"


def aligned(lines: list[list[str]]) -> list[str]:
    """Rows of entries as text, the columns below each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines)
    return ["  " + "  ".join(line).rstrip() for line in padded]


def _markdown_table(lines: list[list[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(markdown(text) for text in line) + " |" for line in lines]
    return [head, "|" + "---|" * len(lines[0]), *body]
