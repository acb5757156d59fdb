"""From a comparison to a benchmark's entry in the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from measure import Comparison, Work, compare


def record(benchmark: Any, ours: Mapping[str, Work], comparison: Comparison, **facts: Any) -> None:
    """Keep all samples of a comparison in `extra_info`; pytest-benchmark's own entry is three more calls of ours."""
    benchmark.extra_info.update(facts, ours=comparison.ours, threads=comparison.threads, pairs=comparison.pairs)
    work = ours[comparison.ours]
    work.prepare()
    benchmark.pedantic(work.call, rounds=3)


def compare_and_record(
    benchmark: Any, ours: Mapping[str, Work], rivals: Mapping[str, Work], seconds: float = 10, **facts: Any
) -> None:
    """Time in alternation, and keep what was measured."""
    record(benchmark, ours, compare(ours, rivals, seconds=seconds), **facts)
