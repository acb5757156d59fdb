"""What the benchmarks' tables say of samples, and that peers do the same work as rnnkit. Nothing here is timed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import rnnkit as rk

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The modules of the benchmarks, which are scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        names = ("measure", "cases", "pairs", "ours", "peer_torch", "peer_torch_pairs", "memory", "report")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def report(bench: Any) -> ModuleType:
    return bench.report


def entry(**info: Any) -> dict[str, Any]:
    """One benchmark as it stands in the JSON."""
    facts = {"table": "step", "title": "a step", "ours": "rnnkit", "threads": 1, "targets": {}, "pairs": {}}
    return json.loads(json.dumps({"extra_info": facts | info, "stats": {"median": 0.002}}))


def tables(report: ModuleType, section: str, *entries: dict[str, Any]) -> dict[str, list[str]]:
    """A section of the report of some benchmarks: the cells of each row by the row's first cell."""
    machine = {"processor": "p", "instructions": "AVX2", "cores": 2, "versions": {"numpy": "2"}}
    machine |= {"peak_gflops": {"1": 100.0, "2": 150.0}}
    text = report.report({"machine_info": {"rnnkit": machine}, "benchmarks": list(entries)})
    (chosen,) = (part for part in text.split("\n## ") if part.startswith(section))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in chosen.splitlines() if line[:1] == "|"]
    return {row[0]: row for row in rows}


def test_a_ratio_is_of_samples_side_by_side_and_not_of_medians(report: ModuleType) -> None:
    assert report.ratio([[1.0, 3.0], [10.0, 20.0], [2.0, 2.0]]) == (2.0, 1.0, 3.0)  # the medians' ratio is 1.5


def test_a_library_is_taken_at_its_fastest_setting(report: ModuleType) -> None:
    pairs = {"torch, 1 thread": [[1, 4], [1, 5]], "torch, 2 threads": [[1, 3], [2, 3]], "jax, jitted": [[1, 1]]}
    rival = report.fastest(pairs, "torch")
    assert (rival.label, rival.seconds, rival.ratio) == ("torch, 2 threads", 3, (2.25, 1.5, 3))
    assert report.fastest(pairs, "onnxruntime") is None


def test_a_share_of_the_peak_is_of_as_many_cores_as_threads(report: ModuleType) -> None:
    info = entry(flops=6e9, threads=2, pairs={"torch, 1 thread": [[0.1, 1], [0.2, 1], [0.3, 1]]})["extra_info"]
    assert report.gflops(info, {"1": 100.0, "2": 150.0}) == pytest.approx((30.0, 0.2))


def test_a_row_of_the_table_has_time_rate_ratio_and_target(report: ModuleType) -> None:
    pairs = {"torch, 2 threads": [[0.001, 0.004], [0.001, 0.006], [0.001, 0.005]]}
    rows = tables(report, "Training", entry(flops=5e7, targets={"torch": 3, "jax": 6}, pairs=pairs))
    torch_cells = ["5 ms", "2 threads", "5 (4 to 6)", ">= 3 ✓"]
    assert rows["a step"] == ["a step", "1 ms", "50", "50%", *torch_cells, "", "", "", ">= 6"]


def test_a_target_that_is_missed_is_marked(report: ModuleType) -> None:
    rows = tables(report, "Training", entry(targets={"torch": 3}, pairs={"torch, 1 thread": [[1, 2.9]]}))
    assert rows["a step"][-1] == ">= 3 ✗"


def test_absent_peers_leave_empty_cells(report: ModuleType) -> None:
    rows = tables(report, "Training", entry(flops=1e6, targets={"torch": 3}))
    assert rows["a step"] == ["a step", "", "", "", "", "", "", ">= 3"]


def test_threads_are_told_only_where_the_backend_takes_them(report: ModuleType) -> None:
    offered = entry(ours="rnnkit, 2 threads", pairs={"rnnkit, 1 thread": [[0.002, 0.003]]})
    rows = tables(report, "Threads", entry(table="stream", title="no option"), offered)
    assert rows["a step"] == ["a step", "3 ms", "2 ms", "1.50"]
    assert rows["no option"] == ["no option", "", "", ""]


