"""Configs: what they mean, and that everything wrong with one is said at once, with its path and line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.build import build, build_with_backend
from rnnkit.cli.config import (
    Config,
    Data,
    Described,
    Engine,
    Table,
    Train,
    default_of,
    spell_out,
    table_of,
    tables_in,
    walk,
)
from rnnkit.cli.folder import resolved, to_toml
from rnnkit.cli.locate import line_of, locate
from rnnkit.cli.overrides import parse_overrides
from rnnkit.cli.read import Draft, read
from rnnkit.model.losses import LOSSES

EXAMPLES = Path(__file__).parents[2] / "examples"

MINIMAL = """\
[data]
path = "wave.csv"
[[model.layers]]
type = "LSTM"
hidden = 3
[[model.layers]]
type = "Dense"
"""

FULL = """\
name = "everything"
seed = 7
backend = "numpy"
dtype = "float64"
out = "here"
[data]
path = "wave.csv"
time = "time"
target = "value"
horizon = 2
train = 100
validation = 0.2
scale = false
period = 24
warm = 0
[model]
layers = [{type = "LSTM", inputs = 1, hidden = 4}, {type = "Dense", outputs = 1, activation = "tanh"}]
[splitter]
type = "Sliding"
length = 8
stride = 4
lanes = 2
[policy]
type = "Reset"
[train]
epochs = 3
loss = {type = "huber", delta = 0.5}
rule = {type = "RMSProp", learning_rate = 1e-2, centered = true}
clip = {type = "ClipValue", maximum = 1}
learning_rate = {type = "OneCycle", rise = 0.2}
early_stopping = {patience = 5}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wave = np.sin(np.arange(200) / 5)
    rows = [f"{t},{value:.6f}" for t, value in enumerate(wave)]
    (tmp_path / "wave.csv").write_text("time,value\n" + "\n".join(rows) + "\n")
    return tmp_path


def draft(folder: Path, text: str, *tokens: str) -> Draft:
    (folder / "a.toml").write_text(text)
    return read(folder / "a.toml", tokens)


def refusal(folder: Path, text: str, *tokens: str) -> str:
    with pytest.raises(rk.ConfigError) as caught:
        build_with_backend(draft(folder, text, *tokens))
    return str(caught.value).replace(str(folder / "a.toml"), "a.toml")


def test_a_full_config_means_what_it_says(folder):
    config = draft(folder, FULL).config
    experiment = build(draft(folder, FULL))
    assert (config.name, config.seed, config.backend, config.dtype, config.out) == (
        "everything",
        7,
        "numpy",
        "float64",
        "here",
    )
    assert experiment.model == rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1, "tanh"))
    assert experiment.schedule.splitter == rk.Sliding(8, stride=4, lanes=2)
    assert experiment.schedule.policy == rk.Reset()
    assert experiment.schedule.seed == 7
    assert experiment.loss == rk.Huber(0.5)
    assert config.train.rule.build() == rk.RMSProp(1e-2, centered=True)
    assert config.train.clip is not None
    assert config.train.clip.build() == rk.ClipValue(1)
    assert config.train.learning_rate.build() == rk.OneCycle(rise=0.2)
    assert config.train.early_stopping is not None
    assert config.train.early_stopping.build() == rk.EarlyStopping(patience=5)
    series = rk.Sequence.open(folder / "wave.csv", time="time", target="value", horizon=2)
    expected = series.split(100, 0.2)
    assert [len(part) for part in experiment.parts().values()] == [len(part) for part in expected if part is not None]
    assert experiment.data.training.scaler is None


def test_what_is_left_out_has_defaults_and_sizes_follow_from_the_data(folder):
    text = MINIMAL.replace('"wave.csv"', '"wave.csv"\nfeatures = ["time", "value"]\ntarget = ["value"]')
    experiment = build(draft(folder, text))
    config = experiment.config
    assert experiment.model == rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))
    assert experiment.schedule.splitter == rk.Continuation(64)
    assert experiment.schedule.policy == rk.Carry()
    assert experiment.loss == rk.MSE()
    assert config.train.rule.build() == rk.Adam(1e-3)
    assert config.train.learning_rate.build() == rk.Constant()
    assert config.train.clip is None
    assert (config.name, config.out, config.seed, config.backend) == ("a", "runs/a", 0, "numba")
    assert experiment.data.training.scaler == rk.Standard.fit(experiment.data.training)
    assert experiment.data.test is not None
    assert experiment.data.test.scaler == experiment.data.training.scaler


