"""That `bench/before_after.py` computes the same twice, and notices what has changed. Nothing here is timed."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent

LIGHT = ("numpy: kernels, float32, 3 lanes", "core: lane states", "core: messages", "core: batches, gaps, rk.Cont")


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The scripts, which are no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        names = ("before_after", "digests", "narrow", "trainings", "turns")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})


def test_entries_give_the_same_digests_again(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [name for name in bench.digests.entries() if name.startswith(LIGHT)]
    trainings = [name for name in bench.digests.entries() if name.startswith("numpy: training 7:")]
    assert len(names) > 5
    assert len(trainings) == 1
    first, second = (
        {
            name: bench.digests.digests(name, compute)
            for name, compute in bench.digests.entries().items()
            if name in found
        }
        for found in [[*names, *trainings]] * 2
    )
    assert bench.before_after.tell_bits(first, second)
    assert capsys.readouterr().out == f"{len(first)} of {len(first)} equal\n"
    parts = first[trainings[0]]
    assert {"params", "rule state", "state", "losses", "predictions", "saved run.json"} <= set(parts)
    assert len({sha for sha, _ in parts.values()}) > len(parts) / 2


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_every_choice_is_drawn_for_every_backend(bench: Any, backend: str) -> None:
    for axes, count in (
        (bench.trainings.ONE, bench.trainings.COUNT),
        (bench.trainings.MANY, bench.trainings.MANY_COUNT),
    ):
        drawn = bench.trainings.drawn(backend, axes, count)
        assert drawn == bench.trainings.drawn(backend, axes, count)
        for axis, values in axes.items():
            seen = {choice[axis] for choice in drawn}
            assert len(seen) >= min(len(set(values)), count) - 2, axis  # some are mended


def test_one_bit_more_is_noticed(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    weights = np.arange(6.0).reshape(2, 3)
    more = weights.copy()
    more[1, 2] = np.nextafter(more[1, 2], 9)
    digest, tell = bench.digests.digest, bench.before_after.tell_bits
    before = {"a": {"params": digest({"w": weights})}, "b": {"told": digest("1\n2\n3")}}
    assert tell(before, before)
    capsys.readouterr()
    assert not tell(before, before | {"a": {"params": digest({"w": more})}, "b": {"told": digest("1\n5\n3")}})
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "a"
    assert told[1] == "    params: sum 15.0 of 6 numbers, in other bits"
    assert told[2:] == ["b", "    told: 2 lines", "        -2", "        +5", "0 of 2 equal"]


def test_entries_that_fail_or_are_missing_are_not_equal(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    digest, tell = bench.digests.digest, bench.before_after.tell_bits
    failed = {"a": {"error": digest("Traceback:\nValueError: no")}}
    assert not tell(failed, failed)
    assert "    fails: ValueError: no\n" in capsys.readouterr().out
    assert not tell({"a": {}, "b": {}}, {"a": {}})
    assert "b\n    is there only before the change\n1 of 2 equal\n" in capsys.readouterr().out
    assert not tell({}, {})


def test_what_is_not_the_same_number_has_another_digest(bench: Any) -> None:
    values = [
        0.0,
        -0.0,
        0,
        False,
        None,
        "None",
        [None],
        [0.0],
        [[0.0]],
        np.float32(0),
        np.zeros(1),
        np.zeros((1, 1)),
        {"0": 0.0},
    ]
    digests = [bench.digests.digest(value)[0] for value in values]
    assert len(set(digests)) == len(values)


def test_times_and_folders_are_left_out_of_texts(bench: Any, tmp_path: Path) -> None:
    digest = bench.digests.digest
    assert digest("took 1.25 s, 5,827 rows a second") == digest("took 0.9 s, 12 rows a second")
    assert digest("loss 1.25") != digest("loss 1.26")
    files = []
    for seconds, loss in ((1.5, 2.0), (1.7, 2.0), (1.5, 3.0)):
        files.append(tmp_path / f"{seconds} {loss}.json")
        files[-1].write_text(f'{{"loss": {loss}, "seconds": [{seconds}]}}')
    one, two, three = map(digest, files)
    assert one == two != three


def test_a_tree_with_another_number_in_it_is_found_out(tmp_path: Path) -> None:
    for folder in ("rnnkit", "backends"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    rules = next((tmp_path / "backends" / "rnnkit_numpy").glob("**/rules.py"))
    command = [sys.executable, str(ROOT / "bench" / "before_after.py"), str(tmp_path), "--bits"]
    command += ["--only", "numpy: kernels, float32, 1 lanes"]
    same = subprocess.run(command, capture_output=True, text=True)
    assert (same.returncode, same.stdout) == (0, "1 of 1 equal\n"), same.stderr
    source = rules.read_text()
    assert source.count("epsilon") > 1
    rules.write_text(source.replace("rule.epsilon", "1.001 * rule.epsilon"))
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 1
    assert "update by rk.Adam(1e-2): sum" in other.stdout
    assert "outputs" not in other.stdout
    assert other.stdout.endswith("0 of 1 equal\n")


def test_trees_are_timed_in_turns_and_again_where_one_seems_slower(bench: Any) -> None:
    asked: list[str] = []
    times = bench.turns.in_turns(lambda world: asked.append(world) or 1.0, ["before", "after"], rounds=2)
    assert asked == ["before", "after", "after", "before", "before", "after"]
    assert {world: len(found) for world, found in times.items()} == {"before": 2, "after": 2}
    slower = bench.turns.in_turns({"before": 1.0, "after": 1.1}.__getitem__, ["before", "after"], rounds=2)
    assert len(slower["after"]) == 2 * (1 + bench.turns.MORE)


def test_a_case_that_takes_longer_is_marked(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.turns.tell({"a": {"before": [1.0, 2.0], "after": [1.5, 1.02]}})
    assert not bench.turns.tell({"a": {"before": [1.0], "after": [1.0]}, "b": {"before": [1.0], "after": [1.04]}})
    told = capsys.readouterr().out.splitlines()
    assert "1.020 (2)" in told[0]
    assert "1.040   more than 3% slower" in told[3]
    assert told[4] == "1 of 2 within 3%"


def test_only_instructions_of_avx2_are_left(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"avx2": True, "fma": True, "avx512f": True, "amx-tile": True, "avx10.1": True, "sse4a": False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: found)
    narrowed = bench.narrow.environment()
    assert narrowed["NUMBA_CPU_FEATURES"] == "+avx2,+fma,-avx512f,-amx-tile,-avx10.1,-sse4a"
    assert narrowed["RNNKIT_VECTOR_BYTES"] == "32"
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"neon": True})
    with pytest.raises(SystemExit, match="has no AVX2"):
        bench.narrow.environment()
