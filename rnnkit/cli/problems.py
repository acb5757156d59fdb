"""Everything that is wrong with a config, each with its path: what the schema refuses, what the core refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rnnkit.backend import installed_backends
from rnnkit.cli.config import LOSS_NAMES, Config, Described, Table, default_of, table_for, tables_at, walk
from rnnkit.cli.locate import Keys
from rnnkit.errors import RnnkitError

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than_equal": "at least {ge}",
    "string_too_short": "some text",
    "too_short": "at least one entry",
    "literal_error": "{expected}",
}
"""What a value should have been, by pydantic's name of the error."""


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
    problems = list(_refused_by_schema(raw, schema))
    broken = {problem.path for problem in problems}
    for path, table, found in walk(raw, schema):
        if issubclass(table, Described):
            problems += _refused_by_core(table, found, path, broken)
    several, known = raw.get("backends"), installed_backends()
    named: list[tuple[Keys, Any]] = [(("backend",), raw.get("backend"))]
    if isinstance(several, list):
        named += [(("backends", index), name) for index, name in enumerate(several)]
    for path, name in named:
        if isinstance(name, str) and name not in known:
            message = f"expects one of the installed backends ({', '.join(known)}), got {name!r}{nearest(name, known)}"
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


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, whatever the case of its letters."""
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), folded, n=1)
    return folded[near[0]] if near else None


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the closest known word, or nothing."""
    found = closest(word, known)
    return f"; did you mean {found!r}?" if found else ""


def _refused_by_schema(raw: dict[str, Any], schema: type[Table]) -> Iterator[Problem]:
    try:
        schema.model_validate(raw)
    except ValidationError as error:
        expected: dict[Keys, list[str]] = {}
        for detail in error.errors():
            path, table = _resolve(detail["loc"], raw, schema)
            if detail["type"] in EXPECTED:
                if isinstance(_value_at(raw, path), dict) and _may_hold_tables(table, path):
                    continue  # a table was given, and what is wrong inside of it is told
                expected.setdefault(path, []).append(EXPECTED[detail["type"]].format(**detail.get("ctx", {})))
            else:
                yield _structural(detail, path, table)
        for path, wanted in expected.items():
            yield _expects(path, wanted, _value_at(raw, path))


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


def _may_hold_tables(schema: type[Table] | None, path: Keys) -> bool:
    """Whether tables may stand at the end of a path whose last table has this schema."""
    return bool(schema and path and tables_at(schema, str(path[-1])))


def _structural(detail: ErrorDetails, path: Keys, schema: type[Table] | None) -> Problem:
    """A key that is missing or unknown, or a type that is."""
    kind = detail["type"]
    if kind == "missing":
        return Problem(path, "is required, but missing")
    if kind == "extra_forbidden":
        known = tuple(schema.model_fields) if schema else ()
        return Problem(path, "unknown key", known)
    tables = tables_at(schema, str(next(part for part in reversed(path) if isinstance(part, str)))) if schema else ()
    names = [LOSS_NAMES.get(table.__name__, table.__name__) for table in tables]
    if kind == "union_tag_not_found":
        return Problem((*path, "type"), f"is required, but missing: one of {', '.join(names)}")
    if kind == "union_tag_invalid":
        tag = str(detail.get("ctx", {}).get("tag"))
        return Problem(path, f"expects one of {', '.join(names)}, got {tag!r}{nearest(tag, names)}")
    return Problem(path, detail["msg"])


def _expects(path: Keys, wanted: list[str], got: Any) -> Problem:
    wanted = [word for word in dict.fromkeys(wanted) if word != "a whole number" or "a number" not in wanted]
    shown = {True: "true", False: "false", None: "none"}.get(got, repr(got)) if _is_plain(got) else repr(got)
    choices = re.findall(r"'(\w+)'", wanted[0])
    hint = nearest(got, choices) if isinstance(got, str) and choices else ""
    form = json.dumps([part.strip() for part in got.split(",")]) if "a list" in wanted and isinstance(got, str) else ""
    return Problem(path, f"expects {' or '.join(wanted)}, got {shown}{hint}", form=form)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _value_at(raw: Any, path: Keys) -> Any:
    for part in path:
        raw = raw[part]
    return raw


def _refused_by_core(table: type[Described], raw: dict[str, Any], path: Keys, broken: set[Keys]) -> Iterator[Problem]:
    """What the description's own checks refuse: every field of it, not the first alone."""
    defaults = {field.name: default_of(field) for field in fields(table.kind)}
    given = {key: raw[key] for key in defaults if key in raw and (*path, key) not in broken}
    # a required field that is missing or broken has been reported; 1 fits every size
    stand_in = {key: 1 for key, default in defaults.items() if default is MISSING}
    reported = False
    while True:
        try:
            table.kind(**(stand_in | given))
        except RnnkitError as error:
            key = mentioned(str(error), given) or mentioned(str(error), defaults)
            if key not in given and reported:  # what is missed has been taken away below
                return
            reported = True
            yield Problem(path if key is None else (*path, key), str(error))
            if key not in given:
                return
            del given[key]
        except TypeError:  # a field in a broken place, which has been reported
            return
        else:
            return