def mentioned(text: str) -> tuple[dict[type[Table], set[str]], dict[type[Table], list[dict]]]:
    """Keys of each table that a commented config shows, in use or in a comment; and the tables in comments."""
    raw = tomllib.loads(text)
    spell_out(raw)
    shown: dict[type[Table], set[str]] = {}
    for _, schema, found in walk(raw):
        shown.setdefault(schema, set()).update(found)
    alone = set(re.findall(r"^# (\w+) = ", text, re.MULTILINE))
    choices: dict[type[Table], list[dict]] = {}
    for inline in re.findall(r"^# (\{type = .*\})$", text, re.MULTILINE):
        choice = tomllib.loads(f"v = {inline}")["v"]
        name = LOSSES[choice["type"]].__name__ if choice["type"] in LOSSES else choice["type"]
        (schema,) = {table for table in every_table() if table.__name__ == name}
        choices.setdefault(schema, []).append({**choice, "type": name})
        shown.setdefault(schema, set()).update(choice)
    for inline in re.findall(r"^# backend = (\{.*\})", text, re.MULTILINE):
        shown.setdefault(Engine, set()).update(set(tomllib.loads(f"v = {inline}")["v"]) - {"threads"})
    for schema in shown:
        shown[schema] |= alone & set(schema.model_fields)
    return shown, choices


def every_table(table: type[Table] = Config) -> set[type[Table]]:
    """A table and all that may stand in it, however deep."""
    inner = (tables_in(field.annotation) for field in table.model_fields.values())
    return {table}.union(*(every_table(below) for tables in inner for below in tables))


def test_every_setting_stands_in_the_example_that_lists_them():
    text = (EXAMPLES / "every_setting.toml").read_text()
    shown, choices = mentioned(text)
    assert len(every_table()) > 20
    for table in every_table():
        assert shown.get(table) == set(table.model_fields), table.__name__
    for table, tables in choices.items():
        for choice in tables:
            described = table.model_validate(choice)
            assert isinstance(described, Described)
            described.build()
            defaults = {field.name: default_of(field) for field in fields(table.kind)}
            known = {name: value for name, value in defaults.items() if value is not MISSING}
            assert {name: choice[name] for name in known} == known


def test_defaults_in_the_example_that_lists_them_are_true():
    """Comments that say "default VALUE" of plain settings."""
    text = (EXAMPLES / "every_setting.toml").read_text()
    said = dict(re.findall(r"^(\w+) = .*; default ([^;\s]+)$", text, re.MULTILINE))
    said |= dict(re.findall(r'^(\w+) = .*# .*("\w+") \(default\)', text, re.MULTILINE))
    said |= dict(re.findall(r"^(\w+) = .*; default ([^;\s]+);", text, re.MULTILINE))
    assert {"seed", "dtype", "horizon", "missing", "short", "train", "warm", "epochs", "lanes", "tail"} <= set(said)
    config = read(EXAMPLES / "every_setting.toml").config
    splitter, dense = config.splitter, type(config.model.layers[-1])
    for key, value in said.items():
        field = next(
            t.model_fields[key]
            for t in (Data, Train, type(splitter), type(config.policy), dense, Config)
            if key in t.model_fields
        )
        assert field.default == tomllib.loads(f"v = {value}")["v"], key


def test_a_name_alone_stands_for_a_table(folder):
    text = 'policy = "Reset"\ntrain = {rule = "SGD", loss = "mae"}\n' + MINIMAL.replace("[data]", "\n[data]")
    config = draft(folder, text).config
    assert (config.policy.build(), config.train.rule.build(), config.train.loss.build()) == (
        rk.Reset(),
        rk.SGD(),
        rk.MAE(),
    )


def test_a_table_is_derived_from_any_frozen_dataclass():
    @dataclass(frozen=True)
    class Spiral:
        turns: int
        tight: bool = True

    table = table_of(Spiral)
    assert table.model_validate({"type": "Spiral", "turns": 2}).build() == Spiral(2)  # pyright: ignore
    with pytest.raises(ValueError, match="twists"):
        table.model_validate({"type": "Spiral", "turns": 2, "twists": 1})
    with pytest.raises(ValueError, match="turns"):
        table.model_validate({"type": "Spiral", "turns": "2"})


