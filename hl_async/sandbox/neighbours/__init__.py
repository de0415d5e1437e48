"""Internal. The sandbox's contacts and their neighbours.

They are users, location details, products, payments and opportunities.
"""

from hl_async.sandbox.neighbours.quirks import NeighbourQuirks
from hl_async.sandbox.neighbours.state import Neighbours, NeighbourState

__all__ = ["NeighbourQuirks", "NeighbourState", "Neighbours"]
