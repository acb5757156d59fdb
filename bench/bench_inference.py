"""Inference: a streamed step called from Python, and a pass over a series."""

from __future__ import annotations

from typing import Any

import pytest
from bench_training import against_peers
from cases import CASES


@pytest.mark.benchmark(group="streamed step")
def bench_stream(benchmark: Any) -> None:
    against_peers(benchmark, CASES["stream-10"])


@pytest.mark.benchmark(group="inference pass")
def bench_pass(benchmark: Any) -> None:
    against_peers(benchmark, CASES["pass-10"])
