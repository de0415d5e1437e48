"""Bulk work: bounded, journaled, resumable, exactly once."""
