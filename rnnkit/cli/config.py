"""The schema of a config: tables that are derived from the core's descriptions.

A description joins a config by joining one of the tuples below; its fields, types and defaults are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as field_of

from rnnkit.cli.locate import Keys
from rnnkit.data.parts import By
from rnnkit.data.sequence import Missing, Score, Short
from rnnkit.model.layers import LAYERS, Given, Initial, Recurrent, Zeros
from rnnkit.model.layers.initial import Numbers
from rnnkit.model.losses import LOSSES, MSE
from rnnkit.model.rules import Adam, Clip, Rule
from rnnkit.schedule import BurnIn, Carry, Chunked, Continuation, Reset, Sliding, Stored
from rnnkit.train import Constant, Cosine, EarlyStopping, OneCycle, Plateau, StepDecay
from rnnkit.train.passes import WARM_ROWS

SPLITTERS = (Continuation, Chunked, Sliding)
POLICIES = (Carry, Reset, BurnIn, Stored)
INITIALS: tuple[type, ...] = get_args(Initial)
RULES: tuple[type, ...] = get_args(Rule)
CLIPS: tuple[type, ...] = get_args(Clip)
RATES = (Constant, StepDecay, Cosine, OneCycle, Plateau)

LOSS_NAMES = {kind.__name__: name for name, kind in LOSSES.items()}
"""What the classes of losses are called in a config."""

INFERRED = ("inputs", "outputs")
"""Sizes of a layer that may be left out: they follow from the data and from the layer before."""


class Table(BaseModel):
    """A table of a config: unknown keys are refused, and values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    text_means: ClassVar[str | None] = None
    """The key that a text means which stands in the table's place."""


class Described(Table):
    """A table that stands for a description of the core, `kind`."""

    kind: ClassVar[type]

    def build(self, **given: Any) -> Any:
        """The description, with some of its fields given."""
        values = {name: getattr(self, name) for name in columns_of(self.kind)}
        built = {name: value.build() if isinstance(value, Described) else value for name, value in values.items()}
        return self.kind(**(built | given))


def table_of(kind: type, optional: tuple[str, ...] = (), tagged: bool = True) -> type[Described]:
    """The table of a frozen dataclass: its fields, types and defaults, and its name under `type`.

    Args:
        kind: the dataclass.
        optional: fields that may be left out though the dataclass has no default for them.
        tagged: whether the table says its `type`.
    """
    columns: dict[str, Any] = {"type": (cast(Any, Literal)[kind.__name__], ...)} if tagged else {}
    for name, (hint, default) in columns_of(kind).items():
        hint = in_a_table(hint)
        if default is MISSING and name in optional:
            hint, default = hint | None, None
        default = list(default) if isinstance(default, tuple) else default
        columns[name] = (hint, ... if default is MISSING else default)
    made = create_model(kind.__name__, __base__=Described, __module__=__name__, __doc__=kind.__doc__, **columns)
    made.kind = kind
    return made


def columns_of(kind: type) -> dict[str, tuple[Any, Any]]:
    """Type and default, or MISSING, of each field of a description; of `Given` the states that any layer has."""
    if kind is Given:
        states = [layer.State._fields for layer in LAYERS if issubclass(layer, Recurrent)]
        names = dict.fromkeys(name for own in states for name in own)
        return {name: (Numbers, MISSING if all(name in own for own in states) else ()) for name in names}
    hints = get_type_hints(kind)
    return {field.name: (hints[field.name], default_of(field)) for field in fields(kind)}


def in_a_table(hint: Any) -> Any:
    """The type of a description's field as it stands in a config: inner descriptions as tables, tuples as lists."""
    if hint == Numbers:
        return list[list[float]]
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]
    inner = tuple(kind for kind in get_args(hint) if is_dataclass(kind))
    plain = tuple(in_a_table(kind) for kind in get_args(hint) if kind not in inner)
    if not inner:
        return Union[plain] if get_origin(hint) in (Union, UnionType) else hint  # noqa: UP007 - made at run time
    return Union[*plain, one_of(cast(Any, inner))]


