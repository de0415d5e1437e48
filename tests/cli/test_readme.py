"""The README's first program runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from test_cli import serving

README = Path(__file__).parents[2] / "README.md"


def test_the_first_program_of_the_readme_runs(tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[0]
    (tmp_path / "program.py").write_text(program, "utf-8")
    with serving() as served:
        shown = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**os.environ, **served.env},
            capture_output=True,
            text=True,
            check=False,
        )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].endswith(" 29.97")
    assert "000001" in shown.stdout


def test_every_page_the_readme_names_is_there() -> None:
    for target in re.findall(r"\]\(([\w/.]+)\)", README.read_text("utf-8")):
        assert (README.parent / target).exists(), target
