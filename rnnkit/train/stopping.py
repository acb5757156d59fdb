"""When training stops before its last epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from rnnkit.checks import check_kinds
from rnnkit.errors import ModelError


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the monitored loss has not fallen by more than `minimum` for `patience` epochs; keep the best.

    The monitored loss is that of the validation part where there is one, else that of the training part.
    """

    patience: int = 10
    minimum: float = 0.0

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.patience < 1:
            raise ModelError(f"EarlyStopping expects patience >= 1, got {self.patience!r}")

    def improved(self, losses: Sequence[float], best_epoch: int) -> bool:
        """Whether the last of the epochs' losses is better than that of the best epoch before."""
        return losses[-1] < losses[best_epoch] - self.minimum or (isnan(losses[best_epoch]) and not isnan(losses[-1]))
