"""Generated series whose reach is known: which earlier row the target depends on, and how far back that is.

Every function takes a seed and returns a `Sequence`; the same seed gives the same rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.data.sequence import Sequence
from rnnkit.errors import DataError

STEP = 0.1
"""Length of an integration step of `mackey_glass`, in rows."""


def adding(length: int, count: int = 100, *, seed: int = 0) -> Sequence:
    """Adding problem: two of the numbers are marked, and their sum is wanted.

    In each of `count` segments of `length` rows one row of the first half and one of the second is marked:

        x[t] = (value[t], mark[t]),  y[t] = sum of value[s] mark[s] over s <= t in the same segment

    with values uniform in [0, 1] and marks 0 or 1. The original asks at the last row alone, here every row is asked,
    and the last one asks for both.

    To be remembered: a number for up to `length - 1` rows; at the last row the first mark is between length / 2 and
    length - 1 rows back.

    Args:
        length: rows of a segment, at least 2.
        count: segments.
        seed: of the numbers and marks.

    Returns:
        2 features, 1 target, horizon 0; nothing is to be carried from segment to segment.

    Raises:
        DataError: a size that is too small.

    Example:
        >>> adding(length=10, count=3)
        Sequence('adding': 30 rows in 3 segments, 2 features -> 1 target, horizon 0)

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997), section 5.4.
    """
    _check("adding", length=(length, 2), count=(count, 1))
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (count, length))
    marks = np.zeros((count, length))
    half = length // 2
    for low, high in ((0, half), (half, length)):
        marks[np.arange(count), rng.integers(low, high, count)] = 1
    x = np.stack([values, marks], axis=-1).reshape(-1, 2)
    y = np.cumsum(values * marks, axis=1).reshape(-1)
    segments = [(start, start + length) for start in range(0, count * length, length)]
    return Sequence(x, y, horizon=0, segments=segments, name="adding")


def delayed_copy(lag: int, rows: int = 10_000, *, density: float = 1.0, seed: int = 0) -> Sequence:
    """Copy: the target is the input of `lag` rows before.

        y[t] = x[t - lag],  0 for t < lag

    with x uniform in [-1, 1] in a share `density` of the rows, drawn at random, and 0 in the others.

    To be remembered: everything of the last `lag` rows, about `lag * density` numbers and when they came. A gradient
    that reaches back fewer than `lag` rows never sees what the target depends on; a state that is reset more often than
    that never holds it.

    Args:
        lag: rows, at least 1.
        rows: N, more than `lag`.
        density: share of the rows that hold a number.
        seed: of the numbers.

    Returns:
        1 feature, 1 target, horizon 0, one segment.

    Raises:
        DataError: a size that is too small, or a density outside (0, 1].

    Example:
        >>> delayed_copy(lag=8, rows=100)
        Sequence('delayed_copy': 100 rows in 1 segment, 1 feature -> 1 target, horizon 0)

    Source: after the long time lag problems of Hochreiter and Schmidhuber, "Long short-term memory" (1997).
    """
    _check("delayed_copy", lag=(lag, 1), rows=(rows, 2))
    if rows <= lag:
        raise DataError(f"delayed_copy expects more rows than lag={lag}, got rows={rows}; ask for more rows")
    if not 0 < density <= 1:
        raise DataError(f"delayed_copy expects density above 0 and up to 1, got {density!r}")
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(rows) < density, rng.uniform(-1, 1, rows), 0.0)
    return Sequence(x, np.concatenate([np.zeros(lag), x[:-lag]]), horizon=0, name="delayed_copy")


def mackey_glass(rows: int = 10_000, *, tau: int = 17, horizon: int = 1, discard: int = 300, seed: int = 0) -> Sequence:
    """Mackey-Glass: a chaotic series whose change depends on its value `tau` rows ago.

        dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)

    A row is a unit of time. Before the first one x is constant, drawn from 0.5 to 1.5. Integrated by the classical
    Runge-Kutta method in steps of 0.1, the delayed value between two steps by Hermite's cubic. Chaotic at tau = 17.

    To be remembered: the series back to `tau` rows, and with `horizon` rows ahead those in between.

    Args:
        rows: N.
        tau: the delay, in rows.
        horizon: rows ahead that are to be predicted.
        discard: rows before the first one that are computed and left out.
        seed: of the start.

    Returns:
        1 feature that is its own target, one segment.

    Raises:
        DataError: a size that is too small.

    Example:
        >>> mackey_glass(rows=500, tau=17, horizon=6)
        Sequence('mackey_glass': 494 rows in 1 segment, 1 feature -> 1 target, horizon 6)

    Source: Mackey and Glass, "Oscillation and chaos in physiological control systems" (1977).
    """
    _check("mackey_glass", rows=(rows, 2), tau=(tau, 1), horizon=(horizon, 0), discard=(discard, 0))
    start = float(np.random.default_rng(seed).uniform(0.5, 1.5))
    per_row = round(1 / STEP)
    delay, steps = tau * per_row, (discard + rows - 1) * per_row
    x = [start] * (delay + 1)  # x[delay + k] is the value after k steps
    slope = [0.0] * delay + [_change(start, start)]  # of x at the same places; the history is constant
    for now in range(delay, delay + steps):
        late, next_late = x[now - delay], x[now - delay + 1]
        bends = now - delay + 1 == delay  # where the constant history ends, its slope is that of what follows
        middle = (late + next_late) / 2 + STEP * (slope[now - delay] - (0.0 if bends else slope[now - delay + 1])) / 8
        k1 = slope[now]
        k2 = _change(x[now] + STEP / 2 * k1, middle)
        k3 = _change(x[now] + STEP / 2 * k2, middle)
        k4 = _change(x[now] + STEP * k3, next_late)
        x.append(x[now] + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        slope.append(_change(x[now + 1], next_late))
    return Sequence(np.array(x[delay + discard * per_row :: per_row]), horizon=horizon, name="mackey_glass")


def influence_balancing(rows: int = 10_000, *, size: int = 23, positive: int = 10, seed: int = 0) -> Sequence:
    """Influence balancing: what helps in the short run harms in the long run.

        s[t+1] = A s[t] + u[t] (1, ..., 1, -1, ..., -1),  A[i, i] = A[i, i+1] = 1/2
        y[t] = the first number of s[t+1]

    with `size` numbers in s, the first `positive` of which an input is added to, while it is taken from the others.
    It wanders from number to number: the target rises with the inputs of the last rows, and falls with those before,
    from about 2 `positive` to 2 `size` rows back, with the defaults by more in all. A gradient that is cut between the
    two points the wrong way. In the source the input is a parameter to be learned; here it is drawn anew for each row,
    normal around 0, so that any model can be trained on it.

    To be remembered: about 2 `size` rows.

    Args:
        rows: N.
        size: numbers in s.
        positive: of them those that an input is added to.
        seed: of the inputs.

    Returns:
        1 feature u, 1 target, horizon 0, one segment.

    Raises:
        DataError: a size that is too small, or as many positive numbers as there are.

    Example:
        >>> influence_balancing(rows=1000)
        Sequence('influence_balancing': 1,000 rows in 1 segment, 1 feature -> 1 target, horizon 0)

    Source: Tallec and Ollivier, "Unbiasing truncated backpropagation through time" (2017), section 5.
    """
    _check("influence_balancing", rows=(rows, 1), size=(size, 2), positive=(positive, 1))
    if positive >= size:
        raise DataError(f"influence_balancing expects positive below size={size}, got {positive}; make size larger")
    u = np.random.default_rng(seed).standard_normal(rows)
    sign = np.where(np.arange(size) < positive, 1.0, -1.0)
    s, y = np.zeros(size), np.empty(rows)
    for t in range(rows):
        s = (s + np.append(s[1:], 0.0)) / 2 + u[t] * sign
        y[t] = s[0]
    return Sequence(u, y, horizon=0, name="influence_balancing")


def _change(x: float, late: float) -> float:
    """The right-hand side of the Mackey-Glass equation."""
    return 0.2 * late / (1 + late**10) - 0.1 * x


def _check(who: str, **sizes: tuple[Any, int]) -> None:
    for name, (got, least) in sizes.items():
        if not is_whole(got) or got < least:
            raise DataError(f"{who} expects {name} to be a whole number >= {least}, got {got!r}")
