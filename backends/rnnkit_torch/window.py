"""One window of training, forward and back: in one graph, or piece by piece where something happens to its state.

Between the rows at which it is cut a window is nothing but the recurrence. At a cut the state is read off, or it
becomes a value, or its gradient is weighed. The rows between two states that `remat` keeps are a *section*: it is run
without a graph first, and once more with one when the gradient comes back to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnkit.backend import map_arrays
from rnnkit.backend.lanes import cuts, select
from rnnkit.model.state import State
from rnnkit_torch.chain import arrays, detach, leaf

Run = Callable[[int, int, State], tuple[Tensor, State]]
"""Some rows of a window, in the graph: their outputs and the state after them."""


class Sections(NamedTuple):
    """Where a window is cut.

    Attributes:
        head: the rows, ends included, between which the rows outside the gradient run.
        inside: the same for the rows inside it, a list for each section; a single one without `remat`.
        reweight: `(T,)` or None for ones; what the gradient is multiplied by that crosses from row t to row t - 1.
    """

    head: list[int]
    inside: list[list[int]]
    reweight: np.ndarray | None


class TrainedWindow(NamedTuple):
    """What a window leaves behind.

    Attributes:
        loss: a scalar, detached.
        states: the state before each row at which the window is cut, and after its last row, detached.
    """

    loss: Tensor
    states: dict[int, State]


def sections(rows: int, read: Iterable[int], detached: int, reweight: np.ndarray | None, remat: int) -> Sections:
    """Cut a window of so many rows wherever a state is read, outside the gradient ends, or a gradient is weighed."""
    found, detached = cuts(rows, detached, reweight, read), min(detached, rows)
    bounds = [*range(detached, rows, remat or rows), rows]
    inside = [[a, *(row for row in found if a < row < b), b] for a, b in pairwise(bounds)]
    return Sections([row for row in found if row <= detached], inside, reweight)


def train_window(
    run: Run,
    where: Sections,
    started: State,
    begins: np.ndarray,
    loss: Callable[[Tensor], Tensor],
    scale: float = 1.0,
    trained: bool = True,
) -> TrainedWindow:
    """Run a window, take its loss and, where asked for, the gradient of `scale` times the loss.

    The gradient is added to the `grad` of the leaves.

    Args:
        run: runs some of its rows.
        where: how it is cut.
        started: the state before row 0, in the graph of the parameters where it is learned.
        begins: `(B,)`; lanes whose state is still the one before row 0 where the gradient begins.
        loss: from the outputs `(T, B, O)` to a scalar.
        scale: multiplies the loss before its gradient is taken.
        trained: whether the gradient is asked for.
    """
    states: dict[int, State] = {}
    outputs: list[Tensor] = []
    begun = started
    again = trained and len(where.inside) > 1
    if len(where.head) > 1:
        with torch.no_grad():
            outputs, state = _run(run, where.head, started, None, states)
        begun = select(begins, started, state)  # what is learned stays in the graph
    with torch.set_grad_enabled(trained and not again):
        state = begun
        for section in where.inside:
            y, state = _run(run, section, state, where.reweight, states)
            outputs = outputs + y
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        if again:
            y = leaf(y)
        with torch.set_grad_enabled(trained):
            value = loss(y)
            wanted = value if scale == 1 else value * scale
    if wanted.requires_grad:  # or there is no valid row
        wanted.backward()
    if again and y.grad is not None:
        _run_back(run, where, begun, y.grad, states)
    return TrainedWindow(value.detach(), states)


def _run(
    run: Run, cuts: Sequence[int], state: State, reweight: np.ndarray | None, states: dict[int, State]
) -> tuple[list[Tensor], State]:
    """Run the rows between the first and the last cut; `states` gets the state at each, detached."""
    outputs = []
    if cuts[0] not in states:
        states[cuts[0]] = detach(state)
    for start, stop in pairwise(cuts):
        if reweight is not None and start > cuts[0] and reweight[start] != 1:
            state = map_arrays(lambda a, t=start: Weighed.apply(a, float(reweight[t])), state)
        y, state = run(start, stop, state)
        outputs.append(y)
        states[stop] = detach(state)
    return outputs, state


def _run_back(run: Run, where: Sections, begun: State, d_y: Tensor, states: dict[int, State]) -> None:
    """Walk back over the sections, each run again with a graph, their gradients chained by the state."""
    d_state: list[Tensor] = []
    for section in reversed(where.inside):
        begin = section[0]
        before = begun if begin == where.head[-1] else map_arrays(leaf, states[begin])
        with torch.enable_grad():
            y, after = _run(run, section, before, where.reweight, {})
        ends, d_ends = [*y], [*d_y[begin : section[-1]].split([b - a for a, b in pairwise(section)])]
        if d_state:
            ends, d_ends = ends + arrays(after), d_ends + d_state
        reached = [(end, d) for end, d in zip(ends, d_ends, strict=True) if end.requires_grad]
        if reached:
            ends, d_ends = zip(*reached, strict=True)
            torch.autograd.backward(ends, d_ends)
        if before is begun:
            break
        factor = 1.0 if where.reweight is None else float(where.reweight[begin])
        d_state = [torch.zeros_like(a) if a.grad is None else a.grad * factor for a in arrays(before)]


class Weighed(torch.autograd.Function):
    """Hand numbers on; the gradient that comes back is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, factor: float) -> Tensor:  # type: ignore[override]
        """Hand the numbers on, and remember the factor."""
        ctx.factor = factor
        return a.view_as(a)

    @staticmethod
    def backward(ctx: Any, d_a: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """Multiply the gradient by the factor."""
        return d_a * ctx.factor, None