@pytest.mark.parametrize(("whole", "cell"), [(0.01, "< 20% ✓"), (0.004, "< 20% ✗")])
def test_a_share_is_the_part_over_the_whole(report: ModuleType, whole: float, cell: str) -> None:
    rows = tables(
        report, "What the schedule", entry(table="share", title="epoch", limit=0.2, pairs={"rnnkit": [[0.001, whole]]})
    )
    assert rows["epoch"][3].split()[0] == f"{0.001 / whole:.1%}"
    assert rows["epoch"][4] == cell


def test_rows_in_numbers_are_compared_by_the_row(report: ModuleType) -> None:
    pairs = {"short": [[2e-6, 1e-6], [2e-6, 4e-6], [2e-6, 2e-6]]}
    rows = tables(report, "Rows", entry(table="rows", title="many rows", beside=10, pairs=pairs))
    assert rows["many rows"][1:] == ["2 µs", "1 (0.5 to 2)"]


def test_policies_and_plain_times_have_their_tables(report: ModuleType) -> None:
    rows = tables(report, "Carry", entry(table="policies", title="one lane", pairs={"Reset()": [[1.0, 0.5]]}))
    assert rows["one lane"][1:] == ["1 s", "500 ms", "0.5 (0.5 to 0.5)"]
    rows = tables(report, "Splitters", entry(table="plain", title="grid", rows=1000))
    assert rows["grid"][1:] == ["2 ms", "2 µs"]


def pair_entry(**info: Any) -> dict[str, Any]:
    """A splitter with a policy: 1 µs a row of ours, 4 µs of PyTorch's slow way, 3 µs of its fast one."""
    pairs = {"torch, DataLoader": [[1e-6, 4e-6]] * 3, "torch, indices": [[1e-6, 3e-6]] * 3}
    facts = {"scored": 2000, "computed": 2000, "limit": 0.15, "peak": {"rnnkit": 2**20, "torch": 3 * 2**19}}
    return entry(**({"table": "state policies", "title": "a pair", "pairs": pairs} | facts | info))


def test_a_pair_is_told_by_the_epoch_by_the_row_and_in_memory(report: ModuleType) -> None:
    rows = tables(report, "State policies", pair_entry())
    times = ["2 ms", "1 million", "6 ms", "0.333 million", "indices", "3 (3 to 3)"]
    assert rows["a pair"] == ["a pair", *times, "1 MiB", "1.5 MiB"]


def test_a_pair_without_peer_has_empty_cells(report: ModuleType) -> None:
    alone = pair_entry(pairs={"rnnkit, 1 thread": [[1e-6, 1e-6]]}, peak={"rnnkit": None, "torch": None})
    assert tables(report, "State policies", alone)["a pair"] == ["a pair", "2 ms", "1 million", *[""] * 6]


@pytest.mark.parametrize(
    ("ours", "computed", "cells"),
    [
        (1.1, 2000, ["+10.0% (+10.0% to +10.0%)", "", "<= 15% ✓"]),
        (1.2, 2000, ["+20.0% (+20.0% to +20.0%)", "", "<= 15% ✗"]),
        (1.5, 2500, ["+50.0% (+50.0% to +50.0%)", "+20.0% (+20.0% to +20.0%)", "<= 15% ✗"]),
        (1.5, 4000, ["+50.0% (+50.0% to +50.0%)", "-25.0% (-25.0% to -25.0%)", "<= 15% ✓"]),
    ],
)
def test_what_a_policy_adds_is_by_all_rows_that_are_computed(
    report: ModuleType, ours: float, computed: int, cells: list[str]
) -> None:
    rows = tables(report, "State policies", pair_entry(computed=computed, pairs={"Reset()": [[ours, 1.0]] * 3}))
    assert rows["a pair"] == ["a pair", *cells]  # the second table's row stands last


def test_windows_of_stride_one_are_told_beside_the_series(report: ModuleType) -> None:
    info = {"table": "stride one", "title": "many rows", "series": 2**20, "length": 64, "peak": 3 * 2**20}
    rows = tables(report, "State policies", entry(**info))
    assert rows["many rows"][1:] == ["1 MiB", "3 MiB", "3 times the series", "64 MiB"]
    assert tables(report, "State policies", entry(**info | {"peak": None}))["many rows"][2:4] == ["", ""]


