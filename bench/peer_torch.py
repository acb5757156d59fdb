"""PyTorch's way to do each case: `nn.LSTM`, autograd, fused Adam, with one and with two threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from cases import Case
from measure import Work

import rnnkit as rk


class Net(torch.nn.Module):
    """A chain of LSTM layers and then dense ones, with the parameters that rnnkit would start from."""

    def __init__(self, model: rk.Chain) -> None:
        super().__init__()
        stack = [layer for layer in model.layers if isinstance(layer, rk.LSTM)]
        params, _ = rk.setup(model, seed=0)
        self.lstm = torch.nn.LSTM(stack[0].inputs, stack[0].hidden, num_layers=len(stack))
        head: list[torch.nn.Module] = []
        with torch.no_grad():
            for n in range(len(stack)):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(self.lstm, f"{name}_l{n}").copy_(torch.from_numpy(params[f"{n}.{name}"]))
            for n, layer in enumerate(model.layers[len(stack) :], len(stack)):
                assert isinstance(layer, rk.Dense)
                linear = torch.nn.Linear(layer.inputs, layer.outputs)
                linear.weight.copy_(torch.from_numpy(params[f"{n}.weight"]))
                linear.bias.copy_(torch.from_numpy(params[f"{n}.bias"]))
                head += [linear, torch.nn.Tanh()] if layer.activation == "tanh" else [linear]
        self.head = torch.nn.Sequential(*head)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        h, state = self.lstm(x, state)
        return self.head(h), state


def train(
    net: Net, optimizer: torch.optim.Optimizer, windows: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> list[torch.Tensor]:
    """The training loop: a step for each window, the state carried and detached; returns the losses."""
    state, losses = None, []
    for x, y in windows:
        optimizer.zero_grad(set_to_none=True)
        prediction, state = net(x, state)
        loss = torch.nn.functional.mse_loss(prediction, y)
        loss.backward()
        optimizer.step()
        state = tuple(s.detach() for s in state)
        losses.append(loss.detach())
    return losses


def windows_of(case: Case) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The windows of a step or of an epoch, the last one short where the rows end."""
    if case.kind == "step":
        x, y = (torch.from_numpy(a) for a in case.windows_of_rows())
        return list(zip(x, y, strict=True))
    values = torch.from_numpy(case.observations()).reshape(-1, 1, 1)
    return list(zip(values[:-1].split(case.length), values[1:].split(case.length), strict=True))


def works(case: Case) -> dict[str, Work]:
    """Work by label."""
    make: Callable[..., Work] = {"step": training, "epoch": training, "stream": stream, "pass": whole_pass}[case.kind]
    counts = (1,) if case.kind == "stream" else (1, 2)
    return {f"torch, {n} thread{'s' * (n > 1)}": make(case, n) for n in counts}


def training(case: Case, threads: int) -> Work:
    """Training steps, or an epoch."""
    windows = windows_of(case)
    counted = len(windows) if case.kind == "step" else 1
    net, optimizer = fresh(case)

    def answer() -> np.ndarray:
        return np.array([float(loss) for loss in train(*fresh(case), windows[: 3 if case.kind == "step" else 20])])

    return Work(partial(train, net, optimizer, windows), counted, threads, partial(set_threads, threads), answer)


def stream(case: Case, threads: int) -> Work:
    """One row in, one prediction out, as NumPy arrays."""
    net, row, observations = Net(case.model).eval(), np.array([[[0.5]]], np.float32), case.observations()
    state = None

    @torch.inference_mode()
    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        y, state = net(torch.from_numpy(x), state)
        return y.numpy()

    def answer() -> np.ndarray:
        nonlocal state
        state = None
        return np.array([step(observations[t].reshape(1, 1, 1))[0, 0, 0] for t in range(20)])

    return Work(partial(step, row), 1, threads, partial(set_threads, threads), answer)


def whole_pass(case: Case, threads: int) -> Work:
    """All rows in one call."""
    net, x = Net(case.model).eval(), case.observations()[:-1].reshape(-1, 1, 1)

    @torch.inference_mode()
    def call() -> np.ndarray:
        return net(torch.from_numpy(x))[0].numpy()

    return Work(call, 1, threads, partial(set_threads, threads), lambda: call()[:, 0, 0])


def fresh(case: Case) -> tuple[Net, torch.optim.Optimizer]:
    """A net as it starts, and its optimizer."""
    net = Net(case.model)
    return net, torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)


def set_threads(threads: int) -> None:
    """Set the number of threads, and wake them."""
    torch.set_num_threads(threads)
    a = torch.ones(256, 256)
    (a @ a).sum()
