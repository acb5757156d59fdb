"""Show that a change of rnnkit's insides changes nothing: the numbers bit for bit, and the times within 3 %.

python bench/before_after.py REV                              # bits and times of the working tree, beside commit REV
python bench/before_after.py REV --bits --only 'numba: *'     # while working: some entries alone
python bench/before_after.py REV --times --only epoch
python bench/before_after.py REV --keep a/folder              # unpacks and compiles REV once, and uses it again
python bench/before_after.py REV --narrow                     # on a machine with AVX-512: as one with AVX2 would

Both trees run the same scripts, `digests.py` and `turns.py` of the working tree, on this machine, at the same time or
in turns. The exit status is 1 where a bit differs or a time is more than 3 % longer.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from narrow import environment

HERE = Path(__file__).resolve().parent

NOW = HERE.parent
"""The working tree."""

Digests = dict[str, dict[str, list[str]]]

LINES, WIDTH = 6, 200
"""Lines of a text that are shown where it differs, and their characters."""


def main(arguments: list[str] | None = None) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Compare the working tree with a commit: bits, and times in turns.")
    parser.add_argument("revision", metavar="REV", help="a commit, or a folder with another tree")
    parser.add_argument("--bits", action="store_true", help="digests alone")
    parser.add_argument("--times", action="store_true", help="times alone")
    parser.add_argument("--only", default="*", help="names of entries or cases: with * and ?, or a word in them")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="unpack the commit there, or use what is there")
    parser.add_argument("--narrow", action="store_true", help="with AVX2 and no wider instructions")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each timed case, at least")
    options = parser.parse_args(arguments)
    wanted = {"bits": options.bits, "times": options.times}
    if not any(wanted.values()):
        wanted = dict.fromkeys(wanted, True)
    with ExitStack() as open_until_the_end:
        then = before(options.revision, options.keep, open_until_the_end)
        trees = {"before": then, "after": NOW}
        worlds = {name: world(tree, options.narrow) for name, tree in trees.items()}
        same = True
        if wanted["bits"]:
            same &= tell_bits(*digests_of(worlds, options.only).values())
        if wanted["times"]:
            import turns

            same &= turns.tell(turns.alternate(worlds, options.only, options.rounds))
    return 0 if same else 1


def before(revision: str, keep: Path | None, stack: ExitStack) -> Path:
    """The tree to compare with: a folder as it is, or a commit, unpacked."""
    if (Path(revision) / "rnnkit").is_dir():
        return Path(revision).resolve()
    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    folder = keep.resolve() if keep else Path(stack.enter_context(tempfile.TemporaryDirectory()))
    tree = folder / commit[:12]
    if not (tree / ".whole").exists():
        tree.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
            archive.extractall(tree, filter="data")
        (tree / ".whole").touch()
    return tree


def git(*words: str) -> bytes:
    """What a git command of the working tree prints."""
    ran = subprocess.run(["git", "-C", str(NOW), *words], stdout=subprocess.PIPE)
    if ran.returncode:
        sys.exit(f"before_after: git {' '.join(words)} failed")
    return ran.stdout


def world(tree: Path, narrow: bool = False) -> dict[str, str]:
    """The environment in which Python imports rnnkit from a tree; compiled kernels are kept beside its source."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(str(folder) for folder in (tree, tree / "backends"))
    inherited = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return inherited | alone | {"PYTHONPATH": path, "MPLBACKEND": "agg"} | (environment() if narrow else {})


def digests_of(worlds: Mapping[str, Mapping[str, str]], only: str) -> dict[str, Digests]:
    """The digests of both trees, computed at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        running = {}
        for name, environ in worlds.items():
            with (Path(folder) / name).open("w") as file:
                command = [sys.executable, str(HERE / "digests.py"), "--only", only]
                running[name] = subprocess.Popen(command, env=dict(environ), stdout=file)
        for name, process in running.items():
            if process.wait():
                sys.exit(f"before_after: digests.py failed on the tree {name} the change")
        return {name: dict(map(json.loads, (Path(folder) / name).open())) for name in worlds}


def tell_bits(before: Digests, after: Digests) -> bool:
    """Print a line for each entry that differs, and how many do not; whether all are equal."""
    names = list(dict.fromkeys([*before, *after]))
    wrong = [name for name in names if before.get(name) != after.get(name) or "error" in before[name]]
    for name in wrong:
        print("\n".join(difference(name, before.get(name), after.get(name))))
    print(f"{len(names) - len(wrong)} of {len(names)} equal" if names else "no entry has such a name")
    return bool(names) and not wrong


def difference(name: str, before: dict[str, list[str]] | None, after: dict[str, list[str]] | None) -> Iterable[str]:
    """Which parts of an entry differ, and what is known of them."""
    if before is None or after is None:
        yield f"{name}\n    is there only {'after' if before is None else 'before'} the change"
        return
    yield name
    for part in dict.fromkeys([*before, *after]):
        old, new = before.get(part, ["", ""]), after.get(part, ["", ""])
        if part == "error":
            last = (new[1] or old[1]).strip().splitlines()[-1]
            yield f"    fails: {last}" + ("" if new[1] else ", before the change")
        elif old != new:
            first, *more = text_difference(old[1], new[1])
            yield f"    {part}: {first[:WIDTH]}"
            yield from (f"        {line[:WIDTH]}" for line in more)


def text_difference(old: str, new: str) -> list[str]:
    """A line with both, or the first lines that differ."""
    if "\n" not in old + new:
        return [f"{old} before, {new} after" if old != new else f"{old}, in other bits"]
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    changed = [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]
    return [f"{len(changed)} lines", *changed[:LINES]]


if __name__ == "__main__":
    sys.exit(main())
