"""The one door between the core and the backends: the protocol, and `backend(name)`.

A backend is a module (or any object) with a `name` and five functions. It is found by entry point in the group
`rnnkit.backends`, and imported only when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from rnnkit.errors import BackendError, ModelError, counted, did_you_mean
from rnnkit.model.layers import Chain, Learned, layers_to_run, parameter_shapes, zero_state
from rnnkit.model.rules import RuleState
from rnnkit.model.state import State

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "rnnkit.backends"

PARTS = ("name", "forward", "backward", "update", "from_numpy", "to_numpy")
"""What a backend must have."""


class Gradients(NamedTuple):
    """Derivatives of a scalar with respect to everything that goes into a forward pass.

    Attributes:
        params: a dict like the parameters.
        state: a tuple like the state: with respect to what stands before row 0.
        x: `(T, B, I)`.
    """

    params: dict[str, Any]
    state: State
    x: Any


class BlockResult(NamedTuple):
    """What training through a block of K batches leaves behind.

    Attributes:
        params, rule_state: after the last update; what is frozen as it was, its lag grown by the updates made.
        state: of each lane after row `origin[K] - 1` of the last batch.
        loss: `(K,)` float64, each window's loss before its update; 0 for a window without a scored row.
        norm: `(K,)` float64, global 2-norm of each window's gradient before clipping.
        done: windows trained. Less than K when the loss or gradient of window `done` is not finite: its update was
            not made, its loss and norm are recorded, `params` and `rule_state` are those before it, `state` is what
            its carried lanes started from.
        store: the recorded states after the last update, where there was a store.
    """

    params: dict[str, Any]
    rule_state: RuleState
    state: State
    loss: np.ndarray
    norm: np.ndarray
    done: int
    store: State | None = None


@runtime_checkable
class Backend(Protocol):
    """Five pure functions over arrays of the backend's own kind; they change none of their arguments.

    Arrays are time-major, and the dtype of the parameters is the dtype of everything. `reset` and `valid` are NumPy
    bool arrays `(T, B)`; left out, no row resets and every row is valid. Where `reset[t, b]`, lane b's state becomes
    the initial state before row t, whether the row is valid or not, and no gradient crosses. Where `valid[t, b]` is
    false the state of every layer is held, the output row is zero, and x and `d_y` there have no influence.

    A backend may bring four more: `train_block` (see `rnnkit.train.block.train_block`, which composes it from the
    five, parameters that are `frozen` included); `outputs`, which takes what `forward` takes and returns `y, state`,
    without a tape; `configure(**options)`, which returns the backend with options set, such as `device="cuda"`; and
    `stepper(model, params, lanes, state)`, an object for `rk.Stream` with `step(x)`, which reads one NumPy row
    `(B, I)` and returns a new `(B, O)` in float64, and a `state` that can be read and replaced.
    A model, loss or rule that a backend cannot run raises `ModelError`.
    """

    @property
    def name(self) -> str:
        """The entry point's name, for messages."""
        ...

    @property
    def forward(self) -> Callable[..., tuple[Any, State, Any]]:
        """`forward(model, params, x, state, reset=None, valid=None, initial=None) -> y, state, tape`.

        `x (T, B, I)`, `y (T, B, O)`; `state` is what stands before row 0, the returned one after row T-1; the tape
        is what `backward` needs, opaque to everyone else. `initial`, like the state, is what a reset makes of the
        state; left out, the model's own initial state (`rnnkit.model.initial_state`). A model with `Learned()` takes
        its own alone.
        """
        ...

    @property
    def backward(self) -> Callable[..., Gradients]:
        """`backward(model, params, tape, d_y, d_state=None) -> Gradients`.

        `d_y (T, B, O)` and `d_state`, a tuple like the state, are the derivatives of a scalar with respect to the
        outputs and to the final state. What flows into resets inside the window enters the parameters of a learned
        initial state, summed over lanes; what flows into the state before row 0 does not.
        """
        ...

    @property
    def update(self) -> Callable[..., tuple[dict[str, Any], RuleState]]:
        """`update(rule, params, grads, rule_state) -> params, rule_state`: one optimizer step.

        Bias corrections count a parameter's own steps, `rule_state.step + 1 - rule_state.lag.get(key, 0)`; the lag is
        handed on as it is.
        """
        ...

    @property
    def from_numpy(self) -> Callable[[Any], Any]:
        """A tree of NumPy arrays (dicts, tuples, named tuples) as the backend's arrays."""
        ...

    @property
    def to_numpy(self) -> Callable[[Any], Any]:
        """A tree of the backend's arrays as NumPy arrays."""
        ...


