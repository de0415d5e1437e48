"""Internal. One class per resource, one short coroutine per endpoint.

``requesting`` turns their arguments into calls.
"""
