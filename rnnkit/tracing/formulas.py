"""Formulas of a cell's equations as text: with the names of their values, or with numbers in their place.

A formula names its values in braces, `"{f} · {c_before} + {i} · {g}"`; see `rnnkit.model.layers.labels.Line`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

PLACE = re.compile(r"(?P<alone>(?<=[^\s(]\(){(?P<argument>\w+)}(?=\)))|{(?P<name>\w+)}")
"""A value in a formula; as the only argument of a function it needs no brackets of its own."""


def named(formula: str, symbol: Callable[[str], str] = str) -> str:
    """A formula with the symbols of its values, products without a dot.

    Example:
        >>> named("{f} · {c_before} + {i} · {g}")
        'f c_before + i g'
    """
    return PLACE.sub(lambda found: symbol(found["argument"] or found["name"]), formula).replace(" · ", " ")


def filled(formula: str, alone: Callable[[str], str], inside: Callable[[str], str]) -> str:
    """A formula with something in place of each value.

    Args:
        formula: the formula.
        alone: what to write, by name, for the only argument of a function.
        inside: what to write inside a sum or a product.

    Example:
        >>> filled("tanh({c}) + {i}", "[{}]".format, "<{}>".format)
        'tanh([c]) + <i>'
    """
    return PLACE.sub(lambda found: alone(found["argument"]) if found["argument"] else inside(found["name"]), formula)
