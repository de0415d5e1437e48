"""Fixtures, builders, faults and signed deliveries for tests with this package.

The fixtures come by themselves once the package is installed (see ``hl_async.testing.plugin``); the rest is imported:
``builders``, ``deliveries``, ``faults``, ``stores``.
"""
