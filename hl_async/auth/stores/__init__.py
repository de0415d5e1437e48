"""Internal. Stores of tokens: memory, SQLite, Postgres; encryption for each."""
