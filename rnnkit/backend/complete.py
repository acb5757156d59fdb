"""The completed backend: what a backend does not bring is composed from what it must bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rnnkit.backend.protocol import Backend, Carried, Draws, Gradients, LayerPass, Report, RowStepper, Update
from rnnkit.errors import BackendError
from rnnkit.model.layers import Chain
from rnnkit.model.rules import Rule, RuleState
from rnnkit.model.state import State

if TYPE_CHECKING:
    from rnnkit.schedule.batch import Block


@dataclass(frozen=True, repr=False)
class CompleteBackend:
    """A backend with every function that rnnkit knows: its own where it brings one, else a composed one.

    Two are equal where what they complete is. A module is copied and sent to other processes by its name, an object
    with options as it is.

    Attributes:
        own: what is completed.

    Example:
        >>> import rnnkit as rk
        >>> rk.backend("numpy")
        CompleteBackend('numpy')
    """

    own: Any

    @property
    def name(self) -> str:
        """The entry point's name, for messages."""
        return self.own.name

    def forward(
        self,
        model: Chain,
        params: Mapping[str, Any],
        x: Any,
        state: State,
        reset: np.ndarray | None = None,
        valid: np.ndarray | None = None,
        initial: State | None = None,
    ) -> tuple[Any, State, Any]:
        """Run a window forward, and keep what the way back needs: see `Backend.forward`."""
        return self.own.forward(model, params, x, state, reset, valid, initial)

    def backward(
        self, model: Chain, params: Mapping[str, Any], tape: Any, d_y: Any, d_state: State | None = None
    ) -> Gradients:
        """Go back through a window: see `Backend.backward`."""
        return self.own.backward(model, params, tape, d_y, d_state)

    def update(
        self, rule: Rule, params: Mapping[str, Any], grads: Mapping[str, Any], rule_state: RuleState
    ) -> tuple[dict[str, Any], RuleState]:
        """Make one optimizer step: see `Backend.update`."""
        return self.own.update(rule, params, grads, rule_state)

    def from_numpy(self, tree: Any) -> Any:
        """Turn a tree of NumPy arrays into one of the backend's arrays."""
        return self.own.from_numpy(tree)

    def to_numpy(self, tree: Any) -> Any:
        """Turn a tree of the backend's arrays into one of NumPy arrays."""
        return self.own.to_numpy(tree)

    def train_block(
        self, model: Chain, carried: Carried, block: Block, update: Update, draws: Draws
    ) -> tuple[Carried, Report]:
        """Train through K batches: see `WithTraining.train_block`; composed from the five functions."""
        own = getattr(self.own, "train_block", None)
        if own is not None:
            return own(model, carried, block, update, draws)
        from rnnkit.backend.block import train_block

        return train_block(self, model, carried, block, update, draws)

    @property
    def keeps_tape(self) -> bool:
        """Whether `outputs` holds the tape of all rows that it is given, because there is nothing but `forward`."""
        return getattr(self.own, "outputs", None) is None

    def outputs(
        self,
        model: Chain,
        params: Mapping[str, Any],
        x: Any,
        state: State,
        reset: np.ndarray | None = None,
        valid: np.ndarray | None = None,
        initial: State | None = None,
    ) -> tuple[Any, State]:
        """Run a window forward alone, and return `(y, state)`: `forward` where the backend brings nothing else."""
        if self.keeps_tape:
            return self.forward(model, params, x, state, reset, valid, initial)[:2]
        return self.own.outputs(model, params, x, state, reset, valid, initial)

    def stepper(self, model: Chain, params: Mapping[str, Any], lanes: int, state: State) -> RowStepper:
        """Make what reads one row of `lanes` lanes at a time: a `ForwardStepper` where the backend brings none."""
        own = getattr(self.own, "stepper", None)
        return ForwardStepper(self, model, params, state) if own is None else own(model, params, lanes, state)

    def explain(self, model: Chain, params: Mapping[str, np.ndarray]) -> tuple[LayerPass, ...]:
        """Show every number of a pass: see `WithExplanations.explain`.

        Raises:
            BackendError: a backend that does not bring it.
        """
        own = getattr(self.own, "explain", None)
        if own is None:
            raise BackendError(f"backend {self.name!r} does not show its numbers; the backend 'numpy' does")
        return own(model, params)

    def configure(self, **options: Any) -> CompleteBackend:
        """The backend with options set, completed.

        Raises:
            BackendError: a backend that takes none, an option that it does not take, or another value than it expects.
        """
        own = getattr(self.own, "configure", None)
        if own is None:
            raise BackendError(f"backend {self.name!r} takes no options, got {', '.join(options)}; leave them out")
        return CompleteBackend(own(**options))

    def warmup(self, dtypes: tuple[str, ...]) -> None:
        """Compile ahead of the first use; a backend that does not compile has nothing to do."""
        own = getattr(self.own, "warmup", None)
        if own is not None:
            own(dtypes)

    def cache_folder(self) -> Path | None:
        """Where compiled code is kept; None where nothing is, or where no folder can be written."""
        own = getattr(self.own, "cache_folder", None)
        return None if own is None else own()

    def __repr__(self) -> str:
        shown = repr(self.name) if isinstance(self.own, ModuleType) else repr(self.own)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        sent = SentModule(self.own.__name__) if isinstance(self.own, ModuleType) else self.own
        return _received, (sent,)

    if not TYPE_CHECKING:  # what the protocol does not know, such as `threads`, is the backend's own

        def __getattr__(self, name: str) -> Any:
            if name == "own" or name.startswith("__"):  # no such thing while one is being made or copied
                raise AttributeError(name)
            return getattr(self.own, name)


class SentModule(NamedTuple):
    """A backend that is a module, on its way to another process: a module cannot be sent, its name can.

    Attributes:
        name: that of the module.
    """

    name: str


def _received(sent: Any) -> CompleteBackend:
    """The completed backend that was copied or sent.

    Raises:
        BackendError: what it needs is not installed here.
    """
    if not isinstance(sent, SentModule):
        return CompleteBackend(sent)
    try:
        return CompleteBackend(import_module(sent.name))
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the backend of what was sent here needs {error.name!r}, which is not installed; pip install {error.name}"
        ) from error


class ForwardStepper:
    """A backend's `forward` as a stepper."""

    def __init__(self, backend: Backend, model: Chain, params: Mapping[str, Any], state: State) -> None:
        self._backend, self._model, self._params = backend, model, dict(params)
        self._dtype = next(iter(backend.to_numpy(self._params).values())).dtype
        self.state = state

    def step(self, x: np.ndarray) -> np.ndarray:
        """Read one row `(B, I)` of any float dtype, and return `(B, O)` in float64, NumPy arrays."""
        engine = self._backend
        row = engine.from_numpy(x[None].astype(self._dtype))
        y, self.state, _ = engine.forward(self._model, self._params, row, self.state)
        return engine.to_numpy(y)[0].astype(np.float64)
