"""Where rows come from: sequences, their segments, scaling, and data sets that are opened in turn."""

from rnnkit.data.dataset import DataSet
from rnnkit.data.readers import series_ids
from rnnkit.data.scaling import Standard
from rnnkit.data.segments import Segment
from rnnkit.data.sequence import Sequence

__all__ = ["DataSet", "Segment", "Sequence", "Standard", "series_ids"]
