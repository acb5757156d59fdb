"""Settings of the wrong kind, such as a dict for a number, refused in one way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import DTypeLike

from rnnkit.errors import ModelError, RnnkitError


def is_number(value: Any) -> bool:
    """Whether a value is a real number, and no bool."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number, and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_masked_array(value: Any) -> bool:
    """Whether a value is a masked array; their module takes 0.05 s to import and is loaded where there is one."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(value, module.MaskedArray)


COUNTED = 2**62
"""Numbers below fit into 64 bits, with room for a sum of two."""

KINDS: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "float": (is_number, "a number", "1.0"),
    "int": (is_whole, "a whole number", "1"),
    "bool": (lambda value: isinstance(value, bool | np.bool_), "True or False", "True"),
}
"""By the annotation of a field: what fits, in words, and an example."""


def check_kinds(description: Any, error: type[RnnkitError] = ModelError) -> None:
    """Raises `error` unless the fields of a dataclass that are plain numbers or bools hold such."""
    who = type(description).__name__
    for field in fields(description):
        value = getattr(description, field.name)
        fits, wanted, example = KINDS.get(str(field.type), (lambda _: True, "", ""))
        if not fits(value):
            shown = example if field.default is MISSING else repr(field.default)
            raise error(f"{who} expects {field.name} to be {wanted}, got {value!r}; write {who}({field.name}={shown})")


def check_count(who: str, name: str, value: Any, least: int, error: type[RnnkitError] = ModelError) -> None:
    """Raises `error` unless an argument is a whole number of at least so much that fits into 64 bits."""
    if not is_whole(value) or not least <= value < COUNTED:
        raise error(f"{who} expects {name} to be a whole number >= {least}, got {value!r}; write {name}={least}")


def check_listed(who: str, name: str, value: Any, example: str, error: type[RnnkitError] = ModelError) -> None:
    """Raises `error` unless an argument can be gone through, and is no dict."""
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise error(f"{who} expects {name} to be a list, got {value!r}; write {name}={example}")


def as_numbers(
    values: Any, who: str, what: str, dtype: DTypeLike | None = None, error: type[RnnkitError] = ModelError
) -> np.ndarray:
    """An array of whatever NumPy can read as one, not copied where it need not be; `dtype`: its own unless told.

    Raises:
        RnnkitError: `error`, where it cannot: a ragged list, an object, a tensor that the gradient goes through.
    """
    try:
        return np.asarray(values, dtype)
    except RuntimeError as cause:  # PyTorch's, of a tensor that requires grad
        raise error(
            f"{who} expects {what} as plain numbers, got a {type(values).__name__} that requires grad; "
            f"write x.detach() for it"
        ) from cause
    except (TypeError, ValueError) as cause:
        raise error(f"{who} expects {what} as an array of numbers, got {type(values).__name__}: {cause}") from cause
