"""Internal. The input of a run: files, the mapping of their columns, and rejects."""
