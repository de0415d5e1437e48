"""Internal. The ``hl-async`` command; needs the extra ``cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the console script; without its extra, say in one line what to install."""
    try:
        import click  # noqa: F401
    # The package installs the script even without the extra that it needs.
    except ModuleNotFoundError:
        print("hl-async needs its command-line extra: pip install 'hl-async[cli]'", file=sys.stderr)
        sys.exit(1)
    from hl_async.cli.app import run

    sys.exit(run())
