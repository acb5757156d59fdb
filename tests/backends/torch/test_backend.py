"""The PyTorch backend's passes against the textbook backend, its conversions and its devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rnnkit_torch.chain import in_one_piece, run_layer
from rnnkit_torch.pieces import cut

import rnnkit as rk
from rnnkit.backend import Backend, backend, map_arrays
from rnnkit.errors import BackendError, ModelError
from rnnkit.model import LSTMState, initial_rule_state

TORCH, TEXTBOOK = backend("torch"), backend("numpy")
T, B, H = 13, 4, 5


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def arrays(tree: Any) -> list[np.ndarray]:
    """All arrays of a tree, in order."""
    if isinstance(tree, dict):
        return [a for value in tree.values() for a in arrays(value)]
    if isinstance(tree, tuple):
        return [a for value in tree for a in arrays(value)]
    return [tree.detach().numpy() if isinstance(tree, torch.Tensor) else np.asarray(tree)]


def assert_same(got: Any, expected: Any, relative: float = 1e-10) -> None:
    got, expected = arrays(got), arrays(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert np.isfinite(b).all()
        assert np.abs(a - b).max(initial=0) <= relative * max(np.abs(b).max(initial=0), 1e-3)


def masks(name: str, lanes: int = B) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    reset, valid = np.zeros((T, lanes), bool), np.ones((T, lanes), bool)
    if name in ("resets", "both"):
        reset = rng.random((T, lanes)) < 0.2
    if name in ("padding", "both"):
        valid = rng.random((T, lanes)) < 0.7
    if name == "reset at row 0":
        reset[0, 1:3] = True
    if name == "regular resets":
        reset[[4, 8]], valid[-1] = True, False
    if name == "reset at padding":
        valid[5:7, 0], reset[6, 0] = False, True
        valid[9:, 1], reset[11, 1] = False, True
        valid[:2, 2], reset[1, 2] = False, True
    if name == "lanes of padding":
        valid[:, [0, 2]], reset[3, 2], reset[8, 1] = False, True, True
    if name == "all padding":
        valid[:], reset[4, 1] = False, True
    if name == "short window":
        valid[-4:] = False
    return reset, valid


MASKS = ["none", "resets", "padding", "both", "reset at row 0", "regular resets", "reset at padding"]
MASKS += ["lanes of padding", "all padding", "short window"]

MODELS = {
    "lstm": rk.Chain(rk.LSTM(3, H)),
    "lstm and dense": rk.Chain(rk.LSTM(3, H), rk.Dense(H, 2, "sigmoid"), rk.Dense(2, 6)),
    "dense between": rk.Chain(rk.Dense(3, 2, "tanh"), rk.LSTM(2, H), rk.Dense(H, 7, "relu"), rk.LSTM(7, 6)),
    "three lstms": rk.Chain(rk.LSTM(3, H), rk.LSTM(H, 6), rk.LSTM(6, 2), rk.Dense(2, 3, "relu")),
    "dense": rk.Chain(rk.Dense(3, 5, "tanh"), rk.Dense(5, 2, "sigmoid")),
}


def example(model: rk.Chain, lanes: int = B, dtype: str = "float64", seed: int = 1) -> tuple[Any, ...]:
    """Parameters, x, state and gradients of outputs and final state, none of them zero."""
    rng = np.random.default_rng(seed)
    params, zeros = rk.setup(model, seed=seed, lanes=lanes, dtype=dtype)

    def state() -> Any:
        return map_arrays(lambda a: rng.normal(size=a.shape).astype(dtype), zeros)

    x = rng.normal(size=(T, lanes, model.inputs)).astype(dtype)
    return params, x, state(), rng.normal(size=(T, lanes, model.outputs)).astype(dtype), state()


def through(be: Backend, model: rk.Chain, given: tuple[Any, ...], reset: Any, valid: Any) -> tuple[Any, ...]:
    """Outputs, final state and all gradients of one pass, as NumPy arrays."""
    params, x, state, d_y, d_state = map(be.from_numpy, given)
    y, after, tape = be.forward(model, params, x, state, reset, valid)
    grads = be.backward(model, params, tape, d_y, d_state)
    return be.to_numpy((y, after, tuple(grads)))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_outputs_state_and_every_gradient_are_those_of_the_textbook(model: rk.Chain, mask: str) -> None:
    given = example(model)
    assert_same(through(TORCH, model, given, *masks(mask)), through(TEXTBOOK, model, given, *masks(mask)))


@pytest.mark.parametrize("mask", MASKS)
def test_as_many_lanes_as_hidden_units_hide_no_wrong_broadcast(mask: str) -> None:
    model = rk.Chain(rk.LSTM(3, H), rk.Dense(H, H, "tanh"), rk.LSTM(H, H))
    given = example(model, lanes=H)
    reset, valid = masks(mask, lanes=H)
    assert_same(through(TORCH, model, given, reset, valid), through(TEXTBOOK, model, given, reset, valid))


@pytest.mark.parametrize("mask", MASKS)
def test_float32_agrees_within_its_precision(mask: str) -> None:
    model = MODELS["lstm and dense"]
    given = example(model, dtype="float32")
    got = through(TORCH, model, given, *masks(mask))
    assert all(a.dtype == np.float32 for a in arrays(got))
    assert_same(got, through(TEXTBOOK, model, given, *masks(mask)), relative=2e-5)


def test_resets_and_padding_left_out_are_none_at_all() -> None:
    model = MODELS["lstm and dense"]
    given = example(model)
    assert_same(through(TORCH, model, given, None, None), through(TEXTBOOK, model, given, *masks("none")))


@pytest.mark.parametrize("mask", ["both", "lanes of padding", "all padding", "short window"])
def test_nothing_at_padding_has_influence_not_even_nan(mask: str) -> None:
    model = MODELS["dense between"]
    reset, valid = masks(mask)
    params, x, state, d_y, d_state = example(model)
    x_nan, d_y_nan = (np.where(valid[..., None], a, np.nan) for a in (x, d_y))
    got = through(TORCH, model, (params, x_nan, state, d_y_nan, d_state), reset, valid)
    assert_same(got, through(TORCH, model, (params, x, state, d_y, d_state), reset, valid), relative=0)
    assert (got[0][~valid] == 0).all()
    assert (got[2][2][~valid] == 0).all()


def test_windows_without_ragged_pieces_need_no_packing() -> None:
    for mask in ("none", "reset at row 0", "regular resets", "short window", "all padding"):
        assert cut(*masks(mask), torch.device("cpu")).sizes is None
    for mask in ("none", "reset at row 0"):
        assert cut(*masks(mask), torch.device("cpu")).rows is None
    assert cut(*masks("both"), torch.device("cpu")).sizes is not None


def test_a_tape_may_be_walked_back_twice_and_without_a_final_gradient() -> None:
    model = MODELS["three lstms"]
    given = example(model)
    params, x, state, d_y, d_state = map(TORCH.from_numpy, given)
    _, _, tape = TORCH.forward(model, params, x, state, *masks("both"))
    first = TORCH.backward(model, params, tape, d_y, d_state)
    assert_same(TORCH.backward(model, params, tape, d_y, d_state), first, relative=0)
    nothing = map_arrays(np.zeros_like, given[4])
    expected = through(TEXTBOOK, model, (*given[:4], nothing), *masks("both"))[2]
    assert_same(tuple(TORCH.backward(model, params, tape, d_y)), expected)


def test_the_callers_grad_mode_does_not_matter_and_no_graph_leaks_out() -> None:
    model = MODELS["lstm and dense"]
    given = example(model)
    params = {key: p.requires_grad_() for key, p in TORCH.from_numpy(given[0]).items()}
    x, state, d_y, d_state = map(TORCH.from_numpy, given[1:])
    with torch.no_grad():
        y, after, tape = TORCH.forward(model, params, x, state)
        grads = TORCH.backward(model, params, tape, d_y, d_state)
    assert_same((y, after, tuple(grads)), through(TEXTBOOK, model, given, None, None))
    new, _ = TORCH.update(rk.SGD(), params, grads.params, TORCH.from_numpy(initial_rule_state(rk.SGD(), given[0])))
    everything = [y, *after[0], *grads.params.values(), *grads.state[0], grads.x, *new.values()]
    assert not any(a.requires_grad for a in everything)


def test_weights_laid_out_for_cudnn_are_the_same_weights_and_draw_no_random_numbers() -> None:
    model = MODELS["three lstms"]
    params = TORCH.from_numpy(example(model)[0])
    before = torch.get_rng_state()
    placed = in_one_piece(rk.LSTM(5, 6), 1, params)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(placed) == ["1.weight_ih", "1.weight_hh", "1.bias_ih", "1.bias_hh"]
    for key, p in placed.items():
        assert torch.equal(p, params[key])
        assert p.is_leaf
        assert p.requires_grad
        assert p.data_ptr() != params[key].data_ptr()


def test_conversion_copies_both_ways_and_keeps_the_tree() -> None:
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]
    array.flags.writeable = False
    tree = ({"a": array}, LSTMState(array.T, np.array(3.0)), (), None, 7)
    tensors = TORCH.from_numpy(tree)
    back = TORCH.to_numpy(tensors)
    assert_same(back[:2], tree[:2], relative=0)
    assert isinstance(back[1], LSTMState)
    assert back[1].c.shape == ()
    assert back[2:] == ((), None, 7)
    turned = TORCH.to_numpy(tensors[0]["a"].T)
    assert turned.flags.c_contiguous
    tensors[0]["a"].add_(1)
    np.testing.assert_array_equal(turned, array.T)
    np.testing.assert_array_equal(back[0]["a"], array)
    np.testing.assert_array_equal(array[0], [2, 1, 0])
    writeable = np.ones(2)
    tensor = TORCH.from_numpy(writeable)
    writeable += 1
    assert torch.equal(tensor, torch.ones(2, dtype=torch.float64))


def test_configure_gives_the_backend_on_a_device() -> None:
    on_cpu = backend("torch", device="cpu")
    assert isinstance(on_cpu, Backend)
    assert on_cpu.name == "torch"
    assert on_cpu == backend(on_cpu, device="cpu")
    assert on_cpu.from_numpy(np.ones(2)).device == torch.device("cpu")
    given = example(MODELS["lstm"])
    assert_same(through(on_cpu, MODELS["lstm"], given, None, None), through(TORCH, MODELS["lstm"], given, None, None))
    assert on_cpu.own.train_block is TORCH.own.train_block


def test_configure_says_what_it_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("gpu", "mps", "cuda:x", 1.5):
        with pytest.raises(BackendError, match=r"expects device 'cpu', 'cuda' or 'cuda:<number>', got"):
            backend("torch", device=device)
    with pytest.raises(BackendError, match=r"takes the option device, got threads; leave it out"):
        backend("torch", threads=2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"expects CUDA for device='cuda', but PyTorch .* finds none"):
        backend("torch", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert backend("torch", device="cuda:0") != backend("torch", device="cpu")
    with pytest.raises(BackendError, match=r"expects a GPU numbered below 1, got 'cuda:1'"):
        backend("torch", device="cuda:1")


def test_arguments_of_the_wrong_kind_are_named() -> None:
    model = MODELS["lstm"]
    params, x, state, _, _ = example(model)
    tensors = TORCH.from_numpy(params)
    with pytest.raises(ModelError, match=r"'torch' expects x to be a tensor, got ndarray; make one with from_numpy"):
        TORCH.forward(model, tensors, x, TORCH.from_numpy(state))
    with pytest.raises(ModelError, match=r"\(torch.float64, cpu\), got x as torch.float32 on cpu"):
        TORCH.forward(model, tensors, TORCH.from_numpy(x.astype("float32")), TORCH.from_numpy(state))
    with pytest.raises(ModelError, match=r"forward expects x of shape \(T, B, 3\)"):
        TORCH.forward(model, tensors, TORCH.from_numpy(x[..., :2]), TORCH.from_numpy(state))


def test_a_layer_that_the_backend_cannot_run_is_named() -> None:
    with pytest.raises(ModelError, match=r"'torch' cannot run the layer 'GRU'; it knows LSTM and Dense"):
        run_layer("GRU", [], torch.ones(T, B, 3), (), (), cut(*masks("none"), torch.device("cpu")))


def test_passes_change_no_argument_and_share_no_memory_with_results() -> None:
    model = MODELS["lstm and dense"]
    given = params, x, state, d_y, d_state = tuple(map(TORCH.from_numpy, example(model)))
    before = [a.copy() for a in arrays(given)]
    for mask in MASKS:
        reset, valid = masks(mask)
        y, after, tape = TORCH.forward(model, params, x, state, reset, valid)
        results = (y, after, tuple(TORCH.backward(model, params, tape, d_y, d_state)))
        map_arrays(lambda a: a.add_(1), results)
        for a, b in zip([*arrays(given), reset, valid], [*before, *masks(mask)], strict=True):
            np.testing.assert_array_equal(a, b)
