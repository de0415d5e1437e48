"""A migration killed again and again, with faults on, against a sandbox in another process.

Every key once in the sandbox, created + rejected = source, totals to the cent. ``--documents``, ``--kills``, ``--seed``.
Then a migration that is killed in the middle and taken back, the rollback killed as often: nothing of it stays, and nothing
else goes. Then the same for a copy of the location with its invoices.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.bars import Row, note
from benchmarks.faults import draft
from hl_async.models.codec import encode

COMMAND = [sys.executable, "-c", "from hl_async.cli import main; main()"]


def control(url: str, name: str, body: Any = None, method: str = "GET") -> Any:
    """Ask the sandbox's control surface."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/_sandbox/{name}", data, headers, method=method)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def killed(
    command: list[str],
    environment: dict[str, str],
    kills: int,
    dice: random.Random,
    good: tuple[int, ...] = (0, 2),
) -> tuple[int, dict[str, Any]]:
    """Run ``command`` until it ends by itself, killing it at random moments first; (kills that hit, its report)."""
    hit = only_killed(command, environment, kills, dice)
    for _ in range(20):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode in good:
            return hit, json.loads(done.stdout.splitlines()[-1])
    raise SystemExit(f"it never ended: {done.stderr}")


def only_killed(command: list[str], environment: dict[str, str], kills: int, dice: random.Random) -> int:
    """Start ``command`` and kill it at a random moment, so often, unless it ends by itself; kills that hit."""
    hit = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.35 + dice.random() * 0.7)
        if process.poll() is not None:
            break
        hit += 1
        process.kill()
        process.wait()
    return hit


def taken_back(
    url: str, location: str, source: Path, environment: dict[str, str], kills: int, dice: random.Random
) -> bool:
    """Migrate into a location, killed before the end; take it back, killed as often; what stays is others'."""
    environment = {**environment, "HL_LOCATION_ID": location}
    times = ["--settle", "0.8", "--attempt-timeout", "0.6", "--json"]
    other = source.with_name("other.ndjson")
    other.write_bytes(b"".join(encode(draft(f"o{n}"))[:-1] + b',"sourceId":"o%d"}\n' % n for n in range(20)))
    killed([*COMMAND, "migrate", str(other), *times], environment, 0, dice)
    before = {one["_id"]: one for one in control(url, f"estimates?location={location}")}
    journal = source.with_name("back.hl.db")
    command = [*COMMAND, "migrate", str(source), "--journal", str(journal), *times]
    hit = 0
    while hit < kills:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # in the middle of its requests, however slow the machine is
        wanted = len(control(url, f"estimates?location={location}")) + dice.randint(5, 15)
        while len(control(url, f"estimates?location={location}")) < wanted and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.wait()
        hit += 1
    made = len(control(url, f"estimates?location={location}")) - len(before)
    back = [*COMMAND, "rollback", str(journal), "--yes", "--json"]
    hit_back, report = killed(back, environment, kills, dice, good=(0,))
    after = {one["_id"]: one for one in control(url, f"estimates?location={location}")}
    left, touched = len(after.keys() - before.keys()), sum(after.get(one) != before[one] for one in before)
    note(Row("rollback under SIGKILLs: documents left, or of others touched", left + touched, 0, ""))
    print(
        f"rollback: {made} documents after {hit} SIGKILLs, taken back under {hit_back}: {left} left, {touched} of "
        f"{len(before)} others touched; state {report['state']}, deleted {report['deleted']}, gone {report['gone']}"
    )
    return not left and not touched and report["state"] == "rolled_back" and made > 0


def main() -> int:
    """Run it; exit 1 when anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    dice = random.Random(options.seed)
    began = time.perf_counter()
    sandbox = subprocess.Popen(
        [*COMMAND, "sandbox", "--json", "--locations", "3", "--rate-max", "25", "--rate-interval", "1", "--faults", "migration",
         "--fault-seed", str(options.seed)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sandbox.stdout is not None
    ready = json.loads(sandbox.stdout.readline())
    url = ready["url"]
    environment = {
        **os.environ,
        "HL_BASE_URL": url,
        "HL_TOKEN": ready["token"],
        "HL_LOCATION_ID": ready["location_id"],
        # copies of a location are drafts, of which the live API makes no invoices
        "HL_RULES_OFF": "accepted_first",
    }
    control(url, "faults", {"times": {"late": 0.8}}, "PUT")
    control(url, "rules", {"off": ["accepted_first"]}, "PUT")
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.ndjson"
            with source.open("wb") as file:
                for n in range(options.documents):
                    file.write(encode(draft(f"d{n}"))[:-1] + b',"sourceId":"d%d"}\n' % n)
            times = ["--settle", "0.8", "--attempt-timeout", "0.6", "--json"]
            hit, report = killed([*COMMAND, "migrate", str(source), *times], environment, options.kills, dice)
            good = judge("migration", url, ready["location_id"], options.documents, report)
            print(f"  {hit} SIGKILLs, seed {options.seed}, {time.perf_counter() - began:.0f} s")
            places = control(url, "state")["locations"]
            other, third = [one for one in places if one != ready["location_id"]][:2]
            good = taken_back(url, third, source, environment, max(2, options.kills // 8), dice) and good
            for document in control(url, "estimates")[: options.documents // 10]:
                body = json.dumps(
                    {"altId": ready["location_id"], "altType": "location", "markAsInvoiced": True}
                ).encode()
                invoice(url, ready["token"], document["_id"], body)
            journal = Path(folder) / "copy.hl.db"
            command = [
                *COMMAND,
                "copy",
                "--from",
                ready["location_id"],
                "--to",
                other,
                "--with-invoices",
                "--journal",
                str(journal),
                *times,
            ]
            hit, report = killed(command, environment, options.kills // 4, dice)
            good = judge("copy", url, other, options.documents, None) and good
            invoices = [one["sourceId"] for one in control(url, f"invoices?location={other}")]
            wanted = len(control(url, f"invoices?location={ready['location_id']}"))
            once = len(invoices) == len(set(invoices)) == wanted
            print(
                f"  {hit} SIGKILLs; {len(invoices)} invoices of {wanted}, each once: {once}; {time.perf_counter() - began:.0f} s"
            )
            good = good and once
    finally:
        sandbox.terminate()
        sandbox.wait(10)
    return 0 if good else 1


def invoice(url: str, token: str, estimate: str, body: bytes) -> None:
    """Make an invoice in the source location, whatever the faults do."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Version": "2021-07-28",
        "Content-Type": "application/json",
    }
    while not any(one.get("sourceId") == estimate for one in control(url, "invoices")):
        try:
            urlopen(Request(f"{url}/invoices/estimate/{estimate}/invoice", body, headers), timeout=2).close()
        except OSError:
            time.sleep(0.05)


def judge(name: str, url: str, location: str, documents: int, report: dict[str, Any] | None) -> bool:
    """Count keys and money in the sandbox."""
    found = control(url, f"estimates?location={location}")
    keys = Counter(one["meta"]["hl_async"]["k"] for one in found)
    lost, doubled = documents - len(keys), sum(count - 1 for count in keys.values())
    total = round(sum(one["total"] for one in found), 2)
    right = total == round(29.97 * documents, 2) and (
        report is None or report["created"] + report["rejected"] == documents
    )
    note(Row(f"{name} under SIGKILLs, {documents:,} documents: lost or doubled", lost + doubled, 0, ""))
    print(f"{name}: {documents:,} documents, lost {lost}, doubled {doubled}, total {total} right: {right}")
    return not lost and not doubled and right


if __name__ == "__main__":
    sys.exit(main())
