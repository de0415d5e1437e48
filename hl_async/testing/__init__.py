"""For the tests of code that uses this package: pytest fixtures, builders, faults, signed webhook deliveries.

The fixtures come by themselves once the package is installed (see ``hl_async.testing.plugin``); the rest is imported:
``builders``, ``deliveries``, ``faults``, ``stores``.
"""
