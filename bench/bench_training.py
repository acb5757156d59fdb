"""Training: steps and epochs against the peers, rows in numbers, our PyTorch backend against a hand-written loop."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import partial
from typing import Any

import ours
import pytest
from cases import CASES, Case, ours_of, rivals_of
from measure import check_answers, compare
from recording import compare_and_record, record

SECONDS = 15


def against_peers(benchmark: Any, case: Case) -> None:
    """One case of the table."""
    mine, rivals = ours_of(case), rivals_of(case)
    check_answers(mine | rivals)
    facts = {"table": case.kind, "title": case.title, "flops": case.flops, "targets": case.targets}
    record(benchmark, mine, compare(mine, rivals, seconds=SECONDS), **facts)


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.kind == "step"])
def bench_step(benchmark: Any, name: str) -> None:
    against_peers(benchmark, CASES[name])


@pytest.mark.benchmark(group="whole epoch")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.kind == "epoch"])
def bench_epoch(benchmark: Any, name: str) -> None:
    against_peers(benchmark, CASES[name])


@pytest.mark.benchmark(group="whole epoch")
@pytest.mark.parametrize("rows", [100_000, 1_000_000, 10_000_000])
def bench_rows(benchmark: Any, rows: int) -> None:
    """The cost of a row should not depend on how many there are: here beside the series of the epochs."""
    case = CASES["epoch-10"]
    (label, long), *_ = ours_of(replace(case, rows=rows)).items()
    short = replace(ours_of(case)[label], units=case.rows)
    facts = {"table": "rows", "title": f"{rows:,} rows", "rows": rows, "beside": case.rows}
    compare_and_record(benchmark, {label: replace(long, units=rows)}, {"short": short}, **facts)


@pytest.mark.benchmark(group="torch backend")
@pytest.mark.parametrize("name", ["epoch-10", "step-64", "step-128"])
def bench_torch_backend(benchmark: Any, name: str) -> None:
    """Our PyTorch backend beside a hand-written loop over the same net, both with one thread."""
    title = CASES[name].title
    facts = {"table": "torch backend", "title": title, "targets": {"torch": 1 / 1.1}}
    if importlib.util.find_spec("torch") is None:
        benchmark.extra_info.update(facts, ours="", threads=1, pairs={})
        benchmark.pedantic(lambda: None)
        return
    import peer_torch

    wake = partial(peer_torch.set_threads, 1)
    mine = {label: replace(work, prepare=wake) for label, work in ours.works(CASES[name], "torch").items()}
    rivals = {key: work for key, work in peer_torch.works(CASES[name]).items() if work.threads == 1}
    check_answers(mine | rivals)
    compare_and_record(benchmark, mine, rivals, SECONDS, **facts)