def default_of(field: Field[Any]) -> Any:
    """The default of a dataclass's field, or MISSING."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def one_of(kinds: tuple[type, ...], optional: tuple[str, ...] = ()) -> Any:
    """The tables of some descriptions, told apart by `type`."""
    return Annotated[
        Union[tuple(table_of(kind, optional) for kind in kinds)],  # noqa: UP007 - made at run time
        field_of(discriminator="type"),
    ]


if TYPE_CHECKING:
    LayerTable = SplitterTable = PolicyTable = LossTable = RuleTable = ClipTable = RateTable = Described
    InitialTable = StoppingTable = Described
else:
    LayerTable, SplitterTable, PolicyTable = one_of(LAYERS, INFERRED), one_of(SPLITTERS), one_of(POLICIES)
    LossTable, RuleTable, ClipTable = one_of(tuple(LOSSES.values())), one_of(RULES), one_of(CLIPS)
    RateTable, StoppingTable = one_of(RATES), table_of(EarlyStopping, tagged=False)
    InitialTable = one_of(INITIALS)


def default_table(kind: type, **values: Any) -> Any:
    return field_of(default={"type": kind.__name__, **values}, validate_default=True)


class Columns(Table):
    """Which columns of a file are what, and the parts. As `Sequence.open` and `Sequence.split` say."""

    time: str | int | list[str] | list[int] | None = None
    features: list[str] | list[int] | None = None
    target: str | int | list[str] | list[int] | None = None
    array: str | None = None
    series_id: str | int | None = None
    only: str | int | list[str] | list[int] | None = None
    horizon: int = field_of(default=1, ge=0)
    segments: list[list[int]] | None = None
    gap: str | float | None = None
    missing: Missing = "refuse"
    short: Short = "refuse"
    score: Score = "all"
    memmap: str | None = None
    time_format: str | None = None
    zone: str | None = None
    sort: bool | None = None
    separator: str | None = None
    decimal: Literal[".", ","] | None = None
    encoding: str | None = None
    na: list[str | float] | None = None
    header: bool | list[str] | None = None
    comment: str | None = None
    skip: int | list[int] | None = None
    train: float | int = 0.7
    validation: float | int = 0.15
    by: By | None = None
    period: int | None = field_of(default=None, ge=1)
    baseline: str | int | list[str] | list[int] | None = None


class Data(Columns):
    """`[data]`: the file, and what it is read as."""

    path: str
    scale: bool = True
    warm: int = field_of(default=WARM_ROWS, ge=0)


class Model(Table):
    """`[model]`: its layers, in order, and what its initial state is."""

    layers: list[LayerTable] = field_of(min_length=1)
    initial: InitialTable = default_table(Zeros)


class Train(Table):
    """`[train]`: as `fit` says."""

    epochs: int = field_of(default=20, ge=1)
    loss: LossTable = default_table(MSE)
    rule: RuleTable = default_table(Adam, learning_rate=1e-3)
    clip: ClipTable | None = None
    remat: Annotated[int, field_of(ge=1)] | Literal["sqrt"] | None = None
    learning_rate: RateTable = default_table(Constant)
    early_stopping: StoppingTable | None = None
    frozen: str | list[str] = field_of(default=[])
    check_range: bool = True


class Engine(Table):
    """`[backend]`: its name, and options of its own, such as `threads`; `backend = "torch"` says the name alone."""

    model_config = ConfigDict(extra="allow")
    text_means: ClassVar[str | None] = "name"
    name: str = "numba"


class Config(Table):
    """The whole file."""

    name: str = field_of(min_length=1)
    seed: int = field_of(default=0, ge=0)
    backend: str | Engine = "numba"
    device: str | None = None
    threads: int | None = field_of(default=None, ge=0)
    dtype: Literal["float32", "float64"] = "float32"
    out: str
    data: Data
    model: Model
    splitter: SplitterTable = default_table(Continuation, length=64)
    policy: PolicyTable = default_table(Carry)
    train: Train = field_of(default_factory=lambda: Train())


def tables_in(annotation: Any) -> tuple[type[Table], ...]:
    """The tables that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return (annotation,)
    return tuple(table for inner in get_args(annotation) for table in tables_in(inner))


def tables_at(table: type[Table], key: str) -> tuple[type[Table], ...]:
    """The tables that may stand under a key of a table; none where the key is unknown or holds a value."""
    field = table.model_fields.get(key)
    return () if field is None else tables_in(field.annotation)


def is_listed(table: type[Table], key: str) -> bool:
    """Whether a list stands under a key of a table, and nothing else may."""
    field = table.model_fields.get(key)
    return field is not None and get_origin(field.annotation) is list


def is_keyed(table: type[Table], key: str) -> bool:
    """Whether tables by names of the user's own stand under a key of a table."""
    field = table.model_fields.get(key)
    return field is not None and get_origin(field.annotation) is dict


def table_for(tables: tuple[type[Table], ...], raw: dict[str, Any]) -> type[Table] | None:
    """Which of some tables a raw one means: the only one, or the one that its `type` names."""
    if len(tables) == 1:
        return tables[0]
    return next((table for table in tables if table.__name__ == raw.get("type")), None)


def walk(raw: dict[str, Any], table: type[Table] = Config, path: Keys = ()) -> Iterator[tuple[Keys, type[Table], Any]]:
    """Every raw table whose schema is known: `(path, schema, raw)`, the outer before the inner."""
    yield path, table, raw
    for key, value in list(raw.items()):
        held = [((key,), value)]
        if isinstance(value, list):
            held = [((key, index), entry) for index, entry in enumerate(value)]
        elif isinstance(value, dict) and is_keyed(table, key):
            held = [((key, name), entry) for name, entry in value.items()]
        for place, inner in held:
            schema = table_for(tables_at(table, key), inner) if isinstance(inner, dict) else None
            if schema is not None:
                yield from walk(inner, schema, (*path, *place))


def spell_out(raw: dict[str, Any], schema: type[Table] = Config) -> None:
    """Write every `policy = "Carry"` as `policy = {type = "Carry"}`, and `mse` as its class, in place."""
    for _, table, found in walk(raw, schema):
        for key, value in found.items():
            if len(tables_at(table, key)) < 2 or isinstance(value, list) != is_listed(table, key):
                continue
            found[key] = [*map(_spelled, value)] if isinstance(value, list) else _spelled(value)


def _spelled(value: Any) -> Any:
    types = {name: kind.__name__ for name, kind in LOSSES.items()}
    if isinstance(value, str):
        return {"type": types.get(value, value)}
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        return {**value, "type": types.get(value["type"], value["type"])}
    return value
