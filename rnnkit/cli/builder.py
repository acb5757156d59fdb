"""What turns a config into objects, piece by piece, and collects what the core refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rnnkit.backend import Backend, backend
from rnnkit.cli.config import Config
from rnnkit.cli.locate import Keys
from rnnkit.cli.problems import Problem, mentioned
from rnnkit.cli.read import Draft
from rnnkit.errors import BackendError, ContinuityError, RnnkitError, did_you_mean_file


class Builder:
    """Builds what it can of a draft and collects what the core refuses."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.config = draft, draft.config

    def add(self, path: Keys, message: str) -> None:
        """Note a problem."""
        self.draft = replace(self.draft, problems=(*self.draft.problems, Problem(path, message)))

    @contextmanager
    def blaming(self, path: Keys, keys: tuple[str, ...] = ()) -> Iterator[None]:
        """Turn an error of the core into a problem at `path`, or at one of its `keys` that the message names."""
        try:
            yield
        except RnnkitError as error:
            key = None if isinstance(error, ContinuityError) else mentioned(str(error), keys)
            self.add(path if key is None else (*path, key), str(error))


def started(draft: Draft) -> tuple[Builder, Callable[[], Backend]]:
    """A builder that knows whether the backend can be had, and what gives the backend once nothing else is wrong."""
    builder, found = Builder(draft), []
    if draft.usable(("backend",), ("device",), ("threads",)):
        try:
            found.append(load_backend(draft.config))
        except BackendError as error:
            options = [key for key in ("device", "threads") if getattr(draft.config, key) is not None]
            key = mentioned(str(error), options) or "backend"
            builder.add((key,), str(error))
    return builder, lambda: found[0]


def load_backend(config: Config) -> Backend:
    """The backend that a config names, with the options that it gives.

    Raises:
        BackendError: as `rnnkit.backend` does.
    """
    given = {"device": config.device, "threads": config.threads}
    return backend(config.backend, **{key: value for key, value in given.items() if value is not None})


def no_file(path: Path, option: str) -> str:
    """What is said of a data file that is not there."""
    near = [file.name for file in path.parent.glob("*")]
    return f"found no data file {str(path)!r}{did_you_mean_file(path.name, near)}; say where it is with {option}"
