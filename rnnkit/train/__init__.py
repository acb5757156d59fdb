"""The fold, and what comes after it."""

from rnnkit.train.evaluate import Errors, Evaluation, evaluate
from rnnkit.train.fit import fit
from rnnkit.train.gradient import epoch_gradient
from rnnkit.train.history import History
from rnnkit.train.lane_state import LaneState
from rnnkit.train.learning_rates import Constant, Cosine, LearningRate, OneCycle, Plateau, StepDecay
from rnnkit.train.loading import load
from rnnkit.train.predict import forecast, predict
from rnnkit.train.prediction import Forecast, Prediction
from rnnkit.train.progress import Progress, TurnEnd
from rnnkit.train.recorded import RecordedDistance, recorded_distance
from rnnkit.train.run import Run, Seen
from rnnkit.train.state_after import state_after
from rnnkit.train.stopping import EarlyStopping
from rnnkit.train.stream import Stream
from rnnkit.train.transfer import Transfer

__all__ = [
    "Constant",
    "Cosine",
    "EarlyStopping",
    "Errors",
    "Evaluation",
    "Forecast",
    "History",
    "LaneState",
    "LearningRate",
    "OneCycle",
    "Plateau",
    "Prediction",
    "Progress",
    "RecordedDistance",
    "Run",
    "Seen",
    "StepDecay",
    "Stream",
    "Transfer",
    "TurnEnd",
    "epoch_gradient",
    "evaluate",
    "fit",
    "forecast",
    "load",
    "predict",
    "recorded_distance",
    "state_after",
]
