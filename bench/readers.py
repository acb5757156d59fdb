"""Opening a CSV file, over `pandas.read_csv` with `parse_dates` and over the standard csv module and `float`.

python bench/readers.py          # a line for each, the median of ratios of processor time, in turns

Processor time of this process with all its threads, libraries imported before.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np

import rnnkit as rk

ROWS = 200_000

ROUNDS = 5


def write(path: Path) -> None:
    """A file of a time and three columns of numbers."""
    times = np.datetime64("2014-01-01T00:00:00") + np.arange(ROWS).astype("timedelta64[m]")
    numbers = np.random.default_rng(0).normal(size=(ROWS, 3)).tolist()
    with path.open("w") as file:
        file.write("t,a,b,c\n")
        file.writelines(f"{at},{a:.6f},{b:.6f},{c!r}\n" for at, (a, b, c) in zip(times, numbers, strict=True))


def with_rnnkit(path: Path) -> np.ndarray:
    """Open the file as a sequence."""
    series = rk.Sequence.open(path, time="t", target="a")
    return series.read_x(0, series.rows, np.float64)


def with_pandas(path: Path) -> np.ndarray:
    """Read the file as a frame."""
    import pandas

    return pandas.read_csv(path, parse_dates=["t"])[["a", "b", "c"]].to_numpy()


def with_csv(path: Path) -> np.ndarray:
    """Cell by cell."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        read = [(datetime.fromisoformat(at), *map(float, cells)) for at, *cells in rows]
    return np.array([row[1:] for row in read])


def seconds(read: Callable[[Path], np.ndarray], path: Path) -> float:
    """Processor time of one reading."""
    began = time.process_time()
    read(path)
    return time.process_time() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write(path)
        ours, exact = with_rnnkit(path), with_csv(path)
        assert (ours == exact).all()
        np.testing.assert_allclose(with_pandas(path), exact, rtol=1e-12)
        for rival in (with_pandas, with_csv):
            pairs = [(seconds(with_rnnkit, path), seconds(rival, path)) for _ in range(ROUNDS)]
            ratio = statistics.median(mine / theirs for mine, theirs in pairs)
            print(f"{ROWS:,} rows, rnnkit over {rival.__name__.removeprefix('with_')}: {ratio:.2f}")


if __name__ == "__main__":
    main()
