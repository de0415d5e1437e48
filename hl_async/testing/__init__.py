"""Fixtures, builders, faults and signed deliveries for tests with this package.

pytest finds the fixtures once the package is installed (see ``hl_async.testing.plugin``). Import the rest:
``builders``, ``deliveries``, ``faults``, ``stores``.
"""
