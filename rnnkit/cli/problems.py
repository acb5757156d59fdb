"""Everything that is wrong with a config, each with its path: what the schema refuses, what the core refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rnnkit.backend import installed_backends
from rnnkit.cli.config import LOSS_NAMES, Config, Described, Table, columns_of, is_listed, table_for, tables_at, walk
from rnnkit.cli.locate import Keys
from rnnkit.cli.toml import inline
from rnnkit.cli.values import SHOWN, shortened, unusable
from rnnkit.errors import RnnkitError, did_you_mean

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than_equal": "at least {ge}",
    "greater_than": "a number above {gt:g}",
    "string_too_short": "some text",
    "too_short": "at least one entry",
    "literal_error": "{expected}",
}
"""What a value should have been, by pydantic's name of the error."""

TAG = "union_tag_invalid"
"""Pydantic's name of the error that no table of a choice is called so."""


class Problem(NamedTuple):
    """Something wrong, and where.

    For an unknown key, `known` lists those that could have been meant; `form` is the value as it should be written.
    """

    path: Keys
    message: str
    known: tuple[str, ...] = ()
    form: str = ""


def find_problems(raw: dict[str, Any], schema: type[Table] = Config) -> list[Problem]:
    """Every problem of a raw config that can be seen without its data."""
    problems = [Problem(path, message) for path, message in unusable(raw)]
    told = {problem.path for problem in problems}
    problems += [problem for problem in _refused_by_schema(raw, schema) if problem.path not in told]
    broken = {problem.path[:depth] for problem in problems for depth in range(1, len(problem.path) + 1)}
    for path, table, found in walk(raw, schema):
        if issubclass(table, Described):
            problems += _refused_by_core(table, found, path, broken)
    several, known = raw.get("backends"), installed_backends()
    whole = raw.get("backend")
    named: list[tuple[Keys, Any]] = [(("backend",), whole)]
    if isinstance(whole, dict):
        named = [(("backend", "name"), whole.get("name"))]
    if isinstance(several, list):
        named += [(("backends", index), name) for index, name in enumerate(several)]
    for path, name in named:
        if isinstance(name, str) and name not in known:
            near = did_you_mean(name, known)
            message = f"expects one of the installed backends ({', '.join(known)}), got {name!r}{near}"
            problems.append(Problem(path, message))
    return problems


def mentioned(message: str, keys: Iterable[str]) -> str | None:
    """The key that a message of the core complains about, or None."""
    plain = re.sub(r"'[^']*'", "", message)
    keys = list(keys)
    for pattern in (r"expects {}\b", r"\b{}=", r"\b{}\b"):
        found = [(match.start(), key) for key in keys if (match := re.search(pattern.format(key), plain))]
        if found:
            return min(found)[1]
    return None


def _refused_by_schema(raw: dict[str, Any], schema: type[Table]) -> Iterator[Problem]:
    try:
        schema.model_validate(raw)
    except ValidationError as error:
        placed = [(detail, *_resolve(detail["loc"], raw, schema)) for detail in error.errors()]
        tags = {path: str(detail.get("ctx", {}).get("tag")) for detail, path, _ in placed if detail["type"] == TAG}
        expected: dict[Keys, list[str]] = {}
        choices: dict[Keys, list[str]] = {}
        for detail, path, table in placed:
            kind = detail["type"]
            if kind != TAG and kind not in EXPECTED:
                yield _structural(detail, path, table)
                continue
            told = isinstance(_value_at(raw, path), dict) and _may_hold_table(table, path)
            if told and path not in tags:
                continue  # a table was given, and what is wrong inside of it is told
            names = _types_at(table, path) if kind == TAG or EXPECTED[kind] == "a table" else []
            choices.setdefault(path, []).extend(names)
            word = f"one of {', '.join(names)}" if len(names) > 1 else EXPECTED[kind].format(**detail.get("ctx", {}))
            expected.setdefault(path, []).append(word)
        for path, wanted in expected.items():
            yield _expects(path, wanted, tags.get(path, _value_at(raw, path)), choices[path])


