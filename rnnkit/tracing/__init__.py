"""Back-propagation through time, seen: every number of a pass over some rows, forward and back."""

from rnnkit.tracing.display import Thinned, unit_order
from rnnkit.tracing.layers import LayerTrace
from rnnkit.tracing.reach import TraceReach
from rnnkit.tracing.record import Trace
from rnnkit.tracing.walk import trace
from rnnkit.tracing.worked import worked_step

__all__ = ["LayerTrace", "Thinned", "Trace", "TraceReach", "trace", "unit_order", "worked_step"]
