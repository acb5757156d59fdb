"""Splitters and policies as one writes them in plain PyTorch: `unfold`, `DataLoader`, detached states, zeroed lanes.

Each loop yields the loss of one step after the other. What is drawn (an order, lengths, resets) is drawn by PyTorch
when it is timed, and is what rnnkit drew when the losses are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from measure import Work
from pairs import MODEL, Pair, T
from peer_torch import Net, set_threads
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import rnnkit as rk

Losses = Iterator[torch.Tensor]

CHECKED = 20
"""Steps whose losses are compared."""


def works(pair: Pair) -> dict[str, Work]:
    """Work by label: shuffled windows come from a `DataLoader`, or a batch at a time by their indices."""
    ways = ("DataLoader", "indices") if shuffled(pair) else ("loop",)
    return {f"torch, {way}": work(pair, way) for way in ways}


def work(pair: Pair, way: str) -> Work:
    """One epoch."""

    def call() -> list[torch.Tensor]:
        return list(epoch(pair, way, as_rnnkit=False))

    def answer() -> np.ndarray:
        return np.array([float(loss) for loss in islice(epoch(pair, way, as_rnnkit=True), CHECKED)])

    return Work(call, pair.counts[0], 1, lambda: set_threads(1), answer)


def epoch(pair: Pair, way: str, as_rnnkit: bool) -> Losses:
    """The losses of an epoch, with a net as rnnkit's starts; `as_rnnkit`: with what rnnkit draws."""
    dtype = torch.float64 if pair.dtype == "float64" else torch.float32
    net = Net(MODEL).to(dtype)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    series = torch.from_numpy(pair.observations)
    if isinstance(pair.splitter, rk.Continuation):
        return strips(pair, net, optimizer, series, as_rnnkit)
    if not shuffled(pair):
        stride = getattr(pair.splitter, "stride", T)
        spans = ((begin, begin + stride, begin, begin + T) for begin in range(0, pair.rows - T + 1, stride))
        return overlapping(net, optimizer, series[:-1].view(-1, 1, 1), series[1:].view(-1, 1, 1), spans)
    return windows(pair, net, optimizer, series, way, as_rnnkit)


def shuffled(pair: Pair) -> bool:
    """Whether windows come in any order."""
    return getattr(pair.splitter, "shuffle", False)


