"""Every backend that we ship keeps the protocol; and the check that says so can fail."""

from types import SimpleNamespace

import numpy as np
import pytest

import rnnkit as rk
from rnnkit import testing
from rnnkit.backend import map_arrays


@pytest.mark.parametrize("name", ["numpy", "numba", "torch"])
def test_backend_keeps_the_protocol(name):
    report = testing.check_backend(name)
    assert report.backend == name
    assert "gradient: c0" in str(report)


def broken(**changes):
    """The textbook backend with some functions replaced."""
    base = rk.backend("numpy")
    names = ("name", "forward", "backward", "update", "from_numpy", "to_numpy")
    return SimpleNamespace(**{name: getattr(base, name) for name in names} | changes)


def forgets_resets(model, params, x, state, reset=None, valid=None):
    return rk.backend("numpy").forward(model, params, x, state, None, valid)


def treats_padding_as_reset(model, params, x, state, reset=None, valid=None):
    reset = None if valid is None else (reset | ~valid)
    return rk.backend("numpy").forward(model, params, x, state, reset, valid)


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
        ({"backward": wrong_first_row}, "gradient: x"),
        ({"backward": ignores_d_state}, "gradient: h0"),
        ({"update": forgets_the_step}, "update: Adam"),
        ({"update": does_nothing}, "update: SGD"),
        ({"update": changes_its_arguments}, "arguments left alone"),
        ({"update": changes_its_arguments, "from_numpy": copies}, "arguments left alone"),
    ],
)
def test_the_check_finds_what_is_wrong(changes, failed):
    with pytest.raises(testing.ConformanceError, match=failed):
        testing.check_backend(broken(**changes), cases=8)


def test_the_check_finds_a_train_block_that_ignores_origins():
    def train_block(model, params, state, rule_state, block, **settings):
        from rnnkit.train.block import train_block

        ends = np.full_like(block.origin, block.x.shape[1])
        return train_block(
            rk.backend("numpy"), model, params, state, rule_state, block._replace(origin=ends), **settings
        )

    with pytest.raises(testing.ConformanceError, match="train_block: MSE"):
        testing.check_backend(broken(train_block=train_block), cases=2)
