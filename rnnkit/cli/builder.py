"""What turns a config into objects, piece by piece, and collects what the core refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

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


class BackendOption(NamedTuple):
    """An option of the backend, and where in the config it stands."""

    path: Keys
    value: Any


def started(draft: Draft) -> tuple[Builder, Callable[[], Backend]]:
    """A builder that knows whether the backend can be had, and what gives the backend once nothing else is wrong."""
    builder, found = Builder(draft), []
    if draft.usable(("backend",), ("device",), ("threads",)):
        try:
            found.append(load_backend(draft.config))
        except BackendError as error:
            options = options_of(draft.config)
            key = mentioned(str(error), options)
            builder.add(("backend",) if key is None else options[key].path, str(error))
    return builder, lambda: found[0]


def load_backend(config: Config) -> Backend:
    """The backend that a config names, with the options that it gives.

    Raises:
        BackendError: as `rnnkit.backend` does.
    """
    for key in () if isinstance(config.backend, str) else config.backend.model_extra or {}:
        if getattr(config, key, None) is not None and key in ("device", "threads"):
            raise BackendError(f"backend expects {key} once, got it in [backend] and as {key}; leave one of them out")
    return backend(backend_name(config), **{key: option.value for key, option in options_of(config).items()})


def backend_name(config: Config) -> str:
    """The name of the backend that a config asks for."""
    return config.backend if isinstance(config.backend, str) else config.backend.name


def options_of(config: Config) -> dict[str, BackendOption]:
    """The options that a config gives its backend: those of `[backend]`, and `device` and `threads` at the top."""
    inside = {} if isinstance(config.backend, str) else config.backend.model_extra or {}
    given = {"device": config.device, "threads": config.threads}
    options = [BackendOption((key,), value) for key, value in given.items()]
    options += [BackendOption(("backend", key), value) for key, value in inside.items()]
    return {str(option.path[-1]): option for option in options if option.value is not None}


def no_file(path: Path, option: str) -> str:
    """What is said of a data file that is not there."""
    near = [file.name for file in path.parent.glob("*")]
    return f"found no data file {str(path)!r}{did_you_mean_file(path.name, near)}; say where it is with {option}"
