"""The numbers of the page: a trace, its gradient in several windows, and lanes and steps, as JSON that holds arrays."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np

from rnnkit.data.times import write_times
from rnnkit.model import CrossEntropy, Recurrent
from rnnkit.study.agreement import WHOLE, Agreement, agreement, vector
from rnnkit.tracing import Thinned, Trace, TraceReach, unit_order
from rnnkit.tracing.layers import Arrays
from rnnkit.tracing.windows import first_reached, in_windows
from rnnkit.view.page.lanes import lanes_of
from rnnkit.view.page.step import step_of, words_of
from rnnkit.view.page.variants import Variant
from rnnkit.view.trace_plots import judged_values

ORDERS = ("similar", "peak", "index")

LOSSES, STATES = 256, 512
"""Rows and columns of the matrix of reach at most."""


class Cut(NamedTuple):
    """What is kept of the gradient in some windows.

    Attributes:
        starts: `(n,)`; places at which it is cut.
        reset: `(T,)` bool.
        agreed: how it agrees with the whole gradient, all parameters together.
        norms: by recurrent layer and state array, such as `"h"`, the size of its derivative at every row, `(T,)`.
    """

    starts: np.ndarray
    reset: np.ndarray
    agreed: Agreement
    norms: dict[int, Arrays]


@dataclass(frozen=True, eq=False)
class Findings:
    """What is computed once, however much of it is shown.

    Attributes:
        trace: what is looked at.
        whole: its gradient with nothing cut but at resets.
        variants: by choice.
        cut: the gradient in the windows of each variant.
        reach: of each recurrent layer, from losses of scored rows alone.
        bias: `lengths`, `cosine` and `norm_ratio`, `(n,)` each: gradient of windows beside the whole one.
    """

    trace: Trace
    whole: Cut
    variants: list[Variant]
    cut: list[Cut]
    reach: dict[int, TraceReach]
    bias: Arrays


def find(trace: Trace, variants: list[Variant]) -> Findings:
    """Walk back once for every window length and every variant."""
    rows = len(trace)
    whole = in_windows(trace, rows)
    reference = vector(whole.gradient, WHOLE)
    lengths = [1 << n for n in range(rows.bit_length()) if 1 << n < rows] + [rows]
    plain = [(length, 0, False, False) for length in lengths]
    keys = dict.fromkeys([*plain, *(variant.key for variant in variants)])
    known = {key: _cut(in_windows(whole, *key), reference) for key in keys}
    cosine, ratio = np.array([known[key].agreed for key in plain]).T
    scored = np.flatnonzero(trace.weight > 0)
    at = scored[np.unique(np.linspace(0, len(scored) - 1, min(len(scored), LOSSES)).round().astype(int))]
    return Findings(
        trace,
        known[plain[-1]],
        variants,
        [known[variant.key] for variant in variants],
        {layer: trace.reach(layer, at) for layer in trace.recurrent},
        {"lengths": np.array(lengths), "cosine": cosine, "norm_ratio": ratio},
    )


def _cut(cut: Trace, reference: np.ndarray) -> Cut:
    norms = {}
    for layer in cut.recurrent:
        seen = cut.layers[layer]
        norms[layer] = {part: np.linalg.norm(seen[f"d_{part}"], axis=1) for part in recurrent(cut, layer).State._fields}
    return Cut(np.flatnonzero(cut.cut), cut.reset, agreement(vector(cut.gradient, WHOLE), reference), norms)


def content(found: Findings, rows: int, units: int, dtype: str) -> dict[str, Any]:
    """What the page shows, thinned to so many rows and units, its arrays as `packed` ones.

    Args:
        found: what was computed.
        rows, units: how many at most.
        dtype: of the numbers of every unit, `"float64"` or `"float32"`.
    """
    trace, shown = found.trace, found.trace.thinned(rows, units)
    observed, predicted = judged_values(trace, shown)
    spaced = np.unique(np.linspace(0, len(trace) - 1, min(len(trace), STATES)).round().astype(int))
    return {
        "name": trace.name,
        "model": repr(trace.model),
        "horizon": trace.horizon,
        "classes": isinstance(trace.loss_function, CrossEntropy),
        "scaled": trace.scaler is not None,
        "all_rows": len(trace),
        "warmed": trace.warmed,
        "truncate": trace.truncate,
        "left_out": shown.left_out,
        "digits": 5,
        "precision": dtype,
        "mean_loss": _number(trace.mean_loss),
        "places": packed(shown.places, "int32"),
        "rows": packed(shown.arrays["rows"], "float64"),
        "times": None if trace.times is None else _moments(shown.arrays["times"], trace.zone),
        "reset": np.flatnonzero(trace.reset).tolist(),
        "is_reset": packed(shown.arrays["reset"], "int32"),
        "is_cut": packed(shown.arrays["cut"], "int32"),
        "observed": packed(observed, "float64"),
        "predicted": packed(predicted, "float64"),
        "loss": packed(shown.arrays["loss"], "float64"),
        "weight": packed(shown.arrays["weight"], "float64"),
        "layers": [_layer(found, shown, layer, spaced, dtype) for layer in trace.recurrent],
        "variants": [_variant(found, shown, number) for number in range(len(found.variants))],
        "bias": {
            "lengths": found.bias["lengths"].tolist(),
            "cosine": [_number(value) for value in found.bias["cosine"]],
            "norm_ratio": [_number(value) for value in found.bias["norm_ratio"]],
        },
    }


def packed(values: np.ndarray, dtype: str) -> dict[str, Any]:
    """An array as JSON holds it: dtype, shape, and its little-endian bytes in base64."""
    plain = np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "shape": list(plain.shape), "data": base64.b64encode(plain.tobytes()).decode()}


def reach_size(trace: Trace) -> int:
    """Bytes that the matrices of reach take on the page."""
    numbers = min(len(trace), LOSSES) * min(len(trace), STATES) * len(trace.recurrent)
    return numbers * 4 * 4 // 3  # four bytes each, and four characters for three of them


def cells_of(trace: Trace, rows: int, units: int) -> int:
    """How many numbers of units the page would hold, thinned to so many rows and units."""
    numbers = 0
    for index in trace.recurrent:
        layer = recurrent(trace, index)
        arrays = len(_shown(trace, index)) + len(layer.from_x) + len(layer.from_state) + len(layer.widths)
        numbers += arrays * min(units, layer.hidden)
    return min(rows, len(trace)) * numbers


def recurrent(trace: Trace, index: int) -> Recurrent:
    """A recurrent layer of a trace's model."""
    return cast(Recurrent, trace.model.layers[index])


