"""Configs with many data sets: what they mean, and that everything wrong with one is said, with its path and line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.build import build, build_with_backend
from rnnkit.cli.config import Config, Described, Table, default_of, spell_out, tables_in, walk
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.folder import resolved, to_toml
from rnnkit.cli.many import ManyConfig
from rnnkit.cli.read import read
from rnnkit.cli.sets import alone
from rnnkit.model import Heads

EXAMPLES = Path(__file__).parents[2] / "examples"

TWO = """\
backend = "numpy"
[common]
time = "time"
target = "value"
features = ["value"]
[[data]]
path = "a.csv"
[[data]]
path = "b.csv"
[[model.layers]]
type = "LSTM"
hidden = 3
[[model.layers]]
type = "Dense"
[splitter]
type = "Continuation"
length = 8
"""

HEADS = """\
backend = "numpy"
[common]
time = "time"
target = "kind"
features = ["value"]
scaler = "none"
horizon = 0
[[data]]
path = "a.csv"
head = "two"
[[data]]
path = "b.csv"
head = "three"
[[model.layers]]
type = "LSTM"
hidden = 3
[model.heads.two]
outputs = 2
[model.heads.three]
layers = [{outputs = 4, activation = "tanh"}, {type = "Dense", outputs = 3}]
[splitter]
type = "Continuation"
length = 8
[train]
loss = "cross_entropy"
"""


def write(file: Path, rows: int, scale: float = 1.0, kinds: int = 2) -> None:
    lines = [f"{t},{scale * np.sin(t / 5):.6f},{t % kinds}" for t in range(rows)]
    file.write_text("time,value,kind\n" + "\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "a.csv", 100)
    write(tmp_path / "b.csv", 60, 50.0, 3)
    return tmp_path


def built(folder: Path, text: str, *tokens: str) -> Experiment:
    (folder / "m.toml").write_text(text)
    experiment = build(read(folder / "m.toml", tokens))
    assert experiment.entries
    return experiment


def refusal(folder: Path, text: str, *tokens: str) -> str:
    (folder / "m.toml").write_text(text)
    with pytest.raises(rk.ConfigError) as caught:
        build_with_backend(read(folder / "m.toml", tokens))
    return str(caught.value).replace(str(folder / "m.toml"), "m.toml")


def test_each_table_is_a_data_set_with_its_own_settings_and_those_of_common(folder):
    text = TWO.replace(
        'path = "b.csv"\n', 'path = "b.csv"\nname = "big"\nlearning_rate = 0.5\npasses = 2\nweight = 3.0\n'
    )
    text = text.replace('name = "big"\n', 'name = "big"\nscaler = "none"\ntrain = 40\nvalidation = 10\nhorizon = 2\n')
    experiment = built(folder, text.replace("[common]\n", "[common]\nvalidation = 0.1\nperiod = 31\nwarm = 5\n"))
    small, big = experiment.curriculum.datasets
    assert (small.name, small.learning_rate, small.passes, small.weight, small.scaler) == ("a", 1.0, 1, 1.0, "own")
    assert (big.name, big.learning_rate, big.passes, big.weight, big.scaler) == ("big", 0.5, 2, 3.0, None)
    assert (small.split, big.split) == ((0.7, 0.1), (40, 10))
    assert (small.options["horizon"], big.options["horizon"], big.options["time"]) == (1, 2, "time")
    assert (experiment.warm, experiment.period("a"), experiment.period("big")) == (5, 31, 31)
    assert {name: len(part) for name, part in experiment.parts("big").items()} == {
        "train": 38,
        "validation": 8,
        "test": 8,
    }
    assert experiment.model == rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
    assert experiment.epochs == 20


def test_a_glob_is_a_data_set_a_file_named_after_it(folder):
    one = TWO.replace('[[data]]\npath = "b.csv"\n', "")
    assert [each.name for each in built(folder, one.replace("a.csv", "*.csv")).curriculum.datasets] == ["a", "b"]
    named = built(folder, one.replace('"a.csv"', '"?.csv"\nname = "wave"\nlearning_rate = 0.5'))
    assert [(each.name, each.learning_rate) for each in named.schedule.datasets] == [("wave/a", 0.5), ("wave/b", 0.5)]
    assert "line 7, data.0.path: expects files that match '*.txt', found none in" in refusal(
        folder, one.replace("a.csv", "*.txt")
    )


def test_the_curriculum_means_what_it_says(folder):
    text = TWO + (
        '[curriculum]\norder = ["b", "a"]\ninterleave = {type = "RoundRobin", open_at_once = 1}\ntransfer = "phase"\n'
        '[[curriculum.phases]]\nname = "first"\nnames = ["?"]\nepochs = 2\n'
        '[[curriculum.phases]]\nnames = ["b"]\nlearning_rate = 0.1\nfrozen = ["0.*"]\n'
    )
    experiment = built(folder, text + '[train]\nfrozen = ["1.bias"]\n')
    curriculum = experiment.curriculum
    assert (curriculum.order, curriculum.interleave) == (["b", "a"], rk.RoundRobin(1))
    assert curriculum.phases == (
        rk.Phase(("a", "b"), 2, name="first"),
        rk.Phase(("b",), 1, 0.1, ("0.*",)),
    )
    assert (experiment.epochs, experiment.config.curriculum.transfer) == (3, "phase")
    assert experiment.config.train.frozen == ["1.bias"]
    assert [turn.names for turn in curriculum.turns(0)] == [("b",), ("a",)]
    assert built(folder, text, "--train.epochs", "3").epochs == 3
    assert built(folder, TWO, "--curriculum.interleave", "SideBySide").curriculum.interleave == rk.SideBySide()
    assert built(folder, TWO, "--data.1.learning_rate", "0.25").curriculum["b"].learning_rate == 0.25


def test_heads_are_built_and_their_sizes_follow(folder):
    experiment = built(folder, HEADS)
    heads = Heads(two=rk.Dense(3, 2), three=rk.Chain(rk.Dense(3, 4, "tanh"), rk.Dense(4, 3)))
    assert experiment.model == rk.Chain(rk.LSTM(1, 3), heads)
    numbers = HEADS.replace('"cross_entropy"', '"mse"').replace('target = "kind"', 'target = "value"')
    numbers = (
        numbers.replace("horizon = 0\n", "")
        .replace("outputs = 2\n", "")
        .replace(', {type = "Dense", outputs = 3}', ', {type = "Dense"}')
    )
    heads = Heads(two=rk.Dense(3, 1), three=rk.Chain(rk.Dense(3, 4, "tanh"), rk.Dense(4, 1)))
    assert built(folder, numbers.replace("[model.heads.two]", '[model.heads.two]\nactivation = "identity"')).model == (
        rk.Chain(rk.LSTM(1, 3), heads)
    )


LISTED = '[curriculum]\norder = "listed"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO.replace('"b.csv"', '"b.csv"\nname = "a"'), "line 10, data.1.name: the name 'a' is that of data.0, too"),
        (TWO.replace("b.csv", "a.csv"), "line 8, data.1: the name 'a' is that of data.0, too"),
        (TWO.replace("b.csv", "c.csv"), "line 9, data.1.path: found no data file"),
        (TWO.replace('"b.csv"', '"b.csv"\ntarget = "valeu"'), "line 10, data.1.target: data set 'b': .*'valeu'"),
        (TWO.replace('"b.csv"', '"b.csv"\ntrain = 1.5'), "line 10, data.1.train: data set 'b': split of .* a fraction"),
        (TWO.replace('"b.csv"', '"b.csv"\nlearning_rate = 0'), "data.1.learning_rate: expects a number above 0, got 0"),
        (TWO.replace('"b.csv"', '"b.csv"\nwarm = 3'), "line 10, data.1.warm: unknown key"),
        (
            TWO.replace('"b.csv"', '"b.csv"\nfeatures = ["value", "kind"]'),
            "data.1.features: .*number of features, got 1",
        ),
        (TWO.replace('"b.csv"', '"b.csv"\nscaler = "shred"'), "got 'shred'; did you mean 'shared'"),
        (
            TWO.replace("[[data]]", "[[data]]\nhead = 'x'", 1),
            "line 7, data.0.head: data set 'a' expects no head, got 'x'",
        ),
        (TWO.replace("time =", "tiem =", 1), "line 3, common.tiem: unknown key; did you mean 'time'"),
        (TWO + '[curriculum]\norder = "sorted"\n', "got 'sorted'; did you mean 'shuffled'|got 'sorted'"),
        (
            TWO + '[curriculum]\norder = ["a", "c"]\n',
            "line 19, curriculum.order: .* order to name data sets among a, b",
        ),
        (TWO + '[curriculum]\norder = ["a"]\n', "line 19, curriculum.order: .*leaves out 'b'"),
        (TWO + '[curriculum]\ninterleave = "RundRobin"\n', "got 'RundRobin'; did you mean 'RoundRobin'"),
        (
            TWO + '[curriculum]\ninterleave = {type = "Sampling", temperature = 0}\n',
            "interleave.temperature: Sampling exp",
        ),
        (TWO + "[curriculum]\ntransfer = 'epochs'\n", "got 'epochs'; did you mean 'epoch'"),
        (
            TWO + '[[curriculum.phases]]\nnames = ["c*"]\n',
            r"line 19, curriculum.phases.0.names: .*among a, b, got 'c\*'",
        ),
        (TWO + '[[curriculum.phases]]\nnames = "a"\n', "phases.0.names: expects a list, got 'a'; write \\[\"a\"\\]"),
        (TWO + "[[curriculum.phases]]\nepochs = 0\n", "line 19, curriculum.phases.0.epochs: Phase expects epochs"),
        (TWO + '[[curriculum.phases]]\nfrozen = ["9.*"]\n', "line 19, curriculum.phases.0.frozen: .*got '9.\\*'"),
        (
            TWO + "[[curriculum.phases]]\nepochs = 3\n[train]\nepochs = 4\n",
            "line 21, train.epochs: the phases have 3 epo",
        ),
        (TWO + '[train]\nfrozen = ["9.*"]\n', "line 19, train.frozen: match_parameters expects .*got '9.\\*'"),
        (
            TWO.replace("length = 8", "length = 8\nlanes = 50"),
            "line 18, splitter.lanes: .*'b' has .* rows, fewer than lanes",
        ),
        (
            TWO.replace('"Continuation"', '"Chunked"') + "lanes = 2\n[policy]\ntype = 'Carry'\n",
            "line 19, policy: Carry.. over Chunked",
        ),
        (
            TWO.replace('"b.csv"', '"b.csv"\nsplitter = {type = "Chunked", length = 4, lanes = 2}\npolicy = "Carry"'),
            "line 11, data.1.policy: Carry.. over Chunked.*'b'",
        ),
        (
            TWO.replace('"b.csv"', '"b.csv"\nlearning_rate = 0.5') + '[curriculum]\ninterleave = "SideBySide"\n',
            "curriculum.interleave: SideBySide expects data sets that share batches to share the learning_rate",
        ),
        (
            HEADS.replace('"three"', '"tree"', 1),
            "line 13, data.1.head: data set 'b' expects one of .*did you mean 'three'",
        ),
        (HEADS.replace('head = "three"\n', ""), "line 11, data.1.head: data set 'b' expects one of the model's heads"),
        (
            HEADS.replace('head = "three"', 'head = "two"'),
            "data set 'b' has the label 2 in sample 0 .row 2., but head 'two'",
        ),
        (HEADS.replace("outputs = 2\n", ""), "model.heads.two.outputs: is required, but missing: cross_entropy"),
        (HEADS.replace("outputs = 2", "outputs = 0"), "line 18, model.heads.two.outputs: Dense expects outputs"),
        (
            HEADS.replace("outputs = 2", "output = 2"),
            "line 18, model.heads.two.output: unknown key; did you mean 'outputs'",
        ),
        (HEADS.replace("outputs = 2", "inputs = 9\noutputs = 2"), "model.heads.two.inputs: the layer before gives 3"),
        (HEADS.replace("{outputs = 4", "{inputs = 9, outputs = 4"), "heads.three.layers.0.inputs: .*gives 3 features"),
        (HEADS.replace("outputs = 4, ", ""), "heads.three.layers.0.outputs: is required, but missing: it follows"),
        (HEADS.replace("layers = [", "outputs = 3\nlayers = ["), "model.heads.three.outputs: stands beside layers"),
        (
            HEADS.replace('type = "Dense", outputs', 'type = "LSTM", outputs'),
            "layers.1.type: expects 'Dense', got 'LSTM'",
        ),
    ],
)
def test_each_mistake_has_its_message_with_its_line(folder, text, message):
    said = refusal(folder, text)
    assert re.search(message, said), said
    assert len(said.splitlines()) == 1
    assert re.match(r"m\.toml, line \d+, ", said)


def test_several_mistakes_are_said_at_once(folder):
    text = TWO.replace("b.csv", "c.csv").replace('"a.csv"', '"a.csv"\ntarget = "x"') + "[train]\nepochs = 0\n"
    lines = refusal(folder, text).splitlines()
    assert lines[0] == "m.toml has 3 errors:"
    assert [line.split(":")[0].split(", ")[1] for line in lines[1:]] == ["data.0.target", "data.1.path", "train.epochs"]


def test_a_file_that_cannot_be_opened_may_be_skipped(folder):
    experiment = built(folder, TWO.replace("b.csv", "c.csv") + '[curriculum]\non_error = "skip"\n')
    assert list(experiment.curriculum.facts) == ["a"]
    assert set(experiment.curriculum.skipped) == {"c"}


def test_the_config_of_a_run_reads_back_as_the_same(folder):
    (folder / "deep").mkdir()
    text = TWO.replace('path = "b.csv"', 'path = "[b]*.csv"\nname = "b s"\nlearning_rate = 0.5\nhorizon = 2')
    text += '[curriculum]\norder = ["a", "b s/b"]\n[[curriculum.phases]]\nnames = ["b*"]\nepochs = 2\n'
    first = built(folder, text)
    (folder / "deep" / "config.toml").write_text(resolved(first, folder / "deep"))
    again = build(read(folder / "deep" / "config.toml"))
    assert again.entries
    one, other = first.curriculum, again.curriculum
    assert (one.order, one.phases, one.splitter) == (other.order, other.phases, other.splitter)
    for a, b in zip(one.datasets, other.datasets, strict=True):
        assert (a.name, a.learning_rate, a.split, a.options) == (b.name, b.learning_rate, b.split, b.options)
    assert (again.epochs, again.model, again.warm) == (first.epochs, first.model, first.warm)
    heads = built(folder, HEADS.replace("model.heads.two", 'model.heads."a b"').replace('"two"', '"a b"'))
    (folder / "deep" / "config.toml").write_text(resolved(heads, folder / "deep"))
    assert build(read(folder / "deep" / "config.toml")).model == heads.model


def test_one_of_many_is_a_config_of_its_own(folder):
    text = HEADS.replace('head = "three"', 'head = "three"\npolicy = "Reset"\ntrain = 30')
    (folder / "m.toml").write_text(text)
    experiment = build(alone(read(folder / "m.toml"), "b", ["--splitter.length", "5"]))
    assert not experiment.entries
    assert experiment.model == rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 4, "tanh"), rk.Dense(4, 3))
    assert experiment.schedule.policy == rk.Reset()
    assert experiment.schedule.splitter == rk.Continuation(5)
    assert len(experiment.data.training) == 30
    assert experiment.data.training.scaler is None
    with pytest.raises(rk.ConfigError, match=r"has the data sets a, b, not 'bb'; did you mean 'b'\?"):
        alone(read(folder / "m.toml"), "bb")
    (folder / "m.toml").write_text(text.replace("train = 30", "train = 3000"))
    with pytest.raises(rk.ConfigError, match=r"m.toml, line 15, data.train: "):
        build(alone(read(folder / "m.toml"), "b"))


def test_lists_of_tables_are_written_as_toml(folder):
    rows = [{"path": "a", "splitter": {"type": "Sliding"}}, {"path": "b"}]
    given = {
        "seed": 0,
        "data": rows,
        "curriculum": {"order": ["a"], "phases": [{"epochs": 1}]},
        "model": {"h": {"a b": {"x": 1}}},
    }
    assert tomllib.loads(to_toml(given)) == given


def every_table(table: type[Table] = ManyConfig) -> set[type[Table]]:
    """A table and all that may stand in it, however deep."""
    inner = (tables_in(field.annotation) for field in table.model_fields.values())
    return {table}.union(*(every_table(below) for tables in inner for below in tables))


def test_every_setting_stands_in_the_example_that_lists_them():
    """What a config with one data set has, too, stands in the example of that."""
    text = (EXAMPLES / "every_setting_many.toml").read_text()
    raw = tomllib.loads(text)
    spell_out(raw, ManyConfig)
    shown: dict[type[Table], set[str]] = {}
    for _, schema, found in walk(raw, ManyConfig):
        shown.setdefault(schema, set()).update(found)
    alone_in_comment = set(re.findall(r"^# (\w+) = ", text, re.MULTILINE))
    own = {table for table in every_table() if table.__module__ == "rnnkit.cli.many"}
    own |= {
        table
        for table in every_table()
        if table.__name__ in ("OneByOne", "RoundRobin", "Sampling", "SideBySide", "Phase")
    }
    for inline in re.findall(r"^# (\{type = .*\})$", text, re.MULTILINE):
        choice = tomllib.loads(f"v = {inline}")["v"]
        (schema,) = {table for table in own if table.__name__ == choice["type"]}
        described = schema.model_validate(choice)
        assert isinstance(described, Described)
        described.build()
        shown.setdefault(schema, set()).update(set(choice) | (alone_in_comment & set(schema.model_fields)))
        defaults = {field.name: default_of(field) for field in fields(schema.kind)}
        known = {name: value for name, value in defaults.items() if value is not MISSING and name in choice}
        assert {name: choice[name] for name in known} == known
    elsewhere = {"seed", "backend", "device", "threads", "dtype", "out", "splitter", "policy", "initial"}
    assert len(own) >= 11
    for table in own:
        missing = (
            set(table.model_fields)
            - shown.get(table, set())
            - (alone_in_comment if table.__name__ in ("Common", "Listed") else set())
            - (elsewhere if table.__name__ in ("ManyConfig", "ManyModel") else set())
        )
        assert not missing, table.__name__
    said = dict(re.findall(r"^(\w+) = .*; default ([^;\s]+)$", text, re.MULTILINE))
    said |= dict(re.findall(r'^(\w+) = .*# .*("\w+") \(default\)', text, re.MULTILINE))
    said |= dict(re.findall(r"^(\w+) = .*; default ([^;\s]+);", text, re.MULTILINE))
    assert {"scaler", "warm", "learning_rate", "passes", "weight", "order", "on_error", "epochs"} <= set(said)
    order = ("Listed", "Common", "Curricular", "Phase")
    for key, value in said.items():
        field = next(t.model_fields[key] for name in order for t in own if t.__name__ == name and key in t.model_fields)
        assert field.default == tomllib.loads(f"v = {value}")["v"], key


def test_a_config_of_one_data_set_is_read_as_before(folder):
    one = TWO.replace('[common]\ntime = "time"\ntarget = "value"\nfeatures = ["value"]\n', "").replace(
        '[[data]]\npath = "b.csv"\n', ""
    )
    one = one.replace("[[data]]\n", '[data]\ntime = "time"\ntarget = "value"\nfeatures = ["value"]\n')
    (folder / "one.toml").write_text(one)
    draft = read(folder / "one.toml")
    assert draft.many is None
    assert isinstance(draft.config, Config)
    assert not build(draft).entries
    (folder / "one.toml").write_text(one + '[curriculum]\norder = "name"\n')
    with pytest.raises(rk.ConfigError, match="curriculum: unknown key"):
        build(read(folder / "one.toml"))
