"""The backend with a number of threads of the caller's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnkit.backend import Block, Carried, Draws, Report, Update
from rnnkit.errors import BackendError, did_you_mean
from rnnkit.model import Chain
from rnnkit_numba import arrays, protocol, train
from rnnkit_numba.stepper import Stepper
from rnnkit_numba.warm import cache_folder, warmup


def configure(*, threads: int = 0, **unknown: Any) -> WithThreads:
    """The backend that trains with at most so many threads.

    The results are the same bits for any number. A window's lanes are divided into groups of 16, each of which one
    thread takes through the window; there are never more threads than groups, and small windows stay on one thread.

    Args:
        threads: 1 or more, or 0 for one for each processor that this process may run on.

    Raises:
        BackendError: another number, or another option.

    Example:
        >>> configure(threads=2)
        WithThreads(threads=2)
    """
    if unknown:
        near = did_you_mean(next(iter(unknown)), ["threads"])
        raise BackendError(f"backend 'numba' takes the option threads, got {', '.join(unknown)}; leave it out{near}")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise BackendError(
            f"backend 'numba' expects threads to be a whole number from 0 on, got {threads!r}; 0 is one a processor"
        )
    return WithThreads(threads)


@dataclass(frozen=True)
class WithThreads:
    """The module's functions, with `train_block` on so many threads (0: one for each processor)."""

    threads: int = 0

    name = "numba"
    forward = staticmethod(protocol.forward)
    outputs = staticmethod(protocol.outputs)
    backward = staticmethod(protocol.backward)
    update = staticmethod(protocol.update)
    from_numpy = staticmethod(arrays.from_numpy)
    to_numpy = staticmethod(arrays.to_numpy)
    configure = staticmethod(configure)
    stepper = staticmethod(Stepper)
    warmup = staticmethod(warmup)
    cache_folder = staticmethod(cache_folder)

    def train_block(
        self, model: Chain, carried: Carried, block: Block, update: Update, draws: Draws
    ) -> tuple[Carried, Report]:
        """Train on so many threads: see `rnnkit.backend.protocol.WithTraining`."""
        return train.train_on(self.threads, model, carried, block, update, draws)