def test_every_error_is_shown_with_its_path_and_line_in_the_order_of_the_file(folder):
    text = """\
backend = "nmba"
[data]
path = "wave.csv"
horizn = 2
gap = []
[[model.layers]]
type = "LSTM"
hidden = 0
[[model.layers]]
type = "dense"
[splitter]
type = "Continuaton"
length = 8
[policy]
[train]
epochs = "many"
loss = "msee"
rule = {type = "Adam", beta1 = 3, beta2 = -1}
clip = {type = "ClipNorm"}
"""
    assert refusal(folder, text, "--train.epohcs", "3").splitlines() == [
        "a.toml has 13 errors:",
        "  line 1, backend: expects one of the installed backends (numba, numpy, torch), got 'nmba'; "
        "did you mean 'numba'?",
        "  line 4, data.horizn: unknown key; did you mean 'horizon'?",
        "  line 5, data.gap: expects text or a number, got []",
        "  line 8, model.layers.0.hidden: LSTM expects hidden to be a positive whole number, got 0",
        "  line 9, model.layers.1: expects one of LSTM, Dense, got 'dense'; did you mean 'Dense'?",
        "  line 11, splitter: expects one of Continuation, Chunked, Sliding, got 'Continuaton'; "
        "did you mean 'Continuation'?",
        "  line 14, policy.type: is required, but missing: one of Carry, Reset, BurnIn, Stored",
        "  line 16, train.epochs: expects a whole number, got 'many'",
        "  line 17, train.loss: expects one of mse, mae, huber, cross_entropy, binary_cross_entropy, got 'msee'; "
        "did you mean 'mse'?",
        "  line 18, train.rule.beta1: Adam expects 0 <= beta1 < 1, got 3",
        "  line 18, train.rule.beta2: Adam expects 0 <= beta2 < 1, got -1",
        "  line 19, train.clip.maximum: is required, but missing",
        "  unknown option --train.epohcs; did you mean --train.epochs?",
    ]


def test_errors_of_the_file_and_of_its_data_are_shown_together(folder):
    text = MINIMAL + "outputs = 2\n[splitter]\ntype = 'Continuation'\nlength = 8\nlanes = 900\n[train]\nepochs = 0\n"
    lines = refusal(folder, text).splitlines()
    assert lines[0] == "a.toml has 2 errors:"
    assert lines[1].startswith("  line 1, data.target: ")  # two columns: which one to predict
    text = text.replace('"wave.csv"', '"wave.csv"\ntarget = "value"\ntime = "time"')
    lines = refusal(folder, text).splitlines()
    assert lines[0] == "a.toml has 3 errors:"
    assert lines[1].startswith("  line 10, model.layers.1.outputs: the model gives 2 outputs")
    assert "line 14, splitter.lanes: Continuation(lanes=900)" in lines[2]
    assert lines[3] == "  line 16, train.epochs: expects at least 1, got 0"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["--data.path", "3"], "option --data.path: expects text, got 3"),
        (["--data.scale", "1"], "option --data.scale: expects true or false, got 1"),
        (["--data.scale", "none"], "option --data.scale: expects true or false, got none"),
        (["--data.train", "x"], "option --data.train: expects a number, got 'x'"),
        (
            ["--data.features", "value"],
            "--data.features: expects a list, got 'value'; write --data.features '\\[\"value\"\\]'",
        ),
        (["--data.features", "a, b"], "got 'a, b'; write --data.features '\\[\"a\", \"b\"\\]'"),
        (["--data.missing", "cutt"], "expects 'refuse' or 'cut', got 'cutt'; did you mean 'cut'?"),
        (["--data.target", "valeu"], "has no column 'valeu'.*did you mean 'value'"),
        (["--data.train", "1.5"], "option --data.train: split of .* expects train to be a fraction"),
        (["--data.period", "0"], "option --data.period: expects at least 1, got 0"),
        (["--model.layers", "[]"], "option --model.layers: expects at least one entry"),
        (["--model.layers.2.hidden", "4"], "expects the number of an entry, 0 to 1, got '2'"),
        (["--model.layers.0.hiden", "4"], "unknown option .*; did you mean --model.layers.0.hidden"),
        (["--trian.epochs", "4"], "unknown option --trian.epochs; did you mean --train.epochs"),
        (["--quux", "4"], "unknown option --quux; known are name, seed"),
        (["--epochs", "4"], "unknown option --epochs; did you mean --train.epochs[?]"),
        (["--copy", "4"], "unknown option --copy; known are name, seed"),
        (["--length", "4"], "unknown option --length; did you mean --splitter.length[?]"),
        (["--seed.x", "4"], "option --seed.x: expects a whole number"),
        (["--data.path.x", "4"], "has no parts: data.path is 'wave.csv', not a table"),
        (["--model.layers.1.inputs", "9"], "layer 0 gives 3 features, but this layer expects 9; leave inputs out"),
        (
            ["--policy", "Cary"],
            "option --policy: expects one of Carry, Reset, BurnIn, Stored, got 'Cary'; did you mean 'Carry'",
        ),
        (["--splitter.length", "0"], "option --splitter.length: Continuation expects length"),
        (["--train.loss", "cross_entropy"], "model.layers.1.outputs: is required, but missing: cross_entropy"),
        (["--train.loss", "binary_cross_entropy"], "expects targets between 0 and 1"),
        (["--train.loss.delta", "0.5"], "unknown option --train.loss.delta; known are type"),
        (["--train.early_stopping.patience", "0"], "EarlyStopping expects patience >= 1, got 0"),
        (["--device", "cuda", "--backend", "numpy"], "option --device: backend 'numpy' takes no options, got device"),
        (["--dtype", "float16"], "expects 'float32' or 'float64', got 'float16'; did you mean 'float64'"),
    ],
)
def test_each_mistake_has_its_message(folder, tokens, message):
    text = MINIMAL.replace('"wave.csv"', '"wave.csv"\ntarget = "value"\ntime = "time"')
    with pytest.raises(rk.ConfigError, match=message):
        build_with_backend(draft(folder, text, *tokens))


