"""Reading a run back: every field checked against the model, and the files against each other."""

from __future__ import annotations

import json
import reprlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.backend import Backend, check_parameters
from rnnkit.backend import backend as find_backend
from rnnkit.data import Standard
from rnnkit.data.typical import Typical
from rnnkit.errors import ModelError, RnnkitError, SourceError, counted, warn
from rnnkit.model.initialisers import DTYPES
from rnnkit.model.layers import Chain, parameter_shapes, zero_state
from rnnkit.model.losses import LOSSES, CrossEntropy, Loss
from rnnkit.model.plain import chain_from_plain, from_plain
from rnnkit.model.rules import RuleState
from rnnkit.model.state import State
from rnnkit.train.exchange import UNFINISHED, standing
from rnnkit.train.history import History, Numbers
from rnnkit.train.run import Run, Seen
from rnnkit.train.saving import DESCRIPTION, FILES, PARAMETERS, STATE, digest, is_whole
from rnnkit.train.transfer import Transfer

FARTHEST = 2**31
"""Rows that a horizon may be."""

MOST = 2**53
"""Updates that an optimizer may have made: the whole numbers that a float64 can tell apart."""

TRIES = 10
"""How often files that are replaced while they are read are read again."""

Check = Callable[[Any], Any]


def load(folder: str | Path, backend: str | Backend | None = None) -> Run:
    """Read a run that `Run.save` wrote.

    Parameters that are not finite are told as a warning.

    Args:
        folder: the run folder.
        backend: another backend to predict with; by default the one that trained it.

    Raises:
        SourceError: the folder or one of its files is not there, cannot be read, or is damaged; names file and field.
        BackendError: the backend is not installed.
    """
    if not isinstance(folder, str | Path):
        raise SourceError(f"load expects the folder of a run, got {folder!r}; write rk.load('runs/nyc_taxi')")
    folder = Path(folder)
    files = _read(folder)
    with _at(folder, DESCRIPTION):
        plain = _description(files[DESCRIPTION])

    def field(name: str, check: Check) -> Any:
        if name not in plain:
            raise _damaged(folder, DESCRIPTION, f"it has no {name}")
        with _at(folder, f"{DESCRIPTION}, {name}"):
            return check(plain[name])

    model = field("model", lambda value: chain_from_plain(_mapping(value)))
    loss = field("loss", lambda value: from_plain(_mapping(value), LOSSES.values()))
    shapes = parameter_shapes(model)
    name = field("backend", _text)
    sets = field("sets", partial(_sets, model, loss)) if "sets" in plain else {}
    first = next(iter(sets.values()), None)
    head = None if first is None else first.head
    seen = {key: field(key, partial(check, model, loss, head)) for key, check in _SEEN.items()}
    history = field("history", _history)
    epoch = field("epoch", partial(_epoch, history))
    updates = field("updates", lambda value: _whole(value, MOST))
    lag = field("lag", partial(_lag, shapes)) if "lag" in plain else {}
    skipped = field("skipped", lambda value: _each(value, _text)) if "skipped" in plain else {}
    transfer = field("transfer", _transfer) if "transfer" in plain else None
    usual = field("typical", partial(_typical, model, loss, head)) if "typical" in plain else None
    digests = field("files", _mapping) if "digest" in plain or "files" in plain else {}  # none in earlier versions
    if "digest" in plain and not is_whole(files[DESCRIPTION]):
        raise _damaged(folder, DESCRIPTION, "it is not what was written, or was edited; if on purpose, remove digest")
    with _at(folder, PARAMETERS):
        params = _tensors(files[PARAMETERS], digests, PARAMETERS)
        check_parameters(model, params)
        params = {key: params[key] for key in shapes}
        dtype = _dtype(params)
    with _at(folder, STATE):
        state, store, slots = _states(model, _tensors(files[STATE], digests, STATE), dtype)
    run = Run(
        model=model,
        params=params,
        state=state,
        rule_state=RuleState(updates, slots, lag),
        history=history,
        loss=loss,
        backend=find_backend(name if backend is None else backend),
        epoch=epoch,
        store=store,
        sets=sets,
        skipped=skipped,
        transfer=transfer,
        typical=usual,
        **seen,
    )
    broken = [key for key, values in params.items() if not np.isfinite(values).all()]
    if broken:
        warn(
            f"the run in {folder} has parameters that are not finite ({broken[0]}), and predicts nothing: its training "
            f"diverged; train again with a lower learning rate, or clip gradients"
        )
    return run


