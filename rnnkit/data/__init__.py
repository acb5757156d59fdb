"""Where rows come from: sequences, their segments, and scaling."""

from rnnkit.data.readers import series_ids
from rnnkit.data.scaling import Standard
from rnnkit.data.segments import Segment
from rnnkit.data.sequence import Sequence

__all__ = ["Segment", "Sequence", "Standard", "series_ids"]
