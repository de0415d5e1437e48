"""Internal. The durable record of a run: its protocol, on SQLite and Postgres."""
