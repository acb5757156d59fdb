"""The one door between the core and the backends: the protocol, and `backend(name)`.

A backend is a module (or any object) with a `name` and five functions. It is found by entry point in the group
`rnnkit.backends`, imported only when somebody asks for it, and completed: `backend(name)` composes what it leaves out.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnkit.backend.checks import (
    check_arguments,
    check_gradients,
    check_parameters,
    shapes_in,
    shapes_of,
    state_shapes,
)
from rnnkit.backend.complete import CompleteBackend
from rnnkit.backend.load import GROUP, TEXTBOOK, backend, installed_backends
from rnnkit.backend.protocol import PARTS, Backend, Carried, Draws, Gradients, LayerPass, Report, RowBack, Update
from rnnkit.backend.trees import map_arrays

if TYPE_CHECKING:
    from rnnkit.schedule.batch import FRESH, RECORDED, Batch, Block, Slots

__all__ = [
    "FRESH",
    "GROUP",
    "PARTS",
    "RECORDED",
    "TEXTBOOK",
    "Backend",
    "Batch",
    "Block",
    "Carried",
    "CompleteBackend",
    "Draws",
    "Gradients",
    "LayerPass",
    "Report",
    "RowBack",
    "Slots",
    "Update",
    "backend",
    "check_arguments",
    "check_gradients",
    "check_parameters",
    "installed_backends",
    "map_arrays",
    "shapes_in",
    "shapes_of",
    "state_shapes",
]

LATE = dict.fromkeys(("FRESH", "RECORDED", "Batch", "Block", "Slots"), "rnnkit.schedule.batch")
"""Modules of names that are loaded at their first use, lest `import rnnkit` load what reads data."""


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LATE[name]), name)
