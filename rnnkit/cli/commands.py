"""The command line: `rnnkit train`, `plan`, `check`, `predict`, `forecast`, `evaluate`, `compare`, `bias`, `inspect`,
`warmup`."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError

from rnnkit.cli.output import unbroken
from rnnkit.cli.signals import hearing
from rnnkit.cli.status import FAILED, INTERRUPTED, REFUSED
from rnnkit.errors import ConfigError, RnnkitError, RnnkitWarning

Overrides = Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]

DataSet = Annotated[str | None, Parameter(name="--data-set")]

LINE = 1000
"""Characters of a line of a message at most."""

Overwrite = Annotated[bool, Parameter(negative="")]

app = App(
    name="rnnkit",
    help="""Train stateful recurrent networks from a config: how to split, what happens to the state, how far
    the gradient goes.

    Any value of a config can be given as an option after it, by its dotted name: `--train.epochs 5`,
    `--backend torch`, `--model.layers.0.hidden 16`.""",
)


@app.command
def train(
    config: Path,
    /,
    *overrides: Overrides,
    out: str | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Train into a run folder; Ctrl-C, SIGTERM and SIGHUP keep the run so far.

    Where neither `--out` nor the config's `out` says where to, a folder that is taken gets a number: `runs/NAME-2`.

    Args:
        config: a TOML file; any of its values can follow as an option, such as `--train.epochs 5`.
        out: the run folder, instead of the config's.
        overwrite: replace the run that is there.
    """
    from rnnkit.cli.read import read
    from rnnkit.cli.report import new_console
    from rnnkit.cli.train import train

    tokens = overrides if out is None else (*overrides, f"--out={json.dumps(out)}")
    return train(read(config, tokens), overwrite, new_console())


