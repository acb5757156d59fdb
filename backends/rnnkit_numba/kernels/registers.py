"""Loops in LLVM's own terms, whose values stay in registers from turn to turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnnkit_numba.kernels.pointers import WORD


def loop(builder: Any, name: str, count: Any, values: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> Any:
    """`values = body(n, values)` for n below `count`, held in registers; returns the last ones."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(f"{name}.{part}") for part in ("head", "body", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    n = builder.phi(WORD)
    n.add_incoming(WORD(0), before)
    phis = [builder.phi(value.type) for value in values]
    for phi, value in zip(phis, values, strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", n, count), inside, after)
    builder.position_at_end(inside)
    for phi, value in zip(phis, body(n, list(phis)), strict=True):
        phi.add_incoming(value, builder.block)
    n.add_incoming(builder.add(n, WORD(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis
