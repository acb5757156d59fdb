"""Stateful recurrent networks: splitting, state and gradient reach as explicit values, on interchangeable backends."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnkit.backend import Backend, Gradients, backend, installed_backends
from rnnkit.errors import (
    BackendError,
    ConfigError,
    ContinuityError,
    DataError,
    Interrupted,
    ModelError,
    NonFiniteError,
    RnnkitError,
    RnnkitWarning,
    ScheduleError,
    SourceError,
)

if TYPE_CHECKING:
    from rnnkit import plots
    from rnnkit.data import DataSet, Segment, Sequence, Standard, tasks
    from rnnkit.model import (
        LSTM,
        MAE,
        MSE,
        SGD,
        Adam,
        AdamW,
        BinaryCrossEntropy,
        Chain,
        ClipNorm,
        ClipValue,
        CrossEntropy,
        Dense,
        Given,
        Heads,
        Huber,
        Learned,
        LSTMState,
        Noise,
        RMSProp,
        RuleState,
        Zeros,
        initial_rule_state,
        setup,
        summary,
    )
    from rnnkit.schedule import (
        Batch,
        Block,
        BurnIn,
        Carry,
        Chunked,
        Continuation,
        Coverage,
        Curriculum,
        Geometric,
        Grid,
        OneByOne,
        Phase,
        Pieces,
        Reset,
        RoundRobin,
        Sampling,
        Schedule,
        SideBySide,
        Sliding,
        Stored,
        Uniform,
    )
    from rnnkit.study import Comparison, Equal, GradientBias, compare, gradient_bias
    from rnnkit.tracing import Trace, trace
    from rnnkit.train import (
        Constant,
        Cosine,
        EarlyStopping,
        Evaluation,
        Forecast,
        History,
        LaneState,
        OneCycle,
        Plateau,
        Prediction,
        Progress,
        Run,
        StepDecay,
        Stream,
        Transfer,
        TurnEnd,
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
        "rnnkit.data": "DataSet Segment Sequence Standard",
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
"""The module that a public name comes from, imported when one of its names is first asked for. A new name stands here,
above for type checkers, and in `__all__`. `rnnkit.backend` is imported at once, lest the module hide its function."""

MODULES = {
    "data": "rnnkit.data",
    "plots": "rnnkit.plots",
    "schedule": "rnnkit.schedule",
    "tasks": "rnnkit.data.tasks",
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
    "MAE",
    "MSE",
    "SGD",
    "Adam",
    "AdamW",
    "Backend",
    "BackendError",
    "Batch",
    "BinaryCrossEntropy",
    "Block",
    "BurnIn",
    "Carry",
    "Chain",
    "Chunked",
    "ClipNorm",
    "ClipValue",
    "Comparison",
    "ConfigError",
    "Constant",
    "Continuation",
    "ContinuityError",
    "Cosine",
    "Coverage",
    "CrossEntropy",
    "Curriculum",
    "DataError",
    "DataSet",
    "Dense",
    "EarlyStopping",
    "Equal",
    "Evaluation",
    "Forecast",
    "Geometric",
    "Given",
    "GradientBias",
    "Gradients",
    "Grid",
    "Heads",
    "History",
    "Huber",
    "Interrupted",
    "LSTMState",
    "LaneState",
    "Learned",
    "ModelError",
    "Noise",
    "NonFiniteError",
    "OneByOne",
    "OneCycle",
    "Phase",
    "Pieces",
    "Plateau",
    "Prediction",
    "Progress",
    "RMSProp",
    "Reset",
    "RnnkitError",
    "RnnkitWarning",
    "RoundRobin",
    "RuleState",
    "Run",
    "Sampling",
    "Schedule",
    "ScheduleError",
    "Segment",
    "Sequence",
    "SideBySide",
    "Sliding",
    "SourceError",
    "Standard",
    "StepDecay",
    "Stored",
    "Stream",
    "Trace",
    "Transfer",
    "TurnEnd",
    "Uniform",
    "Zeros",
    "backend",
    "compare",
    "evaluate",
    "fit",
    "forecast",
    "gradient_bias",
    "initial_rule_state",
    "installed_backends",
    "load",
    "plots",
    "predict",
    "recorded_distance",
    "setup",
    "state_after",
    "summary",
    "tasks",
    "trace",
]