def with_backend(table: str) -> str:
    """A config with some lines about the backend, and one data file."""
    whole = MINIMAL.replace('"wave.csv"', '"wave.csv"\ntarget = "value"\ntime = "time"')
    return f"{table}\n{whole}"


@pytest.mark.parametrize(
    ("table", "tokens", "engine"),
    [
        ('backend = {name = "numba", threads = 1}', [], rk.backend("numba", threads=1)),
        ("backend = {threads = 1}", [], rk.backend("numba", threads=1)),
        ("", ["--backend.threads", "1"], rk.backend("numba", threads=1)),
        ('backend = "numba"', ["--backend.threads", "2"], rk.backend("numba", threads=2)),
        ('backend = {name = "numba", threads = 1}', ["--backend.threads", "none"], rk.backend("numba")),
        ('backend = {name = "numba", threads = 1}', ["--backend", "numpy"], rk.backend("numpy")),
        ("backend = {threads = 1}", ["--backend.name", "numba"], rk.backend("numba", threads=1)),
        ('backend = "numpy"', ["--backend", "numba", "--threads", "1"], rk.backend("numba", threads=1)),
        ("threads = 1", [], rk.backend("numba", threads=1)),
    ],
)
def test_options_of_a_backend_stand_with_its_name(folder, table, tokens, engine):
    _, found = build_with_backend(draft(folder, with_backend(table), *tokens))
    assert found == engine


@pytest.mark.parametrize(
    ("table", "tokens", "message"),
    [
        (
            "backend = {thraeds = 1}",
            [],
            "line 1, backend.thraeds: .*got thraeds; .* did you mean 'threads'",
        ),
        ("", ["--backend.thraeds", "1"], "option --backend.thraeds: .* did you mean 'threads'"),
        ("backend = {threads = -1}", [], "line 1, backend.threads: .* expects threads to be a whole number"),
        ('backend = {name = "nunba"}', [], "line 1, backend.name: expects one of the .*; did you mean 'numba'"),
        ("", ["--backend.name", "nunba"], "option --backend.name: expects one of the .*; did you mean 'numba'"),
        ("backend = {threads = 1}", ["--threads", "2"], r"backend expects threads once, got it in \[backend\] and"),
        ("backend = 5", [], "line 1, backend: expects text or a table, got 5"),
        ('backend = {name = "numpy", threads = 1}', [], "backend.threads: backend 'numpy' takes no options"),
    ],
)
def test_a_wrong_option_of_a_backend_is_told_where_it_stands(folder, table, tokens, message):
    with pytest.raises(rk.ConfigError, match=message):
        build_with_backend(draft(folder, with_backend(table), *tokens))


