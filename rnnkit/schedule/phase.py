"""Some epochs of a curriculum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnkit.checks import check_listed, is_number
from rnnkit.errors import ScheduleError
from rnnkit.schedule.checks import check_whole


@dataclass(frozen=True)
class Phase:
    """Some epochs in which some of the data sets are trained on.

    Args:
        names: of the data sets, or patterns such as `"web-*"`; left out, all.
        epochs: how many.
        learning_rate: factor on the learning rate.
        frozen: patterns of parameters that are left as they are, such as `"0.*"` for those of the first layer.
        name: for messages.

    Raises:
        ScheduleError: fewer than one epoch, a learning rate that is not above 0.
    """

    names: tuple[str, ...] | None = None
    epochs: int = 1
    learning_rate: float = 1.0
    frozen: str | tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise ScheduleError(f"Phase expects a list of names, got {self.names!r}; write [{self.names!r}]")
        if self.names is not None:
            check_listed("Phase", "names", self.names, "['a']", ScheduleError)
            object.__setattr__(self, "names", tuple(self.names))
            if not all(isinstance(name, str) for name in self.names):
                raise ScheduleError(f"Phase expects a list of names, got {self.names!r}; write names=['a']")
            if not self.names:
                raise ScheduleError("Phase expects at least one name, got none; leave names out for all data sets")
        if not isinstance(self.frozen, str):
            check_listed("Phase", "frozen", self.frozen, "['0.*']", ScheduleError)
            object.__setattr__(self, "frozen", tuple(self.frozen))
        check_whole(self, "epochs", self.epochs)
        number = is_number(self.learning_rate)
        if not number or not 0 < self.learning_rate < np.inf:
            raise ScheduleError(f"Phase expects learning_rate to be a number above 0, got {self.learning_rate!r}")
