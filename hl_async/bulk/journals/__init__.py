"""Internal. The durable record of a run: the protocol of journals, on SQLite and on Postgres."""
