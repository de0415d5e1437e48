"""The page "From a form to a sent estimate", from an empty folder: a virtual environment, pip, and the page's program.

Not part of ``make bench``: it needs a package index. The sandbox's customer accepts what is sent.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/how-to/form-to-estimate.md"
EXTRAS: Final = "cli,phone,webhooks"
OTHERS: Final = ("fastapi", "httpx")
BAR: Final = 60.0
_BLOCK: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program() -> str:
    """The page's blocks as one program."""
    blocks = _BLOCK.findall(PAGE.read_text("utf-8"))
    body = "\n".join(blocks).replace("\n", "\n    ")
    return f"import asyncio\n\n\nasync def main():\n    {body}\n\n\nasyncio.run(main())\nprint('done')\n"


@contextmanager
def timed(what: str, spent: list[float]) -> Iterator[None]:
    """Print how long a step took."""
    begun = time.monotonic()
    yield
    spent.append(time.monotonic() - begun)
    print(f"{what:<28}{spent[-1]:6.1f} s", flush=True)


def main() -> int:
    """Run the page, and compare the time with a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="how-to-"))
    (folder / "form.py").write_text(program(), "utf-8")
    (folder / "examples").mkdir()
    shutil.copy(ROOT / "examples/fastapi_app.py", folder / "examples")
    binaries = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    install = [
        str(binaries / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "-c", str(ROOT / "constraints.txt"), f"{ROOT}[{EXTRAS}]", *OTHERS,
    ]  # fmt: skip
    run = [
        str(binaries / "hl-async"), "sandbox", "--customer-accepts", str(binaries / "python"), "form.py",
    ]  # fmt: skip
    spent: list[float] = []
    try:
        with timed("virtual environment", spent):
            subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        with timed(f"pip install [{EXTRAS}]", spent):
            subprocess.run(install, check=True)
        with timed("the page's program", spent):
            subprocess.run(run, cwd=folder, check=True)
    finally:
        if not options.keep:
            shutil.rmtree(folder)
    total = sum(spent)
    print(f"{'together':<28}{total:6.1f} s, at most {BAR:.0f} s")
    return 0 if total <= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
