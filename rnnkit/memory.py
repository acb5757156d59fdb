"""How much memory there is, so that what cannot be had is refused before it is asked for."""

from __future__ import annotations

import os

UNKNOWN = 1 << 40
"""Bytes that are taken for granted where the system does not say how many there are."""


def whole_memory() -> int:
    """Bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return UNKNOWN


def as_bytes(number: int) -> str:
    """A number of bytes as people say it.

    Example:
        >>> as_bytes(3 * 2**30), as_bytes(700)
        ('3.0 GiB', '700 bytes')
    """
    if number < 1024:
        return f"{number} bytes"
    unit = min((number.bit_length() - 1) // 10, 8)
    return f"{number / 1024**unit:.1f} {' KMGTPEZY'[unit]}iB"
