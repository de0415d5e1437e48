"""Internal. One class per resource, one short coroutine per endpoint.

All of them speak through ``requesting``.
"""
