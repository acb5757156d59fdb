"""One time step of a tiny recurrent layer worked by hand: every equation, with its numbers filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import RowBack
from rnnkit.errors import ModelError
from rnnkit.model import LAYERS, Chain, Recurrent
from rnnkit.tracing.formulas import filled, named
from rnnkit.tracing.layers import Arrays, explained

DIGITS = 4

COUNTED = {1: "one gate", 2: "both gates", 3: "all three gates", 4: "all four gates", 5: "all five gates"}


class WorkedStep(NamedTuple):
    """What a step is worked with.

    Attributes:
        layer: one input, and a unit for each number of the example.
        params: by their bare names.
        x: what the step reads, `(1, I)`.
        before: the state that it starts from, the cell's named tuple of `(H,)` arrays.
        d_y: what comes back through the output of the step, `(H,)`.
        d_later: what comes back from the step after it, by state array.
    """

    layer: Recurrent
    params: Arrays
    x: np.ndarray
    before: Any
    d_y: np.ndarray
    d_later: Any

    def numbers(self) -> tuple[Arrays, RowBack]:
        """Every number in full: `(1, ...)` arrays of the forward pass by name, and the way back."""
        (shown,) = explained(Chain(self.layer), {f"0.{name}": p for name, p in self.params.items()})
        state = type(self.before)(*(s[None] for s in self.before))
        forward, _ = shown.forward(self.x, state, np.zeros(1, bool), state)
        return forward, shown.back(forward, 0, self.d_y, self.d_later)


def example(kind: type[Recurrent] | None = None) -> WorkedStep:
    """The step that a cell is worked by hand with; `kind` as for `worked_step`."""
    kinds = {layer.__name__: layer for layer in LAYERS if issubclass(layer, Recurrent)}
    chosen: Any = next(iter(kinds.values())) if kind is None else kind
    if not isinstance(chosen, type) or not issubclass(chosen, Recurrent):
        raise ModelError(
            f"worked_step expects the class of a recurrent layer, one of {', '.join(kinds)}, got {kind!r}; write "
            f"worked_step(rk.{next(iter(kinds))})"
        )
    made: Any = chosen
    units = len(next(iter(made(1, 1).labels.example.before.values())))
    layer = made(1, units)
    told = layer.labels.example
    state = lambda rows: layer.State(*(np.array(rows[field]) for field in layer.State._fields))  # noqa: E731
    return WorkedStep(
        layer=layer,
        params={name: np.array(values) for name, values in told.params.items()},
        x=np.array([[told.x]]),
        before=state(told.before),
        d_y=np.array(told.d_y),
        d_later=state(told.d_later),
    )


def worked_step(kind: type[Recurrent] | None = None) -> str:
    """One time step of a recurrent layer with one input and two units, forward and back, as a worked example.

    Every line is an equation, the same with its numbers, and the result, to four digits; the numbers in brackets are
    those of the backend `numpy`. A unit is a column of numbers: `i1` is the input gate of unit 1, `c1_before` the cell
    before the step. `d_` is the derivative of a loss with respect to what follows.

    Args:
        kind: the class of the layer; left out, `rk.LSTM`.

    Raises:
        ModelError: something else.

    Example:
        >>> from rnnkit.tracing import worked_step
        >>> print(worked_step().splitlines()[0])
        One step of LSTM(inputs=1, hidden=2), worked by hand
    """
    step = example(kind)
    forward, back = step.numbers()
    values = {name: row[0] for name, row in forward.items()} | back.seen
    values |= {f"d_{field}_later": d for field, d in zip(step.before._fields, step.d_later, strict=True)}
    units = range(step.layer.hidden)
    states = "    ".join(f"{s}_before = {_numbers(v)}" for s, v in zip(step.before._fields, step.before, strict=True))
    later = "    ".join(f"d_{s}_later = {_numbers(d)}" for s, d in zip(step.before._fields, step.d_later, strict=True))
    lines = [
        f"One step of {step.layer!r}, worked by hand",
        "",
        f"What it reads:          x = {_number(step.x[0, 0])}",
        f"The state before it:    {states}",
        "The weights of a gate stand in a row for each unit: weight_ih | weight_hh | bias_ih + bias_hh",
        *(_weights(step, gate, unit) for gate in step.layer.gates for unit in units),
        *("", "FORWARD"),
    ]
    for unit in units:
        lines += ["", f"unit {unit + 1}", *_forward(step, unit, values)]
    lines += [
        *("", "BACKWARD", ""),
        f"Through the output of this step:     d_y = {_numbers(step.d_y)}",
        f"From the step after it:              {later}",
    ]
    for unit in units:
        lines += ["", f"unit {unit + 1}", *_backward(step, unit, values)]
    return "\n".join([*lines, "", *_handed_on(step, values), *_share(step, values), ""])


def _row(step: WorkedStep, gate: str, unit: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The weights of a unit's gate from x and from the output before, none where there is no product, and its bias."""
    layer, found, bias = step.layer, [], 0.0
    for part, gates in (("ih", layer.from_x), ("hh", layer.from_state)):
        if gate in gates:
            row = layer.hidden * gates.index(gate) + unit
            found.append(step.params[f"weight_{part}"][row])
            bias += float(step.params[f"bias_{part}"][row])
        else:
            found.append(np.zeros(0))
    return found[0], found[1], bias