DATA = '[data]\npath = "wave.csv"\ntarget = "value"\ntime = "time"\n'
DRAWN = '[splitter]\ntype = "Continuation"\nlength = {type = "Geometric", mean = 32}\nreweight = true\n'
SMALL = MINIMAL.replace('[data]\npath = "wave.csv"\n', DATA)


@pytest.mark.parametrize(
    ("text", "tokens", "length"),
    [
        (DRAWN, [], rk.Geometric(32)),
        (DRAWN, ["--splitter.length.mean", "16"], rk.Geometric(16)),
        (DRAWN, ["--splitter.length", '{type = "Uniform", low = 3, high = 9}'], rk.Uniform(3, 9)),
        ("", ["--splitter.length", '{type="Geometric",mean=32}', "--splitter.reweight", "true"], rk.Geometric(32)),
        (
            '[splitter]\ntype = "Continuation"\nreweight = true\n'
            '[splitter.length]\ntype = "Uniform"\nlow = 3\nhigh = 9\n',
            [],
            rk.Uniform(3, 9),
        ),
    ],
)
def test_lengths_of_windows_may_be_drawn(folder, text, tokens, length):
    experiment = build(draft(folder, SMALL + text, *tokens))
    assert experiment.schedule.splitter == rk.Continuation(length, reweight=True)


def test_a_config_with_inner_tables_is_written_into_its_run_folder_and_reads_back(folder):
    given = 'initial = {type = "Given", h = [[0, 1, 2]], c = [[3, 4, 5]]}\n'
    experiment = build(draft(folder, SMALL.replace("[[model", f"[model]\n{given}[[model", 1) + DRAWN))
    assert experiment.model.initial == rk.Given(h=((0, 1, 2),), c=((3, 4, 5),))
    again = build(draft(folder, resolved(experiment, folder)))
    assert (again.model, again.schedule.splitter) == (experiment.model, experiment.schedule.splitter)


@pytest.mark.parametrize(
    ("tokens", "problems"),
    [
        (["--splitter.length.mean", "1"], ["option --splitter.length.mean: Geometric expects mean > 1 (rows), got 1"]),
        (["--splitter.length.mean", "x"], ["option --splitter.length.mean: expects a number, got 'x'"]),
        (
            ["--splitter.length.maen", "3"],
            ["unknown option --splitter.length.maen; did you mean --splitter.length.mean?"],
        ),
        (
            ["--splitter.lanes", "0", "--splitter.length.mean", "0.5"],
            [
                "option --splitter.lanes: Continuation expects lanes to be a whole number >= 1, got 0",
                "option --splitter.length.mean: Geometric expects mean > 1 (rows), got 0.5",
            ],
        ),
        (["--splitter.length", '{type="Uniform",low=5}'], ["option --splitter.length: high is required, but missing"]),
        (
            ["--splitter.length", "Geometrik"],
            [
                "option --splitter.length: expects a whole number or one of Uniform, Geometric, got 'Geometrik'; "
                "did you mean 'Geometric'?"
            ],
        ),
        (
            ["--splitter.length", "1.5"],
            ["option --splitter.length: expects a whole number or one of Uniform, Geometric, got 1.5"],
        ),
        (
            ["--splitter.length", "8"],
            [
                "line 13, splitter.reweight: Continuation expects reweight=True with a length that is drawn, "
                "got length=8; write length=Geometric(32)"
            ],
        ),
    ],
)
def test_what_is_wrong_in_an_inner_table_is_said_of_it_alone(folder, tokens, problems):
    head, *rest = refusal(folder, SMALL + DRAWN, *tokens).splitlines()
    assert [line.strip() for line in rest] == problems if rest else head == f"a.toml, {problems[0]}"


