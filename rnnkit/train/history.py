"""What happened during training: a list a measure, by step and by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class History:
    """Measures of a run.

    Attributes:
        steps: `"loss"` (before the step's update), `"weight"` (sum of the row weights it is a mean over), `"norm"`
            (global 2-norm of the gradient before clipping), `"learning_rate"`: a list each, one entry a step.
        epochs: `"loss"` (mean over all scored rows of the epoch), `"seconds"` (training alone), `"rows"` (rows
            consumed), `"steps"`, and `"validation_loss"` where there is a validation part; for a curriculum
            `"<data set>/loss"` and `"<data set>/validation_loss"`, too: a list each, one entry an epoch.
    """

    steps: dict[str, list[float]] = field(
        default_factory=lambda: {"loss": [], "weight": [], "norm": [], "learning_rate": []}
    )
    epochs: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "seconds": [], "rows": []})

    def add_steps(self, **measures: np.ndarray) -> None:
        """Append the measures of some steps, an array `(K,)` each."""
        for name, values in measures.items():
            self.steps[name].extend(np.asarray(values, np.float64).tolist())

    def add_epoch(self, **measures: float) -> None:
        """Append the measures of an epoch."""
        for name, value in measures.items():
            self.epochs.setdefault(name, []).append(float(value))

    @property
    def monitored(self) -> list[float]:
        """The loss that decides about learning rate and stopping: validation where there is one, else training."""
        return self.epochs.get("validation_loss", self.epochs["loss"])

    def __repr__(self) -> str:
        return f"History({len(self.steps['loss']):,} steps, {len(self.epochs['loss'])} epochs)"
