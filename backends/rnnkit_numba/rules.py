"""Optimizers by number; the equations stand in `rnnkit.model.rules`. All parameters are one buffer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import CLIP_EPSILON, SGD, Adam, AdamW, Clip, ClipNorm, ClipValue, RMSProp, RuleState
from rnnkit.model.frozen import stretches
from rnnkit_numba.compiled import inlined, kernel
from rnnkit_numba.kernels.pointers import pointer
from rnnkit_numba.kernels.vectors import W_of, fma, like, load_at, load_first, root, store_at, total, where_less, widen

CODE_SGD, CODE_ADAM, CODE_ADAMW, CODE_RMSPROP = range(4)
NO_CLIP, CLIP_NORM, CLIP_VALUE = range(3)


@singledispatch
def rule_code(rule: object) -> tuple[int, np.ndarray]:
    """A rule as the number of its kind and its settings `(5,)` float64; the learning rate goes by itself."""
    raise ModelError(f"backend 'numba' cannot run the rule {rule!r}; it knows SGD, Adam, AdamW, RMSProp")


@rule_code.register
def _(rule: SGD) -> tuple[int, np.ndarray]:
    return CODE_SGD, _settings(rule.momentum, rule.nesterov, rule.weight_decay)


@rule_code.register
def _(rule: Adam) -> tuple[int, np.ndarray]:
    return CODE_ADAM, _settings(rule.beta1, rule.beta2, rule.epsilon, rule.weight_decay)


@rule_code.register
def _(rule: AdamW) -> tuple[int, np.ndarray]:
    return CODE_ADAMW, _settings(rule.beta1, rule.beta2, rule.epsilon, rule.weight_decay)


@rule_code.register
def _(rule: RMSProp) -> tuple[int, np.ndarray]:
    return CODE_RMSPROP, _settings(rule.alpha, rule.epsilon, rule.momentum, rule.centered, rule.weight_decay)


def _settings(*values: float) -> np.ndarray:
    return np.array([*values, *[0.0] * (5 - len(values))], np.float64)


def clip_code(clip: Clip | None) -> tuple[int, float]:
    """A way of clipping as its number and its limit."""
    if clip is None:
        return NO_CLIP, 0.0
    if isinstance(clip, ClipNorm):
        return CLIP_NORM, float(clip.maximum)
    if isinstance(clip, ClipValue):
        return CLIP_VALUE, float(clip.maximum)
    raise ModelError(f"backend 'numba' cannot run the clipping {clip!r}; it knows ClipNorm and ClipValue")


class Updating(NamedTuple):
    """How parameters are updated.

    Attributes:
        rule, settings: see `rule_code`.
        clip, clip_limit: see `clip_code`.
        stretches: `(S, 3)`, which parameters are trained and how many updates they have missed: see `stretch_table`.
    """

    rule: int
    settings: Any
    clip: int
    clip_limit: float
    stretches: Any


class Trained(NamedTuple):
    """What an update reads and changes, all in one order.

    Attributes:
        params: `(P,)`, changed in place.
        grad: `(P,)`, clipped in place.
        slots: `(moments, P)`, changed in place.
    """

    params: Any
    grad: Any
    slots: Any


FIRST, LAST, LAG = range(3)
"""Columns of the table of stretches: a stretch has the numbers FIRST to LAST - 1, and has missed LAG updates."""

FROZEN = -1
"""What stands under LAG where the stretch misses the next updates, too."""


def stretch_table(
    shapes: Mapping[str, tuple[int, ...]], rule_state: RuleState, frozen: Collection[str] = frozenset()
) -> np.ndarray:
    """The parameters in stretches that are treated alike, `(S, 3)` int64; a single one where nothing lags.

    Raises:
        ModelError: frozen parameters or lags that do not fit.
    """
    rows = [(s.first, s.last, FROZEN if s.frozen else s.lag) for s in stretches(shapes, rule_state, frozen)]
    return np.array(rows, np.int64)


NORM_NUMBERS = 4096
"""Numbers whose squares are summed together; a constant, so that no norm depends on the number of threads."""


@kernel
def add_squares(stretches, grad, squares, part, parts):
    """Write the sum of squares of every NORM_NUMBERS gradients, in float64, for one part of them.

    The gradients, whole vectors of them, are in panels; those of frozen parameters become zeros: they count nowhere.
    """
    W = W_of(grad)
    for piece in range(part, squares.size, parts):
        first = piece * NORM_NUMBERS
        last = min(first + NORM_NUMBERS, grad.size)
        for s in range(stretches.shape[0]):
            if stretches[s, LAG] == FROZEN:
                for j in range(max(first, stretches[s, FIRST]), min(last, stretches[s, LAST])):
                    grad[j] = 0
        size, g = last - first, pointer(grad, first, last - first)
        sum_0, sum_1 = widen(load_first(g, 0, 0))  # zeros
        sum_2, sum_3 = sum_0, sum_1
        for j in range(0, size, 2 * W):  # four sums side by side, as one would wait for each addition
            low, high = widen(load_at(g, j))
            sum_0, sum_1 = fma(low, low, sum_0), fma(high, high, sum_1)
            if j + W < size:
                low, high = widen(load_at(g, j + W))
                sum_2, sum_3 = fma(low, low, sum_2), fma(high, high, sum_3)
        squares[piece] = total((sum_0 + sum_1) + (sum_2 + sum_3))


@kernel
def global_norm(squares):
    """2-norm of all gradients."""
    square = 0.0
    for piece in range(squares.size):
        square += squares[piece]
    return math.sqrt(square)


@kernel
def clip_gradients(code, maximum, norm, grad, first, last):
    """Clip numbers `first` to `last - 1` in place."""
    W, g = W_of(grad), pointer(grad, first, last - first)
    size = last - first
    if code == CLIP_NORM:
        factor = min(1.0, maximum / (norm + CLIP_EPSILON))
        for j in range(0, size - W + 1, W):
            g_j = load_at(g, j)
            store_at(g_j * like(g_j, factor), g, j)
        for j in range(size - size % W, size):
            g[j] = g[j] * like(g[j], factor)
    elif code == CLIP_VALUE:
        for j in range(0, size - W + 1, W):
            store_at(within(load_at(g, j), maximum), g, j)
        for j in range(size - size % W, size):
            g[j] = within(g[j], maximum)


@inlined
def within(g, maximum):
    """g between -maximum and maximum; NaN stays."""
    top = like(g, maximum)
    bottom = like(g, -maximum)
    g = where_less(top, g, top, g)
    return where_less(g, bottom, bottom, g)


@kernel
def update_stretches(updating, learning_rate, count, norm, trained, first, last):
    """Clip the gradients and make update number `count`, from 1, of numbers `first` to `last - 1`; not of frozen ones.

    A parameter that has missed some updates counts its own.
    """
    stretches, rule, settings = updating.stretches, updating.rule, updating.settings
    for s in range(stretches.shape[0]):
        low, high, lag = max(first, stretches[s, FIRST]), min(last, stretches[s, LAST]), stretches[s, LAG]
        if lag != FROZEN and low < high:
            clip_gradients(updating.clip, updating.clip_limit, norm, trained.grad, low, high)
            step(rule, settings, learning_rate, count - lag, trained, low, high)


@kernel
def may_divide_by_zero(code, settings, params):
    """Whether a parameter that has had no gradient becomes NaN: there is no epsilon, or none in this dtype."""
    if code == CODE_SGD:
        return False
    return like(params[0], settings[1] if code == CODE_RMSPROP else settings[2]) == 0


@kernel
def step(code, settings, learning_rate, count, trained, first, last):
    """Make update number `count`, from 1, of parameters `first` to `last - 1`.

    Every rule is written once, for a number or a
    vector of them: whole vectors first, then what is left, so that a parameter's bits do not depend on its place.
    """
    params, grad, slots = trained
    W, size = W_of(params), last - first
    p, g = pointer(params, first, size), pointer(grad, first, size)
    whole = size - size % W
    if code == CODE_SGD:
        plain = settings[0] == 0
        b = p if plain else pointer(slots, first, size)
        for j in range(0, whole, W):
            new, b_j = sgd(settings, learning_rate, load_at(p, j), load_at(g, j), load_at(b, j))
            if not plain:
                store_at(b_j, b, j)
            store_at(new, p, j)
        for j in range(whole, size):
            new, b_j = sgd(settings, learning_rate, p[j], g[j], b[j])
            if not plain:
                b[j] = b_j
            p[j] = new
    elif code == CODE_RMSPROP:
        centered, moving = settings[3] != 0, settings[2] != 0
        row = slots.shape[1]
        s = pointer(slots, first, size)
        a = pointer(slots, row * (1 if centered else 0) + first, size)
        b = pointer(slots, row * (slots.shape[0] - 1) + first, size)
        for j in range(0, whole, W):
            new, s_j, a_j, b_j = rmsprop(
                settings, learning_rate, load_at(p, j), load_at(g, j), load_at(s, j), load_at(a, j), load_at(b, j)
            )
            store_at(s_j, s, j)
            if centered:
                store_at(a_j, a, j)
            if moving:
                store_at(b_j, b, j)
            store_at(new, p, j)
        for j in range(whole, size):
            new, s_j, a_j, b_j = rmsprop(settings, learning_rate, p[j], g[j], s[j], a[j], b[j])
            s[j] = s_j
            if centered:
                a[j] = a_j
            if moving:
                b[j] = b_j
            p[j] = new
    else:
        m, v = pointer(slots, first, size), pointer(slots, slots.shape[1] + first, size)
        decoupled = code == CODE_ADAMW
        scale = learning_rate / (1 - settings[0] ** count)
        grown = math.sqrt(1 - settings[1] ** count)
        for j in range(0, whole, W):
            new, m_j, v_j = adam(
                decoupled,
                settings,
                learning_rate,
                scale,
                grown,
                load_at(p, j),
                load_at(g, j),
                load_at(m, j),
                load_at(v, j),
            )
            store_at(m_j, m, j)
            store_at(v_j, v, j)
            store_at(new, p, j)
        for j in range(whole, size):
            p[j], m[j], v[j] = adam(decoupled, settings, learning_rate, scale, grown, p[j], g[j], m[j], v[j])


@inlined
def sgd(settings, learning_rate, p, g, b):
    """SGD: the parameter, and b, which only momentum keeps."""
    rate, momentum = like(p, learning_rate), like(p, settings[0])
    g = g + like(p, settings[2]) * p
    if settings[0] == 0:
        return p - rate * g, g
    b = momentum * b + g
    return p - rate * (g + momentum * b if settings[1] != 0 else b), b


@inlined
def adam(decoupled, settings, learning_rate, scale, grown, p, g, m, v):
    """Adam, or AdamW where the weight decay is decoupled: the parameter, m and v."""
    if not decoupled:
        g = fma(like(p, settings[3]), p, g)
    m = fma(like(p, settings[0]), m, like(p, 1 - settings[0]) * g)
    v = fma(like(p, settings[1]), v, like(p, 1 - settings[1]) * (g * g))
    p = fma(like(p, -learning_rate * settings[3] if decoupled else 0.0), p, p)
    return p - like(p, scale) * m / fma(root(v), like(p, 1 / grown), like(p, settings[2])), m, v


@inlined
def rmsprop(settings, learning_rate, p, g, s, a, b):
    """RMSProp: the parameter, s, a where centered, b where there is momentum."""
    g = g + like(p, settings[4]) * p
    s = like(p, settings[0]) * s + like(p, 1 - settings[0]) * (g * g)
    mean_square = s
    if settings[3] != 0:
        a = like(p, settings[0]) * a + like(p, 1 - settings[0]) * g
        mean_square = s - a * a
    move = g / (root(mean_square) + like(p, settings[1]))
    if settings[2] != 0:
        b = like(p, settings[2]) * b + move
        move = b
    return p - like(p, learning_rate) * move, s, a, b
