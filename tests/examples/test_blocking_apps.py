"""The examples of Django, Celery and AWS Lambda run, against a sandbox over real sockets."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from blockbuster import BlockBuster

import samples
from example_files import EXAMPLES, load
from hl_async.models import EstimateDraft
from hl_async.sandbox import Fault, Sandbox
from hl_async.sandbox.deliveries import WebhookSender
from hl_async.sync import HighLevel
from hl_async.testing.builders import Builder
from hl_async.testing.serving import served

MISSING = "0" * 24


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Celery sets the level of the root logger, which other tests rely on."""
    level, handlers = logging.root.level, list(logging.root.handlers)
    yield
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served() as box:
        yield box


@pytest.fixture
def shop(box: Sandbox) -> Iterator[Any]:
    with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        yield hl.location()


@pytest.fixture
def sender() -> WebhookSender:
    return WebhookSender()


@pytest.fixture
def environment(
    box: Sandbox, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, str]:
    values = {
        "ONCE_DB": str(tmp_path / "once.db"),
        "HL_BASE_URL": box.url,
        "HL_TOKEN": box.token,
        "HL_LOCATION_ID": box.location_id,
        "HL_WEBHOOK_KEY": sender.public_key,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def django_app(environment: dict[str, str]) -> Iterator[ModuleType]:
    pytest.importorskip("django")
    from django.conf import settings
    from django.urls import clear_url_caches

    app = load("django_app")
    settings.ROOT_URLCONF = app.__name__
    clear_url_caches()
    yield app
    app.hl.close()


def test_a_blocking_view_of_django_answers_with_the_invoice_or_404(django_app: ModuleType, shop: Any) -> None:
    from django.test import Client

    invoice = shop.invoices.create(samples.invoice())
    browser = Client(headers={"host": "localhost"})
    answer = browser.get(f"/invoices/{invoice.id}")
    assert answer.json() == {"number": invoice.invoice_number, "due": str(invoice.amount_due)}
    assert browser.get(f"/invoices/{MISSING}").status_code == 404


def test_a_form_of_django_that_is_sent_twice_makes_one_estimate(
    django_app: ModuleType, box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    from django.test import Client

    browser = Client(headers={"host": "localhost"}, enforce_csrf_checks=True)
    page = browser.get("/estimates/new").content.decode()
    hidden = dict(re.findall(r'name="(csrfmiddlewaretoken|key)" value="([^"]+)"', page))
    form = {"name": "Ada", "email": "ada@example.com", "item": "Oak", "amount": "199.50", **hidden}
    box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
    answers = [browser.post("/estimates/new", form) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201], answers[0].content
    assert answers[0].json() == answers[1].json()
    assert [str(one["total"]) for one in box.ledger.estimates()] == ["199.50"]
    refused = browser.post("/estimates/new", {**form, "amount": "9,99"})
    assert (refused.status_code, "'9,99' is not a number" in refused.json()["error"]) == (422, True)
    assert "InvalidRequest" in caplog.text
    assert browser.post("/estimates/new", {**form, "csrfmiddlewaretoken": "x"}).status_code == 403


async def test_an_asynchronous_view_of_django_reads_while_the_loop_goes_on(
    django_app: ModuleType, shop: Any, no_blocking_calls: BlockBuster
) -> None:
    import asyncio

    from django.test import AsyncClient

    made = await asyncio.to_thread(shop.estimates.create, samples.estimate())
    browser = AsyncClient(headers={"host": "localhost"})
    answers = await asyncio.gather(*(browser.get("/estimates") for _ in range(5)))
    for answer in answers:
        assert answer.json()["total"] == 1
        assert [one["id"] for one in answer.json()["estimates"]] == [made.id]
    assert (await browser.get(f"/invoices/{MISSING}")).status_code == 404


async def test_a_view_of_django_takes_signed_deliveries_only(
    django_app: ModuleType, sender: WebhookSender, caplog: pytest.LogCaptureFixture
) -> None:
    from django.test import AsyncClient

    browser = AsyncClient(headers={"host": "localhost"}, enforce_csrf_checks=True)

    async def send(body: bytes, headers: dict[str, str]) -> int:
        answer = await browser.post(
            "/webhooks/highlevel", body, content_type="application/json", headers=headers
        )
        return answer.status_code

    body, headers = sender.deliver("InvoicePaid")
    assert await send(body, headers) == 200
    assert django_app.paid == {json.loads(body)["_id"]}
    assert await send(body + b" ", headers) == 401
    assert "webhook not accepted" in caplog.text

    @django_app.webhooks.on(django_app.InvoicePaidEvent)
    async def broken(event: object) -> None:
        raise RuntimeError("the database is away")

    assert await send(*sender.deliver("InvoicePaid")) == 429, "HighLevel delivers again"
    assert "the database is away" in caplog.text


def order(number: int) -> str:
    """Return a draft as a program puts it into a queue."""
    return EstimateDraft.to_json(Builder(seed=number).estimate(name=f"Order {number}"))


def test_a_celery_task_creates_once_and_fails_for_good_only_when_it_must(
    environment: dict[str, str], box: Sandbox
) -> None:
    pytest.importorskip("celery")
    from celery.contrib.testing.worker import start_worker

    example = load("celery_app")
    example.app.conf.update(result_backend="cache+memory://", worker_hijack_root_logger=False)
    box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
    with start_worker(example.app, pool="threads", concurrency=3, perform_ping_check=False):
        several = [example.create_estimate.delay(order(17), "order-17") for _ in range(3)]
        assert len({one.get(timeout=60) for one in several}) == 1
        broken = example.create_estimate.delay("{}", "order-18")
        with pytest.raises(Exception, match="EstimateDraft"):
            broken.get(timeout=60)
    example.hl.close()
    assert len(box.ledger.estimates()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_celery_workers_have_a_client_each_and_close_it(
    environment: dict[str, str], box: Sandbox, tmp_path: Path
) -> None:
    pytest.importorskip("celery")
    program = f"""
import importlib.util, sys
sys.path.insert(0, {str(EXAMPLES)!r})
from celery_app import app
for name in ("queue", "control"):
    __import__("os").makedirs(name, exist_ok=True)
app.conf.broker_transport_options = {{
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}}
"""
    (tmp_path / "shop_tasks.py").write_text(program, "utf-8")
    place = {"PYTHONPATH": os.pathsep.join((str(EXAMPLES.parent), str(tmp_path)))}
    values = {**os.environ, **place, "CELERY_BROKER_URL": "filesystem://"}
    sent = "from shop_tasks import app\nimport sys\n" + "\n".join(
        f"app.send_task('celery_app.create_estimate', ({order(number)!r}, 'order-{number}'))"
        for number in range(6)
    )
    subprocess.run([sys.executable, "-c", sent], cwd=tmp_path, env=values, check=True, timeout=120)
    log = tmp_path / "log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "celery", "-A", "shop_tasks", "worker", "--pool=prefork", "-c", "2"]
        worker = subprocess.Popen(
            [*command, "--loglevel=INFO"], cwd=tmp_path, env=values, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + 120
        while len(box.ledger.estimates()) < 6 and time.monotonic() < end and worker.poll() is None:
            time.sleep(0.1)
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    finally:
        worker.kill()
    said = log.read_text("utf-8")
    assert {one["name"] for one in box.ledger.estimates()} == {f"Order {number}" for number in range(6)}, said
    assert (
        len(set(re.findall(r"ForkPoolWorker-\d+\] Task celery_app\.create_estimate\[.*succeeded", said))) == 6
    )
    assert len(set(re.findall(r"ForkPoolWorker-\d+", said))) == 2, said
    assert not re.search("Traceback|ForkedClient|ResourceWarning", said), said


class Context:
    """What AWS tells a function of the time that is left."""

    def __init__(self, seconds: float = 30.0) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def event(route: str, **more: Any) -> dict[str, Any]:
    """Return an event of an HTTP API, payload format 2.0."""
    return {"version": "2.0", "rawPath": route, "headers": {}, "isBase64Encoded": False, **more}


def test_a_lambda_answers_with_the_invoice_also_after_its_container_was_frozen(
    environment: dict[str, str], box: Sandbox, shop: Any
) -> None:
    example = load("lambda_handler")
    invoice = shop.invoices.create(samples.invoice())
    asked = event(f"/invoices/{invoice.id}", pathParameters={"id": invoice.id})
    expected = {"number": invoice.invoice_number, "due": str(invoice.amount_due)}
    # each answer is the last of its connection: the server gives it up while the container is frozen
    box.faults.script("get-invoice", *[Fault.IDLE_CLOSE] * 3)
    for _ in range(3):
        found = example.handler(asked, Context())
        assert (found["statusCode"], json.loads(found["body"])) == (200, expected)
    missing = example.handler(event("/invoices/x", pathParameters={"id": MISSING}), Context())
    assert missing["statusCode"] == 404
    box.latency = 20.0
    started = time.monotonic()
    late = example.handler(asked, Context(2.0))
    assert late["statusCode"] == 503
    assert time.monotonic() - started < 2.0, "the answer goes out before AWS ends the function"
    box.latency = 0.0
    example.hl.close()


@pytest.mark.parametrize("encoded", [False, True])
def test_a_lambda_takes_signed_deliveries_only(
    environment: dict[str, str], sender: WebhookSender, encoded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lambda_handler")
    example = load("lambda_handler")

    def sent(body: bytes, headers: dict[str, str]) -> int:
        text = base64.b64encode(body).decode() if encoded else body.decode()
        # an HTTP API spells the names of headers in lower case
        lower = {name.lower(): value for name, value in headers.items()}
        answer = example.handler(
            event("/webhooks/highlevel", body=text, headers=lower, isBase64Encoded=encoded), Context()
        )
        return int(answer["statusCode"])

    body, headers = sender.deliver("InvoicePaid")
    assert sent(body, headers) == 200
    assert f"invoice {json.loads(body)['_id']} is paid" in caplog.text
    assert sent(body + b" ", headers) == 401
    example.hl.close()
