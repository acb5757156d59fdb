"""What a backend is: the functions that it must bring, those that it may bring, and the values that pass between.

Arrays are time-major, and the dtype of the parameters is the dtype of everything. Trees are dicts, tuples and named
tuples of the backend's arrays, unless they are said to be NumPy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss
from rnnkit.model.rules import Clip, Rule, RuleState
from rnnkit.model.state import State

if TYPE_CHECKING:
    from rnnkit.schedule.batch import Block

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


class Carried(NamedTuple):
    """The one value that training hands from block to block: the backend's arrays.

    Attributes:
        params: parameters.
        rule_state: what the rule remembers.
        state: of each lane, `(B, H)` each; what lanes with `origin >= 0` go on from.
        store: the recorded states, `(M, H)` each, where the schedule has slots, else None; `train_block` may use the
            arrays that it is given up.
    """

    params: dict[str, Any]
    rule_state: RuleState
    state: State
    store: State | None = None


@dataclass(frozen=True, eq=False)
class Update:
    """How the windows of a block change the parameters.

    Attributes:
        rule: the optimizer; its learning rate is replaced by that of each step.
        loss: the loss.
        clip: how gradients are clipped, or None.
        learning_rates: `(K,)`.
        frozen: keys of parameters that are not trained: neither they nor their moments change, their gradient counts
            in no norm, no clipping and no check, and their lag in the rule state grows by one with every update.
        remat: keep the state every so many rows and compute the rest of the tape again on the way back; 0: keep all.
    """

    rule: Rule
    loss: Loss
    clip: Clip | None
    learning_rates: np.ndarray
    frozen: frozenset[str] = frozenset()
    remat: int = 0


class Draws(NamedTuple):
    """The random numbers of a block, NumPy arrays.

    Attributes:
        initial: `(K, B, H)` each, the initial states of a model with `initial=Noise(...)`; None: the model's own.
    """

    initial: State | None = None


class Report(NamedTuple):
    """What is measured while training through a block of K batches.

    Attributes:
        loss: `(K,)` float64, each window's loss before its update; 0 for a window without a scored row.
        norm: `(K,)` float64, global 2-norm of each window's gradient before clipping.
        done: windows trained. Less than K when the loss or gradient of window `done` is not finite: its update was
            not made, its loss and norm are recorded, and what is carried is what stood before it.
    """

    loss: np.ndarray
    norm: np.ndarray
    done: int


@runtime_checkable
class Backend(Protocol):
    """Five pure functions over arrays of the backend's own kind; they change none of their arguments.

    `reset` and `valid` are NumPy bool arrays `(T, B)`; left out, no row resets and every row is valid. Where
    `reset[t, b]`, lane b's state becomes the initial state before row t, whether the row is valid or not, and no
    gradient crosses. Where `valid[t, b]` is false the state of every layer is held, the output row is zero, and x and
    `d_y` there have no influence.

    A backend may bring more, see the protocols `With...`; what it leaves out, `rnnkit.backend.backend` composes.
    A model, loss or rule that a backend cannot run raises `ModelError`.
    """

    @property
    def name(self) -> str:
        """The entry point's name, for messages."""
        ...

    def forward(
        self,
        model: Chain,
        params: dict[str, Any],
        x: Any,
        state: State,
        reset: np.ndarray | None = None,
        valid: np.ndarray | None = None,
        initial: State | None = None,
    ) -> tuple[Any, State, Any]:
        """Run a window forward, and keep what the way back needs.

        Args:
            model: the `Chain`.
            params: its parameters.
            x: `(T, B, I)`.
            state: what stands before row 0, `(B, H)` each.
            reset, valid: `(T, B)` bool, NumPy arrays.
            initial: like the state, what a reset makes of the state; left out, the model's own initial state
                (`rnnkit.model.initial_state`). A model with `Learned()` takes its own alone.

        Returns:
            `(y, state, tape)`: `y (T, B, O)`, what stands after row T-1, and what `backward` needs, opaque to
            everyone else.

        Raises:
            ModelError: what does not fit the model, or a layer that the backend cannot run.
        """
        ...

    def backward(
        self, model: Chain, params: dict[str, Any], tape: Any, d_y: Any, d_state: State | None = None
    ) -> Gradients:
        """Go back through a window.

        What flows into resets inside the window enters the parameters of a learned initial state, summed over lanes;
        what flows into the state before row 0 does not.

        Args:
            model, params: as for `forward`.
            tape: what `forward` returned.
            d_y: `(T, B, O)`, the derivative of a scalar with respect to the outputs.
            d_state: a tuple like the state, with respect to the state after row T-1; left out, zeros.

        Raises:
            ModelError: gradients that do not fit the window.
        """
        ...

    def update(
        self, rule: Rule, params: dict[str, Any], grads: dict[str, Any], rule_state: RuleState
    ) -> tuple[dict[str, Any], RuleState]:
        """Make one optimizer step.

        Bias corrections count a parameter's own steps, `rule_state.step + 1 - rule_state.lag.get(key, 0)`; the lag is
        handed on as it is.

        Returns:
            `(params, rule_state)`, new.

        Raises:
            ModelError: a rule that the backend does not know.
        """
        ...

    def from_numpy(self, tree: Any) -> Any:
        """Turn a tree of NumPy arrays into one of the backend's arrays."""
        ...

    def to_numpy(self, tree: Any) -> Any:
        """Turn a tree of the backend's arrays into one of NumPy arrays."""
        ...