def step(optimizer: torch.optim.Optimizer, loss: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """Gradient and update; the loss without its graph."""
    optimizer.zero_grad(set_to_none=True)
    (loss if factor == 1 else loss * factor).backward()
    optimizer.step()
    return loss.detach()


def detached(state: Any) -> Any:
    return None if state is None else tuple(s.detach() for s in state)


def windows(
    pair: Pair, net: Net, optimizer: torch.optim.Optimizer, series: torch.Tensor, way: str, as_rnnkit: bool
) -> Losses:
    """Shuffled windows, `Sliding` and `Chunked`: views by `unfold`, copied batch by batch."""
    splitter, policy = pair.splitter, pair.policy
    stride, lead = getattr(splitter, "stride", T), getattr(policy, "rows", 0)
    x = torch.cat([series.new_zeros(lead), series[:-1]]).unfold(0, lead + T, stride)
    y = series[1:].unfold(0, T, stride)
    order = torch.from_numpy(pair.starts) // stride if as_rnnkit else None
    batches = feed(x, y, splitter.lanes, way, order)
    if isinstance(policy, rk.BurnIn):
        return burn_in(net, optimizer, ((x, y, window * stride >= lead) for x, y, window in batches))
    if isinstance(policy, rk.Stored):
        return stored(net, optimizer, batches, len(x), stride)
    return reset(net, optimizer, ((x, y) for x, y, _ in batches))


def feed(x: torch.Tensor, y: torch.Tensor, lanes: int, way: str, order: torch.Tensor | None) -> Iterator[Any]:
    """Batches `x (T, B, 1)`, `y (T, B, 1)` and the windows' numbers `(B,)`."""
    if way == "DataLoader":
        data = TensorDataset(x, y, torch.arange(len(x)))
        chosen: Any = {"shuffle": True} if order is None else {"sampler": order.tolist()}
        batches = iter(DataLoader(data, batch_size=lanes, **chosen))
    else:
        drawn = torch.randperm(len(x)) if order is None else order
        batches = ((x[these], y[these], these) for these in drawn.split(lanes))
    return ((x.T.unsqueeze(-1), y.T.unsqueeze(-1), window) for x, y, window in batches)


def reset(net: Net, optimizer: torch.optim.Optimizer, batches: Iterable[Any]) -> Losses:
    """Every window from zeros."""
    for x, y in batches:
        yield step(optimizer, mse_loss(net(x)[0], y))


def burn_in(net: Net, optimizer: torch.optim.Optimizer, batches: Iterable[Any]) -> Losses:
    """The rows of `x` before those of `y` without gradient; zeros for a window that has none before it."""
    for x, y, warm in batches:
        lead = len(x) - len(y)
        with torch.no_grad():
            _, state = net.lstm(x[:lead])
            state = tuple(s * warm[:, None] for s in state)
        yield step(optimizer, mse_loss(net(x[lead:], state)[0], y))


def stored(net: Net, optimizer: torch.optim.Optimizer, batches: Iterable[Any], count: int, stride: int = T) -> Losses:
    """A tensor of states by window: where a window starts, those before it that end or pass there keep theirs."""
    passed = T // stride
    store = next(net.parameters()).new_zeros(2, 1, count + passed, net.lstm.hidden_size)
    for x, y, window in batches:
        state, outputs, seen = tuple(store[:, :, window]), [], []
        for rows in x.split(stride):
            h, state = net.lstm(rows, state)
            outputs.append(h)
            seen.append(detached(state))
        prediction = net.head(torch.cat(outputs) if len(outputs) > 1 else outputs[0])
        yield step(optimizer, mse_loss(prediction, y))
        for n, (h, c) in enumerate(seen, 1):  # the state that has seen most of its own window is written last
            store[0, :, window + n], store[1, :, window + n] = h, c


def strips(pair: Pair, net: Net, optimizer: torch.optim.Optimizer, series: torch.Tensor, as_rnnkit: bool) -> Losses:
    """`Continuation`: a strip of the series for each lane, walked side by side."""
    splitter, policy = pair.splitter, pair.policy
    assert isinstance(splitter, rk.Continuation)
    lanes, length = splitter.lanes, splitter.length
    x, y = (part.view(lanes, -1).T.unsqueeze(-1) for part in (series[:-1], series[1:]))
    rows = len(x)
    if isinstance(policy, rk.BurnIn):
        return burn_in(net, optimizer, earlier(series[:-1], y, policy.rows))
    if isinstance(policy, rk.Stored):
        first = torch.arange(lanes) * -(-rows // T)
        numbered = ((a, b, first + k) for k, (a, b) in enumerate(zip(x.split(T), y.split(T), strict=True)))
        return stored(net, optimizer, numbered, lanes * -(-rows // T))
    if isinstance(policy, rk.Reset):
        return reset(net, optimizer, zip(x.split(T), y.split(T), strict=True))
    if splitter.lookback:
        spans = (
            (max(k - splitter.lookback, 0), max(k - splitter.lookback, 0) + (T if k else 0), k, min(k + T, rows))
            for k in range(0, rows, T)
        )
        return overlapping(net, optimizer, x, y, spans)
    lengths = pair.lengths.tolist() if as_rnnkit else list(drawn_lengths(length, rows))
    pieces = zip(x.split(lengths), y.split(lengths), strict=True)
    if isinstance(length, rk.Geometric):
        return reweighted(net, optimizer, pieces, length.mean)
    return carry(net, optimizer, pieces, kept(pair, len(lengths), as_rnnkit))


def earlier(x: torch.Tensor, y: torch.Tensor, lead: int) -> Iterator[Any]:
    """Windows of strips `y (rows, B, 1)` with so many rows of the series before them, and which have them."""
    rows, lanes = y.shape[:2]
    wide = torch.cat([x.new_zeros(lead), x]).unfold(0, lead + rows, rows).T.unsqueeze(-1)
    for begin in range(0, rows, T):
        yield wide[begin : begin + lead + T], y[begin : begin + T], torch.arange(lanes) * rows + begin >= lead


def drawn_lengths(length: Any, rows: int) -> Iterator[int]:
    """Lengths of windows, the last one cut where the strip ends."""
    while rows > 0:
        if isinstance(length, rk.Uniform):
            drawn = int(torch.randint(length.low, length.high + 1, ()))
        else:
            drawn = int(torch.empty(()).geometric_(1 / length.mean)) if isinstance(length, rk.Geometric) else length
        yield min(drawn, rows)
        rows -= drawn


def kept(pair: Pair, steps: int, as_rnnkit: bool) -> Iterator[Any]:
    """For each step None, or `(B, 1)` by which the lanes' states are multiplied: 0 forgets."""
    policy, lanes = pair.policy, pair.splitter.lanes
    assert isinstance(policy, rk.Carry)
    fresh = torch.from_numpy(pair.fresh) if as_rnnkit else None
    for k in range(steps):
        if policy.reset_probability:
            forgotten = torch.rand(lanes) < policy.reset_probability if fresh is None else fresh[k]
            yield ~forgotten[:, None]
        else:
            yield torch.zeros(lanes, 1) if policy.reset_every and k % policy.reset_every == 0 else None


def carry(net: Net, optimizer: torch.optim.Optimizer, pieces: Iterable[Any], keep: Iterable[Any]) -> Losses:
    """The state handed on, detached; lanes zeroed where it is forgotten."""
    state = None
    for (x, y), factor in zip(pieces, keep, strict=True):
        if state is not None and factor is not None:
            state = tuple(s * factor for s in state)
        prediction, state = net(x, state)
        yield step(optimizer, mse_loss(prediction, y))
        state = detached(state)


def overlapping(
    net: Net, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, spans: Iterable[tuple[int, ...]]
) -> Losses:
    """Windows that read rows again: each hands on the state, detached, at the row where the next one begins.

    Args:
        x, y: `(rows, B, 1)`.
        spans: `(begin, next, scored, end)` of each window: its rows, those of them that count from `scored` on, and
            where the next window begins.
    """
    state = None
    for begin, following, scored, end in spans:
        outputs, middle = [], state
        if following > begin:
            h, middle = net.lstm(x[begin:following], state)
            outputs.append(h)
        if following < end:
            outputs.append(net.lstm(x[following:end], middle)[0])
        h = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        yield step(optimizer, mse_loss(net.head(h[scored - begin :]), y[scored:end]))
        state = detached(middle)


class Weighed(torch.autograd.Function):
    """The same values, the gradient times a factor."""

    @staticmethod
    def forward(ctx: Any, state: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.factor, None


def reweighted(net: Net, optimizer: torch.optim.Optimizer, pieces: Iterable[Any], mean: float) -> Losses:
    """Row by row, the gradient from each row to the one before weighed up; the state handed on, detached."""
    factor = 1 / (1 - 1 / mean)
    state: Any = None
    for x, y in pieces:
        outputs = []
        for t, row in enumerate(x.split(1)):
            if t:
                state = tuple(Weighed.apply(s, factor) for s in state)
            h, state = net.lstm(row, state)
            outputs.append(h)
        loss = mse_loss(net.head(torch.cat(outputs)), y)
        yield step(optimizer, loss, len(x) / mean)
        state = detached(state)
