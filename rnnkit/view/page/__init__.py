"""A page to look at back-propagation through time: one HTML file that needs nothing else."""

from rnnkit.view.page.variants import Variant, variants_of
from rnnkit.view.page.write import LIMIT, write_page

__all__ = ["LIMIT", "Variant", "variants_of", "write_page"]