class WithTraining(Protocol):
    """A backend that trains through a block of batches in one call."""

    def train_block(
        self, model: Chain, carried: Carried, block: Block, update: Update, draws: Draws
    ) -> tuple[Carried, Report]:
        """Train through K batches: forward, loss, backward, clipping and update, one after the other.

        A window without a scored row only advances the state: no update is made. Its loss and norm are 0. Nor is one
        made where all rows are detached.

        Args:
            model: the `Chain`.
            carried: what the block before has left; not changed, but for its `store`, which may be used up.
            block: K batches, NumPy arrays.
            update: how they change the parameters.
            draws: the random numbers of the block.

        Returns:
            `(carried, report)`: what stands after the last update. What is frozen is as it was, its lag grown by the
            updates made; the state of each lane is that after row `origin[K] - 1` of the last batch, or where training
            stopped short, what the lanes of that window go on from.

        Raises:
            ModelError: arrays or keys that do not fit each other or the model, or labels that are no class.
        """
        ...


class WithOutputs(Protocol):
    """A backend that runs forward without a tape, in memory that does not grow with the rows."""

    def outputs(
        self,
        model: Chain,
        params: dict[str, Any],
        x: Any,
        state: State,
        reset: np.ndarray | None = None,
        valid: np.ndarray | None = None,
        initial: State | None = None,
    ) -> tuple[Any, State]:
        """Take what `forward` takes, and return `(y, state)`."""
        ...


class RowStepper(Protocol):
    """A model that reads one row after the other, for `rk.Stream`."""

    @property
    def state(self) -> State:
        """What the model remembers, the backend's arrays; it can be replaced."""
        ...

    @state.setter
    def state(self, state: State) -> None: ...

    def step(self, x: np.ndarray) -> np.ndarray:
        """Read one row `(B, I)`, a NumPy array of either float dtype, and return a new `(B, O)` in float64."""
        ...


class WithStepper(Protocol):
    """A backend that brings a faster way to read one row after the other."""

    def stepper(self, model: Chain, params: Mapping[str, Any], lanes: int, state: State) -> RowStepper:
        """Make what reads one row of `lanes` lanes at a time, `state` being what stands before the first."""
        ...


class RowBack(Protocol):
    """One row of a layer on the way back: what is seen there, and what goes on to the row before and the layer below.

    Attributes:
        seen: the derivatives by name, `(..., H)`.
        d_state: with respect to the state before the row, like a state's entry.
        d_x: with respect to what the layer reads.
    """

    @property
    def seen(self) -> dict[str, np.ndarray]: ...
    @property
    def d_state(self) -> Any: ...
    @property
    def d_x(self) -> np.ndarray: ...


class LayerPass(Protocol):
    """The numbers of one layer with its parameters, as a backend explains them."""

    def forward(
        self, x: np.ndarray, state: Any, reset: np.ndarray, initial: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The forward numbers by name, and the output `(T, O)`, from `x (T, I)`.

        Args:
            x: what the layer reads.
            state, initial: what stands before row 0, and what a reset makes of it; `(1, H)` each.
            reset: `(T,)` bool.
        """
        ...

    def back(self, rows: dict[str, np.ndarray], t: int, d_y: np.ndarray, d_state: Any) -> RowBack:
        """Back through row t.

        Args:
            rows: what `forward` gave.
            t: the row.
            d_y: with respect to the output of row t, `(..., O)`; as many gradients side by side as you like.
            d_state: with respect to the state after row t, from the rows after it.
        """
        ...


class WithExplanations(Protocol):
    """A backend that shows every number of a pass, for `rk.trace`."""

    def explain(self, model: Chain, params: Mapping[str, np.ndarray]) -> tuple[LayerPass, ...]:
        """Return the numbers of each layer of a chain, of NumPy parameters in float64."""
        ...


class WithOptions(Protocol):
    """A backend that takes options, such as `device="cuda"`."""

    def configure(self, **options: Any) -> Backend:
        """Return the backend with options set.

        Raises:
            BackendError: an option that it does not take, or another value than it expects.
        """
        ...


class WithWarmup(Protocol):
    """A backend that compiles, and can do so ahead of the first use."""

    def warmup(self, dtypes: tuple[str, ...]) -> None:
        """Compile for `"float32"`, `"float64"` or both, or read from disk what has been compiled before."""
        ...

    def cache_folder(self) -> Path | None:
        """Where compiled code is kept; None where no folder can be written."""
        ...
