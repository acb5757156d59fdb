"""What training takes: little beside the series, and little beside a window's tape."""

import subprocess
import sys

import pytest

TRAIN = """
import numpy as np
import rnnkit as rk

rows = 10_000_000
values = np.lib.format.open_memmap(sys.argv[1], "w+", np.float64, (rows,))
for start in range(0, rows, 1_000_000):
    values[start : start + 1_000_000] = np.sin(np.arange(start, start + 1_000_000) / 50)
values.flush()
del values
train, validation, _ = rk.Sequence.open(sys.argv[1]).split(0.9, 0.05)
scaler = rk.Standard.fit(train)
schedule = rk.Schedule(train.with_scaler(scaler), rk.Continuation(length=64, lanes=16), rk.Carry())
model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
run = rk.fit(model, schedule, epochs=1, validation=validation.with_scaler(scaler))
assert run.history.epochs["rows"] == [9_000_000 - 1]
assert schedule.coverage().scored_once == 9_000_000 - 1
print(megabytes())
"""

WHOLE = """
import numpy as np
import rnnkit as rk

rows = 1_000_000
series = rk.Sequence(np.sin(np.arange(rows + 1, dtype=np.float32) / 50))
model = rk.Chain(rk.LSTM(1, 32), rk.Dense(32, 1))
run = rk.fit(model, rk.Schedule(series, rk.Chunked(length=rows), rk.Carry()), epochs=1, remat="sqrt")
assert run.history.epochs["rows"] == [rows]
assert len(run.history.steps["loss"]) == 1
print(megabytes())
"""

MANY = """
import numpy as np
import rnnkit as rk

files = [f"{sys.argv[1]}/{index}.npy" for index in range(24)]
for file in files:  # 24 x 32 megabytes
    np.lib.format.open_memmap(file, "w+", np.float64, (50_000, 80))
way = eval(sys.argv[2], {"rk": rk})
course = rk.Curriculum(files, rk.Continuation(length=64, lanes=16), rk.Carry(), interleave=way, options={"target": 0})
run = rk.fit(rk.Chain(rk.LSTM(80, 4), rk.Dense(4, 1)), course, epochs=1)
assert run.history.epochs["rows"] == [24 * 49_999]
print(megabytes())
"""

MEGABYTES = """
import pathlib, re, resource, sys

def megabytes():
    status = pathlib.Path("/proc/self/status")  # on Linux ru_maxrss starts at what the parent process had
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) if status.exists() else None
    return (peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
"""


def peak(script: str, *arguments: str) -> float:
    """Megabytes that a script takes at most, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEGABYTES + script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_ten_million_memmapped_rows_are_trained_under_500_megabytes(tmp_path):
    assert peak(TRAIN, str(tmp_path / "long.npy")) < 500


@pytest.mark.parametrize("way", ["rk.OneByOne()", "rk.RoundRobin(2)", "rk.SideBySide(2)"])
def test_data_sets_of_770_megabytes_are_trained_under_400_megabytes(tmp_path, way):
    assert peak(MANY, str(tmp_path), way) < 400


def test_a_million_rows_are_back_propagated_whole_under_400_megabytes():
    """The tape alone would take 6 x 32 numbers a row: 770 megabytes."""
    assert peak(WHOLE) < 400
