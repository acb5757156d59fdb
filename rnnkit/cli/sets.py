"""The data sets that a config lists, each with its file and what holds for it; and the config of one of them alone."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from rnnkit.cli.config import Data
from rnnkit.cli.locate import Keys
from rnnkit.cli.many import Common, Listed, ManyConfig
from rnnkit.cli.overrides import parse_overrides
from rnnkit.cli.problems import Problem
from rnnkit.cli.read import Draft, read, understood
from rnnkit.data import DataSet, series_ids
from rnnkit.errors import ConfigError, RnnkitError, did_you_mean
from rnnkit.errors import listed as names_listed

OPENED = (
    *("time", "features", "target", "array", "series_id", "only"),
    *("horizon", "segments", "gap", "missing", "short", "score", "memmap"),
    *("time_format", "zone", "sort"),
    *("separator", "decimal", "encoding", "na", "header", "comment", "skip"),
)
"""Entries of a data set that `Sequence.open` takes under the same name."""

NAMES = 6
"""Names that a line lists at most."""


class Entry(NamedTuple):
    """A data set of a config.

    Attributes:
        name: its name.
        path: its file.
        place: that of its table among `[[data]]`.
        table: that table, with what `[common]` says where it says nothing.
        own: the keys that the table itself has.
        only: the series of its file that it is, where each is a data set.
    """

    name: str
    path: Path
    place: int
    table: Listed
    own: frozenset[str]
    only: str | None = None

    def at(self, key: str | None = None) -> Keys:
        """Where a setting of it stands: in its own table, or in `[common]`."""
        if key is None:
            return "data", self.place
        return ("data", self.place, key) if key in self.own or key not in Common.model_fields else ("common", key)

    def data_set(self) -> DataSet:
        """Make the `DataSet` that the core knows."""
        table = self.table
        options = {key: getattr(table, key) for key in OPENED}
        return DataSet(
            self.path,
            self.name,
            learning_rate=table.learning_rate,
            passes=table.passes,
            weight=table.weight,
            scaler=None if table.scaler == "none" else table.scaler,
            splitter=None if table.splitter is None else table.splitter.build(),
            policy=None if table.policy is None else table.policy.build(),
            head=table.head,
            split=(table.train, table.validation) if table.by is None else (table.train, table.validation, table.by),
            options=options if self.only is None else options | {"only": self.only},
        )


def entries(config: ManyConfig, folder: Path) -> tuple[list[Entry], list[Problem]]:
    """The data sets of a config, globs taken apart, and what is wrong with their paths and names.

    Args:
        config: the config.
        folder: from which relative paths count.
    """
    found: list[Entry] = []
    problems: list[Problem] = []
    places: dict[str, int] = {}
    common = {key: getattr(config.common, key) for key in config.common.model_fields_set if key in Listed.model_fields}
    for index, listed in enumerate(config.data):
        own = frozenset(listed.model_fields_set)
        table = listed.model_copy(update={key: value for key, value in common.items() if key not in own})
        path = folder / listed.path
        several = glob.has_magic(listed.path) and not path.exists()
        files = [Path(file) for file in sorted(glob.glob(str(path), recursive=True))] if several else [path]
        if not files:
            message = f"expects files that match {listed.path!r}, found none in {str(folder.resolve())!r}"
            problems.append(Problem(("data", index, "path"), message))
        for file, only in _series(table, index, files, problems) if table.each else ((file, None) for file in files):
            name = listed.name or file.stem
            if several and listed.name:
                name = f"{listed.name}/{file.stem}"
            if only is not None:
                name = f"{name}/{only}" if several or listed.name else only
            before = places.get(name)
            if before is not None:
                message = f"the name {name!r} is that of data.{before}, too; give each data set a name of its own"
                key = ("name",) if "name" in own else ()
                problems.append(Problem(("data", index, *key), message))
            places.setdefault(name, index)
            found.append(Entry(name, file, index, table, own, only))
    return found, problems


def _series(table: Listed, place: int, files: list[Path], problems: list[Problem]) -> Iterator[tuple[Path, str]]:
    """Each series of some files, where a table says that each is a data set; problems are noted."""
    if table.series_id is None:
        problems.append(Problem(("data", place, "each"), "expects series_id, the column that names the series"))
        return
    for file in files:
        try:
            yield from ((file, name) for name in series_ids(file, table.series_id, array=table.array))
        except RnnkitError as error:
            problems.append(Problem(("data", place, "series_id"), str(error)))


def known_names(draft: Draft) -> list[str]:
    """The names of the data sets of a config of many."""
    return [entry.name for entry in entries(_many(draft), draft.file.parent)[0]]


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Names with commas between them, the middle of a long list left out."""
    return names_listed(names, NAMES, "data sets")


def alone(draft: Draft, name: str, tokens: Sequence[str] = ()) -> Draft:
    """The config of one data set, as if it were trained on alone.

    Args:
        draft: of many data sets.
        name: of one of them.
        tokens: overrides of its config, such as `["--data.path", "new.csv"]`.

    Raises:
        ConfigError: everything that is wrong, or no such data set.
    """
    config, folder = _many(draft), draft.file.parent
    found, problems = entries(config, folder)
    replace(draft, problems=(*draft.problems, *problems)).refuse()
    entry = next((entry for entry in found if entry.name == name), None)
    if entry is None:
        names = [each.name for each in found]
        raise ConfigError(
            f"{draft.file} has the data sets {listed(names)}, not {name!r}{did_you_mean(name, names)}; "
            f"name one with --data-set"
        )
    plain, table = config.model_dump(exclude_none=True), entry.table.model_dump(exclude_none=True)
    data = {key: value for key, value in table.items() if key in Data.model_fields}
    data |= {"path": str(entry.path), "scale": table["scaler"] != "none", "warm": config.common.warm}
    if entry.only is not None:
        data["only"] = entry.only
    if not entry.path.is_absolute():
        data["path"] = str(entry.path.relative_to(folder))
    raw = {key: value for key, value in plain.items() if key not in ("common", "curriculum", "data", "model")}
    raw |= {key: table[key] for key in ("splitter", "policy") if key in table}
    head = config.model.heads.get(entry.table.head or "")
    layers = plain["model"]["layers"]
    if head is not None:
        dumped = head.model_dump(exclude_none=True)
        layers = [*layers, *({"type": "Dense"} | layer for layer in dumped.pop("layers", [dumped]))]
    raw |= {"data": data, "model": {"layers": layers, "initial": plain["model"]["initial"]}}
    own = {("data", *path[2:]): line for path, line in draft.lines.items() if path[:2] == ("data", entry.place)}
    lines = {path: line for path, line in draft.lines.items() if path[0] != "data"}
    return replace(understood(draft.file, raw, lines | own, parse_overrides(tokens)), data_set=name)


def read_one(file: Path, tokens: Sequence[str], data_set: str | None, who: str) -> Draft:
    """The config of one data set: of a file that has one, or of the chosen one of many.

    Raises:
        ConfigError: none is chosen of many, or one where there is no choice.
    """
    draft = read(file)
    if draft.many is None:
        if data_set is not None:
            raise ConfigError(f"{file} has one data set; leave --data-set out")
        return read(file, tokens)
    draft.refuse()
    if data_set is None:
        names = known_names(draft)
        if len(names) > 1:
            raise ConfigError(
                f"{who} works on one data set, but {file} has {listed(names)}; choose one: --data-set {names[0]}"
            )
        data_set = names[0]
    return alone(draft, data_set, tokens)


def _many(draft: Draft) -> ManyConfig:
    return cast(Any, draft.config)
