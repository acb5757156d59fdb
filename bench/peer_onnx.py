"""onnxruntime's way to run a net: an LSTM operator and the dense layers, as one graph written out here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from cases import Case
from measure import Work
from onnx import TensorProto, helper, numpy_helper

import rnnkit as rk

OPSET, IR = 17, 8


def to_iofc(rows: np.ndarray) -> np.ndarray:
    """Gate rows `(4H, ...)` in the order i, f, g, o as ONNX has them: i, o, f, c (its c is our g)."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, o, f, g])


def graph(model: rk.Chain) -> bytes:
    """A model of one LSTM layer and dense layers: `x (T, B, I), h, c (1, B, H) -> y (T, B, O), h, c`."""
    params, _ = rk.setup(model, seed=0)
    first, *dense = model.layers
    assert isinstance(first, rk.LSTM)
    bias = np.concatenate([to_iofc(params["0.bias_ih"]), to_iofc(params["0.bias_hh"])])
    constants = {
        "W": to_iofc(params["0.weight_ih"])[None],
        "R": to_iofc(params["0.weight_hh"])[None],
        "B": bias[None],
        "directions": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node(
            "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["all_h", "h_out", "c_out"], hidden_size=first.hidden
        ),
        helper.make_node("Squeeze", ["all_h", "directions"], ["rows_0"]),
    ]
    for n, layer in enumerate(dense, 1):
        assert isinstance(layer, rk.Dense)
        last = n == len(dense)
        constants[f"weight_{n}"], constants[f"bias_{n}"] = params[f"{n}.weight"].T, params[f"{n}.bias"]
        nodes.append(helper.make_node("MatMul", [f"rows_{n - 1}", f"weight_{n}"], [f"product_{n}"]))
        out = "y" if last else f"rows_{n}"
        sum_name = f"sum_{n}" if layer.activation == "tanh" else out
        nodes.append(helper.make_node("Add", [f"product_{n}", f"bias_{n}"], [sum_name]))
        if layer.activation == "tanh":
            nodes.append(helper.make_node("Tanh", [sum_name], [out]))
    state = [1, "B", first.hidden]
    described = helper.make_graph(
        nodes,
        "net",
        [tensor("x", ["T", "B", first.inputs]), tensor("h", state), tensor("c", state)],
        [tensor("y", ["T", "B", model.outputs]), tensor("h_out", state), tensor("c_out", state)],
        [numpy_helper.from_array(np.ascontiguousarray(value), key) for key, value in constants.items()],
    )
    net = helper.make_model(described, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(net)
    return net.SerializeToString()


def tensor(name: str, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def session(case: Case, threads: int) -> ort.InferenceSession:
    """A session with every optimisation and a number of threads."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(graph(case.model), options, providers=["CPUExecutionProvider"])


def works(case: Case) -> dict[str, Work]:
    """Work by label; onnxruntime does not train."""
    if case.kind == "stream":
        return {"onnxruntime, run": stream(case, bound=False), "onnxruntime, bound": stream(case, bound=True)}
    if case.kind == "pass":
        return {f"onnxruntime, {n} thread{'s' * (n > 1)}": whole_pass(case, n) for n in (1, 2)}
    return {}


def zeros(case: Case) -> np.ndarray:
    first = case.model.layers[0]
    assert isinstance(first, rk.LSTM)
    return np.zeros((1, 1, first.hidden), np.float32)


def stream(case: Case, bound: bool) -> Work:
    """One row in, one prediction out, as NumPy arrays; plain calls, or with inputs and outputs bound in place."""
    net, observations = session(case, 1), case.observations()
    make = bound_step if bound else plain_step
    live, row = make(net, case), np.array([[[0.5]]], np.float32)

    def answer() -> np.ndarray:
        fresh = make(net, case)
        return np.array([fresh(observations[t].reshape(1, 1, 1))[0, 0, 0] for t in range(20)])

    return Work(partial(live, row), answer=answer)


def plain_step(net: ort.InferenceSession, case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """A step by `session.run`."""
    run: Any = net.run
    h = c = zeros(case)

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal h, c
        y, h, c = run(None, {"x": x, "h": h, "c": c})
        return y

    return step


def bound_step(net: ort.InferenceSession, case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """A step by `run_with_iobinding`: the state goes to and fro between two buffers that stay where they are."""
    x_here, y_here = (ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 1, 1), np.float32)) for _ in range(2))
    buffers = [[ort.OrtValue.ortvalue_from_numpy(zeros(case)) for _ in range(2)] for _ in range(2)]
    bindings = []
    for (h, c), (h_out, c_out) in (buffers, buffers[::-1]):
        binding = net.io_binding()
        for name, value in (("x", x_here), ("h", h), ("c", c)):
            binding.bind_ortvalue_input(name, value)
        for name, value in (("y", y_here), ("h_out", h_out), ("c_out", c_out)):
            binding.bind_ortvalue_output(name, value)
        bindings.append(binding)

    def step(x: np.ndarray) -> np.ndarray:
        x_here.update_inplace(x)
        net.run_with_iobinding(bindings[0])
        bindings.reverse()
        return y_here.numpy()

    return step


def whole_pass(case: Case, threads: int) -> Work:
    """All rows in one call."""
    run: Any = session(case, threads).run
    x, state = case.observations()[:-1].reshape(-1, 1, 1), zeros(case)

    def call() -> np.ndarray:
        return run(["y"], {"x": x, "h": state, "c": state})[0]

    return Work(call, threads=threads, answer=lambda: call()[:, 0, 0])
