"""Export and copy, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import Served, serving

import samples
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.models.codec import encode


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    with serving(locations=2) as found:
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield found


def fill(served: Served, count: int) -> None:
    path = Path("source.ndjson")
    body = encode(samples.estimate())
    path.write_bytes(b"".join(body[:-1] + b',"sourceId":"d%d"}\n' % n for n in range(count)))
    assert run(["migrate", str(path), "--json"]) == ExitCode.OK


def test_an_export_is_complete_and_goes_on_where_it_was_cut(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(served, 230)
    capsys.readouterr()
    assert run(["export", "estimates", "all.ndjson", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "documents": 230,
        "unchanged": 0,
        "resumed": 0,
        "passes": 2,
        "late": 0,
        "is_settled": True,
    }
    lines = Path("all.ndjson").read_bytes().splitlines(keepends=True)
    assert len({json.loads(line)["_id"] for line in lines}) == 230
    Path("all.ndjson").unlink()
    Path("all.ndjson.part").write_bytes(b"".join(lines[:150]) + lines[150][:40])
    fill_one = encode(samples.estimate(name="new"))
    assert run(["call", "estimates.create", "--body", fill_one.decode()]) == ExitCode.OK
    capsys.readouterr()
    assert run(["export", "estimates", "all.ndjson"]) == ExitCode.OK
    assert "all.ndjson: 231 estimates\n150 were read by an earlier" in capsys.readouterr().out
    assert sorted(path.name for path in Path().glob("all*")) == ["all.ndjson"]
    assert run(["export", "estimates", "all.csv"]) == ExitCode.OK
    table = Path("all.csv").read_text().splitlines()
    assert len(table) == 232
    assert table[0].startswith("kind,id,location_id,number,status,name")
    assert run(["export", "invoices", "none.ndjson"]) == ExitCode.OK
    assert "none.ndjson: 0 invoices" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["all.ndjson", "all.csv"])
def test_an_export_that_is_repeated_holds_what_changed_and_is_private(
    served: Served, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    fill(served, 3)
    assert run(["export", "estimates", name]) == ExitCode.OK
    body = encode(samples.estimate(name="Renamed since"))
    target = served.control("estimates")[0]["_id"]
    assert run(["call", "estimates.update", target, "--body", body.decode()]) == ExitCode.OK
    Path(name).chmod(0o644)
    assert run(["export", "estimates", name]) == ExitCode.OK
    assert Path(name).read_text().count("Renamed since") == 1
    assert Path(name).stat().st_mode & 0o777 == 0o600


def test_a_complete_file_stays_until_the_next_export_is_complete(served: Served) -> None:
    fill(served, 3)
    assert run(["export", "estimates", "all.ndjson"]) == ExitCode.OK
    before = Path("all.ndjson").read_bytes()
    served.control("faults", {"script": {"list-estimates": ["error_500_before"] * 50}}, "PUT")
    assert run(["export", "estimates", "all.ndjson"]) == ExitCode.API
    assert Path("all.ndjson").read_bytes() == before
    assert Path("all.ndjson.part").exists()


def test_refresh_drops_what_an_interrupted_export_has_read(served: Served) -> None:
    fill(served, 3)
    Path("all.ndjson.part").write_text('{"_id":"deleted long ago"}\n')
    assert run(["export", "estimates", "all.ndjson", "--refresh"]) == ExitCode.OK
    assert len(Path("all.ndjson").read_bytes().splitlines()) == 3
    assert "long ago" not in Path("all.ndjson").read_text()


def test_an_export_goes_to_stdout_as_lines_or_as_a_table(
    served: Served, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    fill(served, 3)
    capsysbinary.readouterr()
    assert run(["export", "estimates", "-"]) == ExitCode.OK
    captured = capsysbinary.readouterr()
    assert len({json.loads(line)["_id"] for line in captured.out.splitlines()}) == 3
    assert captured.err == b"stdout: 3 estimates\n"
    assert run(["export", "estimates", "-", "--format", "csv"]) == ExitCode.OK
    assert len(capsysbinary.readouterr().out.splitlines()) == 4
    assert run(["export", "estimates", "-", "--json"]) == ExitCode.USAGE


def test_a_file_that_is_not_an_export_is_left_alone(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("other.ndjson").write_text("[1]\n")
    for name in ("other.csv", "other.ndjson"):
        before = Path(name).read_text()
        assert run(["export", "estimates", name]) == ExitCode.USAGE
        assert "is not an export" in capsys.readouterr().err
        assert Path(name).read_text() == before
    assert run(["export", "estimates", "none/all.csv"]) == ExitCode.USAGE
    assert "the folder none does not exist" in capsys.readouterr().err
    assert run(["export", "estimates", "all.xlsx"]) == ExitCode.USAGE


def test_a_copy_with_invoices_is_refused_because_copies_are_drafts(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(served, 2)
    other = next(one for one in served.control("state")["locations"] if one != served.location)
    before = served.control("state")
    command = ["copy", "--from", served.location, "--to", other, "--with-invoices"]
    assert run(command) == ExitCode.USAGE
    assert "--with-invoices: copies are drafts" in (said := capsys.readouterr().err)
    assert "HL_RULES_OFF=accepted_first" in said
    assert served.control("state")["locations"] == before["locations"]
    assert not Path(f"{served.location}-{other}.hl.db").exists()


def test_a_location_is_copied_once_with_its_invoices(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(served, 30)
    for document in served.control("estimates")[:5]:
        sending = '{"action":"send_manually","userId":"u1","liveMode":true}'
        assert run(["call", "estimates.send", document["_id"], "--body", sending]) == ExitCode.OK
        served.control("customer/accept", {"id": document["_id"]})
        assert (
            run(["call", "estimates.create_invoice", document["_id"], "--body", '{"markAsInvoiced":true}'])
            == ExitCode.OK
        )
    # the copies are drafts, which the live API makes no invoices of
    monkeypatch.setenv("HL_RULES_OFF", "accepted_first")
    served.control("rules", {"off": ["accepted_first"]}, "PUT")
    other = next(one for one in served.control("state")["locations"] if one != served.location)
    served.control(
        "faults",
        {"rates": {"reset_after_commit": 0.1, "html_502": 0.05}, "seed": 4, "times": {"late": 0.2}},
        "PUT",
    )
    capsys.readouterr()
    command = [
        "copy",
        "--from",
        served.location,
        "--to",
        other,
        "--with-invoices",
        "--settle",
        "0.3",
        "--attempt-timeout",
        "0.5",
    ]
    assert run([*command, "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["created"], report["unknown"]) == (30, 0)
    assert (report["invoices"]["created"], report["invoices"]["unknown"]) == (5, 0)
    assert report["requests"] > 30
    assert report["invoices"]["requests"] > 5
    assert run(command) == ExitCode.OK
    first, second = capsys.readouterr().out.split("invoices of these copies\n")
    assert "created" in first
    assert "created" in second
    state = served.control("state")["locations"][other]
    assert (state["estimates"], state["invoices"]) == (30, 5)
    assert state["total"] == served.control("state")["locations"][served.location]["total"]
    capsys.readouterr()
    assert run([*command, "--journal", "second.db"]) == ExitCode.USAGE
    assert "30 of these 30 documents are in location" in capsys.readouterr().err
    assert served.control("state")["locations"][other]["estimates"] == 30


def test_a_copy_into_itself_is_refused(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["copy", "--from", "a", "--to", "a"]) == ExitCode.USAGE
    assert run(["copy", "--from", "../a", "--to", "b"]) == ExitCode.USAGE
    assert "--from" in capsys.readouterr().err
