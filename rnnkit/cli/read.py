"""A config file and its overrides, read and checked; what is wrong is collected, each with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rnnkit.cli.config import Config, Table, spell_out
from rnnkit.cli.locate import Keys, line_of, locate
from rnnkit.cli.many import ManyConfig
from rnnkit.cli.overrides import Override, apply_override, parse_overrides
from rnnkit.cli.problems import Problem, find_problems
from rnnkit.cli.values import parse_toml
from rnnkit.errors import ConfigError, SourceError, closest, did_you_mean_file
from rnnkit.model import LAYERS, Recurrent

ERRORS = 30
"""Problems that are listed at most: one in what many data sets share is one of each."""

CELL = next(kind.__name__ for kind in LAYERS if issubclass(kind, Recurrent))
STAND_IN: dict[str, Any] = {"data": {"path": ""}, "model": {"layers": [{"type": CELL, "hidden": 1}]}}
MANY = STAND_IN | {"data": [{"path": ""}]}


@dataclass(frozen=True)
class Draft:
    """A config as far as it can be understood.

    Attributes:
        file: where it stands.
        config: its values; a top-level entry with a problem holds a stand-in, see `usable`. Of a study, a `Study`,
            which has the same `name`, `dtype`, `out`, `data`, `model` and `train`; of many data sets, see `many`.
        problems: what is wrong so far.
        lines: the line of every path in the file.
        overrides: options given on the command line.
        data_set: of many, the one that this is the config of.
    """

    file: Path
    config: Config
    problems: tuple[Problem, ...]
    lines: dict[Keys, int]
    overrides: tuple[Override, ...]
    data_set: str | None = None

    @property
    def many(self) -> ManyConfig | None:
        """Its values where it lists its data sets as `[[data]]`, else None."""
        config: Any = self.config
        return config if isinstance(config, ManyConfig) else None

    @property
    def data_path(self) -> Path:
        """The data file: a relative path counts from the config file's folder."""
        return self.file.parent / self.config.data.path

    def usable(self, *paths: Keys) -> bool:
        """Whether nothing at these paths, inside them or around them, has a problem."""
        return not any(
            all(a == b for a, b in zip(problem.path, path, strict=False)) for problem in self.problems for path in paths
        )

    def is_given(self, key: str) -> bool:
        """Whether the file or an option says what stands under a top-level key."""
        return (key,) in self.lines or any(override.path == (key,) for override in self.overrides)

    def refuse(self) -> None:
        """Raise one `ConfigError` for all problems, if there are any."""
        every = sorted(self.problems, key=self._order)
        texts = list(dict.fromkeys(self._text(problem) for problem in every))
        if len(texts) == 1:
            raise ConfigError(f"{self.file}, {texts[0]}")
        if texts:
            lines = [f"  {text}" for text in texts[:ERRORS]]
            if len(texts) > ERRORS:
                lines.append(f"  ... and {len(texts) - ERRORS:,} more")
            raise ConfigError("\n".join([f"{self.file} has {len(texts)} errors:", *lines]))

    def _order(self, problem: Problem) -> tuple[bool, int]:
        return self._option(problem.path) is not None, line_of(self.lines, problem.path) or 0

    def _option(self, path: Keys) -> Override | None:
        """The last option that set this path or something around it, or made the table that stands there."""
        for override in reversed(self.overrides):
            if path[: len(override.path)] == override.path:
                return override
            if override.path[: len(path)] == path and path not in self.lines:
                return override
        return None

    def _text(self, problem: Problem) -> str:
        override, path = self._option(problem.path), ".".join(map(str, problem.path))
        if problem.known:
            return self._unknown(problem, override, path)
        if override is not None:
            form = f"; write {override.option} '{problem.form}'" if problem.form else ""
            key = ".".join(map(str, problem.path[len(override.path) :]))
            who = f"{key} " if problem.message.startswith(("expects ", "is ")) and key else ""
            return f"option {override.option}: {who}{problem.message}{form}"
        form = f"; write {problem.form}" if problem.form else ""
        return f"{self._where(problem.path)}{path}: {problem.message}{form}"

    def _unknown(self, problem: Problem, override: Override | None, path: str) -> str:
        meant = closest(str(problem.path[-1]), problem.known)
        known = f"; known are {', '.join(problem.known)}"
        if override is None:
            return f"{self._where(problem.path)}{path}: unknown key" + (
                f"; did you mean {meant!r}?" if meant else known
            )
        if len(problem.path) > len(override.path):
            *around, key = map(str, problem.path[len(override.path) :])
            hint = f"; did you mean {'.'.join((*around, meant))!r}?" if meant else known
            return f"option {override.option}: unknown key {'.'.join((*around, key))!r}{hint}"
        inside = [table for table, value in self.config if problem.path[0] in getattr(type(value), "model_fields", ())]
        if len(problem.path) == 1 and inside:
            return f"unknown option {override.option}; did you mean --{inside[0]}.{problem.path[0]}?"
        depth = len(problem.path) - 1
        option = ".".join(map(str, (*override.path[:depth], meant, *override.path[depth + 1 :])))
        return f"unknown option {override.option}" + (f"; did you mean --{option}?" if meant else known)

    def _where(self, path: Keys) -> str:
        line = line_of(self.lines, path)
        return f"line {line}, " if line else ""


