"""Every benchmark, one after the other; exit 1 when a bar is missed by more than noise."""

from __future__ import annotations

import sys

from benchmarks import bulk, call_overhead, decode, faults, governor, imports


def main() -> int:
    """Run them all."""
    missed = 0
    for module in (imports, decode, bulk, faults, governor, call_overhead):
        print(f"\n== {module.__name__.rpartition('.')[2]}: {(module.__doc__ or '').splitlines()[0]}")
        missed += module.main()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
