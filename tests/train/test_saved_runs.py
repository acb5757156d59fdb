"""The run folder: whole or absent wherever a process is killed, and every damage told by file and field."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnkit as rk
from builders.configs import config
from builders.files import write_csv
from builders.series import wave
from rnnkit.files import ABANDONED, Lock, write_whole
from rnnkit.train.exchange import FINISHED, UNFINISHED
from rnnkit.train.saving import sealed

WALK = Path(__file__).with_name("kill_walk.py")

FILES = ["params.safetensors", "run.json", "state.safetensors"]


@pytest.fixture(scope="module")
def run() -> rk.Run:
    """A run with everything that a folder keeps of one series, recorded states included."""
    series = rk.Sequence(np.sin(np.arange(60) / 3))
    scaled = series.with_scaler(rk.Standard.fit(series))
    schedule = rk.Schedule(scaled, rk.Sliding(8, stride=4), rk.Stored())
    return rk.fit(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), schedule, backend="numpy", epochs=2)


@pytest.fixture(scope="module")
def many() -> rk.Run:
    """The run of a curriculum with heads, and what one data set does to another."""
    series = {name: rk.Sequence(np.sin(np.arange(60) / k), name=name) for name, k in (("a", 3), ("b", 5))}
    model = rk.Chain(rk.LSTM(1, 2), rk.Heads(a=rk.Dense(2, 1), b=rk.Chain(rk.Dense(2, 2), rk.Dense(2, 1))))
    sets = [rk.DataSet(one, head=name) for name, one in series.items()]
    curriculum = rk.Curriculum(sets, rk.Continuation(8), rk.Carry())
    return rk.fit(model, curriculum, backend="numpy", epochs=2, transfer="epoch")


def numbers(run: rk.Run) -> Any:
    """Everything that a run is, as plain values that compare."""
    plain = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)} | {"backend": run.backend.name}
    plain["transfer"] = None if run.transfer is None else json.dumps(run.transfer.to_plain())
    plain["state"] = [entry for entry in run.state if entry]
    return json.dumps(_plain(plain), default=repr, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, value.tobytes().hex()]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize(
    ("scenario", "every"), [("save", 1), ("save-first", 1), ("save-full", 1), ("train", 13), ("train-full", 17)]
)
def test_a_run_is_whole_wherever_saving_it_ends(tmp_path, scenario, every):
    write_csv(tmp_path / "wave.csv", value=wave())
    (tmp_path / "a.toml").write_text(config(hidden=2, length=16))
    command = [sys.executable, WALK, scenario, tmp_path, str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills, new = map(int, done.stdout.split())
    assert kills >= (13 if every == 1 else 3)
    assert 0 < new < kills  # killed before the one rename, and after it


def test_files_of_two_runs_never_load_as_one(run, tmp_path):
    other = dataclasses.replace(run, params={key: values + 1 for key, values in run.params.items()})
    for name in FILES:
        run.save(tmp_path / "a", overwrite=True)
        other.save(tmp_path / "b", overwrite=True)
        (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
        same = name == "state.safetensors"  # both have the same state
        if not same:
            with pytest.raises(rk.SourceError, match=r"params.safetensors: it is not the file that run.json was"):
                rk.load(tmp_path / "a")


def test_a_run_of_an_earlier_version_loads(run, tmp_path):
    run.save(tmp_path)
    plain = json.loads((tmp_path / "run.json").read_text())
    del plain["digest"], plain["files"]
    (tmp_path / "run.json").write_text(json.dumps(plain, indent=1))
    assert numbers(rk.load(tmp_path)) == numbers(run)


def test_what_is_edited_is_told_and_loads_as_the_message_says(run, tmp_path):
    run.save(tmp_path)
    file = tmp_path / "run.json"
    file.write_text(file.read_text().replace('"horizon": 1', '"horizon": 2'))
    with pytest.raises(rk.SourceError, match=r"run.json: it is not what was written, or was edited; .* remove digest"):
        rk.load(tmp_path)
    plain = json.loads(file.read_text())
    del plain["digest"]
    file.write_text(json.dumps(plain))
    assert rk.load(tmp_path).horizon == 2


def test_what_the_dead_left_goes_and_what_the_living_write_stays(run, tmp_path):
    run.save(tmp_path)
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "params.safetensors").write_bytes(b"half")
    old, young = tmp_path / ".run.json.4000000", tmp_path / ".run.json.4000001"
    for file in (old, young):
        file.write_bytes(b"half")
    ago = old.stat().st_mtime - ABANDONED - 1
    os.utime(old, (ago, ago))
    run.save(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, young.name])
    beside = tmp_path / ".table.csv.4000000"
    beside.write_bytes(b"half")
    os.utime(beside, (ago, ago))
    write_whole(tmp_path / "table.csv", b"whole")
    assert not beside.exists()


def test_a_file_that_cannot_be_written_leaves_nothing_beside_it(tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "table.csv", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("table.csv", b"old")]


def test_two_that_save_at_once_come_one_after_the_other(run, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run.save, tmp_path, True) for _ in range(8)]:
            done.result()
    assert numbers(rk.load(tmp_path)) == numbers(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_a_folder_that_is_in_use_is_told_by_the_process(run, tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("rnnkit.files"), "PATIENCE", 0.0)
    lock = Lock.take(tmp_path)
    assert lock is not None
    with pytest.raises(rk.SourceError, match=rf"in use by process {os.getpid()} on .*, since .*; wait until it has"):
        run.save(tmp_path)
    lock.release()
    run.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_a_lock_of_a_process_that_was_killed_holds_nobody(run, tmp_path):
    script = "import os, sys, pathlib; from rnnkit.files import Lock; Lock.take(pathlib.Path(sys.argv[1])); os.abort()"
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False, capture_output=True)
    assert (tmp_path / ".lock").exists()
    run.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_a_folder_of_a_hostile_run_takes_nothing_away_outside_it(run, tmp_path):
    (tmp_path / "precious").write_text("mine")
    folder = tmp_path / "run"
    run.save(folder / FINISHED)
    (folder / FINISHED / ".gone").write_text(json.dumps(["../precious", "..", "/etc/passwd", 3, "a/b", "\0"]))
    assert numbers(rk.load(folder)) == numbers(run)
    run.save(folder, overwrite=True)
    assert (tmp_path / "precious").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == FILES


ODD: tuple[Any, ...] = (None, "text", -1, 1e300, 10**400, True, [], [None], {"type": None})


def nodes(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node of some JSON; of a long list, of its first and last."""
    yield path
    keys = list(plain) if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ()
    for key in keys if isinstance(plain, dict) or len(keys) < 3 else (0, len(keys) - 1):
        yield from nodes(plain[key], (*path, key))


