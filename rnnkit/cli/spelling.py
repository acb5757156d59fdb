"""Messages of the core as a config spells them: `sort=True` as `sort = true`, `Reset()` as `"Reset"`.

The core advises in the words of Python. On the command line all it says goes through `in_config_words`, at the one
place where it is printed.
"""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from typing import Any, get_args

from rnnkit.cli.config import CLIPS, INITIALS, LAYERS, POLICIES, RATES, RULES, SPLITTERS, Data, Table, Train
from rnnkit.cli.many import INTERLEAVING, Common, Curricular, Listed, ManyConfig, ManyModel
from rnnkit.cli.study import StudyConfig
from rnnkit.cli.toml import inline
from rnnkit.model.losses import LOSSES
from rnnkit.schedule import Phase
from rnnkit.schedule.lengths import Lengths
from rnnkit.study import Equal
from rnnkit.train import EarlyStopping

TAGGED: tuple[type, ...] = (
    *(*LAYERS, *SPLITTERS, *POLICIES, *INITIALS, *RULES, *CLIPS, *RATES, *INTERLEAVING),
    *LOSSES.values(),
    *get_args(Lengths),
)
UNTAGGED: tuple[type, ...] = (EarlyStopping, Equal, Phase)
TABLES: tuple[type[Table], ...] = (Data, Train, Common, Curricular, Listed, ManyConfig, ManyModel, StudyConfig)

KINDS = {kind.__name__: kind for kind in (*TAGGED, *UNTAGGED)}
"""The descriptions that are tables in a config, by name."""

FLAGS = {"overwrite": "--overwrite", "jobs": "--jobs {}", "steps": "--steps {}"}
"""What an option of the command line says, and no entry of a config."""

OPTIONS = {
    *(name for table in TABLES for name in table.model_fields),
    *(field.name for kind in KINDS.values() for field in fields(kind)),
    *FLAGS,
    *("options", "split"),
}

UNSPELLED = ("Chain", "Heads", "Sequence", "Schedule", "Standard", "Comparison", "LaneState")
"""Calls that stand for no table: what stands in their parentheses is left as it is."""

QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|(?<!\w)\"[^\"]*\"(?!\w)")
CALL = re.compile(rf"(?<![\w.])(?:rk\.)?({'|'.join((*KINDS, 'DataSet', *UNSPELLED))})\(")
OPTION = re.compile(r"(?<![\w.-])(\w+)=(?!=)")
VALUE = re.compile(r"-?\d[\d_.]*(?:e[+-]?\d+)?(?!\w)|[A-Za-z_][\w.]*")


def in_config_words(message: str) -> str:
    """A message whose options are written as a config and the command line take them; names in quotes stay.

    Example:
        >>> in_config_words("'a.csv': its newest row stands first; say sort=True, or na=['?', -999]")
        '\\'a.csv\\': its newest row stands first; say sort = true, or na = ["?", -999]'
        >>> in_config_words("use Chunked(length='segment') or Reset()")
        'use {type = "Chunked", length = "segment"} or "Reset"'
    """
    said, at = [], 0
    while at < len(message):
        if found := QUOTED.match(message, at):
            said.append(found[0])
            at = found.end()
        elif (found := CALL.match(message, at)) and (end := _closing(message, found.end() - 1)):
            said.append(_call(message[at:end], found[1]))
            at = end
        elif (found := OPTION.match(message, at)) and found[1] in OPTIONS:
            end = _end_of_value(message, found.end())
            bare = end == found.end() and message[end : end + 1] in ("", *" ,;.:)")
            said.append(found[1] if bare else _option(found[1], message[found.end() : end]))
            at = end
        else:
            said.append(message[at])
            at += 1
    return "".join(said)


def _closing(text: str, at: int) -> int:
    """The place behind the bracket that closes the one at a place; 0 where none does."""
    depth, quote = 0, ""
    for place in range(at, len(text)):
        mark = text[place]
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote = mark
        elif mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
            if not depth:
                return place + 1
    return 0


def _end_of_value(text: str, at: int) -> int:
    """Where the value ends that begins at a place; that place where none does."""
    mark = text[at : at + 1]
    if mark in ("'", '"') and mark:
        end = text.find(mark, at + 1)
        return at if end < 0 else end + 1
    if mark in ("[", "(", "{") and mark:
        return _closing(text, at) or at
    found = VALUE.match(text, at)
    if found is None:
        return at
    if text[found.end() : found.end() + 1] == "(":
        return _closing(text, found.end()) or found.end()
    return found.end() - (found[0].endswith(".") and not text[found.end() : found.end() + 1].isalnum())


def _option(name: str, value: str) -> str:
    tree = _parsed(value)
    if name in FLAGS and tree is not None:
        return FLAGS[name].format(_spelled(tree))
    if tree is None:
        return f"{name} = {value}"
    return _setting(name, tree)


def _setting(name: str | None, tree: ast.expr) -> str:
    """A keyword of a call: what `DataSet` calls `split` and `options` are entries of their own."""
    if name == "options" and isinstance(tree, ast.Dict):
        pairs = zip(tree.keys, tree.values, strict=True)
        return ", ".join(_setting(str(ast.literal_eval(key)), value) for key, value in pairs if key is not None)
    if name == "split" and isinstance(tree, ast.Tuple):
        parts = zip(("train", "validation", "by"), tree.elts, strict=False)
        return ", ".join(_setting(part, value) for part, value in parts)
    return f"{name} = {_spelled(tree)}"


def _call(text: str, name: str) -> str:
    tree = None if name in UNSPELLED else _parsed(text)
    return text if tree is None else _spelled(tree)


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body if text else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _spelled(tree: ast.expr) -> str:
    """An expression of Python as TOML."""
    if isinstance(tree, ast.Constant):
        return "..." if tree.value is ... else "none" if tree.value is None else inline(tree.value)
    if isinstance(tree, ast.List | ast.Tuple):
        return f"[{', '.join(map(_spelled, tree.elts))}]"
    if isinstance(tree, ast.Dict):
        pairs = zip(tree.keys, tree.values, strict=True)
        return "{" + ", ".join(_setting(str(_plain(key)), value) for key, value in pairs if key is not None) + "}"
    if isinstance(tree, ast.Call):
        name = tree.func.attr if isinstance(tree.func, ast.Attribute) else ast.unparse(tree.func)
        settings = [_setting(keyword.arg, keyword.value) for keyword in tree.keywords]
        kind = KINDS.get(name)
        some = [arg for arg in tree.args if not (isinstance(arg, ast.Constant) and arg.value is ...)]
        if name == "DataSet" or (kind is not None and len(some) < len(tree.args)):
            return ", ".join(settings)
        if kind is None:
            return ast.unparse(tree)
        places = [field.name for field in fields(kind) if not getattr(field, "kw_only", False)]
        settings = [_setting(*pair) for pair in zip(places, some, strict=False)] + settings
        if kind in UNTAGGED:
            return "{" + ", ".join(settings) + "}"
        return "{" + ", ".join([f'type = "{name}"', *settings]) + "}" if settings else f'"{name}"'
    return ast.unparse(tree)


def _plain(tree: ast.expr | None) -> Any:
    return ast.literal_eval(tree) if isinstance(tree, ast.Constant) else "..."
