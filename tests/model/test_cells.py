"""What follows from a cell's gates and states alone, for cells that rnnkit does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.model import Recurrent, draw_noise, initial_state, parameter_shapes, state_type
from rnnkit.model.initialisers import noise_generator
from rnnkit.model.plain import to_plain
from rnnkit.model.ranges import output_range


class OneState(NamedTuple):
    """What `Apart` remembers."""

    h: Any


class ThreeStates(NamedTuple):
    """What `Narrow` remembers: the first is narrower than the others."""

    h: Any
    c: Any
    m: Any


@dataclass(frozen=True)
class Apart(Recurrent):
    """A cell that keeps the two products of a gate apart, as a GRU does."""

    inputs: int
    hidden: int
    State: ClassVar[type[OneState]] = OneState

    @property
    def gates(self) -> tuple[str, ...]:
        return "r", "n_x", "n_h"

    @property
    def from_x(self) -> tuple[str, ...]:
        return "r", "n_x"

    @property
    def from_state(self) -> tuple[str, ...]:
        return "r", "n_h"


@dataclass(frozen=True)
class Narrow(Recurrent):
    """A cell that gives out fewer numbers than it has units."""

    inputs: int
    hidden: int
    outward: int
    State: ClassVar[type[ThreeStates]] = ThreeStates

    @property
    def gates(self) -> tuple[str, ...]:
        return "i", "f"

    @property
    def widths(self) -> tuple[int, ...]:
        return self.outward, self.hidden, self.hidden


LAYERS = rk.LSTM(1, 3), Apart(3, 4), Narrow(4, 6, 2), rk.Dense(2, 1)


def test_parameters_follow_from_the_gates_and_the_width_of_the_first_state() -> None:
    assert parameter_shapes(Apart(3, 4)) == {
        "weight_ih": (8, 3),
        "weight_hh": (8, 4),
        "bias_ih": (8,),
        "bias_hh": (8,),
    }
    assert parameter_shapes(Narrow(4, 6, 2))["weight_hh"] == (12, 2)
    assert rk.Chain(Narrow(4, 6, 2)).outputs == 2


def test_a_learned_initial_state_has_a_parameter_for_each_state_array() -> None:
    model = rk.Chain(*LAYERS, initial=rk.Learned())
    learned = {key: shape for key, shape in parameter_shapes(model).items() if "initial" in key}
    assert learned == {
        "0.initial_h": (3,),
        "0.initial_c": (3,),
        "1.initial_h": (4,),
        "2.initial_h": (2,),
        "2.initial_c": (6,),
        "2.initial_m": (6,),
    }
    params, state = rk.setup(model, lanes=2)
    params = {key: p + k for k, (key, p) in enumerate(params.items())}
    state = initial_state(model, params, 2)
    assert [type(entry) for entry in state] == [rk.LSTMState, OneState, ThreeStates, tuple]
    np.testing.assert_array_equal(state[2].m, np.tile(params["2.initial_m"], (2, 1)))


def test_fixed_numbers_are_given_by_state_to_the_layers_that_have_it() -> None:
    given = rk.Given(c=((1,) * 3, (2,) * 6), m=((3,) * 6,), h=((4,) * 3, (5,) * 4, (6,) * 2))
    model = rk.Chain(*LAYERS, initial=given)
    state = rk.setup(model, lanes=2)[1]
    assert [[a.shape for a in entry] for entry in state] == [[(2, 3)] * 2, [(2, 4)], [(2, 2), (2, 6), (2, 6)], []]
    assert [[a[1, 0] for a in entry] for entry in state] == [[4, 1], [5], [6, 2, 3], []]
    assert rk.Given.of(state) == given
    assert hash(rk.Given.of(state)) == hash(given)
    assert to_plain(given)["m"] == ((3.0,) * 6,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rk.Given(), r"by the names of the state's arrays, such as h=.*, got none"),
        (lambda: rk.Given(((1.0,),), ((2.0,),)), r"such as h=.*, got numbers without names; write Given.of\(state\)"),
        (lambda: rk.Chain(*LAYERS, initial=rk.Given(h=((4,) * 3, (5,) * 4, (6,) * 2))), r"initial\.c to have \(3, 6\)"),
        (
            lambda: rk.Chain(rk.LSTM(1, 1), initial=rk.Given(h=((0,),), c=((0,),), z=((0,),))),
            r"initial\.z to have \(\)",
        ),
    ],
)
def test_numbers_that_do_not_fit_the_states_are_refused(call: Any, message: str) -> None:
    with pytest.raises(rk.ModelError, match=message):
        call()


def test_numbers_that_are_given_are_copied_and_asked_for_by_name() -> None:
    import copy
    import pickle

    given = rk.Given(h=((0.5,),), c=((1.0,),))
    assert copy.deepcopy(given) == pickle.loads(pickle.dumps(given)) == given
    assert repr(given) == "Given(h=((0.5,),), c=((1.0,),))"
    assert given.c == ((1.0,),)
    with pytest.raises(AttributeError, match="'m'"):
        _ = given.m


def test_noise_is_drawn_for_each_state_array() -> None:
    model = rk.Chain(*LAYERS, initial=rk.Noise(0.1))
    drawn = draw_noise(model, noise_generator(model, 0, 0), 5, 2, "float32")
    assert drawn is not None
    assert [[a.shape for a in entry] for entry in drawn] == [
        *([[(5, 2, 3)] * 2, [(5, 2, 4)]]),
        *([[(5, 2, 2), (5, 2, 6), (5, 2, 6)], []]),
    ]


def test_a_cell_without_equations_is_refused_by_name() -> None:
    model = rk.Chain(Apart(1, 2))
    params, state = rk.setup(model)
    for backend in ("numpy", "torch"):
        engine = rk.backend(backend)
        arrays = engine.from_numpy((params, np.zeros((3, 1, 1), np.float32), state))
        with pytest.raises(rk.ModelError, match=rf"backend '{backend}' cannot run the layer Apart.*; it knows LSTM"):
            engine.forward(model, *arrays)


def test_what_a_model_of_such_cells_weighs_and_gives() -> None:
    assert rk.summary(rk.Chain(*LAYERS)).state == 6 + 4 + 14
    assert [state_type(layer) for layer in LAYERS] == [rk.LSTMState, OneState, ThreeStates, None]
    assert not output_range(Apart(1, 2)).is_bounded
    assert output_range(rk.LSTM(1, 2)).is_bounded
