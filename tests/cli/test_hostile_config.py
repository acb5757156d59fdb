"""Configs that nobody means, or that somebody means ill: refused in a line or two, soon, and in little memory."""

from __future__ import annotations

import os
import resource
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.build import build
from rnnkit.cli.commands import main
from rnnkit.cli.read import read

ONE = """\
name = "n"
seed = 0
backend = "numpy"
dtype = "float32"
out = "runs/n"
[data]
path = "a.csv"
time = "t"
features = ["v"]
target = "v"
horizon = 1
gap = 7200.0
missing = "refuse"
short = "refuse"
score = "all"
train = 0.6
validation = 0.2
scale = true
period = 5
warm = 16
[[model.layers]]
type = "LSTM"
inputs = 1
hidden = 2
[[model.layers]]
type = "Dense"
inputs = 2
outputs = 1
activation = "identity"
[model.initial]
type = "Zeros"
[splitter]
type = "Continuation"
length = 8
lanes = 2
lookback = 0
tail = "keep"
reweight = false
[policy]
type = "Carry"
reset_every = 100
reset_probability = 0.0
across_epochs = false
[train]
epochs = 1
loss = {type = "mse"}
rule = {type = "Adam", learning_rate = 5e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0}
clip = {type = "ClipNorm", maximum = 1.0}
learning_rate = {type = "Cosine", floor = 0.0}
early_stopping = {patience = 10, minimum = 0.0}
"""

MANY = """\
backend = "numpy"
out = "runs/m"
[common]
time = "t"
target = "v"
features = ["v"]
gap = 7200
warm = 16
train = 0.6
validation = 0.2
scaler = "own"
[[data]]
path = "a.csv"
name = "a"
learning_rate = 1.0
passes = 1
weight = 1.0
splitter = {type = "Chunked", length = 8, lanes = 1}
policy = {type = "BurnIn", rows = 2}
[curriculum]
order = "listed"
interleave = {type = "OneByOne"}
on_error = "stop"
phases = [{names = ["a"], epochs = 1, learning_rate = 1.0, frozen = ["0.*"]}]
[[model.layers]]
type = "LSTM"
hidden = 2
[[model.layers]]
type = "Dense"
outputs = 1
[splitter]
type = "Sliding"
length = 8
stride = 8
"""

ABSENT = (
    *("device", "threads", "data.array", "data.series_id", "data.only", "data.segments", "data.memmap"),
    *("train.remat", "train.frozen", "splitter.length.mean", "splitter.length.high", "model.initial.h"),
)
ABSENT_OF_MANY = (
    "common.segments",
    "data.0.head",
    "curriculum.transfer",
    "curriculum.interleave.weights",
    "model.heads",
)

HOSTILE = (
    *("0", "-1", "1e308", "100000000000000000000", "1000000000000", "nan", '""', '"a\\u0000b"', f'"{"x" * 20_000}"'),
    *("[[[[1]]]]", "{a = {b = 1}}", "2026-12-01", '"\\u001b[31m[red]$x$"', "[0, 100000000000000000000]"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    lines = [f"2026-01-0{1 + n // 24} {n % 24:02}:00:00,{np.sin(n / 5):.4f}" for n in range(80)]
    (folder / "a.csv").write_text("\n".join(["t,v", *lines]) + "\n")
    (folder / "one.toml").write_text(ONE)
    (folder / "many.toml").write_text(MANY)
    return folder


def keys(raw, path: tuple[str, ...] = ()) -> Iterator[str]:
    for key, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
        here = (*path, str(key))
        yield ".".join(here)
        if isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict)):
            yield from keys(value, here)


EVERY = [("one", key) for key in (*keys(tomllib.loads(ONE)), *ABSENT)]
EVERY += [("many", key) for key in (*keys(tomllib.loads(MANY)), *ABSENT_OF_MANY)]


