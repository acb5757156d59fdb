"""`TextOptions`: what a user has said about how a text file is written."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any

from rnnkit.errors import DataError

Markers = list[str | float] | tuple[str | float, ...]
Lines = int | list[int] | tuple[int, ...]


@dataclass(frozen=True)
class TextOptions:
    """How a text file is written; None where that is found out.

    Args:
        separator: one character between cells; `" "` stands for any number of blanks.
        decimal: `"."` or `","`. The other one, blanks and apostrophes may part thousands.
        encoding: such as `"cp1252"` or `"utf-16"`; Python's names.
        na: cells that are missing values, text or numbers, beside empty ones and NA, N/A, NaN, nan, null, NULL, None.
        header: False for a file without a line of names, whose columns are numbers from 0; or the names that such a
            file's columns have.
        comment: what lines begin with that are no rows, such as `"#"`.
        skip: how many lines stand before the header; or the lines, from 1, that are no rows.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na: tuple[str | float, ...] | None = None
    header: bool | tuple[str, ...] | None = None
    comment: str | None = None
    skip: int | tuple[int, ...] | None = None

    @classmethod
    def checked(cls, who: str, given: dict[str, Any]) -> TextOptions:
        """Options as a user gives them, checked.

        Raises:
            DataError: one that cannot be used, named.
        """
        values = {field.name: given.get(field.name) for field in fields(cls)}

        def refuse(option: str, expected: str) -> DataError:
            return DataError(f"{who} expects {option} to be {expected}, got {values[option]!r}")

        separator, decimal, comment = values["separator"], values["decimal"], values["comment"]
        if separator is not None and not (
            isinstance(separator, str) and len(separator) == 1 and separator not in '"\r\n'
        ):
            raise refuse("separator", "one character, such as ',', ';', '\\t', '|' or ' '")
        if decimal not in (None, ".", ","):
            raise refuse("decimal", "'.' or ','")
        if comment is not None and not (isinstance(comment, str) and comment.strip()):
            raise refuse("comment", "what the lines begin with that are no rows, such as '#'")
        if values["encoding"] is not None:
            try:
                "".encode(values["encoding"])
            except (LookupError, TypeError, ValueError):
                raise refuse("encoding", "an encoding that Python knows, such as 'utf-8' or 'cp1252'") from None
        header = values["header"]
        if header is not None and not isinstance(header, bool):
            if not isinstance(header, list | tuple) or not header or not all(isinstance(name, str) for name in header):
                raise refuse("header", "True, False, or a list of names, one for each column")
            values["header"] = tuple(header)
        na = values["na"]
        if na is not None:
            na = [na] if isinstance(na, str | int | float) else na
            if not isinstance(na, list | tuple) or not all(isinstance(n, str | int | float) for n in na):
                raise refuse("na", "a list of cells that are missing values, such as ['?', -999]")
            if any(isinstance(n, int) and abs(n) > sys.float_info.max for n in na):
                raise refuse("na", "numbers that a float64 holds")
            values["na"] = tuple(n.strip() if isinstance(n, str) else n for n in na)
        skip = values["skip"]
        if skip is not None:
            whole = [skip] if isinstance(skip, int) else skip
            if not isinstance(whole, list | tuple) or not all(type(n) is int and n >= 0 for n in whole):
                raise refuse("skip", "how many lines stand before the header, or a list of lines, from 1")
            values["skip"] = skip if isinstance(skip, int) else tuple(whole)
        return cls(**values)

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    @property
    def left_out(self) -> frozenset[int]:
        """Lines, from 1, that are no rows."""
        return frozenset(self.skip) if isinstance(self.skip, tuple) else frozenset()
