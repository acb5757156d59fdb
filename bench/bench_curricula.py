"""Many data sets beside one of the same total size: what opening, measuring and taking turns cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CASES
from measure import Work
from ours import RULE
from recording import compare_and_record

import rnnkit as rk

SETS, ROWS = 8, 100_000

WAYS = (rk.OneByOne(), rk.RoundRobin(2), rk.Sampling(), rk.SideBySide(2))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sets")
    observations = CASES["epoch-10"].observations().astype(np.float32)
    values = np.resize(observations, SETS * ROWS)
    np.save(folder / "all.npy", values)
    for index in range(SETS):
        np.save(folder / f"{index}.npy", values[index * ROWS : (index + 1) * ROWS])
    return [folder / f"{index}.npy" for index in range(SETS)]


@pytest.mark.benchmark(group="curricula")
@pytest.mark.parametrize("lanes", [1, 32])
@pytest.mark.parametrize("way", WAYS, ids=repr)
def bench_curriculum(benchmark: Any, files: list[Path], way: Any, lanes: int) -> None:
    """An epoch over eight data sets, each opened in its turn, beside one over a data set that holds all their rows."""
    model, splitter = CASES["epoch-10"].model, rk.Continuation(64, lanes=lanes)
    curriculum = rk.Curriculum(files, splitter, rk.Carry(), interleave=way)
    assert len(curriculum.facts) == SETS  # measured before the clock runs, as the scaler of the one is
    whole = rk.Sequence.open(files[0].with_name("all.npy"))
    scaler = rk.Standard.fit(whole)

    def one() -> rk.Run:
        series = rk.Sequence.open(files[0].with_name("all.npy")).with_scaler(scaler)
        return rk.fit(model, rk.Schedule(series, splitter, rk.Carry()), rule=RULE, epochs=1)

    many = {"many": Work(lambda: rk.fit(model, curriculum, rule=RULE, epochs=1))}
    facts: dict[str, Any] = {"table": "curricula", "title": f"{way!r}, {lanes} lane{'s' * (lanes > 1)}"}
    compare_and_record(benchmark, many, {"one": Work(one)}, seconds=4, **facts)
