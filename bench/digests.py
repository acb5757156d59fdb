"""Digests of what rnnkit computes, prints and draws, a line of JSON each; `before_after.py` compares two trees by them.

python bench/digests.py                        # of the rnnkit that is imported
python bench/digests.py --only 'numba: *'      # * and ? as in a shell; a word alone is looked for anywhere

A line has the entry's name and, for each part of it, the SHA-256 with a few words for people: the sum of the numbers,
or the text. Times, versions and folders are left out of texts.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import commands
from trainings import BACKENDS, COUNT, MANY, MANY_COUNT, ONE, drawn, many, one, title, values_of
from uses import Computed, uses, uses_of

import rnnkit as rk

TREE = Path(rk.__file__).parent.parent

LONGEST = 100_000
"""Characters of a text that are told, so that two can be compared line by line."""

MEASURED = ("seconds", "cpu", "digest")
"""Keys of JSON that are left out: a digest is that of a file with times in it."""

CLEANED = (
    (r"\b\d[\d,.]*(e[-+]?\d+)? (s|ms|µs|min|h)\b", r"# \2"),
    (r"\d[\d,.]* rows a second", "# rows a second"),
    (r"\bseconds=[\d.e+-]+", "seconds=#"),
)
"""What is replaced in texts: what differs between two runs of one tree."""


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Digests of what rnnkit computes.")
    parser.add_argument("--only", default="*", help="names of entries: with * and ?, or a word that they contain")
    options = parser.parse_args()
    out, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, compute in chosen(entries(), options.only).items():
            print(json.dumps([name, digests(name, compute)]), file=out, flush=True)


def chosen(found: dict[str, Callable[[Path], Computed]], only: str) -> dict[str, Callable[[Path], Computed]]:
    """Entries whose name fits a pattern, or contains it."""
    pattern = only if "*" in only or "?" in only else f"*{only}*"
    return {name: compute for name, compute in found.items() if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))}


def entries() -> dict[str, Callable[[Path], Computed]]:
    """What is computed, by name, each in a folder of its own."""
    found: dict[str, Callable[[Path], Computed]] = {}
    for backend in BACKENDS:
        if backend == "torch" and importlib.util.find_spec("torch") is None:
            continue
        for number, choice in enumerate(drawn(backend, ONE, COUNT)):
            found[f"{backend}: training {number}: {title(choice)}"] = partial(trained, backend, choice)
        for number, choice in enumerate(drawn(backend, MANY, MANY_COUNT)):
            found[f"{backend}: curriculum {number}: {title(choice)}"] = partial(taught, backend, choice)
        found |= {f"{backend}: {name}": compute for name, compute in uses_of(backend).items()}
    found |= {f"core: {name}": compute for name, compute in uses().items()}
    return found | {f"command: {name}": compute for name, compute in commands(TREE).items()}


def trained(backend: str, choice: dict[str, str], work: Path) -> Computed:
    """A training on one series, and what it predicts."""
    run, series = one(backend, choice)
    stream = rk.Stream(run)
    rows = np.random.default_rng(0).standard_normal((6, 1, series.features))
    found = values_of(run, work / "run")
    found |= {"predictions": np.asarray(rk.predict(run, series)), "evaluation": str(rk.evaluate(run, series, warm=20))}
    return found | {"stream": [stream.step(row) for row in rows]}


def taught(backend: str, choice: dict[str, str], work: Path) -> Computed:
    """A training on several data sets, and what is told after each turn."""
    told: list[str] = []
    run = many(backend, choice, on_turn=lambda turn: told.append(str(turn)))
    return values_of(run, work / "run") | {"turns": "\n".join(told), "transfer": str(run.transfer)}


def digests(name: str, compute: Callable[[Path], Computed]) -> dict[str, list[str]]:
    """Digest and a few words for each part; one part `error` where it fails."""
    work = Path("work")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        work = Path(folder).rename("work")  # the same path for every tree and entry: it may be told
        try:
            return {part: digest(value) for part, value in compute(work).items()}
        except Exception:
            return {"error": digest(traceback.format_exc())}
        finally:
            work.rename(folder)


def digest(value: Any) -> list[str]:
    """SHA-256 of a value and everything in it, and a few words for people."""
    if isinstance(value, Path):
        value = contents(value)
    if isinstance(value, str):
        text = cleaned(value)
        return [hashlib.sha256(text.encode()).hexdigest(), text if len(text) <= LONGEST else f"{len(text)} characters"]
    sha, total, numbers = hashlib.sha256(), 0.0, 0
    for place, leaf in leaves(value):
        sha.update(place.encode() + b"\0" + leaf.tobytes() + b"\0")
        if leaf.dtype.kind in "fiub":
            total += float(np.nansum(np.abs(leaf.astype(float))))
            numbers += leaf.size
    return [sha.hexdigest(), f"sum {total!r} of {numbers} numbers"]


def contents(file: Path) -> str | bytes:
    """A file's text, or its bytes where it is none."""
    content = file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    if file.suffix == ".json":
        return json.dumps(json.loads(text, object_hook=unmeasured), indent=1, sort_keys=True)
    if file.suffix == ".jsonl":
        lines = [json.loads(line, object_hook=unmeasured) for line in text.splitlines()]
        return "\n".join(json.dumps(line, sort_keys=True) for line in lines)
    return text


def unmeasured(table: dict[str, Any]) -> dict[str, Any]:
    """An object of JSON without times."""
    return {key: value for key, value in table.items() if key not in MEASURED}


def cleaned(text: str) -> str:
    """A text without times, folders and digests."""
    for folder, name in ((str(TREE), "TREE"), (os.getcwd(), "WORK")):
        text = text.replace(folder, name)
    for pattern, instead in CLEANED:
        text = re.sub(pattern, instead, text)
    return text


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Everything in a value as arrays, each with its place in it and its shape and type.

    Names of classes do not count, nor those of the fields of tuples and dataclasses: only what they hold, in order.
    """
    if isinstance(value, Mapping):
        inside = [(repr(key), value[key]) for key in sorted(value, key=str)]
    elif is_dataclass(value) and not isinstance(value, type):
        inside = [(str(n), getattr(value, field.name)) for n, field in enumerate(fields(value))]
    elif isinstance(value, tuple | list):
        inside = [(str(n), part) for n, part in enumerate(value)]
    elif isinstance(value, bytes):
        yield place, np.frombuffer(value, np.uint8)
        return
    elif value is None:
        yield f"{place} None", np.empty(0)
        return
    elif isinstance(value, bool | int | float | str | np.ndarray | np.generic):
        array = np.ascontiguousarray(cleaned(value) if isinstance(value, str) else value)
        yield f"{place} {array.dtype.str} {np.shape(value)}", array
        return
    else:
        raise TypeError(f"digests knows no {type(value).__name__}, at {place!r}")
    for key, part in inside:
        yield from leaves(part, f"{place}/{key}")


if __name__ == "__main__":
    main()