def backend(name: str | Backend, **options: Any) -> Backend:
    """Load a backend by the name of its entry point.

    Args:
        name: such as `"numba"`, `"numpy"` or `"torch"`; a backend comes back as it is.
        options: handed to the backend's `configure`, such as `threads=1` for numba (unless told otherwise, one for
            each processor) or `device="cuda"` for torch.

    Raises:
        BackendError: no such backend (the message lists the installed ones), two distributions that declare the
            name differently, a backend whose library is not installed, or options that it does not take.

    Example:
        >>> import rnnkit as rk
        >>> rk.backend("numpy").name
        'numpy'
    """
    loaded = _load(name) if isinstance(name, str) else name
    missing = [part for part in PARTS if not hasattr(loaded, part)]
    if missing:
        raise BackendError(
            f"backend expects a module with {', '.join(PARTS)}, got {loaded!r} without {', '.join(missing)}; "
            f"give the name of an installed backend, such as 'numba', or add what is missing"
        )
    if not options:
        return loaded
    configure = getattr(loaded, "configure", None)
    if configure is None:
        raise BackendError(f"backend {loaded.name!r} takes no options, got {', '.join(options)}; leave them out")
    return configure(**options)


class SentModule(NamedTuple):
    """A backend that is a module, on its way to another process: a module cannot be sent, its name can.

    Attributes:
        name: that of the module.
    """

    name: str


def packed_backend(backend: Backend) -> Any:
    """What to send of a backend: the name of a module; an object, with the options that it was made with, as it is."""
    return SentModule(backend.__name__) if isinstance(backend, ModuleType) else backend


def unpacked_backend(sent: Any) -> Backend:
    """The backend that `packed_backend` was given.

    Raises:
        BackendError: what it needs is not installed here.
    """
    if not isinstance(sent, SentModule):
        return sent
    try:
        return cast(Any, import_module(sent.name))
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the backend of what was sent here needs {error.name!r}, which is not installed; pip install {error.name}"
        ) from error


def installed_backends() -> list[str]:
    """Names of the entry points in the group `rnnkit.backends`, sorted; nothing is imported."""
    return sorted({point.name for point in _entry_points()})


