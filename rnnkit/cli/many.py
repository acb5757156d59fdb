"""The schema of a config with many data sets: `[[data]]`, `[common]`, `[curriculum]`, `[model.heads]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field as field_of

from rnnkit.cli.config import (
    INFERRED,
    Columns,
    Described,
    Engine,
    Model,
    PolicyTable,
    SplitterTable,
    Table,
    Train,
    default_table,
    one_of,
    table_of,
)
from rnnkit.data.survey import OnError
from rnnkit.model import Dense
from rnnkit.schedule import Carry, Continuation, OneByOne, Phase, RoundRobin, Sampling, SideBySide
from rnnkit.train.passes import WARM_ROWS
from rnnkit.train.stages import Every

INTERLEAVING = (OneByOne, RoundRobin, Sampling, SideBySide)

if TYPE_CHECKING:
    DenseTable = PhaseTable = InterleaveTable = Described
else:
    DenseTable, PhaseTable = table_of(Dense, INFERRED, tagged=False), table_of(Phase, tagged=False)
    InterleaveTable = one_of(INTERLEAVING)


class Shared(Columns):
    """What a data set may say, or `[common]` for those that do not."""

    scaler: Literal["own", "shared", "none"] = "own"


class Common(Shared):
    """`[common]`: what holds for every data set that does not say otherwise, and what is the same for all."""

    warm: int = field_of(default=WARM_ROWS, ge=0)


class Listed(Shared):
    """`[[data]]`: a file, or a glob of files. As `DataSet` says."""

    path: str
    name: str = ""
    each: bool = False
    learning_rate: float = field_of(default=1.0, gt=0)
    passes: int = field_of(default=1, ge=1)
    weight: float = field_of(default=1.0, gt=0)
    head: str | None = None
    splitter: SplitterTable | None = None
    policy: PolicyTable | None = None


class Curricular(Table):
    """`[curriculum]`: as `Curriculum` and `fit` say."""

    order: Literal["listed", "shuffled", "name", "rows"] | list[str] = "listed"
    interleave: InterleaveTable = default_table(OneByOne)
    on_error: OnError = "stop"
    transfer: Every | None = None
    phases: list[PhaseTable] = field_of(default=[])


class HeadLayer(DenseTable):
    """A layer of a head."""

    type: Literal["Dense"] = "Dense"


class Head(DenseTable):
    """`[model.heads.NAME]`: a `Dense`, or several in `layers`."""

    layers: list[HeadLayer] | None = None


class ManyModel(Model):
    """`[model]`: its layers, and the heads that stand after them."""

    heads: dict[str, Head] = field_of(default={})


class ManyConfig(Table):
    """The whole file."""

    name: str = field_of(min_length=1)
    seed: int = field_of(default=0, ge=0)
    backend: str | Engine = "numba"
    device: str | None = None
    threads: int | None = field_of(default=None, ge=0)
    dtype: Literal["float32", "float64"] = "float32"
    out: str
    common: Common = field_of(default_factory=lambda: Common())
    data: list[Listed] = field_of(min_length=1)
    curriculum: Curricular = field_of(default_factory=lambda: Curricular())
    model: ManyModel
    splitter: SplitterTable = default_table(Continuation, length=64)
    policy: PolicyTable = default_table(Carry)
    train: Train = field_of(default_factory=lambda: Train())
