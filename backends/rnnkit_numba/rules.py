"""Optimizers by number; the equations stand in `rnnkit.model.rules`. All parameters are one buffer `(P,)`."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import CLIP_EPSILON, SGD, Adam, AdamW, Clip, ClipNorm, ClipValue, RMSProp
from rnnkit_numba.compiled import kernel

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


NORM_NUMBERS = 4096
"""Numbers whose squares are summed together; a constant, so that no norm depends on the number of threads."""


@kernel
def add_squares(grad, squares, part, parts):
    """Write the sum of squares of every NORM_NUMBERS gradients, in float64, for one part of them."""
    for piece in range(part, squares.size, parts):
        first = piece * NORM_NUMBERS
        last = min(first + NORM_NUMBERS, grad.size)
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0  # four sums, as one would wait for each addition
        for j in range(first, last - 3, 4):
            s0 += np.float64(grad[j]) * np.float64(grad[j])
            s1 += np.float64(grad[j + 1]) * np.float64(grad[j + 1])
            s2 += np.float64(grad[j + 2]) * np.float64(grad[j + 2])
            s3 += np.float64(grad[j + 3]) * np.float64(grad[j + 3])
        for j in range(last - (last - first) % 4, last):
            s0 += np.float64(grad[j]) * np.float64(grad[j])
        squares[piece] = (s0 + s1) + (s2 + s3)


@kernel
def global_norm(squares):
    """2-norm of all gradients."""
    total = 0.0
    for piece in range(squares.size):
        total += squares[piece]
    return math.sqrt(total)


@kernel
def clip_gradients(code, maximum, norm, grad, first, last):
    """Clip numbers `first` to `last - 1` in place."""
    if code == CLIP_NORM:
        factor = grad.dtype.type(min(1.0, maximum / (norm + CLIP_EPSILON)))
        for j in range(first, last):
            grad[j] *= factor
    elif code == CLIP_VALUE:
        bound = grad.dtype.type(maximum)
        for j in range(first, last):
            grad[j] = bound if grad[j] > bound else (-bound if grad[j] < -bound else grad[j])


@kernel
def step(code, settings, learning_rate, count, params, grad, slots, first, last):
    """Make update number `count`, from 1, of parameters `first` to `last - 1`.

    `params` and `slots` (a row for each moment) change in place.
    """
    if code == CODE_SGD:
        sgd(settings, learning_rate, params, grad, slots, first, last)
    elif code == CODE_RMSPROP:
        rmsprop(settings, learning_rate, params, grad, slots, first, last)
    else:
        adam(code == CODE_ADAMW, settings, learning_rate, count, params, grad, slots, first, last)


@kernel
def sgd(settings, learning_rate, params, grad, slots, first, last):
    """SGD; slots: b where there is momentum."""
    real = params.dtype.type
    rate, momentum, decay = real(learning_rate), real(settings[0]), real(settings[2])
    if settings[0] == 0:
        for j in range(first, last):
            params[j] -= rate * (grad[j] + decay * params[j])
        return
    nesterov = settings[1] != 0
    b = slots[0]
    for j in range(first, last):
        g = grad[j] + decay * params[j]
        b[j] = momentum * b[j] + g
        params[j] -= rate * (g + momentum * b[j] if nesterov else b[j])


@kernel
def adam(decoupled, settings, learning_rate, count, params, grad, slots, first, last):
    """Adam, or AdamW where the weight decay is decoupled; slots: m, v."""
    real = params.dtype.type
    beta1, beta2, epsilon = real(settings[0]), real(settings[1]), real(settings[2])
    fresh1, fresh2 = real(1 - settings[0]), real(1 - settings[1])
    coupled = real(0.0 if decoupled else settings[3])
    shrink = real(learning_rate * settings[3] if decoupled else 0.0)
    scale = real(learning_rate / (1 - settings[0] ** count))
    root = real(math.sqrt(1 - settings[1] ** count))
    m, v = slots[0], slots[1]
    for j in range(first, last):
        g = grad[j] + coupled * params[j]
        p = params[j] - shrink * params[j]
        m[j] = beta1 * m[j] + fresh1 * g
        v[j] = beta2 * v[j] + fresh2 * (g * g)
        params[j] = p - scale * m[j] / (math.sqrt(v[j]) / root + epsilon)


@kernel
def rmsprop(settings, learning_rate, params, grad, slots, first, last):
    """RMSProp; slots: s, then a where centered, then b where there is momentum."""
    real = params.dtype.type
    rate, alpha, fresh, epsilon = (
        real(learning_rate),
        real(settings[0]),
        real(1 - settings[0]),
        real(settings[1]),
    )
    momentum, decay = real(settings[2]), real(settings[4])
    centered, moving = settings[3] != 0, settings[2] != 0
    s = slots[0]
    a = slots[1 if centered else 0]
    b = slots[slots.shape[0] - 1]
    for j in range(first, last):
        g = grad[j] + decay * params[j]
        s[j] = alpha * s[j] + fresh * (g * g)
        mean_square = s[j]
        if centered:
            a[j] = alpha * a[j] + fresh * g
            mean_square -= a[j] * a[j]
        move = g / (math.sqrt(mean_square) + epsilon)
        if moving:
            b[j] = move = momentum * b[j] + move
        params[j] -= rate * move
