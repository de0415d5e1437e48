"""Internal. What a run reads: files, the mapping of their columns, and rejects."""
