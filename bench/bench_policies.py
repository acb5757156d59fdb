"""Every splitter with every policy that is allowed: time and memory beside plain PyTorch, and time beside `Reset`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import memory
import ours
import pytest
from measure import check_answers, compare
from pairs import PAIRS, T
from recording import record

import rnnkit as rk

peaks: Callable[[str], dict[str, int]] = cache(memory.peaks)


@pytest.mark.benchmark(group="state policies")
@pytest.mark.parametrize("title", PAIRS)
def bench_pair(benchmark: Any, title: str) -> None:
    """An epoch; samples are by the row that counts in the loss."""
    pair = PAIRS[title]
    mine, rivals = ours.pair_works(pair), {}
    if importlib.util.find_spec("torch") is not None:
        import peer_torch_pairs

        rivals = peer_torch_pairs.works(pair)
    check_answers(mine | rivals)
    comparison = compare(mine, rivals, seconds=2)
    if pair.policy != rk.Reset():
        (anew,) = ours.pair_works(pair.reset).values()
        beside = compare(mine, {"Reset()": anew}, seconds=2)
        comparison = replace(comparison, pairs=comparison.pairs | beside.pairs)
    scored, computed = pair.counts
    facts = {"scored": scored, "computed": computed, "limit": pair.limit}
    peak = {who: peaks(who).get(title) for who in ("rnnkit", "torch")}
    record(benchmark, mine, comparison, table="state policies", title=title, peak=peak, **facts)


@pytest.mark.benchmark(group="state policies")
@pytest.mark.parametrize("rows", memory.FEED_ROWS)
def bench_stride_one(benchmark: Any, rows: int) -> None:
    """What reading all windows of stride 1 takes at its peak, beside the series."""
    facts = {"table": "stride one", "title": f"{rows:,} rows", "series": 4 * (rows + 1), "length": T}
    benchmark.extra_info.update(facts, peak=peaks("feed").get(str(rows)))
    benchmark.pedantic(memory.read(rows), rounds=1)
