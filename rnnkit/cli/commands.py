"""The command line: `rnnkit train`, `plan`, `check`, `predict`, `forecast`, `evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError

from rnnkit.errors import RnnkitError

REFUSED, INTERRUPTED = 2, 130
"""Exit status of an error, and after Ctrl-C."""

Overrides = Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]

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
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train into a run folder; Ctrl-C keeps the run so far.

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
def plan(config: Path, /, *overrides: Overrides, picture: Path | None = None) -> int:
    """Show the schedule, its coverage and the model, without training.

    Args:
        config: a TOML file; any of its values can follow as an option, such as `--splitter.lanes 8`.
        picture: draw the schedule's first steps into this new file, such as `plan.png`.
    """
    from rnnkit.cli.plan import plan
    from rnnkit.cli.read import read
    from rnnkit.cli.report import new_console

    return plan(read(config, overrides), picture, new_console())


@app.command
def check(config: Path, /, *overrides: Overrides) -> int:
    """Compare the gradients of all installed backends on a config; exit status 1 when they differ.

    Args:
        config: a TOML file; any of its values can follow as an option, such as `--splitter.length 16`.
    """
    from rnnkit.cli.check import check
    from rnnkit.cli.read import read
    from rnnkit.cli.report import new_console

    return check(read(config, overrides), new_console())


@app.command
def predict(
    run: Path,
    /,
    *,
    out: Path | None = None,
    part: Literal["test", "validation", "train", "all"] = "test",
    backend: str | None = None,
) -> int:
    """Write predicted and observed values as CSV.

    Args:
        run: a run folder.
        out: a new file; left out, `predicted_PART.csv` in the run folder.
        part: which rows.
        backend: another backend than the one that trained the run.
    """
    from rnnkit.cli.after import write_predictions
    from rnnkit.cli.report import new_console

    return write_predictions(run, out, part, backend, new_console())


@app.command
def forecast(
    run: Path,
    /,
    *,
    steps: int,
    out: Path | None = None,
    picture: Path | None = None,
    backend: str | None = None,
) -> int:
    """Continue the series after its last row, predictions fed back in, as CSV.

    Args:
        run: a run folder whose model predicts all columns of its input.
        steps: how many rows.
        out: a new file; left out, `forecast_STEPS.csv` in the run folder.
        picture: draw the end of the series and the forecast into this new file.
        backend: another backend than the one that trained the run.
    """
    from rnnkit.cli.after import write_forecast
    from rnnkit.cli.report import new_console

    return write_forecast(run, steps, out, picture, backend, new_console())


@app.command
def evaluate(run: Path, /, *, backend: str | None = None) -> int:
    """Print the errors of a run beside those of naive predictions.

    Args:
        run: a run folder.
        backend: another backend than the one that trained the run.
    """
    from rnnkit.cli.after import print_evaluation
    from rnnkit.cli.report import new_console

    return print_evaluation(run, backend, new_console())


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        tokens: the command line without the program's name; left out, that of this process.

    Returns:
        The exit status: 0; 1 where `check` finds a difference; 2 after an error; 130 after Ctrl-C.
    """
    try:
        command, bound, _ = app.parse_args(tokens, print_error=False, exit_on_error=False)
        return command(*bound.args, **bound.kwargs) or 0
    except CycloptsError as error:
        hint = "options go after the config; " if isinstance(error, UnknownOptionError) else ""
        return _refuse(f"{error}\n{hint}see rnnkit --help")
    except RnnkitError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("rnnkit: interrupted", file=sys.stderr)
        return INTERRUPTED


def _refuse(message: str) -> int:
    print(f"rnnkit: {message}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
