"""Internal. One class per resource, one short coroutine per endpoint; all of them speak through ``requesting``."""