@pytest.mark.parametrize("nth", range(len(HOSTILE)))
def test_no_value_of_any_key_is_answered_but_by_a_short_error(folder, monkeypatch, nth):
    """Every sixth key a value, so that each key meets a few of them."""
    monkeypatch.chdir(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = []
    for name, key in EVERY[nth % 6 :: 6]:
        try:
            build(read(folder / f"{name}.toml", [f"--{key}={HOSTILE[nth]}"]))
        except rk.RnnkitError as error:
            refused.append(str(error))
    assert len(refused) > 5
    assert all("\n" not in message or "errors:\n" in message for message in refused)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


def refusal(capsys, *tokens: str) -> str:
    assert main([str(token) for token in tokens]) == 2
    said = capsys.readouterr().err.rstrip("\n")
    assert len(said.splitlines()) <= 2
    assert max(map(len, said.splitlines())) <= 1100
    assert "\x1b" not in said
    return said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "tables and lists in each other at most 30 deep"),
        ("a = " + "[" * 200 + "]" * 200, "tables and lists in each other at most 30 deep"),
        (".".join("a" * 5000) + " = 1", "tables and lists in each other at most 30 deep"),
        (f"b = 1\na = {'7' * 5000}", "line 2: a whole number has thousands of digits"),
        (ONE.replace("warm = 16", f"warm = 0x{'7' * 3000}"), "a whole number up to 1,000,000,000,000,000"),
    ],
    ids=["brackets", "fewer brackets", "dots", "digits", "hexadecimal"],
)
def test_a_file_of_nothing_but_brackets_or_digits_is_refused(tmp_path, capsys, text, said):
    (tmp_path / "a.toml").write_text(text)
    assert said in refusal(capsys, "plan", tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("data.train", "[" * 5000 + "]" * 5000, "option --data.train: a config has tables and lists in each other"),
        ("data.train", "7" * 5000, "option --data.train: line 1: a whole number has thousands of digits"),
        (".".join("a" * 5000), "1", "expected an option of at most 30 parts"),
        ("data.gap", "1e400", "expects gap to be positive"),
        ("data.period", 10**20, "expects a whole number up to 1,000,000,000,000,000, got 100000000000000000000"),
        ("splitter.length", 10**20, "expects a whole number up to"),
        ("splitter.lookback", 10**12, "one step has 1,000,000,000,008 rows in 2 lanes, 58.2 TiB"),
        ("model.layers.0.hidden", 10**9, "has 4,000,000,013,000,000,001 parameters, 27.8 EiB as float32 2 times over"),
        ("out", "a\0b", "out: expects text without the character NUL; take it out"),
        ("data.path", "a\0b.csv", "path: expects text without the character NUL; take it out"),
        ("data.path", "a" * 5000 + ".csv", "found no data file"),
    ],
    ids=range(11),
)
def test_what_is_refused_says_why(folder, capsys, monkeypatch, option, value, said):
    monkeypatch.chdir(folder)
    if option == "model.layers.0.hidden":
        (folder / "h.toml").write_text(ONE.replace("inputs = 2\n", ""))
        assert said in refusal(capsys, "train", "h.toml", f"--{option}={value}")
    else:
        assert said in refusal(capsys, "train", "one.toml", f"--{option}={value}")