def _shown(trace: Trace, index: int) -> list[str]:
    """The numbers that the page holds of every unit at every row, beside `_parts`."""
    return [name for name in trace.layers[index] if name not in ("x", "d_x")]


def _layer(found: Findings, shown: Thinned, index: int, spaced: np.ndarray, dtype: str) -> dict[str, Any]:
    trace, units = found.trace, shown.units[index]
    layer, seen = recurrent(trace, index), trace.layers[index]
    numbers = {name: seen[name] for name in _shown(trace, index)} | _parts(trace, index)
    arrays = {name: packed(values[shown.places][:, units], dtype) for name, values in numbers.items()}
    reach = found.reach[index]
    kept, (first, *_) = seen.output[:, units], layer.State._fields
    return {
        "index": index,
        "inputs": layer.inputs,
        "hidden": layer.hidden,
        "units": units.tolist(),
        "orders": {by: unit_order(kept, by).tolist() for by in ORDERS},
        "words": words_of(layer),
        "step": step_of(layer, seen),
        "bias": {gate: packed(bias[units], "float64") for gate, bias in _biases(trace, index).items()},
        "arrays": arrays,
        "x": packed(seen["x"][shown.places][:, :1], "float64"),
        "d_x": packed(seen["d_x"][shown.places][:, :1], "float64"),
        "norm": _norms(found.whole, index, shown.places),
        "reach": {
            "at": reach.at.tolist(),
            "rows": trace.rows[reach.at].tolist(),
            "every": len(trace) <= STATES and len(reach.at) == int(np.count_nonzero(trace.weight > 0)),
            "since": reach.since.tolist(),
            "states": spaced.tolist(),
            first: packed(reach.norms[first][:, spaced], "float32"),
        },
        "profile": {part: packed(reach.by_lag(part), "float32") for part in reach.norms},
    }


