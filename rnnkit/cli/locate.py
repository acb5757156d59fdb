"""In which line of a TOML text each key stands, which `tomllib` does not say.

The text has been parsed before, so it is known to be well formed: this walk has to tell keys from values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

Keys = tuple[str | int, ...]
"""A dotted path: keys, and for entries of arrays whole numbers from 0."""

TOKEN = re.compile(
    r"""(?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')"""
    r"""|(?P<comment>\#[^\n]*)|(?P<mark>[\[\]{},=.\n])|(?P<word>[^\s\[\]{},=.\#"']+)""",
    re.DOTALL,
)


class Token(NamedTuple):
    """A piece of the text and its line, from 1."""

    text: str
    line: int


@dataclass
class Walk:
    """Where the walk stands, and the lines found so far."""

    tokens: list[Token]
    at: int = 0
    lines: dict[Keys, int] = field(default_factory=dict)
    tables: dict[Keys, int] = field(default_factory=dict)

    def peek(self) -> str:
        """The next token's text, "" at the end."""
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def skip(self, *marks: str) -> None:
        """Pass over any of these marks."""
        while self.peek() and self.peek() in marks:
            self.at += 1


def locate(text: str) -> dict[Keys, int]:
    """The line, from 1, of every key, table and array entry of a well-formed TOML text.

    Example:
        >>> locate('seed = 0\\n[data]\\npath = "a.csv"\\n')[("data", "path")]
        3
    """
    walk, table = Walk(list(_tokens(text))), ()
    walk.skip("\n")
    while walk.peek():
        if walk.peek() == "[":
            table = _header(walk)
        else:
            _pair(walk, table)
        walk.skip("\n")
    return walk.lines


def line_of(lines: dict[Keys, int], path: Keys) -> int | None:
    """The line of a path, or of the nearest table around it that the text has."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _tokens(text: str) -> Iterator[Token]:
    line, end = 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", end, match.start())
        end = match.start()
        if match.lastgroup != "comment":
            yield Token(match[0], line)


def _header(walk: Walk) -> Keys:
    """`[table]` or `[[array of tables]]`: the path of the table that it opens."""
    line = walk.tokens[walk.at].line
    walk.at += 1
    repeated = walk.peek() == "["
    walk.skip("[")
    *parents, last = _key(walk)
    walk.skip("]")
    path: Keys = ()
    for part in parents:
        path = _entered(walk, (*path, part))
    path = (*path, last)
    if repeated:
        walk.tables[path] = walk.tables.get(path, -1) + 1
        walk.lines.setdefault(path, line)
        path = (*path, walk.tables[path])
    walk.lines.setdefault(path, line)
    return path


def _entered(walk: Walk, path: Keys) -> Keys:
    """A path through the last entry so far where it is an array of tables."""
    return (*path, walk.tables[path]) if path in walk.tables else path


def _pair(walk: Walk, table: Keys) -> None:
    """`key = value`."""
    line, path = walk.tokens[walk.at].line, table
    for part in _key(walk):
        path = (*path, part)
        walk.lines.setdefault(path, line)
    walk.skip("=")
    _value(walk, path)


def _key(walk: Walk) -> list[str]:
    parts = []
    while walk.peek() not in ("=", "]"):
        raw = walk.peek()
        parts.append(tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw)
        walk.at += 1
        walk.skip(".")
    return parts


def _value(walk: Walk, path: Keys) -> None:
    if walk.peek() == "[":
        walk.at += 1
        walk.skip("\n", ",")
        entry = 0
        while walk.peek() != "]":
            walk.lines[(*path, entry)] = walk.tokens[walk.at].line
            _value(walk, (*path, entry))
            walk.skip("\n", ",")
            entry += 1
        walk.at += 1
    elif walk.peek() == "{":
        walk.at += 1
        walk.skip("\n", ",")
        while walk.peek() != "}":
            _pair(walk, path)
            walk.skip("\n", ",")
        walk.at += 1
    else:
        while walk.peek() not in ("", "\n", ",", "]", "}"):
            walk.at += 1
