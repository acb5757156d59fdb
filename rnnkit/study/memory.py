"""How much memory this process has held at most, where the system tells."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Linux counts the peak itself, and begins anew when asked."""

MEBI = 2**20


def begin_peak() -> None:
    """Count the peak from here on; where the system cannot, it stays that of the whole life of the process."""
    with suppress(OSError):
        RESET.write_text("5")


def peak_memory() -> float | None:
    """The peak of resident memory in MiB, everything that the process has loaded included; None where unknown."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MEBI
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / MEBI if sys.platform == "darwin" else peak * 1024 / MEBI
    return None