def _resolve(loc: tuple[int | str, ...], raw: dict[str, Any], whole: type[Table]) -> tuple[Keys, type[Table] | None]:
    """Pydantic's place, which names types of unions too, as a path in the file; and the table's schema there."""
    path: Keys = ()
    schema: type[Table] | None = whole
    candidates: tuple[type[Table], ...] = ()
    here: Any = raw
    for part in loc:
        if isinstance(here, dict):
            inner = (table_for(candidates, here) if path and candidates else None) or schema
            if part not in here and (inner is None or part not in inner.model_fields):
                continue  # a branch of a union
            schema = inner
            candidates = tables_at(schema, str(part)) if schema else ()
            path, here = (*path, part), here.get(part)
        elif isinstance(here, list) and isinstance(part, int):
            path, here = (*path, part), here[part]
    return path, schema


def _may_hold_table(schema: type[Table] | None, path: Keys) -> bool:
    """Whether a table may stand at the end of a path whose last table has this schema."""
    if not schema or not path:
        return False
    return bool(tables_at(schema, str(path[-1]))) and not is_listed(schema, str(path[-1]))


def _types_at(schema: type[Table] | None, path: Keys) -> list[str]:
    """What the tables are called that may stand at the end of a path, or in the list that it leads into."""
    key = next((part for part in reversed(path) if isinstance(part, str)), None)
    tables = tables_at(schema, key) if schema and key is not None else ()
    return [LOSS_NAMES.get(table.__name__, table.__name__) for table in tables]


def _structural(detail: ErrorDetails, path: Keys, schema: type[Table] | None) -> Problem:
    """A key that is missing or unknown, or a type that is."""
    kind = detail["type"]
    if kind == "missing":
        return Problem(path, "is required, but missing")
    if kind == "extra_forbidden":
        known = tuple(schema.model_fields) if schema else ()
        return Problem(path, "unknown key", known)
    if kind == "union_tag_not_found":
        return Problem((*path, "type"), f"is required, but missing: one of {', '.join(_types_at(schema, path))}")
    return Problem(path, detail["msg"])


def _expects(path: Keys, wanted: list[str], got: Any, choices: list[str]) -> Problem:
    wanted = [word for word in dict.fromkeys(wanted) if word != "a whole number" or "a number" not in wanted]
    given = {True: "true", False: "false", None: "none"}[got] if _is_plain(got) else _shown(got)
    choices = choices or re.findall(r"'(\w+)'", wanted[0])
    hint = did_you_mean(got, choices) if isinstance(got, str) and choices else ""
    form = ""
    if "a list" in wanted and isinstance(got, str):
        form = json.dumps([part.strip() for part in got.split(",")]) if len(got) <= SHOWN else ""
    elif "a list" in wanted and isinstance(got, dict):
        form = f"[{_shown(got)}]"
    return Problem(path, f"expects {' or '.join(wanted)}, got {shortened(given, SHOWN)}{hint}", form=form)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _shown(got: Any) -> str:
    """A value as Python writes it, but a table as TOML does."""
    if not isinstance(got, dict):
        return repr(got)
    return inline(got)


def _value_at(raw: Any, path: Keys) -> Any:
    for part in path:
        raw = raw[part]
    return raw


def _refused_by_core(table: type[Described], raw: dict[str, Any], path: Keys, broken: set[Keys]) -> Iterator[Problem]:
    """What the description's own checks refuse: every field of it, not the first alone."""
    defaults = {name: default for name, (_, default) in columns_of(table.kind).items()}
    given = dict(_built(table, {key: raw[key] for key in defaults if key in raw and (*path, key) not in broken}))
    # 1 fits every size; a complaint that names what it stands for is not about the file
    stand_in = {key: 1 for key, default in defaults.items() if default is MISSING}
    while True:
        invented = {key for key in defaults if key not in given and (key in raw or key in stand_in)}
        try:
            table.kind(**(stand_in | given))
        except RnnkitError as error:
            message = str(error)
            key = mentioned(message, given) or mentioned(message, defaults)
            if mentioned(message, invented) or (invented and key is None):
                return
            yield Problem(path if key is None else (*path, key), message)
            if key not in given:
                return
            del given[key]
        except TypeError:  # a field in a broken place, which has been reported
            return
        else:
            return


def _built(table: type[Table], values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields as the description takes them, inner tables built; what cannot be built is told at its own place."""
    for key, value in values.items():
        inner = table_for(tables_at(table, key), value) if isinstance(value, dict) else None
        if inner is None or not issubclass(inner, Described):
            yield key, value
            continue
        try:
            yield key, inner.model_validate(value).build()
        except RnnkitError:
            continue
