"""Internal. Databases of token stores, rate budgets, journals and feed cursors."""
