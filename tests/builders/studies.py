"""A small comparison, and the trials that are trained for it."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
import rnnkit.study.measure as measure
from builders.series import wave
from rnnkit.schedule import Grid
from rnnkit.study import Study, Trial
from rnnkit.study.results import COLUMNS

MODEL = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))

STRIPS, CHUNKS = rk.Continuation(length=10, lanes=2), rk.Chunked(length=10, lanes=2)


def parts_of(rows: int = 300) -> tuple[rk.Sequence, rk.Sequence | None, rk.Sequence | None]:
    """A noisy wave far from 0, its training part scaled."""
    series = rk.Sequence(wave(rows, level=10, scale=10), name="wave")
    training, validation, test = series.split(0.6, 0.2)
    return training.with_scaler(rk.Standard.fit(training)), validation, test


def compared(**changes) -> rk.Comparison:
    """A small comparison in this process."""
    settings = {"splitters": [STRIPS, CHUNKS], "backends": ["numpy"], "equal": rk.Equal(rows=200), "warm": 8, "jobs": 1}
    return rk.compare(MODEL, parts_of(), **(settings | changes))


def errors(found: rk.Comparison) -> list[tuple[float, float]]:
    """Loss and error of each finished trial."""
    return [(row["validation_loss"], row["test_mae"]) for row in found.rows if row["status"] == "done"]


def count_trained(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials that are trained from here on."""
    trained, train = [], measure.train_trial

    def counting(study: Study, trial: Trial):
        trained.append(trial)
        return train(study, trial)

    monkeypatch.setattr(sys.modules["rnnkit.study.compare"], "train_trial", counting)
    return trained


@dataclass(frozen=True)
class Failing:
    """A splitter that breaks in its second epoch."""

    length: int = 10

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str) -> Grid:
        grid = rk.Continuation(self.length).grid(lengths, rng, name)
        if rng.bit_generator.seed_seq.spawn_key == (1,):
            raise RuntimeError("out of luck")
        return grid


def read_table(folder: Path) -> list[dict]:
    """Rows of `results.csv`, cells of the type that each column has."""
    with (folder / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [{name: COLUMNS[name](text) if text else None for name, text in line.items()} for line in lines]
