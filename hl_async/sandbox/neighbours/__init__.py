"""Internal. The sandbox's routes beside invoices and estimates.

They concern contacts, users, location details, products, payments and opportunities.
"""

from hl_async.sandbox.neighbours.quirks import NeighbourQuirks
from hl_async.sandbox.neighbours.state import Neighbours, NeighbourState

__all__ = ["NeighbourQuirks", "NeighbourState", "Neighbours"]