def _read(folder: Path) -> dict[str, bytes]:
    """The bytes of the three files, of one moment."""
    for _ in range(TRIES):
        try:
            found = {name: standing(folder, name).read_bytes() for name in FILES}
            if standing(folder, DESCRIPTION).read_bytes() == found[DESCRIPTION]:
                return found
        except (FileNotFoundError, NotADirectoryError):  # it is not there, or was moved since
            continue
        except OSError as error:
            raise SourceError(f"load cannot read the run in {folder}: {error.strerror or error}") from error
    missing = [name for name in FILES if not standing(folder, name).is_file()]
    if not missing:
        raise SourceError(f"load found the run in {folder} replaced each time it was read; read it again later")
    training = (
        f"; what is in {UNFINISHED} is of a training that has not ended" if (folder / UNFINISHED).exists() else ""
    )
    raise SourceError(
        f"load expects a folder with {DESCRIPTION}, {PARAMETERS} and {STATE}, but {folder} has no "
        f"{' and no '.join(missing)}; give the folder of a run that has ended{training}"
    )


def _description(content: bytes) -> dict[str, Any]:
    plain = json.loads(content.decode())
    if not isinstance(plain, dict):
        raise ValueError(f"expects an object, got {_shown(plain)}")
    return plain


@contextmanager
def _at(folder: Path, place: str) -> Iterator[None]:
    """Say of anything that is wrong with a file or field where it stands."""
    try:
        yield
    except SourceError:
        raise
    except RecursionError:
        raise _damaged(folder, place, "it is nested too deeply") from None
    except KeyError as error:
        raise _damaged(folder, place, f"it has no {error.args[0]}") from error
    except (RnnkitError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise _damaged(folder, place, str(error)) from error


def _damaged(folder: Path, place: str, what: str) -> SourceError:
    return SourceError(f"load cannot read the run in {folder}: {place}: {what}; the files are damaged")


def _tensors(content: bytes, digests: dict[str, Any], name: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if digests and digest(content) != digests.get(name):
        raise ValueError(f"it is not the file that {DESCRIPTION} was written with")
    try:
        return {name: np.array(values) for name, values in load(content).items()}  # theirs cannot be written
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _dtype(params: dict[str, np.ndarray]) -> np.dtype:
    kinds = {values.dtype for values in params.values()}
    if len(kinds) > 1 or str(next(iter(kinds))) not in DTYPES:
        raise ValueError(f"expects arrays of one dtype, {' or '.join(DTYPES)}, got {', '.join(map(str, kinds))}")
    return kinds.pop()


def _states(
    model: Chain, arrays: dict[str, np.ndarray], dtype: np.dtype
) -> tuple[State, State | None, dict[str, dict[str, np.ndarray]]]:
    """The state of the lanes, the recorded states and the optimizer's moments, each array used once."""
    left = dict(arrays)
    for name, values in arrays.items():
        if values.dtype != dtype:
            raise ValueError(f"expects {name} to be {dtype}, like the parameters, got {values.dtype}")
    state = _state(model, left, "state")
    store = _state(model, left, "store") if any(name.startswith("store.") for name in left) else None
    slots: dict[str, dict[str, np.ndarray]] = {}
    for name in [name for name in left if name.startswith("rule.")]:
        _, slot, key = name.split(".", 2)
        slots.setdefault(slot, {})[key] = left.pop(name)
    for slot, moments in slots.items():
        try:
            check_parameters(model, moments)
        except ModelError as error:
            raise ValueError(f"rule.{slot}: {error}") from error
    if left:
        raise ValueError(f"expects the state of the model alone, got {next(iter(left))}, too")
    return state, store, slots


def _state(model: Chain, left: dict[str, np.ndarray], label: str) -> State:
    """One state, taken out of the arrays that are left."""
    entries, lanes = [], None
    for index, layer in enumerate(model.layers):
        like = zero_state(layer, 1, np.dtype(bool))
        own = []
        for name, zeros in zip(getattr(like, "_fields", ()), like, strict=True):
            values = left.pop(f"{label}.{index}.{name}")
            lanes = len(values) if lanes is None and values.ndim else lanes
            if values.shape != (lanes, *zeros.shape[1:]):
                raise ValueError(
                    f"expects {label}.{index}.{name} of shape {(lanes, *zeros.shape[1:])}, got {values.shape}"
                )
            own.append(values)
        entries.append(type(like)(*own) if own else ())
    return tuple(entries)


def _sets(model: Chain, loss: Loss, value: Any) -> dict[str, Seen]:
    return {name: _seen(model, loss, name, plain) for name, plain in _mapping(value).items()}


def _seen(model: Chain, loss: Loss, name: str, value: Any) -> Seen:
    plain = _mapping(value)
    head = None if plain["head"] is None else _text(plain["head"])
    if (head is not None or model.heads) and head not in model.heads:
        raise ValueError(f"{name}: expects one of the heads {', '.join(model.heads) or 'none'}, got {_shown(head)}")
    try:
        usual = _typical(model, loss, head, plain.get("typical"))
        own = {key: check(model, loss, head, plain[key]) for key, check in _SEEN.items()}
        return Seen(head=head, typical=usual, **own)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _scaler(model: Chain, loss: Loss, head: str | None, value: Any) -> Standard | None:
    if value is None:
        return None
    for numbers in _mapping(value).values():
        _numbers(numbers)
    scaler, targets = Standard.from_dict(value), _targets_of(model, loss, head)
    got = len(scaler.x_mean), len(scaler.y_mean)
    if got[0] != model.inputs or (targets is not None and got[1] not in (0, targets)):
        raise ValueError(
            f"expects the scaler to have {counted(model.inputs, 'feature')} and {counted(targets or 0, 'target')}, "
            f"got {got}"
        )
    return scaler


def _horizon(model: Chain, loss: Loss, head: str | None, value: Any) -> int:
    return _whole(value, FARTHEST)


def _features(model: Chain, loss: Loss, head: str | None, value: Any) -> tuple[str, ...] | None:
    return _named(value, model.inputs)


def _targets(model: Chain, loss: Loss, head: str | None, value: Any) -> tuple[str, ...] | None:
    return _named(value, _targets_of(model, loss, head))


def _typical(model: Chain, loss: Loss, head: str | None, value: Any) -> Typical | None:
    """What training targets were like; None in runs of earlier versions."""
    if value is None:
        return None
    rows, mean, label, often = _list(value)
    numbers, targets = _numbers(mean), _targets_of(model, loss, head)
    if targets is not None and len(numbers) != targets:
        raise ValueError(f"expects the mean of {counted(targets, 'target')}, got {len(numbers)}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"expects finite means, got {_shown(numbers)}")
    rows = _whole(rows, MOST)
    return Typical(rows, tuple(numbers), None if label is None else _whole(label, MOST), _whole(often, rows))


_SEEN: dict[str, Callable[..., Any]] = {
    "scaler": _scaler,
    "horizon": _horizon,
    "features": _features,
    "targets": _targets,
}


def _targets_of(model: Chain, loss: Loss, head: str | None) -> int | None:
    """How many targets an output is trained on; None where no one head says."""
    if isinstance(loss, CrossEntropy):
        return 1
    if head is None and model.heads:
        return None
    return (model if head is None else model.head(head)).outputs


def _history(value: Any) -> History:
    plain, known, measures = _mapping(value), History(), {}
    for key in ("steps", "epochs"):
        found = {name: _numbers(numbers) for name, numbers in _mapping(plain[key]).items()}
        missing = [name for name in getattr(known, key) if name not in found]
        if missing:
            raise ValueError(f"expects {key} to have {missing[0]}")
        longer = [name for name, numbers in found.items() if len(numbers) > len(found["loss"])]
        if longer:  # Ctrl-C may have left fewer
            raise ValueError(f"expects no more numbers of {longer[0]} than of loss among the {key}")
        measures[key] = found
    return History({name: Numbers(numbers) for name, numbers in measures["steps"].items()}, measures["epochs"])


def _transfer(value: Any) -> Transfer | None:
    if value is None:
        return None
    plain = _mapping(value)
    for key in ("names", "stages", "parts"):
        _each(dict(enumerate(_list(plain[key]))), _text)
    if len(plain["parts"]) != len(plain["names"]):
        raise ValueError("expects a part for each of its names")
    for key, kinds in (("trained", {bool}), ("errors", {float, int})):
        rows = _list(plain[key])
        if any({type(cell) for cell in _list(row)} - kinds for row in rows):
            raise ValueError(f"expects {key} to be rows of {'numbers' if float in kinds else 'true and false'}")
    return Transfer.from_plain(plain)


def _epoch(history: History, value: Any) -> int | None:
    return None if value is None else _whole(value, max(len(history.epochs["loss"]) - 1, 0))


def _lag(shapes: Mapping[str, Any], value: Any) -> dict[str, int]:
    unknown = [key for key in _mapping(value) if key not in shapes]
    if unknown:
        raise ValueError(f"expects parameters of the model, got {unknown[0]}")
    return _each(value, lambda missed: _whole(missed, MOST))


def _named(value: Any, count: int | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(_text(name) for name in _list(value))
    if count is not None and len(names) != count:
        raise ValueError(f"expects {counted(count, 'name')}, got {_shown(names)}")
    return names


def _each(value: Any, check: Check) -> dict[Any, Any]:
    return {key: check(inner) for key, inner in _mapping(value).items()}


def _mapping(value: Any) -> dict[str, Any]:
    return _of(value, dict, "an object")


def _list(value: Any) -> list[Any]:
    return _of(value, list, "a list")


def _text(value: Any) -> str:
    return _of(value, str, "text")


def _numbers(value: Any) -> list[float]:
    """A list of numbers; any of them may be NaN."""
    if {*map(type, _list(value))} - {float, int}:
        raise ValueError(f"expects a list of numbers, got {_shown(value)}")
    return array("d", value).tolist()


def _whole(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"expects a whole number from 0 to {most}, got {_shown(value)}")
    return value


def _of(value: Any, kind: type, called: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expects {called}, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return reprlib.repr(value)
