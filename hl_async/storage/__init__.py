"""Internal. The databases of token stores, rate budgets, journals and feed cursors."""
