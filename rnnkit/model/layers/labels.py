"""What a cell says to people: names of its states and values, and its equations line by line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Shown(NamedTuple):
    """A value of a cell that pictures show for every unit over time.

    Attributes:
        name: of the value, such as `"f"`.
        said: what it is, in a few words.
        low, high: the numbers between which it lies, where they are known; else it is shown around zero.
    """

    name: str
    said: str
    low: float | None = None
    high: float | None = None


class Line(NamedTuple):
    """One line of a cell's pointwise function, or of its way back.

    Attributes:
        number: of the equation.
        name: the value that it gives; `d_f` is the derivative with respect to `f`, `f_pre` the gate before its
            activation, `c_before` the state before the row, `d_c_later` what comes back from the row after it.
        formula: what it is made of, names of values in braces: `"{f} · {c_before} + {i} · {g}"`.
    """

    number: int
    name: str
    formula: str


Numbers = tuple[float, ...]


class Example(NamedTuple):
    """Small numbers to work one row of a cell by hand, for one input and as many units as stand here.

    Attributes:
        params: the parameters by their bare names, a tuple a row.
        x: what the row reads.
        before: by state array, the state that it starts from.
        d_y: what comes back through the output of the row.
        d_later: by state array, what comes back from the row after it.
        gate: of whose weights the gradient is shown.
    """

    params: Mapping[str, tuple[Numbers, ...] | Numbers]
    x: float
    before: Mapping[str, Numbers]
    d_y: Numbers
    d_later: Mapping[str, Numbers]
    gate: str


class Labels(NamedTuple):
    """All that people read about a cell.

    Attributes:
        states: what each state array is, in the order of the state's fields.
        shown: the values that pictures show, from top to bottom.
        look: what to look for in these pictures.
        forward: the pointwise function, from equation (3) on: (1) is the state that the row starts from, (2) the
            gates' products, and behind the last line the state is held at padding.
        backward: what inverts it, from the last line to the first; `d_h` of the output, which begins it, is given.
        example: numbers for a row worked by hand.
    """

    states: Mapping[str, str]
    shown: tuple[Shown, ...]
    look: str
    forward: tuple[Line, ...]
    backward: tuple[Line, ...]
    example: Example
