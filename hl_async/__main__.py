"""The command line as ``python -m hl_async``.

It is for environments whose scripts are not on the path.
"""

from hl_async.cli import main

if __name__ == "__main__":
    main()
