"""Internal. Contacts, users, location details, products, payments and opportunities of the sandbox."""

from hl_async.sandbox.neighbours.quirks import NeighbourQuirks
from hl_async.sandbox.neighbours.state import Neighbours, NeighbourState

__all__ = ["NeighbourQuirks", "NeighbourState", "Neighbours"]
