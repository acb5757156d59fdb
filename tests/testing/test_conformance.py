"""Every backend that we ship keeps the protocol; and the check that says so can fail."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import rnnkit as rk
from rnnkit import testing
from rnnkit.backend import map_arrays
from rnnkit.testing.blocks import training_checks
from rnnkit.testing.conformance import checks


@pytest.mark.parametrize("name", ["numpy", "numba", "torch"])
def test_backend_keeps_the_protocol(name):
    report = testing.check_backend(name)
    assert report.backend == name
    assert "gradient: c0" in str(report)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("name", ["numba", "torch"])
def test_backend_keeps_the_protocol_whatever_is_drawn(name, seed):
    assert testing.check_backend(name, cases=60, seed=seed)


def broken(**changes):
    """The textbook backend with some functions replaced."""
    base = rk.backend("numpy")
    names = ("name", "forward", "backward", "update", "from_numpy", "to_numpy")
    return SimpleNamespace(**{name: getattr(base, name) for name in names} | changes)


def fails(name, checks):
    """Whether the check of that name finds a difference; those that stand behind it are not made."""
    return any(checked.startswith(name) and not difference <= testing.TOLERANCE for checked, difference in checks)


def forgets_resets(model, params, x, state, reset=None, valid=None, initial=None):
    return rk.backend("numpy").forward(model, params, x, state, None, valid, initial)


def treats_padding_as_reset(model, params, x, state, reset=None, valid=None, initial=None):
    reset = None if valid is None else (reset | ~valid)
    return rk.backend("numpy").forward(model, params, x, state, reset, valid, initial)


def forgets_the_initial_state_given(model, params, x, state, reset=None, valid=None, initial=None):
    return rk.backend("numpy").forward(model, params, x, state, reset, valid)


def resets_to_zeros(model, params, x, state, reset=None, valid=None, initial=None):
    if not isinstance(model.initial, rk.Learned):
        initial = initial or map_arrays(np.zeros_like, state)
    return rk.backend("numpy").forward(model, params, x, state, reset, valid, initial)


def keeps_the_learned_initial_state(model, params, tape, d_y, d_state=None):
    grads = rk.backend("numpy").backward(model, params, tape, d_y, d_state)
    return grads._replace(params={key: g * ("initial" not in key) for key, g in grads.params.items()})


def wrong_first_row(model, params, tape, d_y, d_state=None):
    grads = rk.backend("numpy").backward(model, params, tape, d_y, d_state)
    x = grads.x.copy()
    x[0] = 0
    return grads._replace(x=x)


def ignores_d_state(model, params, tape, d_y, d_state=None):
    return rk.backend("numpy").backward(model, params, tape, d_y, None)


def copies(tree):
    return map_arrays(np.array, tree)


def forgets_the_step(rule, params, grads, rule_state):
    params, rule_state = rk.backend("numpy").update(rule, params, grads, rule_state)
    return params, rule_state._replace(step=1)


def does_nothing(rule, params, grads, rule_state):
    return params, rule_state


def forgets_what_was_missed(rule, params, grads, rule_state):
    return rk.backend("numpy").update(rule, params, grads, rule_state._replace(lag={}))


def counts_all_steps(rule, params, grads, rule_state):
    params, after = rk.backend("numpy").update(rule, params, grads, rule_state._replace(lag={}))
    return params, after._replace(lag=rule_state.lag)


def changes_its_arguments(rule, params, grads, rule_state):
    new, rule_state = rk.backend("numpy").update(rule, params, grads, rule_state)
    for key, value in new.items():
        params[key][...] = value
    return params, rule_state


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"forward": forgets_resets}, "outputs"),
        ({"forward": treats_padding_as_reset}, "final state"),
        ({"forward": forgets_the_initial_state_given}, "outputs"),
        ({"forward": forgets_the_initial_state_given}, "the initial state as an argument"),
        ({"forward": resets_to_zeros}, "final state"),
        ({"backward": keeps_the_learned_initial_state}, "gradient: learned initial state"),
        ({"backward": wrong_first_row}, "gradient: x"),
        ({"backward": ignores_d_state}, "gradient: h0"),
        ({"update": forgets_the_step}, "update: Adam"),
        ({"update": does_nothing}, "update: SGD"),
        ({"update": forgets_what_was_missed}, "update: parameters that have missed some"),
        ({"update": counts_all_steps}, "update: parameters that have missed some"),
        ({"update": counts_all_steps}, "train_block: frozen parameters"),
        ({"update": changes_its_arguments}, "arguments left alone"),
        ({"update": changes_its_arguments, "from_numpy": copies}, "arguments left alone"),
    ],
)
def test_the_check_finds_what_is_wrong(changes, failed):
    assert fails(failed, checks(broken(**changes), 8, np.random.default_rng(0)))


def test_everything_that_is_wrong_is_listed():
    with pytest.raises(
        testing.ConformanceError, match=r"keep the protocol:\n  gradient: x: (.|\n)*arguments left alone: inf"
    ):
        testing.check_backend(broken(backward=wrong_first_row, update=changes_its_arguments), cases=1)


def training(**changes):
    """The textbook backend with a `train_block` of its own that changes its block or its settings first."""

    def train_block(model, carried, block, update, draws):
        for name, change in changes.items():
            if hasattr(block, name):
                block = block._replace(**{name: change(getattr(block, name))})
            elif hasattr(draws, name):
                draws = draws._replace(**{name: change(getattr(draws, name))})
            else:
                update = replace(update, **{name: change(getattr(update, name))})
        return rk.backend("numpy").train_block(model, carried, block, update, draws)

    return broken(train_block=train_block)


def test_the_check_finds_nothing_in_a_train_block_that_changes_nothing():
    assert testing.check_backend(training(), cases=1)


def reads_another_slot(slots):
    return slots and slots._replace(read=np.roll(slots.read, 1, axis=0))


def records_once_a_lane(slots):
    return slots and slots._replace(write=np.where(np.arange(3) == 0, slots.write, -1))


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"origin": lambda origin: np.full_like(origin, 1)}, "train_block: MSE"),
        ({"detached": lambda rows: 0}, "train_block: detached"),
        ({"reweight": lambda factors: None}, "train_block: reweight"),
        ({"scale": lambda scale: None}, "train_block: scale"),
        ({"slots": reads_another_slot}, "train_block: slots"),
        ({"slots": records_once_a_lane}, "train_block: slots"),
        ({"initial": lambda noise: None}, "train_block: noise"),
        ({"frozen": lambda frozen: frozenset()}, "train_block: frozen parameters"),
        ({"frozen": lambda frozen: frozenset(sorted(frozen or ())[1:])}, "train_block: frozen parameters"),
        ({"initial": lambda noise: noise and map_arrays(lambda a: a[::-1], noise)}, "train_block: all"),
    ],
)
def test_the_check_finds_a_train_block_that_leaves_something_out(changes, failed):
    assert fails(failed, training_checks(training(**changes), rk.backend("numpy"), np.random.default_rng(0)))
