"""Migrating tables from the command line: what is left out, where it goes, and what is never touched."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest
from test_cli import Served, serving

from hl_async.bulk import Run
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode

MAPPING = """
[source]
encoding = "cp1252"
[document]
group_by = "No"
name = "{No}"
currency = "USD"
expiry_date = "2040-01-01"
[contact]
id = "c"
name = "A"
[line]
name = "{Name}"
amount = "{Price}"
qty = "{Qty}"
[[skip]]
column = "No"
matches = "^X"
reason = "an example"
[[reject]]
column = "No"
matches = "^C"
reason = "a cancellation"
"""
ROWS = "No,Name,Qty,Price\n1,Oak,1,2\n2,Café,-1,2\nX,Oak,1,1\nC1,Oak,1,1\nC2,Oak,1,1\n3,Elm,1\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture
def folder(shared: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a source and its mapping, and a server without documents."""
    shared.control("reset", {})
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_bytes(ROWS.encode("cp1252"))
    Path("m.toml").write_text(MAPPING)
    return tmp_path


def totals(capsys: pytest.CaptureFixture[str]) -> tuple[int, int, int, int]:
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report["source"], report["created"], report["rejected"], report["skipped"]


def test_a_mended_reject_file_is_the_next_input_in_the_same_encoding(
    folder: Path, shared: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", "t.csv", "--map", "m.toml", "--json"]) == ExitCode.REJECTS
    assert totals(capsys) == (6, 1, 4, 1)
    rejects = Path("t.rejects.csv").read_bytes().decode("cp1252")
    assert "2,Café,-1,2,\"line 3, column 'Qty': -1 is negative; a credit note is" in rejects
    assert "3,Elm,1,line 7 has 3 fields where the header has 4\n" in rejects
    assert Path("t.skipped.csv").read_bytes() == b"No,Name,Qty,Price,reject_reason\nX,Oak,1,1,an example\n"
    mended = rejects.replace("Café,-1", "Café,1").replace("Elm,1,", "Elm,1,5,").replace("C1,", "4,")
    Path("next.csv").write_bytes(mended.encode("cp1252"))
    assert run(["migrate", "next.csv", "--map", "m.toml", "--json"]) == ExitCode.REJECTS
    assert totals(capsys) == (4, 3, 1, 0)
    names = {one["items"][0]["name"] for one in shared.control("estimates")}
    assert names == {"Oak", "Café", "Elm"}


def test_the_report_names_the_commonest_reasons_and_the_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.REJECTS
    out = capsys.readouterr().out
    assert "       2   a cancellation\n" in out
    assert "t.rejects.csv   correct them, then: hl-async migrate t.rejects.csv --map m.toml\n" in out
    assert "t.skipped.csv" in out


def test_many_different_reasons_are_cut_to_the_commonest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"{n},Oak,{'x' * 200 if n == 9 else -n},1\n" for n in range(1, 10))
    Path("t.csv").write_text(f"No,Name,Qty,Price\n0,Oak,1,1\n{lines}")
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.REJECTS
    assert "       4   other reasons: in the reject file" in capsys.readouterr().out