def test_what_is_large_and_harmless_is_used_as_it_is(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    tokens = {
        "splitter.length": 10**12,
        "data.gap": 1e308,
        "policy.reset_every": 10**12,
        "seed": 10**30,
        "data.period": 10**15,
        "data.warm": 10**15,
    }
    status = main(["train", "one.toml", *(f"--{key}={value}" for key, value in tokens.items())])
    assert status == 0, capsys.readouterr().err


def test_a_pipe_or_a_device_is_no_data_file(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    os.mkfifo("pipe.csv")
    os.symlink("/dev/zero", "zero.csv")
    os.symlink("/dev/zero", "zero.npy")
    for name in ("pipe.csv", "zero.csv", "zero.npy"):
        said = refusal(capsys, "plan", "one.toml", "--data.path", name)
        assert f"{name}', a pipe, socket or device: what comes from it is read once" in said
        with pytest.raises(rk.SourceError, match="write it into a file"):
            rk.DataSet.each(name, "id")


def test_no_memory_is_asked_for_that_is_not_there():
    with pytest.raises(rk.ModelError, match=r"27.8 EiB as float64, and this machine has .* take fewer hidden units"):
        rk.setup(rk.Chain(rk.LSTM(1, 10**9), rk.Dense(10**9, 1)))
    series = rk.Sequence(np.arange(50.0))
    schedule = rk.Schedule(series, rk.Chunked(length=10**12), rk.Reset())
    assert next(schedule.batches()).x.shape == (49, 1, 1)
    with pytest.raises(rk.ModelError, match="take fewer hidden units"):
        rk.fit(rk.Chain(rk.LSTM(1, 10**9), rk.Dense(10**9, 1)), schedule, backend="numpy")
    with pytest.raises(rk.ScheduleError, match="one step has 1,000,000,000,008 rows"):
        rk.Schedule(series, rk.Chunked(length=8), rk.BurnIn(10**12))
    assert rk.summary(rk.Chain(rk.LSTM(1, 10**9), rk.Dense(10**9, 1))).state == 2 * 10**9


@pytest.mark.parametrize(
    "make",
    [
        lambda n: rk.Sliding(8, stride=n), lambda n: rk.Chunked(n), lambda n: rk.Continuation(n),
        lambda n: rk.Continuation(8, lookback=n), lambda n: rk.Carry(reset_every=n), lambda n: rk.BurnIn(n),
        lambda n: rk.Stored(burn_in=n), lambda n: rk.Continuation(rk.Uniform(1, n)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [10**20, 10**5000], ids=["large", "larger"])
def test_no_size_is_too_large_to_be_refused(make, size):
    with pytest.raises(rk.ScheduleError, match="to be a whole number up to 1,000,000,000,000,000, got"):
        make(size)


def test_drawn_lengths_beyond_the_series_are_its_own():
    series = rk.Sequence(np.arange(50.0))
    for length in (rk.Uniform(10**12, 10**13), rk.Geometric(1e14)):
        assert next(rk.Schedule(series, rk.Continuation(length), rk.Carry()).batches()).x.shape == (49, 1, 1)
    with pytest.raises(rk.ScheduleError, match="Geometric expects mean <="):
        rk.Geometric(1e308)


def test_a_gap_beyond_all_times_cuts_nowhere():
    dates = np.array(["2020-01-01", "2020-01-02", "2025-01-05"], "datetime64[D]")
    for times in (dates, np.arange(3), np.arange(3.0)):
        for gap in (1e308, 10**20, 10**5000):
            assert len(rk.Sequence(np.arange(3.0), time=times, gap=gap).segments) == 1


def test_weights_and_passes_that_no_sum_can_hold_are_refused():
    series = rk.Sequence(np.arange(50.0))
    for weight in (1e308, 1e-320):
        with pytest.raises(rk.DataError, match="expects weight from 1e-30 to 1e\\+30"):
            rk.DataSet(series, weight=weight)
        with pytest.raises(rk.DataError, match="expects a weight from 1e-30 to 1e30"):
            series.with_weight(weight)
    with pytest.raises(rk.DataError, match="at most 10,000 passes"):
        rk.DataSet(series, passes=10**12)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: rk.Adam(epsilon=n), lambda n: rk.AdamW(weight_decay=n), lambda n: rk.SGD(n), lambda n: rk.RMSProp(n),
        rk.ClipNorm, rk.ClipValue, rk.Huber, rk.Noise,
    ],
)  # fmt: skip
def test_numbers_that_float32_cannot_hold_are_refused(make):
    with pytest.raises(rk.ModelError, match="of at most 1e\\+30, got 1e\\+308"):
        make(1e308)


def test_a_study_of_endless_seeds_is_refused():
    series = rk.Sequence(np.arange(60.0))
    with pytest.raises(rk.ConfigError, match="expects seeds to be at most 10,000, got 1,000,000,000,000"):
        rk.compare(
            rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), series.split(), splitters=[rk.Chunked(8)], seeds=10**12, jobs=1,
            backends=["numpy"],
        )  # fmt: skip
    with pytest.raises(rk.SourceError, match="which no file can be called"):
        rk.compare(
            rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), series.split(), splitters=[rk.Chunked(8)], jobs=1, out="a\0b",
            backends=["numpy"], equal=rk.Equal(epochs=1),
        )  # fmt: skip