def read(
    file: str | Path,
    tokens: Sequence[str] = (),
    schema: type[Table] | None = None,
    stand_in: dict[str, Any] | None = None,
) -> Draft:
    """Read a config file and apply overrides to it.

    Args:
        file: a TOML file.
        tokens: overrides, as in `["--train.epochs", "5"]`.
        schema: the table of the whole file; left out, that of many data sets where it lists them as `[[data]]`.
        stand_in: values for the entries that the schema requires.

    Raises:
        SourceError: no such file, or one that cannot be read.
        ConfigError: a file that is no TOML, or overrides that are no options.
    """
    file = Path(file)
    overrides = parse_overrides(tokens)
    text = _text_of(file)
    try:
        raw = parse_toml(text)
    except ConfigError as error:
        raise ConfigError(f"{file}, {error}") from error
    except tomllib.TOMLDecodeError as error:
        message = re.sub(r"\s*\(at line (\d+), column (\d+)\)", "", str(error))
        found = re.search(r"line (\d+), column (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise ConfigError(f"{file}, line {line}: this is no TOML: {message[:1].lower()}{message[1:]}") from error
    many = isinstance(raw.get("data"), list)
    return understood(
        file,
        raw,
        locate(text),
        overrides,
        schema or (cast(Any, ManyConfig) if many else Config),
        stand_in or (MANY if many else STAND_IN),
    )


def understood(
    file: Path,
    raw: dict[str, Any],
    lines: dict[Keys, int],
    overrides: Sequence[Override],
    schema: type[Table] = Config,
    stand_in: dict[str, Any] = STAND_IN,
) -> Draft:
    """The draft of a raw config, which is changed in place.

    Args:
        file: where it stands.
        raw: as TOML gives it.
        lines: the line of every path in the file.
        overrides: what is set on the command line.
        schema, stand_in: as for `read`.
    """
    spell_out(raw, schema)
    in_the_way = [Problem(o.path, reason) for o in overrides if (reason := apply_override(raw, o, schema))]
    raw.setdefault("name", file.stem)
    raw.setdefault("out", f"runs/{raw['name']}")
    problems = [*in_the_way, *find_problems(raw, schema)]
    wrong = {problem.path[0] for problem in problems}
    whole = {key: value for key, value in raw.items() if key not in wrong}
    whole = stand_in | {"name": file.stem, "out": "runs"} | whole
    draft = Draft(file, cast(Config, schema.model_construct()), tuple(problems), lines, tuple(overrides))
    train = raw.get("train")
    if "train" in wrong and draft.usable(("train", "loss")) and isinstance(train, dict) and "loss" in train:
        whole["train"] = {"loss": train["loss"]}  # sizes can be checked against the loss still
    return replace(draft, config=cast(Config, schema.model_validate(whole)))


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [path.name for path in file.parent.glob("*.toml")]
        raise SourceError(f"found no config file {str(file)!r}{did_you_mean_file(file.name, near)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: a config is UTF-8 text, this is not (byte {error.start})") from error
    except OSError as error:
        raise SourceError(f"cannot read the config file {str(file)!r}: {error.strerror or error}") from error