def test_a_peak_has_seen_what_a_call_allocates_and_frees(bench: Any) -> None:
    peak = bench.memory.peak_of(lambda: np.ones(4_000_000) is None)
    told = Path("/proc/self/clear_refs").exists()
    assert (30e6 < peak < 60e6) if told else peak is None


def test_every_splitter_is_timed_with_every_policy(bench: Any) -> None:
    timed = {(type(pair.splitter), type(pair.policy)) for pair in bench.pairs.PAIRS.values()}
    splitters, policies = (rk.Sliding, rk.Chunked, rk.Continuation), (rk.Reset, rk.Carry, rk.BurnIn, rk.Stored)
    assert timed == {(splitter, policy) for splitter in splitters for policy in policies}


def test_a_pair_counts_rows_as_its_schedule_does(bench: Any) -> None:
    for pair in bench.pairs.PAIRS.values():
        told = few(pair).schedule.coverage()
        cells = told.steps * told.lanes * told.length
        scored, computed = few(pair).counts
        assert computed == pytest.approx(cells * (1 - told.padding))
        assert computed - scored == pytest.approx(cells * told.unscored)


def test_a_case_counts_the_operations_of_its_lstm_layers(bench: Any) -> None:
    two_layers = 3 * 2 * 256 * (8 + 64) * 64 * 32 + 3 * 2 * 256 * (64 + 64) * 64 * 32
    assert bench.cases.CASES["step-64x2"].flops == two_layers
    assert bench.cases.CASES["epoch-10"].flops == 3 * 2 * 40 * 11 * 47_249
    assert bench.cases.CASES["pass-10"].flops is None


def test_ours_and_theirs_are_timed_in_turns(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.measure, "SAMPLE_SECONDS", 0)
    calls: list[str] = []
    work = {name: bench.measure.Work(lambda name=name: calls.append(name)) for name in ("ours", "a", "b")}
    ours = {"ours": work.pop("ours")}
    compared = bench.measure.compare(ours, work, rounds=2)
    assert calls[-8:] == ["ours", "a", "ours", "b"] * 2
    assert {label: len(pairs) for label, pairs in compared.pairs.items()} == {"a": 2, "b": 2}
    alone = bench.measure.compare(ours, {}, rounds=2)
    assert [(label, len(pairs)) for label, pairs in alone.pairs.items()] == [("ours", 2)]


def test_a_peer_that_computes_something_else_is_not_timed(bench: Any) -> None:
    works = {
        name: bench.measure.Work(lambda: None, answer=lambda v=v: np.array([v])) for name, v in (("a", 1), ("b", 2))
    }
    with pytest.raises(ValueError, match="'a' and 'b' should compute the same numbers, but they are up to 1 apart"):
        bench.measure.check_answers(works)


