"""What the page says about a cell: its equations, beside each what inverts it, and words for its pictures."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from rnnkit.model import Recurrent
from rnnkit.model.layers import Line
from rnnkit.tracing.formulas import filled, named

Equation = dict[str, str]
"""`said` as text, the `name` of its value, and its `numbers`: `{v}` is a value inside a sum or a product, `[v]` one by
itself. Where a row resets, `reset` stands in their place; `ends` marks what goes on to the row before."""


def words_of(layer: Recurrent) -> dict[str, Any]:
    """Names and labels of a cell as the page has them."""
    labels = layer.labels
    return {
        "gates": [*layer.gates],
        "from_x": [*layer.from_x],
        "states": [*layer.State._fields],
        "shown": [[name, f"{name}, {said}", low, high] for name, said, low, high in labels.shown],
        "gates_title": _listed(["gates" if len(layer.gates) > 1 else "gate", *[*labels.states.values()][::-1]]),
        "states_title": _listed([*labels.states.values()]),
        "look": labels.look,
    }


def step_of(layer: Recurrent, seen: Container[str]) -> list[tuple[str, list[Equation], list[Equation]]]:
    """The equations of one row in their order: number, forward, backward.

    Args:
        layer: whose they are.
        seen: the names of its numbers.
    """
    labels, fields = layer.labels, layer.State._fields
    first, last = fields[0], labels.forward[-1].number + 1
    steps = [("1", *_start(fields)), ("2", *_products(layer, seen))]
    for number in range(labels.forward[0].number, last):
        steps.append((f"{number}", _forward(layer, number), _backward(layer, number)))
    names = ", ".join(fields)
    others = "".join(f"{field} = [{field}], " for field in fields[1:])
    after = _equation(f"{', '.join(f'{field}(t)' for field in fields)} = {names}", "after")
    after["numbers"] = f"handed to the row after: {others}{first}"
    held = Line(last, f"d_{first}", f"{{d_y}} + {{d_{first}_later}}")
    steps.append((f"{last}", [after], [_of_line(layer, held)]))
    return steps


def _start(fields: tuple[str, ...]) -> tuple[list[Equation], list[Equation]]:
    forward, backward = [], []
    for s in fields:
        begun = _equation(f"{s}⁻ = {s}(t−1), or {s}₀ after a reset", f"{s}_before", "from the row before")
        forward.append(begun | {"reset": f"{s}₀"})
        handed = _equation(f"d_{s}(later) of row t−1 = d_{s}⁻, or 0 after a reset", f"to_{s}", f"d_{s}⁻")
        backward.append(handed | {"ends": "yes"})
    return forward, backward


def _products(layer: Recurrent, seen: Container[str]) -> tuple[list[Equation], list[Equation]]:
    first = layer.State._fields[0]
    forward = []
    for gate in layer.gates:
        terms = {"w_x x": f"{{{gate}_from_x}}"} if gate in layer.from_x else {}
        terms |= {f"w_{first} {first}⁻": f"{{{gate}_from_{first}}}"} if gate in layer.from_state else {}
        terms |= {"b": f"{{{gate}_bias}}"}
        forward.append(_equation(f"a_{gate} = {' + '.join(terms)}", f"{gate}_pre", " + ".join(terms.values())))
    past = f"d_{first}_past"
    more = (f"{_symbol(layer, past)} + ", f"[{past}] + ") if past in seen else ("", "")
    handed = f"d_{first}⁻ = {more[0]}Σ w_{first} d_a, all units and gates"
    backward = [
        _equation(handed, f"d_{first}_before", f"{more[1]}w_{first}ᵀ d_a"),
        _equation("d_x = Σ w_x d_a, all units and gates", "d_x", "w_xᵀ d_a"),
    ]
    for gate in layer.from_x:
        said = f"d_w_x of {gate}, this row's share = d_a_{gate} x"
        backward.append(_equation(said, f"d_w_{gate}", f"{{d_{gate}_pre}} · {{x}}"))
    return forward, backward


def _forward(layer: Recurrent, number: int) -> list[Equation]:
    """The cell's own lines of a number; what is an intermediate value alone stands in the lines that use it."""
    inner = _intermediate(layer)
    lines = []
    for line in layer.labels.forward:
        if line.number == number and line.name not in inner:
            made = _of_line(layer, line)
            whole = re.sub(r"{(\w+)}", lambda found: inner.get(found[1], found[0]), line.formula)
            if whole != line.formula:
                made["numbers"] = f"{_numbers(whole)} = {made['numbers']}"
            lines.append(made)
    return lines


def _backward(layer: Recurrent, number: int) -> list[Equation]:
    return [_of_line(layer, line) for line in layer.labels.backward if line.number == number]


def _intermediate(layer: Recurrent) -> dict[str, str]:
    """The formulas of values that no picture shows, by name."""
    shown = {value.name for value in layer.labels.shown}
    return {line.name: line.formula for line in layer.labels.forward if line.name not in shown}


def _of_line(layer: Recurrent, line: Line) -> Equation:
    symbol = lambda name: _symbol(layer, name)  # noqa: E731
    formula = re.sub(r"(\w+)\((\w+)\)²", r"\1²(\2)", named(line.formula, symbol)).replace(" - ", " − ")
    return _equation(f"{symbol(line.name)} = {formula}", line.name, _numbers(line.formula))


def _symbol(layer: Recurrent, name: str) -> str:
    """A value as a formula on the page has it: `c_before` is c⁻, `d_i_pre` d_a_i, and `d_c_later` d_c(later)."""
    inner = _intermediate(layer)
    if name in inner:
        return named(inner[name], lambda value: _symbol(layer, value))
    d, bare = ("d_", name[2:]) if name.startswith("d_") else ("", name)
    if bare.endswith("_pre"):
        return f"{d}a_{bare.removesuffix('_pre')}"
    return (
        f"{d}{bare.removesuffix('_before')}⁻" if bare.endswith("_before") else re.sub("_(later|past)$", r"(\1)", name)
    )


def _numbers(formula: str) -> str:
    return filled(formula, "[{}]".format, "{{{}}}".format).replace(" - ", " − ")


def _equation(said: str, name: str, numbers: str = "") -> Equation:
    return {"said": said, "name": name, "numbers": numbers}


def _listed(words: list[str]) -> str:
    """Words as a list in a sentence."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
