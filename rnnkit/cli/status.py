"""How a command says by its exit status what became of it."""

from __future__ import annotations

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
"""Something that was asked for went wrong; an error, nothing was done; Ctrl-C."""
