"""Texts of small configs: an LSTM with a dense layer, trained on NumPy."""

from __future__ import annotations


def config(
    data: str = 'path = "wave.csv"',
    *,
    top: str = "",
    hidden: int = 3,
    dense: str = "",
    splitter: str = "Continuation",
    length: int = 8,
    lanes: int | None = None,
    policy: str | None = None,
    train: str = "epochs = 1",
) -> str:
    """Text of a config, a key a line, in the order of the arguments.

    Args:
        data: keys of the table `data`, or whole tables in its place.
        top: keys before all tables.
        dense: further keys of the dense layer.
        splitter: its type, with `length` and, where they are given, `lanes`.
        policy: its type; None leaves the table out.
        train: keys of the table `train`.
    """
    parts = [
        'backend = "numpy"',
        top,
        data if data.startswith("[") else f"[data]\n{data}",
        f'[[model.layers]]\ntype = "LSTM"\nhidden = {hidden}',
        f'[[model.layers]]\ntype = "Dense"\n{dense}',
        f'[splitter]\ntype = "{splitter}"\nlength = {length}',
        "" if lanes is None else f"lanes = {lanes}",
        "" if policy is None else f'[policy]\ntype = "{policy}"',
        f"[train]\n{train}",
    ]
    return "".join(part.strip() + "\n" for part in parts if part)
