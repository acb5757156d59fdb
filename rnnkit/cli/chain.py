"""The model of a config: sizes that were left out follow from the data and from the layer before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rnnkit.cli.config import Config, Described
from rnnkit.cli.locate import Keys
from rnnkit.cli.many import Head, ManyConfig
from rnnkit.errors import counted
from rnnkit.model import Chain, CrossEntropy, Heads, Loss
from rnnkit.model.initialisers import check_memory
from rnnkit.model.patterns import match_parameters

if TYPE_CHECKING:
    from rnnkit.cli.builder import Builder


def build_chain(builder: Builder, features: int, outputs: Mapping[str | None, int], loss: Loss) -> Chain | None:
    """The chain of a config; None where it has a problem, which the builder is told.

    Args:
        builder: of the config.
        features: that the data have.
        outputs: how many the data want of each head; of a model without heads, under None.
        loss: cross-entropy wants an output for each class, which the data do not say.
    """
    table = builder.config.model
    heads: Mapping[str, Head] = getattr(table, "heads", {})
    wanted = {} if isinstance(loss, CrossEntropy) else outputs
    path: Keys = ("model", "layers")
    places = [(*path, index) for index in range(len(table.layers))]
    why = "it follows from the data for the last layer alone" if heads or wanted else CLASSES
    layers = _stack(builder, places, table.layers, features, None if heads else wanted.get(None), why)
    if layers is None:
        return None
    made = {}
    for name, head in heads.items():
        found = _head(builder, name, head, layers[-1].outputs, wanted.get(name), CLASSES if not wanted else UNUSED)
        if found is not None:
            made[name] = found
    if not builder.draft.usable(("model",)):
        return None
    model = None
    with builder.blaming(("model", "heads") if heads else ("model", "initial")):
        model = Chain(*layers, *([Heads(**made)] if heads else []), initial=table.initial.build())
    if model is not None:
        with builder.blaming(("model", "layers")):
            check_memory(model, builder.config.dtype, 2)
        with builder.blaming(("train", "frozen")):
            match_parameters(model, builder.config.train.frozen)
    return model


def end_of(config: Config | ManyConfig, head: str | None) -> tuple[Keys, tuple[str, ...]]:
    """The place of the last layer of a model, or of the chain of one of its heads, and the keys that it may have."""
    heads: Mapping[str, Head] = getattr(config.model, "heads", {})
    path, layers = ("model", "layers"), config.model.layers
    if head is not None:
        path, own = ("model", "heads", head), heads[head].layers
        if own is None:
            return path, tuple(type(heads[head]).model_fields)
        path, layers = (*path, "layers"), own
    return (*path, len(layers) - 1), tuple(type(layers[-1]).model_fields)


CLASSES = "cross_entropy wants an output for each class"
UNUSED = "no data set says that it trains this head"


def _head(builder: Builder, name: str, head: Head, width: int, outputs: int | None, why: str) -> Any:
    """One head: a layer, or several."""
    path: Keys = ("model", "heads", name)
    if head.layers is None:
        found = _stack(builder, [path], [head], width, outputs, why)
        return None if found is None else found[0]
    beside = [key for key in ("inputs", "outputs", "activation") if key in head.model_fields_set]
    if beside:
        builder.add((*path, beside[0]), f"stands beside layers; write {beside[0]} in one of these")
        return None
    if not head.layers:
        builder.add((*path, "layers"), "expects at least one entry, got []")
        return None
    places = [(*path, "layers", index) for index in range(len(head.layers))]
    found = _stack(builder, places, head.layers, width, outputs, why)
    return None if found is None else Chain(*found)


def _stack(
    builder: Builder, places: Sequence[Keys], tables: Sequence[Described], width: int, outputs: int | None, why: str
) -> list[Any] | None:
    """Layers one after the other, of which the last gives so many outputs; None where a size is not known."""
    layers: list[Any] = []
    for index, (path, table) in enumerate(zip(places, tables, strict=True)):
        names = {field.name for field in fields(table.kind)}
        inputs, given = getattr(table, "inputs", None), {}
        if "inputs" in names:
            given["inputs"] = width
            if inputs not in (None, width):
                giver = f"layer {index - 1}" if index else "the data" if path[1] == "layers" else "the layer before"
                message = (
                    f"{giver} gives {counted(width, 'feature')}, but this layer expects {inputs}; leave inputs out"
                )
                builder.add((*path, "inputs"), message)
        if "outputs" in names and getattr(table, "outputs", None) is None:
            if index < len(tables) - 1 or outputs is None:
                last = index == len(tables) - 1
                reason = why if last else "it follows from the data for the last layer alone"
                builder.add((*path, "outputs"), f"is required, but missing: {reason}")
                return None
            given["outputs"] = outputs
        layers.append(table.build(**given))
        width = layers[-1].outputs
    return layers