def _parts(trace: Trace, index: int) -> Arrays:
    """Take the sums of a step apart, `(T, H)` each: gates from x and from h, the gradient from the row after."""
    layer, seen = recurrent(trace, index), trace.layers[index]
    first, found = layer.State._fields[0], {}
    for name, key, read, gates in (
        ("x", "weight_ih", seen["x"], layer.from_x),
        (first, "weight_hh", seen[f"{first}_before"], layer.from_state),
    ):
        sums = read @ trace.params[f"{index}.{key}"].T
        found |= {f"{gate}_from_{name}": a for gate, a in zip(gates, np.split(sums, len(gates), 1), strict=True)}
    goes_on = ~(trace.reset | trace.cut)[1:, None]
    for part in layer.State._fields:
        before = seen[f"d_{part}_before"]
        found[f"d_{part}_later"] = np.concatenate([before[1:] * goes_on, np.zeros_like(before[:1])])
    return found


def _biases(trace: Trace, index: int) -> Arrays:
    """By gate, all that is added to its products, `(H,)` each."""
    layer, found = recurrent(trace, index), {}
    for key, gates in (("bias_ih", layer.from_x), ("bias_hh", layer.from_state)):
        for gate, bias in zip(gates, np.split(trace.params[f"{index}.{key}"], len(gates)), strict=True):
            found[gate] = found[gate] + bias if gate in found else bias
    return found


def _variant(found: Findings, shown: Thinned, number: int) -> dict[str, Any]:
    variant, cut, place = found.variants[number], found.cut[number], np.arange(len(found.trace))
    first = first_reached(found.trace, variant.length, variant.lookback, variant.anew)
    profiles = []
    for layer in found.trace.recurrent:
        reach = found.reach[layer]
        kept = place >= first[reach.at][:, None]
        inside = {part: norm * kept for part, norm in reach.norms.items()}
        profiles.append(packed(replace(reach, norms=inside).by_lag(), "float32"))
    since = np.maximum.accumulate(np.where(cut.reset, place, 0))
    return {
        "label": variant.label,
        "note": variant.note,
        "length": variant.length,
        "lookback": variant.lookback,
        "fresh": variant.fresh,
        "anew": variant.anew,
        "starts": cut.starts.tolist(),
        "first": packed(np.maximum(first, since), "int32"),
        "norms": [_norms(cut, layer, shown.places) for layer in found.trace.recurrent],
        "profiles": profiles,
        "cosine": _number(cut.agreed.cosine),
        "norm_ratio": _number(cut.agreed.norm_ratio),
        "lanes": lanes_of(variant.schedule, found.trace.rows),
    }


def _norms(cut: Cut, layer: int, places: np.ndarray) -> dict[str, Any]:
    """2-norms over all units of the layer."""
    return {part: packed(values[places], "float64") for part, values in cut.norms[layer].items()}


def _number(value: float) -> float | None:
    """Write a number as JSON has it, which knows no NaN."""
    return float(value) if np.isfinite(value) else None


def _moments(times: np.ndarray, zone: str | None) -> list[str]:
    """Times in ISO 8601, no finer than they are, and with the offset of their zone if they have one."""
    if zone is not None:
        return [text.replace("T", " ") for text in write_times(times, zone).tolist()]
    if times.dtype.kind != "M":
        return [str(time) for time in times.tolist()]
    for unit in ("D", "m", "s"):
        coarse = times.astype(f"datetime64[{unit}]")
        if (coarse == times).all():
            break
    else:
        coarse = times
    return [text.replace("T", " ") for text in np.datetime_as_string(coarse).tolist()]