def test_peers_whose_library_is_absent_are_left_out(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert bench.cases.rivals_of(bench.cases.CASES["step-64"]) == {}


SMALL = {
    "epoch-10": {"rows": 200},
    "step-64": {"lanes": 3, "length": 9},
    "step-64x2": {"lanes": 2, "length": 7},
    "stream-10": {"rows": 30},
    "pass-10": {"rows": 200},
}


@pytest.mark.parametrize("name", SMALL)
def test_torch_gives_the_outputs_and_losses_that_rnnkit_gives(bench: Any, name: str) -> None:
    case = replace(bench.cases.CASES[name], **SMALL[name])
    ours = bench.ours.works(case, "numpy")["rnnkit"].answer()
    assert len(ours) >= 3
    assert np.ptp(ours) > 1e-3
    theirs = bench.peer_torch.works(case)["torch, 1 thread"].answer()
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


def few(pair: Any) -> Any:
    """A pair with few rows, still of many steps, and in float64."""
    rows = 192 if getattr(pair.splitter, "stride", 0) == 1 else 37 * 64
    splitter = replace(pair.splitter, lanes=min(pair.splitter.lanes, 4))
    return replace(pair, splitter=splitter, rows=rows, dtype="float64")


def titles() -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        return list(importlib.import_module("pairs").PAIRS)


@pytest.mark.parametrize("title", titles())
def test_torch_gives_the_losses_of_every_pair(bench: Any, title: str) -> None:
    pair = few(bench.pairs.PAIRS[title])
    ours = bench.ours.pair_works(pair, "numpy")["rnnkit"].answer()
    assert len(ours) >= 9
    for work in bench.peer_torch_pairs.works(pair).values():
        np.testing.assert_allclose(work.answer(), ours, rtol=1e-12)
        if isinstance(pair.splitter.length, int):  # other lengths are drawn anew when they are timed
            assert len(work.call()) == len(pair.schedule)


@pytest.mark.parametrize("length", [rk.Uniform(32, 96), rk.Geometric(64)])
def test_torch_draws_lengths_as_rnnkit_does(bench: Any, length: Any) -> None:
    torch.manual_seed(0)
    drawn = list(bench.peer_torch_pairs.drawn_lengths(length, 200_000))
    assert sum(drawn) == 200_000
    ours = length.draw(np.random.default_rng(0), len(drawn))
    assert np.mean(drawn) == pytest.approx(ours.mean(), rel=0.1)
    assert np.std(drawn) == pytest.approx(ours.std(), rel=0.1)


def test_torch_gives_the_outputs_of_every_case(bench: Any) -> None:
    for case in bench.cases.CASES.values():
        params, state = rk.setup(case.model, seed=0, lanes=2)
        x = np.random.default_rng(3).standard_normal((5, 2, case.model.inputs), np.float32)
        expected, _, _ = rk.backend("numpy").forward(case.model, params, x, state)
        with torch.no_grad():
            y, _ = bench.peer_torch.Net(case.model)(torch.from_numpy(x))
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["step-65"], "no case 'step-65'; there are epoch-10, "), (["step-64", "--peers", "jaxx"], "no peer 'jaxx'")],
)
def test_cases_and_peers_that_are_not_there_are_refused(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.setattr("sys.argv", ["cases.py", *arguments])
    with pytest.raises(SystemExit):
        bench.cases.main()
    assert message in capsys.readouterr().err


def test_a_setting_that_is_far_from_its_librarys_fastest_is_dropped(bench: Any) -> None:
    trial = {"rnnkit": 1.0, "torch, 1 thread": 2.0, "torch, 2 threads": 9.0, "jax, jitted": 9.0}
    assert [label for label in trial if not bench.measure.contends(label, trial)] == ["torch, 2 threads"]


def test_a_report_says_with_which_instructions(report: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = bench.measure
    assert measure.instructions({"avx": True, "avx2": True, "avx512f": True}) == "AVX-512"
    monkeypatch.setattr("numba.core.config.CPU_FEATURES", "+avx,+avx2,-avx512f")
    assert measure.instructions(measure.features()) == "AVX2"
    machine = {"processor": "p", "instructions": measure.instructions(measure.features()), "cores": 2}
    machine |= {"peak_gflops": {"1": 100.0, "2": 150.0}, "versions": {}}
    assert "p, AVX2, 2 cores" in report.report({"machine_info": {"rnnkit": machine}, "benchmarks": []})


def test_a_peer_that_cannot_be_narrowed_is_left_out(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = bench.cases.CASES["pass-10"]
    monkeypatch.setattr(bench.cases, "PEERS", dict.fromkeys(("numpy", "onnxruntime"), "a_peer"))
    peer = ModuleType("a_peer")
    peer.works = lambda case: {"a peer": case}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_peer", peer)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(bench.cases, "is_narrowed", lambda: False)
    assert bench.cases.rivals_of(case, ["onnxruntime"])
    monkeypatch.setattr(bench.cases, "is_narrowed", lambda: True)
    assert not bench.cases.rivals_of(case, ["onnxruntime"])
    assert bench.cases.rivals_of(case, ["numpy"])


def test_runs_are_merged_with_the_best_peak_seen(report: ModuleType) -> None:
    runs = [
        {"machine_info": {"rnnkit": {"cores": 2, "peak_gflops": {"1": one, "2": two}}}, "benchmarks": [one]}
        for one, two in ((90.0, 180.0), (100.0, 120.0))
    ]
    whole = report.merged(runs)
    assert whole["machine_info"]["rnnkit"] == {"cores": 2, "peak_gflops": {"1": 100.0, "2": 180.0}}
    assert whole["benchmarks"] == [90.0, 100.0]
