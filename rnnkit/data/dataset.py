"""`DataSet`: a name, where its rows come from, and how it is trained on; opened when its turn comes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cache
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from rnnkit.checks import is_number, is_whole
from rnnkit.data.kept import KeptTable, stamps
from rnnkit.data.parts import By
from rnnkit.data.readers import series_ids
from rnnkit.data.scaling import Standard
from rnnkit.data.sequence import Sequence
from rnnkit.data.textoptions import TextOptions
from rnnkit.errors import DataError, RnnkitError, SourceError, did_you_mean

if TYPE_CHECKING:
    from rnnkit.schedule.policies import StatePolicy
    from rnnkit.schedule.splitters import Splitter

Scaling = Literal["own", "shared"]

Opener = Callable[[], Sequence]

LARGEST = 1e30
"""What weights and factors may be at most, so that sums of them are numbers of float32 still."""

PASSES = 10_000
"""Passes over a data set in an epoch, at most."""

PER_SET = ("only", "name", "segments", "gap", "missing", "short", "score")
"""Options of `Sequence.open` that change nothing of what is read of a table."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """One of many data sets: where its rows come from, and how it is trained on.

    Args:
        source: a path, a glob (in a curriculum: a data set for each file), a function without arguments that opens a
            `Sequence`, or a `Sequence`.
        name: for messages and measures; left out, the file's name without its suffix, or that of sequence or function.
        learning_rate: factor on the learning rate while this data set is trained on.
        passes: how often an epoch goes through it.
        weight: what a row of it counts in losses and gradients beside those of other data sets.
        scaler: `"own"`, measured on its training part; `"shared"`, measured on the training parts of all data sets
            that share it; a `Standard`; or None, which leaves the rows as their source gives them.
        splitter, policy: how it is cut into windows and where their state comes from; left out, as the curriculum says.
        head: which output head of the model it trains.
        split: sizes of its training and validation part, as for `Sequence.split`; the rest is its test part. A third
            entry is its `by`: `(0.7, 0.15, "series")`. Left out, all of it is trained on.
        options: for a path, what `Sequence.open` takes: `{"time": "timestamp", "target": "value"}`.

    Raises:
        DataError: a setting that cannot be used.
        SourceError: a source of another kind.

    Example:
        >>> import rnnkit as rk
        >>> rk.DataSet("examples/data/nyc_taxi.csv", learning_rate=0.5, options={"time": "timestamp"}).name
        'nyc_taxi'
    """

    source: str | os.PathLike[str] | Opener | Sequence
    name: str = ""
    _: KW_ONLY
    learning_rate: float = 1.0
    passes: int = 1
    weight: float = 1.0
    scaler: Scaling | Standard | None = "own"
    splitter: Splitter | None = None
    policy: StatePolicy | None = None
    head: str | None = None
    split: tuple[float, float] | tuple[float, float, By | None] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    _kept: KeptTable | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if hasattr(self.source, "__next__"):
            raise SourceError(
                f"DataSet expects a source that can be opened in every epoch, got a {type(self.source).__name__}: it "
                f"is empty after the first epoch, and the second would train on nothing; give a path, or a function "
                f"that opens the data: lambda: rk.Sequence.open(path)"
            )
        if not isinstance(self.source, str | os.PathLike | Sequence) and not callable(self.source):
            raise SourceError(
                f"DataSet expects a path, a function that opens a Sequence, or a Sequence, got "
                f"{type(self.source).__name__}; wrap arrays: rk.Sequence(x)"
            )
        if not isinstance(self.name, str):
            raise DataError(f"DataSet expects its name as text, got {self.name!r}; write {str(self.name)!r}")
        if not self.name:
            object.__setattr__(self, "name", self._name_of_source())
        if not isinstance(self.options, Mapping):
            raise DataError(f"DataSet expects options as a dict, got {self.options!r}; write options={{'gap': '1h'}}")
        object.__setattr__(self, "options", dict(self.options))
        who = f"data set {self.name!r}"
        if self.options and not isinstance(self.source, str | os.PathLike):
            raise DataError(f"{who} takes options with a path alone, got {', '.join(self.options)}; leave them out")
        known = _open_options()
        for unknown in sorted(set(self.options) - known):
            raise DataError(
                f"{who} takes the options of Sequence.open, {', '.join(sorted(known))}, got {unknown!r}"
                f"{did_you_mean(unknown, known)}"
            )
        for what in ("learning_rate", "weight"):
            value = getattr(self, what)
            number = is_number(value)
            if not number or not 0 < value < np.inf:
                raise DataError(f"{who} expects {what} to be a number above 0, got {value!r}")
            if not 1 / LARGEST <= value <= LARGEST:
                raise DataError(f"{who} expects {what} from {1 / LARGEST:g} to {LARGEST:g}, got {float(value):g}")
        if not is_whole(self.passes) or self.passes < 1:
            raise DataError(f"{who} expects passes to be a whole number from 1, got {self.passes!r}")
        if self.passes > PASSES:
            raise DataError(f"{who} expects at most {PASSES:,} passes an epoch, got more; train more epochs")
        sizes = self.split if isinstance(self.split, tuple | list) else ()
        if self.split is not None and len(sizes) not in (2, 3):
            raise DataError(
                f"{who} expects split to be the sizes of its training and validation part, got {self.split!r}; write "
                f"split=(0.7, 0.15)"
            )
        if self.scaler not in ("own", "shared", None) and not isinstance(self.scaler, Standard):
            raise DataError(f"{who} expects scaler to be 'own', 'shared', a Standard or None, got {self.scaler!r}")

    def __repr__(self) -> str:
        return f"DataSet({self.name!r})"

    @classmethod
    def each(
        cls, path: str | os.PathLike[str], series_id: str | int, *, options: Mapping[str, Any] | None = None, **own: Any
    ) -> list[DataSet]:
        """A data set for each series of one long table, in order of first appearance.

        The table is read when the first of them is opened, and stays open for the others as long as one of them lives:
        a CSV file in memory, unless `memmap` is among the options.

        Args:
            path: the table.
            series_id: the column that says which series a row belongs to.
            options: what else `Sequence.open` takes.
            own: settings of every one of them, as for `DataSet`.
        """
        opening = dict(options or {})
        told = ("array", *(option.name for option in fields(TextOptions)))
        names = series_ids(path, series_id, **{key: opening[key] for key in told if key in opening})
        kept = KeptTable()
        return [
            cls(path, name, options=opening | {"series_id": series_id, "only": name}, _kept=kept, **own)
            for name in names
        ]

    def open(self, scaler: Standard | None = None) -> OpenParts:
        """Open it and split it.

        Args:
            scaler: through which the parts are seen; None leaves them as they are.

        Raises:
            RnnkitError: what opening says, with the data set's name before it.
        """
        who = f"data set {self.name!r}"
        try:
            series = self._open()
            series.expect_target("training")
            parts = (series, None, None)
            if self.split is not None:
                train, held, *by = cast(Any, self.split)
                parts = series.split(train, held, *by)
            training, validation, test = (self._seen(part, scaler) for part in parts)
        except RnnkitError as error:
            raise type(error)(f"{who}: {error}") from error
        except OSError as error:
            raise SourceError(f"{who} cannot be opened: {error}") from error
        assert training is not None  # `split` gives it rows
        return OpenParts(series, training, validation, test)

    def fingerprint(self, series: Sequence) -> tuple[Any, ...]:
        """What tells, when it is opened again, whether it is still the same: size and time of the file, runs, rows."""
        stamp = stamps(Path(self.source)) if isinstance(self.source, str | os.PathLike) else ()
        some = np.unique([series.starts[0], series.starts[-1], series.starts[-1] + series.lengths[-1] - 1])
        x, y = series.with_scaler(None).take(some, np.float64)
        return stamp, series.rows, series.runs.tobytes(), x.tobytes(), y.tobytes()

    def _seen(self, part: Sequence | None, scaler: Standard | None) -> Sequence | None:
        """A part with the scaler and weight of this data set."""
        if part is None:
            return None
        part = part if scaler is None else part.with_scaler(scaler)
        return part.with_weight(part.weight * self.weight)

    def _open(self) -> Sequence:
        if isinstance(self.source, Sequence):
            return self.source.with_name(self.name)
        if isinstance(self.source, str | os.PathLike):
            with nullcontext() if self._kept is None else self._kept.lent(Path(self.source), _table_of(self)):
                return Sequence.open(self.source, **{"name": self.name, **self.options})
        try:
            series = self.source()
        except RnnkitError:
            raise
        except Exception as error:  # whatever a function of someone else's may say
            raise SourceError(f"its function failed with {type(error).__name__}: {error}") from error
        if not isinstance(series, Sequence):
            empty = "; a generator is empty after the first epoch" if hasattr(series, "__next__") else ""
            raise SourceError(
                f"its function is expected to return a Sequence, got {type(series).__name__}{empty}; "
                f"return rk.Sequence(x) or rk.Sequence.open(path)"
            )
        return series.with_name(self.name)

    def _name_of_source(self) -> str:
        if isinstance(self.source, Sequence):
            return self.source.name
        if isinstance(self.source, str | os.PathLike):
            return Path(self.source).stem
        name = getattr(self.source, "__name__", "")
        if not name or name == "<lambda>":
            raise SourceError(
                'DataSet expects a name for a function without one, got none; write DataSet(..., name="a")'
            )
        return name


class OpenParts(NamedTuple):
    """An open data set.

    Attributes:
        series: all of it, in its own units.
        training, validation, test: its parts, seen through its scaler; None for one without rows.
    """

    series: Sequence
    training: Sequence
    validation: Sequence | None
    test: Sequence | None


def data_sets(given: Any, options: Mapping[str, Any]) -> tuple[DataSet, ...]:
    """Data sets from what stands in a list, or in a dict by name: data sets, sequences, paths, globs, functions.

    Args:
        given: the list or dict.
        options: what `Sequence.open` takes, for the paths among them; those of a data set go before.

    Raises:
        SourceError: a generator, a glob without a match, or a source of another kind.
        DataError: no data set, or a name used twice.
    """
    if hasattr(given, "__next__"):
        raise SourceError(
            "Curriculum expects data sets that can be opened in every epoch, got a generator: it is empty after the "
            "first epoch, and the second would train on nothing; give a list of paths, or of functions that open them"
        )
    if isinstance(given, str | os.PathLike | DataSet | Sequence) or callable(given):
        given = [given]
    if not isinstance(given, Iterable):
        raise SourceError(f"Curriculum expects a list of data sets, or a dict by name, got {given!r}")
    named = given.items() if isinstance(given, Mapping) else (("", source) for source in given)
    found = tuple(each for name, source in named for each in _expanded(name, source, options))
    if not found:
        raise DataError("Curriculum expects at least one data set, got none")
    twice = next((name for name, count in Counter(each.name for each in found).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"Curriculum expects a name for each data set, got {twice!r} twice; say DataSet(..., name=...)")
    return _sharing(found)


def _sharing(found: tuple[DataSet, ...]) -> tuple[DataSet, ...]:
    """The data sets, those that are series of one table with one place where it is kept."""
    tables: dict[str, list[int]] = {}
    for place, each in enumerate(found):
        if isinstance(each.source, str | os.PathLike) and "only" in each.options:
            tables.setdefault(_table_of(each), []).append(place)
    shared = list(found)
    for places in tables.values():
        if len(places) > 1:
            kept = next((each._kept for place in places if (each := found[place])._kept is not None), KeptTable())
            for place in places:
                if found[place]._kept is not kept:
                    shared[place] = replace(found[place], _kept=kept)
    return tuple(shared)


def _table_of(each: DataSet) -> str:
    """What says which rows a table has, whatever series of it: its path and how it is read."""
    return repr((str(each.source), sorted((key, value) for key, value in each.options.items() if key not in PER_SET)))


@cache
def _open_options() -> frozenset[str]:
    return frozenset(signature(Sequence.open).parameters) - {"path"}


def _expanded(name: str, source: Any, options: Mapping[str, Any]) -> Iterator[DataSet]:
    if isinstance(source, DataSet):
        path = isinstance(source.source, str | os.PathLike)
        settings = {"options": {**options, **source.options} if path else {}}
        if isinstance(source.source, str | os.PathLike) and _is_glob(source.source):
            prefix = name or ("" if source.name == Path(source.source).stem else source.name)
            for each in _expanded(prefix, source.source, {}):
                yield replace(source, source=each.source, name=each.name, **settings)
        else:
            yield replace(source, name=name or source.name, **settings)
    elif isinstance(source, str | os.PathLike) and _is_glob(source):
        files = sorted(glob.glob(str(source), recursive=True))
        if not files:
            raise SourceError(f"Curriculum expects files that match {str(source)!r}, found none")
        for file in files:
            yield DataSet(file, f"{name}/{Path(file).stem}" if name else "", options=options)
    else:
        path = isinstance(source, str | os.PathLike)
        yield DataSet(source, name, options=options if path else {})


def _is_glob(path: str | os.PathLike[str]) -> bool:
    return glob.has_magic(str(path)) and not os.path.exists(path)