@pytest.mark.parametrize(
    ("tokens", "problems"),
    [
        (["--policy", "BurnIn"], ["option --policy: rows is required, but missing"]),
        (["--policy", '{type="BurnIn"}'], ["option --policy: rows is required, but missing"]),
        (["--policy", '{type="BurnIn",rows="x"}'], ["option --policy: rows expects a whole number, got 'x'"]),
        (["--policy", "{}"], ["option --policy: type is required, but missing: one of Carry, Reset, BurnIn, Stored"]),
        (
            ["--policy", '{type="Carry",reset_evry=3}'],
            ["option --policy: unknown key 'reset_evry'; did you mean 'reset_every'?"],
        ),
        (["--policy", '{type="Reset",q=3}'], ["option --policy: unknown key 'q'; known are type"]),
        (["--policy", "none"], ["option --policy: expects one of Carry, Reset, BurnIn, Stored, got none"]),
        (["--policy", '["Carry"]'], ["option --policy: expects one of Carry, Reset, BurnIn, Stored, got ['Carry']"]),
        (
            ["--model.initial", "Given"],
            [
                "option --model.initial: h is required, but missing",
                "option --model.initial: c is required, but missing",
            ],
        ),
        (
            ["--model.initial", '{type="Given",h=[["a"]],c=[[1]]}'],
            ["option --model.initial: h.0.0 expects a number, got 'a'"],
        ),
        (
            ["--model.layers", "LSTM"],
            ["""option --model.layers: expects a list, got 'LSTM'; write --model.layers '["LSTM"]'"""],
        ),
        (
            ["--model.layers", '{type="LSTM",hidden=3}'],
            [
                'option --model.layers: expects a list, got {type = "LSTM", hidden = 3}; '
                """write --model.layers '[{type = "LSTM", hidden = 3}]'"""
            ],
        ),
        (
            ["--model.layers", '[{type="LSTM",hiden=3,hidden=3},{type="Dense"}]'],
            ["option --model.layers: unknown key '0.hiden'; did you mean '0.hidden'?"],
        ),
        (["--model.layers", "[3]"], ["option --model.layers: 0 expects one of LSTM, Dense, got 3"]),
    ],
)
def test_an_option_that_holds_a_table_is_told_which_key_is_wrong(folder, tokens, problems):
    head, *rest = refusal(folder, SMALL, *tokens).splitlines()
    assert [line.strip() for line in rest] == problems if rest else head == f"a.toml, {problems[0]}"


def test_numbers_of_a_given_initial_state_that_are_text_are_refused(folder):
    text = SMALL + '[model.initial]\ntype = "Given"\nh = [["a"]]\nc = [[1]]\n'
    assert refusal(folder, text) == "a.toml, line 12, model.initial.h.0.0: expects a number, got 'a'"
    with pytest.raises(rk.ModelError, match="Given expects h to be a tuple of numbers for each recurrent layer, got"):
        rk.Given(h=(("a",),), c=((1.0,),))  # pyright: ignore
    with pytest.raises(rk.ModelError, match="Given expects c to be a tuple of numbers"):
        rk.Given(h=((1.0,),), c=((10**400,),))


def test_no_value_is_invented_for_what_is_missing(folder):
    """Of what is given every check is made still."""
    text = SMALL + '[splitter]\ntype = "Sliding"\nlanes = 0\n[policy]\ntype = "BurnIn"\n'
    assert refusal(folder, text).splitlines() == [
        "a.toml has 3 errors:",
        "  line 10, splitter.length: is required, but missing",
        "  line 12, splitter.lanes: Sliding expects lanes to be a whole number >= 1, got 0",
        "  line 13, policy.rows: is required, but missing",
    ]
    text = SMALL + '[splitter]\ntype = "Continuation"\nreweight = true\n'
    assert refusal(folder, text) == "a.toml, line 10, splitter.length: is required, but missing"


def test_a_list_that_was_written_as_text_is_shown_in_its_form(folder):
    text = MINIMAL.replace('"wave.csv"', '"wave.csv"\nfeatures = "time,value"')
    said = refusal(folder, text)
    assert said == """a.toml, line 3, data.features: expects a list, got 'time,value'; write ["time", "value"]"""


def test_a_layer_in_the_middle_must_say_its_outputs(folder):
    text = MINIMAL.replace('"wave.csv"', '"wave.csv"\ntime = "time"') + '[[model.layers]]\ntype = "Dense"\n'
    assert refusal(folder, text).startswith("a.toml, line 7, model.layers.1.outputs: is required, but missing")


def test_missing_tables_and_files(folder):
    assert refusal(folder, "").splitlines()[1:] == [
        "  data: is required, but missing",
        "  model: is required, but missing",
    ]
    assert "line 2, data.path: found no data file" in refusal(folder, MINIMAL.replace("wave", "tide"))
    with pytest.raises(rk.SourceError, match=r"found no config file .*aa.toml'; did you mean 'a.toml'"):
        read(folder / "aa.toml")
    with pytest.raises(rk.SourceError, match="cannot read the config file"):
        read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 0\npath = [1,\nx = 2\n", "a.toml, line 3: this is no TOML"),
        ("seed = 0\nseed = 1\n", "a.toml, line 2: this is no TOML: cannot overwrite a value"),
        ("name = 'a", "a.toml, line 1: this is no TOML"),
    ],
)
def test_text_that_is_no_toml_is_refused_with_its_line(folder, text, message):
    assert message in refusal(folder, text)


