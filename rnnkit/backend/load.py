"""`backend(name)`: backends are found by entry point, imported when somebody asks for them, and completed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rnnkit.backend.complete import CompleteBackend
from rnnkit.backend.protocol import PARTS, Backend
from rnnkit.errors import BackendError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "rnnkit.backends"
"""The group of entry points that backends are declared in."""

TEXTBOOK = "numpy"
"""The backend that the others are held to."""


def backend(name: str | Backend, **options: Any) -> CompleteBackend:
    """Load a backend by the name of its entry point, and complete it: what it does not bring is composed.

    Args:
        name: such as `"numba"`, `"numpy"` or `"torch"`; or a backend, which is completed, or one that is already.
        options: handed to the backend's `configure`, such as `threads=1` for numba (unless told otherwise, one for
            each processor) or `device="cuda"` for torch.

    Raises:
        BackendError: no such backend (the message lists the installed ones), two distributions that declare the
            name differently, a backend whose library is not installed, or options that it does not take.

    Example:
        >>> import rnnkit as rk
        >>> rk.backend("numpy").name
        'numpy'
    """
    if isinstance(name, CompleteBackend):
        return name.configure(**options) if options else name
    loaded = _load(name) if isinstance(name, str) else name
    missing = [part for part in PARTS if not hasattr(loaded, part)]
    if missing:
        raise BackendError(
            f"backend expects a module with {', '.join(PARTS)}, got {loaded!r} without {', '.join(missing)}; "
            f"give the name of an installed backend, such as 'numba', or add what is missing"
        )
    completed = CompleteBackend(loaded)
    return completed.configure(**options) if options else completed


def installed_backends() -> list[str]:
    """Names of the entry points in the group `rnnkit.backends`, sorted; nothing is imported."""
    return sorted({point.name for point in _entry_points()})


def _load(name: str) -> Any:
    points = {point.value: point for point in _entry_points() if point.name == name}
    if not points:
        known = installed_backends()
        raise BackendError(
            f"backend expects one of the installed backends ({', '.join(known) or 'none'}), got {name!r}"
            f"{did_you_mean(name, known)}"
        )
    if len(points) > 1:
        raise BackendError(
            f"backend {name!r} is declared more than once: {', '.join(sorted(points))}; uninstall all but one"
        )
    (point,) = points.values()
    try:
        return point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        remedy = f"pip install {missing}"
        if point.dist is not None and name in (point.dist.metadata.get_all("Provides-Extra") or ()):
            remedy = f"pip install '{point.dist.name}[{name}]'"
        raise BackendError(f"backend {name!r} needs {missing!r}, which is not installed; {remedy}") from error


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)
