"""The processor time of `import rnnkit`, over that of `import numpy`: at most twice as much.

python bench/imports.py          # a line for each, of ten processes in turns the fastest

User and system time of a whole process, its start included, so that what else runs on the machine shows little.
"""

from __future__ import annotations

import resource
import subprocess
import sys

PROCESSES = 10

TARGET = 2.0


def processor_seconds(code: str) -> float:
    """User and system time of a Python that runs some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fastest(codes: tuple[str, ...], processes: int = PROCESSES) -> dict[str, float]:
    """The least processor time of each of some pieces of code, taken in turns."""
    turns = [{code: processor_seconds(code) for code in codes} for _ in range(processes)]
    return {code: min(turn[code] for turn in turns) for code in codes}


def main() -> None:
    seconds = fastest(("import numpy", "import rnnkit"))
    theirs, ours = seconds.values()
    for code, least in seconds.items():
        print(f"{code}: {1000 * least:.0f} ms")
    print(f"{ours / theirs:.2f} times numpy, at most {TARGET:g}: {'✓' if ours <= TARGET * theirs else '✗'}")


if __name__ == "__main__":
    main()
