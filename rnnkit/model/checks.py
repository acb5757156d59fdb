"""Settings of descriptions, checked when they are made."""

from __future__ import annotations

import math
from typing import Any

from rnnkit.errors import ModelError

LARGEST = 1e30
"""What a setting may be at most, so that what is made of it is a number of float32 still; infinity stays infinity."""


def check_float32(description: Any, name: str, value: Any) -> None:
    """Raises ModelError where a number is finite, but too large for the arithmetic of float32."""
    if LARGEST < value < math.inf:
        raise ModelError(f"{type(description).__name__} expects {name} of at most {LARGEST:g}, got {float(value):g}")
