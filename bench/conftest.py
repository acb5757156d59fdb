"""The machine's facts go into the JSON beside the times."""

from __future__ import annotations

from typing import Any

from measure import machine


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Add the measured peak and the libraries' versions."""
    machine_info["rnnkit"] = machine()
