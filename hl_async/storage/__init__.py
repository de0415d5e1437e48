"""Internal. Databases under token stores, budgets and journals."""