def test_a_run_can_be_looked_at_while_it_works(
    folder: Path, shared: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.REJECTS

    async def locked() -> None:
        async with await Run.open(Path("t.csv.hl.db")):
            for command in ("status", "rejects", "verify"):
                code = [sys.executable, "-c", "from hl_async.cli import main; main()", command, "t.csv.hl.db"]
                process = await asyncio.create_subprocess_exec(*code, stdout=DEVNULL, stderr=DEVNULL)
                codes.append(await process.wait())

    codes: list[int] = []
    asyncio.run(locked())
    assert codes == [ExitCode.OK, ExitCode.OK, ExitCode.USAGE]


def test_a_dry_run_shows_rejects_and_the_first_document_and_makes_no_request(
    folder: Path, shared: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert run(["migrate", "t.csv", "--map", "m.toml", "--dry-run"]) == ExitCode.REJECTS
    out = capsys.readouterr().out
    assert "1 document to create (2.00 USD), 4 rejected, 1 skipped; about 3 requests" in out
    assert "       2   a cancellation\n" in out
    assert "first      1 · A · 1 line · 2.00 USD · valid until 2040-01-01\n" in out
    assert "totals     equal to the plan (the source has no totals)\n" in out
    assert out.endswith("dry run: nothing was sent\n")
    assert run(["migrate", "t.csv", "--map", "m.toml", "--dry-run", "--json"]) == ExitCode.REJECTS
    found = json.loads(capsys.readouterr().out)
    assert (found["items"], found["reasons"]["a cancellation"], found["first"]["name"]) == (1, 2, "1")
    assert shared.control("state")["requests"] == 0
    assert sorted(path.name for path in folder.rglob("*")) == [
        "m.toml", "t.csv", "t.rejects.csv", "t.skipped.csv", "tmp",
    ]  # fmt: skip


def test_a_dry_run_of_what_can_not_become_a_document_ends_as_the_run_would(folder: Path) -> None:
    Path("t.csv").write_text("No,Name,Qty,Price\n1,Oak,-1,2\n")
    for more in (["--dry-run"], []):
        assert run(["migrate", "t.csv", "--map", "m.toml", *more]) == ExitCode.USAGE


def test_a_long_name_is_rejected_or_cut_as_the_command_says(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "7" * 41
    Path("t.csv").write_text(f"No,Name,Qty,Price\n{name},Oak,1,2\n2,Oak,1,2\n")
    Path("m.toml").write_text(Path("m.toml").read_text().replace('name = "{No}"', 'name = "N{No}"'))
    command = ["migrate", "t.csv", "--map", "m.toml", "--dry-run", "--max-rejects", "100%"]
    assert run(command) == ExitCode.REJECTS
    assert "has 42 characters, the API takes 40" in (said := capsys.readouterr().out)
    assert "--cut-names" in said
    assert run([*command, "--cut-names"]) == ExitCode.OK
    assert "note       name is cut to 40 characters (1 document)" in capsys.readouterr().out
    monkeypatch.setenv("HL_RULES_OFF", "name_at_most_40")
    assert run([*command, "--cut-names"]) == ExitCode.OK
    assert "is cut" not in capsys.readouterr().out


def test_files_of_documents_are_their_owners_alone(folder: Path) -> None:
    Path("t.rejects.csv").write_text("of an older version")
    Path("t.rejects.csv").chmod(0o644)
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.REJECTS
    for name in ("t.rejects.csv", "t.skipped.csv", "t.csv.hl.db"):
        assert Path(name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (["1,Oak,1,2"], ExitCode.OK),
        (["1,Oak,1,2", "X,Oak,1,1"], ExitCode.OK),
        (["1,Oak,1,2", "2,Oak,-1,2"], ExitCode.REJECTS),
        (["2,Oak,-1,2", "3,Oak,-1,2"], ExitCode.USAGE),
        (["2,Oak,-1,2", "X,Oak,1,1"], ExitCode.USAGE),
        (["X,Oak,1,1"], ExitCode.USAGE),
    ],
    ids=["all", "all but skipped ones", "some", "none", "none, and skipped ones", "skipped ones only"],
)
def test_a_dry_run_exits_as_the_run_does_and_so_does_the_run_called_once_more(
    folder: Path, shared: Served, rows: list[str], code: ExitCode
) -> None:
    Path("t.csv").write_text("No,Name,Qty,Price\n" + "".join(f"{row}\n" for row in rows))
    command = ["migrate", "t.csv", "--map", "m.toml"]
    assert run([*command, "--dry-run"]) == code
    assert run(command) == code
    assert run(command) == code
    assert len(shared.control("estimates")) == sum(row.startswith("1,") for row in rows)


def test_a_run_whose_every_document_the_api_rejected_ends_with_2_each_time_it_is_called(
    folder: Path, shared: Served
) -> None:
    Path("m.toml").write_text(MAPPING.replace('name = "{No}"', 'name = "{No}"\nnumber = "7"'))
    Path("t.csv").write_text("No,Name,Qty,Price\n1,Oak,1,2\n")
    Path("u.csv").write_text("No,Name,Qty,Price\n2,Oak,1,2\n")
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.OK
    command = ["migrate", "u.csv", "--map", "m.toml"]
    assert run(command) == ExitCode.REJECTS, "the number is taken, which only the API knows"
    assert run(command) == ExitCode.REJECTS
    assert len(shared.control("estimates")) == 1


def test_a_dry_run_of_a_journal_changes_nothing_in_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.REJECTS
    command = ["migrate", "--resume", "t.csv.hl.db", "--retry-rejected", "--dry-run"]
    assert run(command) == ExitCode.REJECTS
    assert "nothing left to create, 4 rejected, 1 skipped" in capsys.readouterr().out
    assert run(["status", "t.csv.hl.db", "--json"]) == ExitCode.OK
    assert totals(capsys) == (6, 1, 4, 1)


@pytest.mark.parametrize(
    ("target", "problem"),
    [("t.csv", "the source itself"), ("none/r.csv", "cannot be written"), (".", "cannot")],
)
def test_a_reject_file_that_cannot_be_is_refused_before_any_request(
    folder: Path, shared: Served, capsys: pytest.CaptureFixture[str], target: str, problem: str
) -> None:
    assert run(["migrate", "t.csv", "--map", "m.toml", "--rejects", target]) == ExitCode.USAGE
    assert problem in capsys.readouterr().err
    assert shared.control("state")["requests"] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["m.toml", "t.csv"]


def test_the_report_comes_even_when_the_reject_file_cannot_be_written_any_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.rejects.csv").mkdir()
    assert run(["migrate", "t.csv", "--map", "m.toml", "--json"]) == ExitCode.REJECTS
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["created"] == 1
    assert "warning: " in captured.err
    assert "hl-async rejects" in captured.err


def test_a_resume_from_elsewhere_puts_the_rejects_beside_the_source_or_the_journal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["migrate", "t.csv", "--map", "m.toml", "--journal", "run.db"]) == ExitCode.REJECTS
    first = Path("t.rejects.csv").read_bytes()
    Path("t.rejects.csv").unlink()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert run(["migrate", "--resume", "../run.db"]) == ExitCode.REJECTS
    assert (folder / "t.rejects.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty: a header line"),
        (b"1,Oak,1,2\n", "no column"),
        (b"No,Name,Qty,Prize\n1,Oak,1,2\n", "no column 'Price'; did you mean 'Prize'"),
        (b"No,Name,Qty,Price,No\n", "'No' more than once"),
        (b'No,Name,Qty,Price\n1,"Oak,1,2\n', "line"),
        (b"\xff\xfeN\x00o\x00", "no column"),
    ],
)
def test_a_file_that_is_no_table_of_the_mapping_is_one_line_and_nothing_half_done(
    folder: Path, shared: Served, capsys: pytest.CaptureFixture[str], content: bytes, problem: str
) -> None:
    Path("t.csv").write_bytes(content)
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert problem in err
    assert shared.control("state")["requests"] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["m.toml", "t.csv"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(folder: Path) -> None:
    Path("m.toml").write_text(MAPPING.replace("cp1252", "utf-8"))
    Path("t.csv").write_bytes(b"\xef\xbb\xbfNo,Name,Qty,Price\r\n1,Oak,1,2\r\n")
    assert run(["migrate", "t.csv", "--map", "m.toml"]) == ExitCode.OK
