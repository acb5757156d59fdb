"""Every picture as a function: each returns a new matplotlib figure, for papers and notebooks."""

from rnnkit.view.bias import plot_bias
from rnnkit.view.curriculum import plot_curriculum
from rnnkit.view.forecasts import plot_continuation, plot_forecast
from rnnkit.view.plots import plot_history, plot_schedule
from rnnkit.view.trace_plots import plot_gates, plot_gradient, plot_reach, plot_rows
from rnnkit.view.transfer import plot_transfer

__all__ = [
    "plot_bias",
    "plot_continuation",
    "plot_curriculum",
    "plot_forecast",
    "plot_gates",
    "plot_gradient",
    "plot_history",
    "plot_reach",
    "plot_rows",
    "plot_schedule",
    "plot_transfer",
]