def _load(name: str) -> Any:
    points = {point.value: point for point in _entry_points() if point.name == name}
    if not points:
        known = installed_backends()
        raise BackendError(
            f"backend expects one of the installed backends ({', '.join(known) or 'none'}), got {name!r}"
            f"{did_you_mean(name, known)}"
        )
    if len(points) > 1:
        raise BackendError(
            f"backend {name!r} is declared more than once: {', '.join(sorted(points))}; uninstall all but one"
        )
    (point,) = points.values()
    try:
        return point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        remedy = f"pip install {missing}"
        if point.dist is not None and name in (point.dist.metadata.get_all("Provides-Extra") or ()):
            remedy = f"pip install '{point.dist.name}[{name}]'"
        raise BackendError(f"backend {name!r} needs {missing!r}, which is not installed; {remedy}") from error


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every array of a tree of dicts, tuples and named tuples; numbers, text and None pass."""
    if isinstance(tree, np.ndarray):  # most are, and the other questions take longer
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_arrays(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        mapped = [map_arrays(function, value) for value in tree]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else tuple(mapped)
    return tree if tree is None or isinstance(tree, int | float | str | np.integer) else function(tree)


def check_arguments(
    model: Chain,
    params: Mapping[str, Any],
    x: Any,
    state: Sequence[Any],
    reset: np.ndarray | None,
    valid: np.ndarray | None,
    initial: Sequence[Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What every backend's `forward` checks first.

    Returns:
        `(reset, valid)`, bool `(T, B)`, filled in where they were left out.

    Raises:
        ModelError: a model with heads; parameters, x, state, reset or valid whose names or shapes do not fit it.
    """
    if not isinstance(model, Chain):
        raise ModelError(f"forward expects a Chain, got {type(model).__name__}; write rk.Chain(rk.LSTM(1, 10), ...)")
    layers_to_run(model, "forward")
    check_parameters(model, params)
    if not hasattr(x, "shape") or not isinstance(state, tuple):
        raise ModelError(
            f"forward expects x and state as the backend's arrays, got {type(x).__name__} and {type(state).__name__}; "
            f"make them with from_numpy(...) and rk.setup(model)"
        )
    dtypes = {array.dtype for array in (*params.values(), x)}
    if len(dtypes) > 1:
        raise ModelError(f"forward expects x and all parameters of one dtype, got {' and '.join(map(str, dtypes))}")
    if len(x.shape) != 3 or x.shape[2] != model.inputs:
        raise ModelError(
            f"forward expects x of shape (T, B, {model.inputs}) for {model}, got {tuple(x.shape)}; "
            f"arrays are time-major: rows, lanes, features"
        )
    steps, lanes = int(x.shape[0]), int(x.shape[1])
    if steps < 1 or lanes < 1:
        raise ModelError(f"forward expects at least one row and one lane, got x of shape {tuple(x.shape)}")
    expected, got = state_shapes(model, lanes), shapes_in(state)
    if got != expected:
        raise ModelError(
            f"forward expects a state of shapes {expected} for {counted(lanes, 'lane')}, got {got}; "
            f"make one with rk.setup(model, lanes={lanes})"
        )
    if initial is not None and isinstance(model.initial, Learned):
        raise ModelError("forward expects no initial state for a model with initial=Learned(): it stands in params")
    if initial is not None and shapes_in(initial) != expected:
        raise ModelError(f"forward expects an initial state of shapes {expected}, got {shapes_in(initial)}")
    masks = []
    for label, mask, default in (("reset", reset, False), ("valid", valid, True)):
        mask = np.full((steps, lanes), default) if mask is None else np.asarray(mask)
        if mask.shape != (steps, lanes) or mask.dtype != np.bool_:
            raise ModelError(
                f"forward expects {label} to be bool of shape {(steps, lanes)}, got {mask.dtype} {mask.shape}"
            )
        masks.append(mask)
    return masks[0], masks[1]


def state_shapes(model: Chain, lanes: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The shapes of a model's state, an entry a layer."""
    return shapes_of(zero_state(model, lanes, np.dtype(bool)))


def shapes_of(state: Sequence[Any]) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The shapes of a state's arrays, an entry a layer."""
    return tuple(tuple(tuple(array.shape) for array in entry) for entry in state)


def shapes_in(state: Any) -> Any:
    """The shapes of whatever stands for a state; where it is none, what stands there, in words."""
    try:
        return shapes_of(state)
    except (AttributeError, TypeError):
        return "None" if state is None else f"{type(state).__name__} {state!r}"[:200]


def check_gradients(model: Chain, window: tuple[int, ...], d_y: Any, d_state: Sequence[Any] | None) -> None:
    """What every backend's `backward` checks first, for a window of `(T, B)`.

    Raises:
        ModelError: gradients whose shapes are not those of the outputs and of the state.
    """
    steps, lanes = window
    if tuple(d_y.shape) != (steps, lanes, model.outputs):
        raise ModelError(f"backward expects d_y of shape {(steps, lanes, model.outputs)}, got {tuple(d_y.shape)}")
    expected = state_shapes(model, lanes)
    if d_state is not None and shapes_in(d_state) != expected:
        raise ModelError(f"backward expects d_state of shapes {expected}, got {shapes_in(d_state)}")


def check_parameters(model: Chain, params: Mapping[str, Any]) -> None:
    """Check that parameters have the names and shapes that a model expects.

    Raises:
        ModelError: naming the first that does not.
    """
    expected = parameter_shapes(model)
    if not isinstance(params, Mapping):
        raise ModelError(
            f"the model expects its parameters as a dict of arrays, got {type(params).__name__}; "
            f"make them with rk.setup(model)"
        )
    for key, shape in expected.items():
        if key not in params:
            raise ModelError(
                f"the model expects a parameter {key!r} of shape {shape}, got none; make them with rk.setup(model)"
            )
        got = tuple(params[key].shape) if hasattr(params[key], "shape") else type(params[key]).__name__
        if got != shape:
            raise ModelError(
                f"the model expects parameter {key!r} of shape {shape}, got {got}; take those of "
                f"the same model, or make them with rk.setup(model)"
            )
    extra = [key for key in params if key not in expected]
    if extra:
        raise ModelError(f"the model expects no parameter {extra[0]!r}, got one; leave it out")
