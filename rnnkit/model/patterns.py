"""Parameters by patterns over their keys."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from rnnkit.checks import check_listed
from rnnkit.errors import ModelError, did_you_mean
from rnnkit.model.layers import Chain, parameter_shapes


def match_parameters(model: Chain, patterns: str | Sequence[str]) -> frozenset[str]:
    """The keys of a model's parameters that fit some pattern.

    Args:
        model: the chain.
        patterns: one or several, as in a shell: `*` stands for any text, dots included, `?` for one character,
            `[ab]` for one of some.

    Raises:
        ModelError: a pattern that fits no parameter, or something that is no text.

    Example:
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
        >>> sorted(match_parameters(model, ["1.*", "*.bias_?h"]))
        ['0.bias_hh', '0.bias_ih', '1.bias', '1.weight']
    """
    keys = tuple(parameter_shapes(model))
    found: set[str] = set()
    check_listed("match_parameters", "frozen", patterns, "'0.*'")
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        if not isinstance(pattern, str):
            raise ModelError(f"match_parameters expects patterns such as '0.*', got {pattern!r}")
        fitting = [key for key in keys if fnmatchcase(key, pattern)]
        if not fitting:
            raise ModelError(
                f"match_parameters expects patterns that fit some parameter, got {pattern!r}, which fits none of "
                f"{', '.join(keys)}{did_you_mean(pattern, keys)}"
            )
        found.update(fitting)
    return frozenset(found)
