"""``python -m hl_async`` is the command line, for environments whose scripts are not on the path."""

from hl_async.cli import main

if __name__ == "__main__":
    main()
