"""JAX's way to train: `lax.scan` over the rows, jitted for each step, and jitted with a scan over all windows too.

For the small nets of the epochs the scan over the rows is also compiled with 4 rows a turn, the best of 1, 4, 8, 16,
32 and 64. The input projection is taken out of the scan, weights stand as `(inputs, 4H)`, Adam is written out, and the
parameters' memory is handed over to each call (`donate_argnums`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from measure import Work

import rnnkit as rk
from rnnkit.model import layers_to_run

Layer = dict[str, jax.Array]


def parameters(model: rk.Chain) -> list[Layer]:
    """What rnnkit would start from, transposed; two biases, so that Adam moves them as everybody else's."""
    drawn, _ = rk.setup(model, seed=0)
    layers = []
    for n, layer in enumerate(model.layers):
        if isinstance(layer, rk.LSTM):
            weights = {"w_x": drawn[f"{n}.weight_ih"].T, "w_h": drawn[f"{n}.weight_hh"].T}
            named = {**weights, "b_x": drawn[f"{n}.bias_ih"], "b_h": drawn[f"{n}.bias_hh"]}
        else:
            named = {"w": drawn[f"{n}.weight"].T, "b": drawn[f"{n}.bias"]}
        layers.append({key: jnp.array(value) for key, value in named.items()})
    return layers


def initial_state(model: rk.Chain, lanes: int) -> list[Any]:
    """Zeros for h and c of each LSTM layer."""
    sizes = [layer.hidden for layer in model.layers if isinstance(layer, rk.LSTM)]
    return [(jnp.zeros((lanes, size)), jnp.zeros((lanes, size))) for size in sizes]


def lstm(p: Layer, x: jax.Array, state: Any, unroll: int) -> tuple[jax.Array, Any]:
    """A layer over `x (T, B, I)`, `unroll` rows a turn."""

    def cell(carried: Any, projected: jax.Array) -> tuple[Any, jax.Array]:
        h, c = carried
        i, f, g, o = jnp.split(projected + h @ p["w_h"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    state, outputs = jax.lax.scan(cell, state, x @ p["w_x"] + (p["b_x"] + p["b_h"]), unroll=unroll)
    return outputs, state


def forward(
    model: rk.Chain, params: list[Layer], x: jax.Array, state: list[Any], unroll: int
) -> tuple[jax.Array, list[Any]]:
    """All layers; returns the outputs and the state after the last row."""
    after, entries = [], iter(state)
    for layer, p in zip(layers_to_run(model, "the JAX peer"), params, strict=True):
        if isinstance(layer, rk.LSTM):
            x, entry = lstm(p, x, next(entries), unroll)
            after.append(entry)
        else:
            x = x @ p["w"] + p["b"]
            x = jnp.tanh(x) if layer.activation == "tanh" else x
    return x, after


def train_step(model: rk.Chain, unroll: int, values: Any, window: Any) -> tuple[Any, jax.Array]:
    """Forward, loss, backward and Adam over one window; `values` are parameters, moments, count and state."""
    params, m, v, count, state = values
    x, y = window

    def loss_of(params: list[Layer]) -> tuple[jax.Array, Any]:
        prediction, after = forward(model, params, x, state, unroll)
        return jnp.mean((prediction - y) ** 2), after

    (loss, state), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    count = count + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    scale, root = 1e-3 / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
    params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) / root + 1e-8), params, m, v)
    return (params, m, v, count, state), loss


def works(case: Case) -> dict[str, Work]:
    """Work by label; inference is the other peers' ground."""
    if case.kind not in ("step", "epoch"):
        return {}
    found = {"jax, jitted step": training(case, by_step), "jax, jitted epoch": training(case, by_epoch)}
    if case.kind == "epoch":
        found["jax, jitted epoch, unrolled"] = training(case, partial(by_epoch, unroll=4))
    return found


Windows = list[tuple[jax.Array, jax.Array]]


def by_step(case: Case, windows: Windows, unroll: int = 1) -> Callable[[Any], tuple[Any, list[jax.Array]]]:
    """A loop in Python over a jitted step."""
    step = jax.jit(partial(train_step, case.model, unroll), donate_argnums=0)

    def epoch(values: Any) -> tuple[Any, list[jax.Array]]:
        losses = []
        for window in windows:
            values, loss = step(values, window)
            losses.append(loss)
        return values, losses

    return epoch


def by_epoch(case: Case, windows: Windows, unroll: int = 1) -> Callable[[Any], tuple[Any, jax.Array]]:
    """All windows of the same length in one scan, a shorter last one after it, everything in one jitted call."""
    whole = [(x, y) for x, y in windows if len(x) == case.length]
    x, y = (jnp.stack(arrays) for arrays in zip(*whole, strict=True))
    rest = windows[len(whole) :]
    step = partial(train_step, case.model, unroll)

    def run(values: Any, x: jax.Array, y: jax.Array, rest: Windows) -> tuple[Any, jax.Array]:
        values, losses = jax.lax.scan(step, values, (x, y))
        for window in rest:
            values, loss = step(values, window)
            losses = jnp.append(losses, loss)
        return values, losses

    jitted = jax.jit(run, donate_argnums=0)
    return lambda values: jitted(values, x, y, rest)


def training(case: Case, make: Callable[..., Callable[[Any], tuple[Any, Any]]]) -> Work:
    """Training steps, or an epoch: the parameters go on from call to call."""
    windows = windows_of(case)
    epoch = make(case, windows)
    values = fresh(case)

    def call() -> None:
        nonlocal values
        params, m, v, count, _ = values
        values, losses = epoch((params, m, v, count, initial_state(case.model, case.lanes)))
        jax.block_until_ready((values, losses))

    def answer() -> np.ndarray:
        losses = epoch(fresh(case))[1]
        return np.array([float(loss) for loss in losses[: 3 if case.kind == "step" else 20]])

    return Work(call, len(windows) if case.kind == "step" else 1, 2, answer=answer)


def fresh(case: Case) -> Any:
    """Parameters, moments, count and state as training starts."""
    params = parameters(case.model)
    m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    return params, m, v, jnp.zeros(()), initial_state(case.model, case.lanes)


def windows_of(case: Case) -> Windows:
    """The windows of a step or of an epoch, the last one short where the rows end."""
    if case.kind == "step":
        x, y = case.windows_of_rows()
        return [(jnp.array(a), jnp.array(b)) for a, b in zip(x, y, strict=True)]
    values = case.observations().reshape(-1, 1, 1)
    cuts = range(0, case.rows, case.length)
    stops = [min(start + case.length, case.rows) for start in cuts]
    return [(jnp.array(values[a:b]), jnp.array(values[a + 1 : b + 1])) for a, b in zip(cuts, stops, strict=True)]