def test_a_config_that_is_not_utf8_is_refused(folder):
    (folder / "a.toml").write_bytes(b'name = "\xff"\n')
    with pytest.raises(rk.ConfigError, match="a config is UTF-8 text"):
        read(folder / "a.toml")


def test_overrides_are_toml_values_or_else_text(folder):
    tokens = ["--a", "5", "--b.0.c=1e-3", "--d", "true", "--e", "Carry", "--f", "[1, 2]", "--g=-1", "--h", "none"]
    found = parse_overrides([*tokens, "--i", "a=b", "--j", '"5"'])
    assert [override.value for override in found] == [5, 1e-3, True, "Carry", [1, 2], -1, None, "a=b", "5"]
    assert found[1].path == ("b", 0, "c")
    for wrong, message in ((["seed"], "expected an option"), (["--seed"], "--seed expects a value, got none")):
        with pytest.raises(rk.ConfigError, match=message):
            parse_overrides(wrong)


def test_overrides_reach_every_value_and_start_from_the_defaults_of_a_missing_table(folder):
    tokens = ["--train.rule.learning_rate", "0.5", "--model.layers.0.hidden", "9", "--splitter.lanes", "2"]
    config = draft(folder, MINIMAL, *tokens, "--policy", "Reset", "--train.loss", "mae").config
    assert config.train.rule.build() == rk.Adam(0.5)
    assert config.model.layers[0].build(inputs=1) == rk.LSTM(1, 9)
    assert config.splitter.build() == rk.Continuation(64, lanes=2)
    assert config.policy.build() == rk.Reset()
    assert config.train.loss.build() == rk.MAE()
    assert draft(folder, FULL, "--train.clip", "none").config.train.clip is None


def test_a_data_path_counts_from_the_config_and_as_an_option_from_the_working_directory(folder, monkeypatch):
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    assert draft(folder, MINIMAL).data_path == folder / "wave.csv"
    assert draft(folder, MINIMAL, "--data.path", "../wave.csv").data_path.resolve() == folder / "wave.csv"


def test_the_line_of_every_key_is_found():
    text = '''\
# a comment with [brackets] and "quotes"
name = "a # b [c]"   # behind
note = """
[data]
path = 1
"""
day = 2013-07-04 00:00:00
[data]
"odd key" = 'x'
a.b = 1.5
list = [
  "one", # first
  {k = 1, l = [2, 3]},
]
[[model.layers]]
type = "LSTM"
[[model.layers]]
type = "Dense"
  [model.layers.more]
  z = 1
[train]
rule = {type = "Adam", "learning rate" = {x = 1}}
'''
    tomllib.loads(text)
    lines = locate(text)
    expected = {
        ("name",): 2,
        ("note",): 3,
        ("day",): 7,
        ("data",): 8,
        ("data", "odd key"): 9,
        ("data", "a", "b"): 10,
        ("data", "list"): 11,
        ("data", "list", 0): 12,
        ("data", "list", 1, "l", 1): 13,
        ("model", "layers"): 15,
        ("model", "layers", 0, "type"): 16,
        ("model", "layers", 1): 17,
        ("model", "layers", 1, "more", "z"): 20,
        ("train", "rule", "learning rate", "x"): 22,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert ("data", "path") not in lines
    assert line_of(lines, ("train", "rule", "gone")) == 22
    assert line_of(lines, ("gone",)) is None


def test_what_is_written_as_toml_reads_back():
    plain = {
        "name": 'a "quoted" \\ name\n\t\x7f é',
        "on": True,
        "rate": 1e-8,
        "large": 1e300,
        "data": {"path": "x", "columns": ["a", "b"], "numbers": [1, 2.5]},
        "model": {"layers": [{"type": "LSTM", "hidden": 3}, {"type": "Dense"}]},
        "train": {"rule": {"type": "Adam", "learning_rate": 0.1}},
    }
    assert tomllib.loads(to_toml(plain)) == plain


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from rnnkit.cli.commands import main; status = main(['--help']); "
        "heavy = {'numba', 'torch', 'pydantic', 'matplotlib', 'pyarrow'} & set(sys.modules); "
        "sys.exit(status or ' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "train" in done.stdout