def changed(plain: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path; with none there, where it is `KeyError`."""
    if not path:
        return value
    copied = copy.copy(plain)
    if value is KeyError and len(path) == 1:
        del copied[path[0]]
    else:
        copied[path[0]] = changed(plain[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize("which", ["run", "many"])
def test_no_change_of_the_description_passes(which, tmp_path, request):
    run = request.getfixturevalue(which)
    run.save(tmp_path)
    whole = (tmp_path / "run.json").read_bytes()
    plain = json.loads(whole)
    unproven = {key: value for key, value in plain.items() if key not in ("digest", "files")}
    rng = np.random.default_rng(0)
    for path in nodes(plain):
        for value in (ODD[rng.integers(len(ODD))], "text"):
            other = changed(plain, path, value)
            if other == plain:
                continue
            (tmp_path / "run.json").write_text(json.dumps(other))
            with pytest.raises(rk.RnnkitError, match=r"run\.json|no backend|installed backends"):
                rk.load(tmp_path)
    for path in nodes(unproven):  # nothing proves it: what it may be, it must be for the model
        for value in (*ODD, KeyError) if path else ODD:
            (tmp_path / "run.json").write_text(json.dumps(changed(unproven, path, value)))
            with contextlib.suppress(rk.RnnkitError):
                assert rk.load(tmp_path).model.inputs == 1


@pytest.mark.parametrize("name", FILES)
def test_no_byte_of_a_run_can_be_another(run, tmp_path, name):
    run.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    told: list[str] = []
    damaged = [whole[: int(cut)] for cut in rng.integers(0, len(whole), 60)]
    for place, bit in zip(rng.integers(0, len(whole), 200), rng.integers(0, 8, 200), strict=True):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        damaged.append(bytes(flipped))
    for content in (*damaged, b"", b"\0" * 100, whole + b" ", b"[" * 100_000 + b"]" * 100_000):
        (tmp_path / name).write_bytes(content)
        try:
            again = rk.load(tmp_path)
        except rk.SourceError as error:
            told.append(str(error))
        else:  # a flipped bit took the digest away: the run is the same
            assert numbers(again) == numbers(run)
    assert len(told) > 210
    assert all("cannot read the run in" in message and name in message for message in told)


def test_no_byte_of_an_earlier_run_makes_a_traceback(run, tmp_path):
    run.save(tmp_path)
    plain = json.loads((tmp_path / "run.json").read_text())
    del plain["digest"], plain["files"]
    (tmp_path / "run.json").write_text(json.dumps(plain))
    rng = np.random.default_rng(0)
    for name in FILES:
        whole = (tmp_path / name).read_bytes()
        head = min(len(whole), 1000)
        for place, bit in zip(rng.integers(0, head, 60), rng.integers(0, 8, 60), strict=True):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            (tmp_path / name).write_bytes(flipped)
            with contextlib.suppress(rk.RnnkitError), warnings.catch_warnings(action="ignore"):
                rk.load(tmp_path)
        (tmp_path / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("horizon", -3, "run.json, horizon: expects a whole number from 0 to"),
        ("horizon", 10**12, "run.json, horizon: expects a whole number from 0 to"),
        ("updates", -1, "run.json, updates: expects a whole number from 0 to"),
        ("model", None, "run.json, model: expects an object, got None"),
        ("features", 3, "run.json, features: expects a list, got 3"),
        ("features", ["a", "b"], "run.json, features: expects 1 name"),
        ("epoch", 2, "run.json, epoch: expects a whole number from 0 to 1, got 2"),
    ],
)
def test_a_field_is_checked_against_the_model_by_name(run, tmp_path, field, value, said):
    run.save(tmp_path)
    plain = json.loads((tmp_path / "run.json").read_text())
    del plain["digest"]
    (tmp_path / "run.json").write_bytes(sealed(plain | {field: value}))
    with pytest.raises(rk.SourceError, match=said):
        rk.load(tmp_path)


def test_nested_levels_and_endless_digits_are_told(run, tmp_path):
    run.save(tmp_path)
    for text, said in (("[" * 100_000, "nested too deeply"), ('{"a": ' + "9" * 5000 + "}", "run.json: ")):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(rk.SourceError, match=said):
            rk.load(tmp_path)


def test_arrays_are_checked_against_the_model_by_name(run, tmp_path):
    short = run.state[0]._replace(c=run.state[0].c[:, :1])
    half = {slot: {k: v for k, v in moments.items() if k != "1.bias"} for slot, moments in run.rule_state.slots.items()}
    for change, said in (
        ({"state": (short, ())}, r"state.safetensors: expects state.0.c of shape \(.*, 2\), got \(.*, 1\)"),
        ({"store": (short, ())}, r"state.safetensors: expects store.0.h|state.safetensors: expects store.0.c of shape"),
        ({"rule_state": run.rule_state._replace(slots=half)}, r"state.safetensors: rule.[mv]: .* parameter '1.bias'"),
        ({"params": {**run.params, "1.bias": np.zeros(2, "float32")}}, r"params.safetensors: .*'1.bias' of shape"),
        ({"params": {k: v.astype("float64") for k, v in run.params.items()}}, "to be float64, like the parameters"),
        ({"params": {k: v.astype("int32") for k, v in run.params.items()}}, "expects arrays of one dtype, float32 or"),
    ):
        dataclasses.replace(run, **change).save(tmp_path, overwrite=True)
        with pytest.raises(rk.SourceError, match=said):
            rk.load(tmp_path)


def test_parameters_that_are_not_finite_are_told(run, tmp_path):
    broken = {**run.params, "1.bias": np.array([np.nan], "float32")}
    dataclasses.replace(run, params=broken).save(tmp_path)
    with pytest.warns(rk.RnnkitWarning, match=r"parameters that are not finite \(1.bias\).*lower learning rate"):
        again = rk.load(tmp_path)
    assert np.isnan(again.params["1.bias"]).all()


def test_both_runs_come_back_whole(run, many, tmp_path):
    for one in (run, many):
        assert numbers(rk.load(one.save(tmp_path, overwrite=True))) == numbers(one)
        assert all(values.flags.writeable for values in rk.load(tmp_path).params.values())
