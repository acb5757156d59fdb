"""`write_page`: the page as one file, its library, style and numbers in it."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from rnnkit.errors import ModelError, SourceError
from rnnkit.files import write_whole
from rnnkit.model import layers_to_run
from rnnkit.schedule import Schedule
from rnnkit.tracing import Trace
from rnnkit.tracing.display import ROWS, UNITS
from rnnkit.view.page.content import cells_of, content, find, reach_size
from rnnkit.view.page.variants import variants_of

LIMIT = 8_000_000
"""Bytes of a page at most."""

SPARE = 600_000
"""Bytes of it that are kept for text, and for what grows with the rows alone."""

FEW_ROWS, FEW_UNITS = 512, 16
"""Down to which first rows, then units are thinned for the sake of size, before rows again."""

SCRIPTS = ("numbers.js", "figures.js", "lanes.js", "step.js", "page.js")


def write_page(
    trace: Trace,
    path: str | os.PathLike[str],
    schedules: Iterable[Schedule] = (),
    *,
    overwrite: bool = False,
) -> Path:
    """Write an HTML page that shows a trace: one file, which loads nothing from anywhere.

    Beyond 4,096 rows, 512 units of a layer, or 8 MB, the page shows some of them and says so. Numbers are those of the
    trace, to double precision where they fit, else to single.

    Args:
        trace: what `rk.trace` returned, best with `truncate=None`: the page cuts the gradient itself.
        path: the file.
        schedules: schedules to choose between, that of the training first; variants of the first are added. Left out,
            windows over the traced rows alone.
        overwrite: replace the file that is there.

    Returns:
        The path.

    Raises:
        ModelError: something that is no trace.
        ScheduleError: something that is no schedule.
        SourceError: plotly is not installed, or the file is there or cannot be written.
    """
    path = Path(path)
    if not isinstance(trace, Trace):
        raise ModelError(f"write_page expects a Trace, got {type(trace).__name__}; make one with rk.trace(...)")
    if path.exists() and not overwrite:
        raise SourceError(f"write_page: {str(path)!r} is there already; name another file, or give overwrite=True")
    text = page_text(trace, schedules).encode()
    try:
        write_whole(path, text)
    except OSError as error:
        raise SourceError(
            f"write_page expects a file that can be written, got {str(path)!r}: {error.strerror or error}; name another"
        ) from error
    return path


def page_text(trace: Trace, schedules: Iterable[Schedule] = (), limit: int = LIMIT) -> str:
    """The page as text, of at most `limit` bytes."""
    library = plotly_text()
    found = find(trace, variants_of(trace, schedules))
    rows, units, dtype = _shown(trace, limit - len(library.encode()) - reach_size(trace) - SPARE)
    while True:
        text = _filled(library, content(found, rows, units, dtype))
        if len(text.encode()) <= limit or rows == 1:
            return text
        rows = max(1, rows // 2)


def plotly_text() -> str:
    """The library that draws, as JavaScript.

    Raises:
        SourceError: it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise SourceError('write_page needs plotly, which is not installed; pip install -e ".[inspect]"') from error
    return get_plotlyjs()


def _shown(trace: Trace, room: int) -> tuple[int, int, str]:
    """How many rows and units fit into so many bytes, and how precisely."""
    rows, units = min(ROWS, len(trace)), UNITS
    widest = max(layer.outputs for layer in layers_to_run(trace.model, "write_page"))
    units = min(units, widest)
    for dtype, size in (("float64", 8), ("float32", 4)):
        if cells_of(trace, rows, units) * size * 4 / 3 <= room:
            return rows, units, dtype
    while cells_of(trace, rows, units) * 4 * 4 / 3 > room and rows > 1:
        if rows > FEW_ROWS or units <= FEW_UNITS:
            rows = math.ceil(rows / 2)
        else:
            units = math.ceil(units / 2)
    return rows, units, "float32"


def _filled(library: str, plain: dict[str, Any]) -> str:
    """The template with everything in its place."""
    folder = files("rnnkit.view.page")
    read = lambda name: (folder / name).read_text(encoding="utf-8")  # noqa: E731
    numbers = json.dumps(plain, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    words = plain["layers"][0]["words"]  # the first of the layers to choose from
    parts = {
        "gates": html.escape(words["gates_title"].capitalize()),
        "look": html.escape(words["look"]),
        "title": html.escape(f"{plain['name']}: back-propagation through time"),
        "style": read("page.css"),
        "library": library,
        "numbers": numbers,
        "script": "\n".join(read(name) for name in SCRIPTS),
    }
    pieces = read("page.html").split("{{")
    return pieces[0] + "".join(parts[name] + rest for name, rest in (piece.split("}}", 1) for piece in pieces[1:]))
