"""Messages on the command line speak as a config does, and what they advise works when it is followed."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.commands import main
from rnnkit.cli.spelling import OPTIONS, UNSPELLED, in_config_words

PACKAGE = Path(rk.__file__).parent

PYTHON = re.compile(rf"(?<![\w.'-])({'|'.join(sorted(OPTIONS))})=(?!=)")
"""Options as Python has them."""

LEFT = rf"(?<!\w)'[^']*'(?!\w)|\b(?:{'|'.join(UNSPELLED)})\(.*\)"
"""What is left as it is: names in quotes, and calls that no config holds."""


@pytest.mark.parametrize(
    ("said", "spelled"),
    [
        ("got sort=True and no time; say time= too", "got sort = true and no time; say time too"),
        ("na=['?', -999], else na=[]", 'na = ["?", -999], else na = []'),
        ("skip=[1, 2] says so, header=[...]", "skip = [1, 2] says so, header = [...]"),
        ("horizon=3.", "horizon = 3."),
        ("use Chunked(length='segment') or Reset()", 'use {type = "Chunked", length = "segment"} or "Reset"'),
        ("write rk.SGD(..., momentum=0.9)", "write momentum = 0.9"),
        ("write length=Geometric(32)", 'write length = {type = "Geometric", mean = 32}'),
        ("rule=Adam(1e-3)", 'rule = {type = "Adam", learning_rate = 0.001}'),
        ("early_stopping=rk.EarlyStopping(patience=5)", "early_stopping = {patience = 5}"),
        ("Dense(4, 1, activation='identity')", '{type = "Dense", inputs = 4, outputs = 1, activation = "identity"}'),
        ("DataSet(..., split=(0.7, 0.15))", "train = 0.7, validation = 0.15"),
        ("choose with options={'features': [...], 'gap': '1h'}", 'choose with features = [...], gap = "1h"'),
        ("say overwrite=True, or jobs=1", "say --overwrite, or --jobs 1"),
        ("'sort=True.csv' and the rows' order: sort=False", "'sort=True.csv' and the rows' order: sort = false"),
        ("option --train.epochs=5 of Chain(LSTM(1, 4))", "option --train.epochs=5 of Chain(LSTM(1, 4))"),
        ("na=['unclosed, and Chunked(length=3", "na = ['unclosed, and Chunked(length = 3"),
        ("score=score", "score = score"),
    ],
)
def test_options_are_spelled_as_in_a_config(said, spelled):
    assert in_config_words(said) == spelled


def test_no_message_of_the_package_keeps_the_words_of_python():
    """Every text that names an option in Python's way, whatever stands in its gaps, is spelled anew."""
    walked, kept = 0, []
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name in ("page", "testing") or file.name == "texttable.py":  # SQL, and no messages
            continue
        for text in texts(ast.parse(file.read_text(encoding="utf-8"))):
            if PYTHON.search(text):
                walked += 1
                spelled = in_config_words(text)
                if PYTHON.search(re.sub(LEFT, "", spelled)):
                    kept.append((file.name, spelled))
    assert not kept
    assert walked > 100


def texts(tree):
    """The texts of a module, docstrings left out, with a number or a quoted word where a value is put in."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "'a'" if part.conversion == ord("r") else "7"
                for part in node.values
                if isinstance(part, ast.Constant | ast.FormattedValue)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (docs | parts):
            yield node.value


CONFIG = """
backend = "numpy"
splitter = {{type = "Continuation", length = 16}}
{data}
target = "a"
[model]
layers = [{{type = "LSTM", hidden = 2}}, {{type = "Dense", activation = "relu"}}]
[train]
epochs = 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(1).uniform(1, 2, 120)
    Path("a.csv").write_text("a\n" + "\n".join(f"{row:.4f}" for row in rows))
    Path("falling.csv").write_text("t,a\n" + "\n".join(f"{200 - n},{row:.4f}" for n, row in enumerate(rows)))
    Path("one.toml").write_text(CONFIG.format(data='[data]\npath = "a.csv"'))
    Path("many.toml").write_text(CONFIG.format(data='[[data]]\npath = "a.csv"'))
    return tmp_path


@pytest.mark.parametrize(("file", "advised"), [("one", "scale = false"), ("many", 'scaler = "none"')])
def test_targets_out_of_reach_are_left_unscaled_as_a_config_says_it(folder, capsys, file, advised):
    assert main(["plan", f"{file}.toml"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "with_scaler" not in told
    assert "or leave the targets as they are, 1.0" in told
    for words in (advised, "check_range = false", '{type = "Dense", inputs = 2, outputs = 1, activation = "identity"}'):
        assert words in told
        text = Path(f"{file}.toml").read_text()
        if words == advised:
            text = text.replace('path = "a.csv"', f'path = "a.csv"\n{advised}')
        elif words.startswith("{"):
            text = text.replace('{type = "Dense", activation = "relu"}', words)
        else:
            text += words
        Path("followed.toml").write_text(text)
        assert main(["plan", "followed.toml"]) == 0
        capsys.readouterr()


def test_a_scaling_that_helps_nothing_is_not_advised(folder, capsys):
    Path("a.csv").write_text(Path("a.csv").read_text().replace("\n1", "\n-1"))
    assert main(["plan", "one.toml"]) == 2
    told = capsys.readouterr().err
    assert "scale" not in told.replace("scaled training targets", "")
    assert "check_range = false" in told


def test_a_data_set_of_a_curriculum_is_told_its_scaler(folder):
    def fit(**given):
        sets = rk.Curriculum([rk.DataSet("a.csv", options={"target": "a"}, **given)], rk.Continuation(16), rk.Carry())
        return rk.fit(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1, "relu")), sets, backend="numpy", epochs=1)

    with pytest.raises(rk.ModelError, match=r"lie outside.*DataSet\(\.\.\., scaler=rk\.Standard") as refused:
        fit()
    assert "with_scaler" not in str(refused.value)
    advised = re.search(r"scaler=(rk\.Standard\(.*?\]\))\)", str(refused.value))[1]
    assert fit(scaler=eval(advised, {"rk": rk}))


def test_options_of_files_are_advised_as_they_are_written(folder, capsys):
    words = ["--data.path", "falling.csv", "--data.time", "t", "--train.check_range", "false"]
    assert main(["plan", "one.toml", *words]) == 2
    told = capsys.readouterr().err
    assert "say sort = true to sort the rows" in " ".join(told.split())
    assert main(["plan", "one.toml", *words, "--data.sort", "true"]) == 0


def test_a_loss_that_blows_up_is_told_once_at_the_end(folder, capsys):
    rate = ["--train.rule", '{type = "SGD", learning_rate = 20.0}', "--dtype", "float64"]
    dense = ["--model.layers.1.activation", "identity", "--train.epochs", "3"]
    main(["train", "one.toml", *rate, *dense])
    out, err = capsys.readouterr()
    assert (out + err).count("the loss has blown up") == 1
    assert 'such as rule = {type = "Adam", learning_rate = 0.001}' in out.splitlines()[-1] + out.splitlines()[-2]
