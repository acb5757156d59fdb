"""What the benchmarks' tables say of samples, and that peers do the same work as rnnkit. Nothing here is timed."""

from __future__ import annotations

import importlib
import importlib.util
import json
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
        names = ("measure", "cases", "ours", "peer_torch", "report")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small leave threads nothing to do but wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def report(bench: Any) -> ModuleType:
    return bench.report


def entry(**info: Any) -> dict[str, Any]:
    """One benchmark as it stands in the JSON."""
    facts = {"table": "step", "title": "a step", "ours": "rnnkit", "threads": 1, "targets": {}, "pairs": {}}
    return json.loads(json.dumps({"extra_info": facts | info, "stats": {"median": 0.002}}))


def tables(report: ModuleType, section: str, *entries: dict[str, Any]) -> dict[str, list[str]]:
    """A section of the report of some benchmarks: the cells of each row by the row's first cell."""
    machine = {"processor": "p", "cores": 2, "peak_gflops": {"1": 100.0, "2": 150.0}, "versions": {"numpy": "2"}}
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


def test_torch_gives_the_outputs_of_every_case(bench: Any) -> None:
    for case in bench.cases.CASES.values():
        params, state = rk.setup(case.model, seed=0, lanes=2)
        x = np.random.default_rng(3).standard_normal((5, 2, case.model.inputs), np.float32)
        expected, _, _ = rk.backend("numpy").forward(case.model, params, x, state)
        with torch.no_grad():
            y, _ = bench.peer_torch.Net(case.model)(torch.from_numpy(x))
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_setting_that_is_far_from_its_librarys_fastest_is_dropped(bench: Any) -> None:
    trial = {"rnnkit": 1.0, "torch, 1 thread": 2.0, "torch, 2 threads": 9.0, "jax, jitted": 9.0}
    assert [label for label in trial if not bench.measure.contends(label, trial)] == ["torch, 2 threads"]


def test_runs_are_merged_with_the_best_peak_seen(report: ModuleType) -> None:
    runs = [
        {"machine_info": {"rnnkit": {"cores": 2, "peak_gflops": {"1": one, "2": two}}}, "benchmarks": [one]}
        for one, two in ((90.0, 180.0), (100.0, 120.0))
    ]
    whole = report.merged(runs)
    assert whole["machine_info"]["rnnkit"] == {"cores": 2, "peak_gflops": {"1": 100.0, "2": 180.0}}
    assert whole["benchmarks"] == [90.0, 100.0]
