"""Internal. Where tokens are kept: memory, SQLite, Postgres, encrypted at rest in any of them."""
