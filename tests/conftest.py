"""Fixtures for all; `--minutes`: as many of the chosen tests as fit into a time, each day in another order."""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Iterator

import pytest

BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes", type=float, help="begin no test after so many minutes, and draw their order by the day"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("minutes") is not None:
        random.Random(datetime.date.today().toordinal()).shuffle(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - BEGAN > 60 * minutes:
        pytest.skip(f"{minutes:g} minutes are over")


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Arrays as small as those of the tests leave threads nothing to do but wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without pictures, which take their time."""
    monkeypatch.setattr("rnnkit.study.pictures.pictures", lambda comparison: {})