def _weights(step: WorkedStep, gate: str, unit: int) -> str:
    from_x, from_state, bias = _row(step, gate, unit)
    return f"    {gate}{unit + 1}:  {_numbers(from_x)} | {_numbers(from_state)} | {_number(bias)}"


def _forward(step: WorkedStep, unit: int, values: Arrays) -> Iterator[str]:
    first = step.before._fields[0]
    for gate in step.layer.gates:
        from_x, from_state, bias = _row(step, gate, unit)
        terms = [("w_x x", w, a) for w, a in zip(from_x, step.x[0], strict=False)]
        terms += [
            (f"w_{k} {first}{k}_before", w, a)
            for k, (w, a) in enumerate(zip(from_state, step.before[0], strict=False), start=1)
        ]
        said = " + ".join([*(term for term, _, _ in terms), f"b of {gate}{unit + 1}"])
        numbers = " + ".join([*(f"{_signed(w)} · {_signed(a)}" for _, w, a in terms), _signed(bias)])
        yield _line(2, "", _of_unit(f"{gate}_pre", unit), said, numbers, values[f"{gate}_pre"][unit])
    for number, name, formula in step.layer.labels.forward:
        said = named(formula, lambda value: _of_unit(value, unit))
        yield _line(number, "", _of_unit(name, unit), said, _with_numbers(formula, values, unit), values[name][unit])


def _backward(step: WorkedStep, unit: int, values: Arrays) -> Iterator[str]:
    labels, first = step.layer.labels, step.before._fields[0]
    held = (labels.forward[-1].number + 1, f"d_{first}", f"{{d_y}} + {{d_{first}_later}}")
    for number, name, formula in (held, *labels.backward):
        yield _line(number, "'", name, named(formula), _with_numbers(formula, values, unit), values[name][unit])


def _handed_on(step: WorkedStep, values: Arrays) -> Iterator[str]:
    """What all units hand to the step before and to the layer below."""
    layer, first = step.layer, step.before._fields[0]
    yield f"what goes on, through both units and {COUNTED.get(len(layer.gates), 'all gates')}"
    ways = [("d_x", "x", layer.from_x, step.params["weight_ih"][:, 0], values["d_x"][0], "")]
    for unit in range(layer.hidden):
        past = f"d_{first}_past"
        weights, value = step.params["weight_hh"][:, unit], values[f"d_{first}_before"][unit]
        more = f"{_signed(values[past][unit])} + " if past in values else ""
        ways.append((f"d_{first}{unit + 1}_before", f"{unit + 1}", layer.from_state, weights, value, more))
    for name, index, gates, weights, value, more in ways:
        d_pre = [values[f"d_{gate}_pre"][unit] for gate in gates for unit in range(layer.hidden)]
        numbers = " + ".join(f"{_signed(w)} · {_signed(d)}" for w, d in zip(weights, d_pre, strict=True))
        said = f"Σ w_{index} d_pre" if not more else f"d_{first}_past + Σ w_{index} d_pre"
        yield _line(2, "'", name, said, more + numbers, value)


def _share(step: WorkedStep, values: Arrays) -> Iterator[str]:
    """What the step adds to the gradient of some weights."""
    labels, first = step.layer.labels, step.before._fields[0]
    gate = labels.example.gate
    told = next(shown.said for shown in labels.shown if shown.name == gate).partition(":")[0]
    yield ""
    yield f"what this step adds to the gradient of the {told}'s weights of unit 1"
    d_pre = values[f"d_{gate}_pre"][0]
    factors = [("x", "x", step.x[0, 0])]
    factors += [(f"{k}", f"{first}{k}_before", h) for k, h in enumerate(step.before[0], start=1)]
    for index, said, factor in factors:
        numbers = f"{_signed(d_pre)} · {_signed(factor)}"
        yield _line(2, "'", f"d_w_{index}", f"d_{gate}1_pre {said}", numbers, d_pre * factor)
    yield _line(2, "'", "d_b", f"d_{gate}1_pre", _number(d_pre), d_pre)


def _of_unit(name: str, unit: int) -> str:
    """A value's name with the number of its unit: `c_before` is `c1_before`."""
    return re.sub(r"^(.*?)(_before|_pre)?$", rf"\g<1>{unit + 1}\2", name)


def _with_numbers(formula: str, values: Arrays, unit: int) -> str:
    return filled(formula, lambda name: _number(values[name][unit]), lambda name: _signed(values[name][unit]))


def _line(number: int, mark: str, name: str, said: str, numbers: str, value: float) -> str:
    return f"{f'({number}{mark})':<4} {name:<11} = {said} = {numbers} = {_number(value)}"


def _number(value: float) -> str:
    """To so many digits after the point, without zeros at the end."""
    return f"{round(float(value), DIGITS) + 0.0:.{DIGITS}f}".rstrip("0").rstrip(".")


def _signed(value: float) -> str:
    """A number as it stands inside a sum or a product."""
    return f"({_number(value)})" if round(float(value), DIGITS) < 0 else _number(value)


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(map(_number, values)) + "]"