@app.command
def plan(
    config: Path,
    /,
    *overrides: Overrides,
    steps: int | None = None,
    picture: Path | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Show the schedule, its coverage and the model, without training.

    Args:
        config: a TOML file; any of its values can follow as an option, such as `--splitter.lanes 8`.
        steps: how many steps of the schedule; left out, 6 in text and 12 in a picture.
        picture: draw the schedule's first steps into this file, such as `plan.png`.
        overwrite: replace the picture that is there.
    """
    from rnnkit.cli.plan import plan
    from rnnkit.cli.read import read
    from rnnkit.cli.report import new_console

    return plan(read(config, overrides), steps, picture, overwrite, new_console())


@app.command
def check(config: Path, /, *overrides: Overrides, data_set: DataSet = None) -> int:
    """Compare the gradients of all installed backends on a config; exit status 1 when they differ.

    Args:
        config: a TOML file; any of its values can follow as an option, such as `--splitter.length 16`.
        data_set: of many data sets, the one to check on.
    """
    from rnnkit.cli.check import check
    from rnnkit.cli.report import new_console
    from rnnkit.cli.sets import read_one

    return check(read_one(config, overrides, data_set, "check"), new_console())


@app.command
def predict(
    run: Path,
    /,
    *overrides: Overrides,
    data_set: DataSet = None,
    out: Path | None = None,
    part: Literal["test", "validation", "train", "all"] = "test",
    backend: str | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Write predicted and observed values as CSV.

    New data: `rnnkit predict RUN --data.path new.csv --part all`.

    Args:
        run: a run folder; any value of its config can follow as an option: `--data.path new.csv` reads other data,
            or the same ones where they are now.
        data_set: of a run on many, whose scaler and head are used, and whose data unless others are named.
        out: a file; left out, `predicted_PART.csv` in the run folder.
        part: which rows.
        backend: another backend than the one that trained the run.
        overwrite: replace the file that is there.
    """
    from rnnkit.cli.after import read_run, write_predictions
    from rnnkit.cli.report import new_console

    return write_predictions(read_run(run, backend, overrides, data_set), out, part, overwrite, new_console())


@app.command
def forecast(
    run: Path,
    /,
    *overrides: Overrides,
    data_set: DataSet = None,
    steps: int | None = None,
    out: Path | None = None,
    picture: Path | None = None,
    backend: str | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Continue the series after its last row, predictions fed back in, as CSV.

    The state is warmed over the last `data.warm` rows. After new data: `rnnkit forecast RUN --steps 48 --data.path
    new.csv`.

    Args:
        run: a run folder whose model predicts all columns of its input; any value of its config can follow as an
            option: `--data.path new.csv` reads other data, or the same ones where they are now.
        data_set: of a run on many, whose scaler and head are used, and whose data unless others are named.
        steps: how many rows; must be given.
        out: a file; left out, `forecast_STEPS.csv` in the run folder.
        picture: draw the end of the series and the forecast into this file.
        backend: another backend than the one that trained the run.
        overwrite: replace the files that are there.
    """
    from rnnkit.cli.after import read_run, write_forecast
    from rnnkit.cli.report import new_console

    if steps is None:
        raise ConfigError(f"forecast expects a number of rows, got none; write rnnkit forecast {run} --steps 48")
    return write_forecast(read_run(run, backend, overrides, data_set), steps, out, picture, overwrite, new_console())


@app.command
def evaluate(
    run: Path,
    /,
    *overrides: Overrides,
    data_set: DataSet = None,
    part: Literal["test", "validation", "train", "all"] | None = None,
    out: Path | None = None,
    backend: str | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Print the errors of a run beside those of naive predictions.

    New data: `rnnkit evaluate RUN --data.path new.csv --part all`.

    Args:
        run: a run folder; any value of its config can follow as an option: `--data.path new.csv` reads other data,
            or the same ones where they are now.
        data_set: of a run on many, whose scaler and head are used, and whose data unless others are named; left out,
            all of them.
        part: which rows; left out, validation and test.
        out: write the errors into this file too, as JSON.
        backend: another backend than the one that trained the run.
        overwrite: replace the file that is there.
    """
    from rnnkit.cli.after import print_evaluation, read_run
    from rnnkit.cli.report import new_console

    return print_evaluation(read_run(run, backend, overrides, data_set), part, out, overwrite, new_console())


@app.command
def compare(
    study: Path,
    /,
    *overrides: Overrides,
    out: str | None = None,
    jobs: int = -1,
    fresh: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train every splitter with every policy, backend and seed of a study alike, and compare their errors.

    The best is chosen by its error on the validation part; its error on the test part is reported.

    Results go to the study's folder: a table, a report with pictures, and the trials. After an interruption the same
    command goes on with what is not finished; so it does when the study has changed.

    Args:
        study: a TOML file; any of its values can follow as an option, such as `--seeds 5`.
        out: the folder, instead of the study's.
        jobs: trials trained at a time, each on one thread of its own process; -1 is one for each processor, 1 trains
            in this process and needs no joblib.
        fresh: train again what is finished.
    """
    from rnnkit.cli.compare import compare
    from rnnkit.cli.report import new_console
    from rnnkit.cli.study import read_study

    tokens = overrides if out is None else (*overrides, f"--out={json.dumps(out)}")
    return compare(read_study(study, tokens), jobs, fresh, new_console())


@app.command
def bias(
    config: Path,
    /,
    *overrides: Overrides,
    data_set: DataSet = None,
    lengths: str | None = None,
    rows: int | None = None,
    run: Path | None = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Show what windows of several lengths make of the gradient, beside full back-propagation through time.

    Both gradients are computed on the training part, at fixed parameters; and how far the gradient of a row's loss
    reaches back, whatever the windows.

    Args:
        config: a TOML file; any of its values can follow as an option, such as `--policy Reset`.
        data_set: of many data sets, the one to measure on.
        lengths: window lengths, such as `8,16,32`; left out, 8 to 256 and the config's own.
        rows: use the first so many rows of the training part; left out, all of them.
        run: a run folder, to measure at its parameters instead of newly drawn ones.
        out: a folder for `bias.csv`, `reach.csv` and `bias.png`.
        overwrite: replace the files that are there.
    """
    from rnnkit.cli.bias import bias
    from rnnkit.cli.report import new_console
    from rnnkit.cli.sets import read_one

    return bias(read_one(config, overrides, data_set, "bias"), lengths, rows, run, out, overwrite, new_console())


@app.command
def inspect(
    run: Path,
    /,
    *overrides: Overrides,
    rows: str | None = None,
    data_set: DataSet = None,
    out: Path | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Write a page to look at back-propagation through time over some rows: one HTML file.

    Every gate, state and gradient of every unit, each equation with its numbers, how far the gradient reaches and what
    windows make of it. Needs plotly: `pip install -e ".[inspect]"`.

    Args:
        run: a run folder; any value of its config can follow as an option: `--data.path new.csv` reads other data,
            or the same ones where they are now.
        data_set: of a run on many, whose scaler and head are used, and whose data unless others are named.
        rows: which rows of the data, such as `2000:2128`; left out, the last 128 of the training part.
        out: a file; left out, `inspect_START_STOP.html` in the run folder.
        overwrite: replace the file that is there.
    """
    from rnnkit.cli.after import read_run
    from rnnkit.cli.inspect import inspect
    from rnnkit.cli.report import new_console

    return inspect(read_run(run, None, overrides, data_set), rows, out, overwrite, new_console())


@app.command
def warmup(*, dtype: Literal["float32", "float64", "both"] = "both") -> int:
    """Compile the kernels of the numba backend for this machine now, so that no run waits for it.

    They are kept in the folder that the environment variable NUMBA_CACHE_DIR names; without it, beside the installed
    package, or in the user's cache folder where that cannot be written. New versions of rnnkit or Numba compile anew.

    Args:
        dtype: for which numbers; float32 is what `train` uses unless told otherwise.
    """
    from rnnkit.backend import backend
    from rnnkit.cli.report import new_console, say
    from rnnkit.model import DTYPES

    dtypes = DTYPES if dtype == "both" else (dtype,)
    compiled = backend("numba")
    compiled.warmup(dtypes)
    folder = compiled.cache_folder()
    kept = f"in {folder}" if folder else "in no folder that can be written: the next process compiles again"
    say(new_console(), f"the {' and '.join(dtypes)} kernels are compiled, {kept}")
    return 0


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        tokens: the command line without the program's name; left out, that of this process.

    Returns:
        The exit status: 0; 1 where `check` finds a difference or standard output cannot be written; 2 after an error;
        130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    with unbroken() as output, hearing() as heard:
        status = heard.status(_run(tokens))
        return FAILED if not status and output is not None and output.is_lost() else status


def _run(tokens: Sequence[str] | None) -> int:
    try:
        command, bound, _ = app.parse_args(tokens, print_error=False, exit_on_error=False)
        with telling_warnings():
            return command(*bound.args, **bound.kwargs) or 0
    except CycloptsError as error:
        hint = "options go after the config; " if isinstance(error, UnknownOptionError) else ""
        return _refuse(f"{error}\n{hint}see rnnkit --help")
    except RnnkitError as error:
        return _refuse(str(error))
    except MemoryError as error:
        asked = f": {error}" if str(error) else ""
        return _refuse(f"there is not enough memory{asked}; take a smaller model, shorter windows or fewer lanes")
    except KeyboardInterrupt:
        print("rnnkit: interrupted", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def telling_warnings() -> Iterator[None]:
    """Print each warning of ours once, as one line on standard error; those of others as Python does."""
    told: set[str] = set()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if not issubclass(category, RnnkitWarning):
                usual(message, category, *place)
            elif str(message) not in told:
                told.add(str(message))
                _tell(f"warning: {message}")

        warnings.showwarning = show  # pyright: ignore[reportAttributeAccessIssue]
        warnings.simplefilter("always", RnnkitWarning)
        yield


def _refuse(message: str) -> int:
    _tell(message)
    return REFUSED


def _tell(message: str) -> None:
    """Print a message on standard error, whatever stands in it, its options as a config has them."""
    from rnnkit.cli.spelling import in_config_words
    from rnnkit.cli.values import shortened
    from rnnkit.view.text import visible

    for line in f"rnnkit: {in_config_words(message)}".split("\n"):
        print(shortened(visible(line), LINE), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
