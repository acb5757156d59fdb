"""Stateful recurrent networks: splitting, state and gradient reach as explicit values, on interchangeable backends."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnkit.backend import Backend, backend, installed_backends
from rnnkit.errors import ContinuityError, RnnkitError, RnnkitWarning

if TYPE_CHECKING:
    from rnnkit import cells, errors, gradients, losses, plots, rates, rules
    from rnnkit.data import DataSet, Segment, Sequence, Standard, tasks
    from rnnkit.model import (
        LSTM,
        SGD,
        Adam,
        Chain,
        ClipNorm,
        Dense,
        Given,
        Heads,
        Learned,
        Noise,
        Zeros,
        setup,
        summary,
    )
    from rnnkit.schedule import (
        Batch,
        BurnIn,
        Carry,
        Chunked,
        Continuation,
        Curriculum,
        Geometric,
        OneByOne,
        Phase,
        Reset,
        RoundRobin,
        Sampling,
        Schedule,
        SideBySide,
        Sliding,
        Stored,
        Uniform,
    )
    from rnnkit.study import Equal, compare, gradient_bias
    from rnnkit.tracing import trace
    from rnnkit.train import (
        EarlyStopping,
        Evaluation,
        Forecast,
        LaneState,
        Prediction,
        Run,
        Stream,
        evaluate,
        fit,
        forecast,
        load,
        predict,
        recorded_distance,
        state_after,
    )

LATE = {
    name: module
    for module, names in {
        "rnnkit.backend": "Gradients",
        "rnnkit.data": "DataSet Segment Sequence Standard",
        "rnnkit.errors": """
            BackendError ConfigError DataError Interrupted ModelError NonFiniteError ScheduleError SourceError
        """,
        "rnnkit.model": """
            LSTM MAE MSE SGD Adam AdamW BinaryCrossEntropy Chain ClipNorm ClipValue CrossEntropy Dense Given
            Heads Huber Learned LSTMState Noise RMSProp RuleState Zeros initial_rule_state setup summary
        """,
        "rnnkit.schedule": """
            Batch Block BurnIn Carry Chunked Continuation Coverage Curriculum Geometric Grid OneByOne Phase
            Pieces Reset RoundRobin Sampling Schedule SideBySide Sliding Stored Uniform
        """,
        "rnnkit.study": "Comparison Equal GradientBias compare gradient_bias",
        "rnnkit.tracing": "Trace trace",
        "rnnkit.train": """
            Constant Cosine EarlyStopping Evaluation Forecast History LaneState OneCycle Plateau Prediction
            Progress Run StepDecay Stream Transfer TurnEnd evaluate fit forecast load predict
            recorded_distance state_after
        """,
    }.items()
    for name in names.split()
}
"""The module that a public name comes from, imported when one of its names is first asked for. What most people use
stands in `__all__` and above for type checkers, too; the rest stands in a namespace below, such as `rk.losses`, and
stays within reach. `rnnkit.backend` is imported at once, lest the module hide its function."""

MODULES = {
    "cells": "rnnkit.cells",
    "data": "rnnkit.data",
    "errors": "rnnkit.errors",
    "gradients": "rnnkit.gradients",
    "losses": "rnnkit.losses",
    "plots": "rnnkit.plots",
    "rates": "rnnkit.rates",
    "rules": "rnnkit.rules",
    "schedule": "rnnkit.schedule",
    "study": "rnnkit.study",
    "tasks": "rnnkit.data.tasks",
    "tracing": "rnnkit.tracing",
    "train": "rnnkit.train",
}
"""Modules that are there as `rk.plots` without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(MODULES[name])
    if name not in LATE:
        raise AttributeError(f"module 'rnnkit' has no attribute {name!r}")
    return getattr(import_module(LATE[name]), name)


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "LSTM",
    "SGD",
    "Adam",
    "Backend",
    "Batch",
    "BurnIn",
    "Carry",
    "Chain",
    "Chunked",
    "ClipNorm",
    "Continuation",
    "ContinuityError",
    "Curriculum",
    "DataSet",
    "Dense",
    "EarlyStopping",
    "Equal",
    "Evaluation",
    "Forecast",
    "Geometric",
    "Given",
    "Heads",
    "LaneState",
    "Learned",
    "Noise",
    "OneByOne",
    "Phase",
    "Prediction",
    "Reset",
    "RnnkitError",
    "RnnkitWarning",
    "RoundRobin",
    "Run",
    "Sampling",
    "Schedule",
    "Segment",
    "Sequence",
    "SideBySide",
    "Sliding",
    "Standard",
    "Stored",
    "Stream",
    "Uniform",
    "Zeros",
    "backend",
    "cells",
    "compare",
    "errors",
    "evaluate",
    "fit",
    "forecast",
    "gradient_bias",
    "gradients",
    "installed_backends",
    "load",
    "losses",
    "plots",
    "predict",
    "rates",
    "recorded_distance",
    "rules",
    "setup",
    "state_after",
    "summary",
    "tasks",
    "trace",
]
