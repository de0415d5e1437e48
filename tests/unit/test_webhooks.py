"""Promises of the webhook receiver: what is not signed, fresh and new never reaches a handler."""

from __future__ import annotations

import base64
import json
import random
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async import webhooks
from hl_async.errors import (
    ConfigurationError,
    DeliveryFromFuture,
    DeliveryReplayed,
    DeliveryStale,
    DeliveryTooLarge,
    DeliveryUnreadable,
    InvalidRequest,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
    WebhookError,
)
from hl_async.models.webhooks import INVOICE_EVENTS, moment
from hl_async.sandbox.deliveries import CURRENT_HEADER, LEGACY_HEADER, WebhookSender, invoice_payload
from hl_async.webhooks import (
    HIGHLEVEL_ED25519,
    HIGHLEVEL_RSA,
    InstallEvent,
    InvoiceEvent,
    InvoicePaidEvent,
    MemorySeenStore,
    PlanChangeEvent,
    Router,
    UninstallEvent,
    UnknownEvent,
    WebhookEvent,
    parse,
    status_for,
    verify,
)

NOW = 1_790_000_000.0
SENDER = WebhookSender(seed=bytes(range(32)), wall=lambda: NOW)
KEYS = (SENDER.public_key,)


def check(body: bytes, headers: Any, **changes: Any) -> webhooks.Delivery:
    return verify(body, headers, **({"keys": KEYS, "now": NOW} | changes))


def router(**changes: Any) -> Router:
    return Router(**({"keys": KEYS, "wall": lambda: NOW} | changes))


# ------------------------------------------------------------------------------------------------ verify


def test_a_signed_fresh_delivery_is_accepted_and_named_by_its_id() -> None:
    body, headers = SENDER.deliver("InvoicePaid", webhookId="abc")
    delivery = check(body, headers)
    assert delivery.key == "abc"
    assert delivery.body == body
    assert delivery.envelope.type == "InvoicePaid"
    assert "InvoicePaid" in repr(delivery)


@pytest.mark.parametrize(
    "shape",
    [
        lambda headers: {name.lower(): value for name, value in headers.items()},
        lambda headers: {name.upper(): value for name, value in headers.items()},
        lambda headers: list(headers.items()),
        lambda headers: [(name.encode(), value.encode()) for name, value in headers.items()],
    ],
    ids=["lower", "upper", "pairs", "asgi"],
)
def test_headers_of_every_framework_are_understood(shape: Callable[[dict[str, str]], Any]) -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    assert check(body, shape(headers))
    assert check(bytearray(body), shape(headers)).body == body


@pytest.mark.parametrize(
    "headers",
    [
        None,
        7,
        "x-ghl-signature: abc",
        [("x-ghl-signature",)],
        [7],
        {"x-ghl-signature": ["abc"]},
        {"x-ghl-signature": None},
        {7: "abc"},
        [(None, "abc")],
    ],
)
def test_headers_of_any_other_shape_are_refused_by_name(headers: Any) -> None:
    body, _ = SENDER.deliver("InvoicePaid")
    with pytest.raises(InvalidRequest, match="^headers"):
        check(body, headers)


def test_a_signed_body_that_names_its_time_twice_is_refused() -> None:
    body, _ = SENDER.deliver("InvoicePaid")
    twice = body[:-1] + b',"timestamp":"2026-09-21T13:46:40.000Z"}'
    with pytest.raises(DeliveryUnreadable, match="names 'timestamp' 2 times"):
        check(twice, SENDER.sign(twice))


@pytest.mark.parametrize("value", [None, "", "   ", "N/A", "n/a", " N/A "])
def test_a_missing_signature_is_an_error_also_when_it_says_so(value: str | None) -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    del headers[CURRENT_HEADER]
    if value is not None:
        headers[CURRENT_HEADER] = value
    with pytest.raises(SignatureMissing, match="x-ghl-signature"):
        check(body, headers)


@pytest.mark.parametrize(
    "value",
    [
        "not base64!",
        "AAAA",
        base64.b64encode(bytes(63)).decode(),
        base64.b64encode(bytes(65)).decode(),
        "ä" * 88,
    ],
)
def test_a_signature_of_the_wrong_shape_is_malformed(value: str) -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    with pytest.raises(SignatureMalformed):
        check(body, headers | {CURRENT_HEADER: value})


def test_a_signature_has_exactly_one_spelling() -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    good = headers[CURRENT_HEADER]
    # the last letter before == carries four bits that decode to nothing
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = good[:85] + letters[letters.index(good[85]) ^ 1] + "=="
    assert base64.b64decode(same) == base64.b64decode(good)
    for altered in (same, good + "\n", " " + good, good + "===="):
        with pytest.raises(SignatureMalformed):
            check(body, headers | {CURRENT_HEADER: altered})


def test_two_different_signatures_are_refused_and_the_same_one_twice_is_not() -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    pairs = list(headers.items())
    assert check(body, [*pairs, (CURRENT_HEADER, headers[CURRENT_HEADER])])
    with pytest.raises(SignatureMalformed, match="2 different"):
        check(body, [*pairs, (CURRENT_HEADER, base64.b64encode(bytes(64)).decode())])


def test_a_signature_of_another_key_or_another_body_is_refused() -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    with pytest.raises(SignatureInvalid):
        check(body, headers, keys=(WebhookSender().public_key,))
    with pytest.raises(SignatureInvalid):
        check(body + b" ", headers)
    with pytest.raises(SignatureInvalid):
        verify(body, headers, now=NOW)  # HighLevel's own key


def test_while_a_key_is_replaced_both_are_good() -> None:
    old, new = WebhookSender(wall=lambda: NOW), WebhookSender(wall=lambda: NOW)
    keys = (old.public_key, new.public_key)
    for sender in (old, new):
        assert check(*sender.deliver("InvoicePaid"), keys=keys)


def test_keys_are_taken_as_pem_too() -> None:
    lines = f"-----BEGIN PUBLIC KEY-----\n{SENDER.public_key}\n-----END PUBLIC KEY-----"
    assert check(*SENDER.deliver("InvoicePaid"), keys=(lines,))


def test_only_the_raw_bytes_can_be_verified() -> None:
    body, headers = SENDER.deliver("InvoicePaid")
    with pytest.raises(InvalidRequest, match="raw bytes"):
        check(body.decode(), headers)  # type: ignore[arg-type]
    with pytest.raises(SignatureInvalid):
        check(json.dumps(json.loads(body)).encode(), headers)


def test_a_body_over_the_limit_is_refused_before_anything_is_read() -> None:
    body = b"{" + b" " * webhooks.MAX_BODY + b"}"
    with pytest.raises(DeliveryTooLarge, match="1048578 bytes"):
        check(body, {})
    body, headers = SENDER.deliver("InvoicePaid")
    with pytest.raises(DeliveryTooLarge):
        check(body, headers, max_body=len(body) - 1)
    assert check(body, headers, max_body=len(body))


@pytest.mark.parametrize(
    ("offset", "error"), [(-300, None), (-301, DeliveryStale), (300, None), (301, DeliveryFromFuture)]
)
def test_a_delivery_is_good_for_five_minutes_in_both_directions(
    offset: float, error: type[WebhookError] | None
) -> None:
    sender = WebhookSender(seed=bytes(range(32)), wall=lambda: NOW + offset)
    delivery = sender.deliver("InvoicePaid")
    if error is None:
        assert check(*delivery)
    else:
        with pytest.raises(error):
            check(*delivery)
        assert check(*delivery, max_age=400)


@pytest.mark.parametrize("timestamp", [None, "yesterday", True, [], 10**400, "2026-99-99T00:00:00Z"])
def test_a_delivery_without_a_time_is_stale_unless_that_is_asked_for(timestamp: Any) -> None:
    delivery = SENDER.deliver("InvoicePaid", timestamp=timestamp)
    with pytest.raises(DeliveryStale, match="require_timestamp"):
        check(*delivery)
    assert check(*delivery, require_timestamp=False)


@pytest.mark.parametrize(
    "value",
    [
        "2026-09-21T14:13:20Z",
        "2026-09-21T14:13:20",
        "2026-09-21T16:13:20+02:00",
        1_790_000_000,
        1_790_000_000_000,
    ],
)
def test_times_are_read_in_every_spelling_we_know(value: Any) -> None:
    found = moment(value)
    assert found is not None
    assert found.timestamp() == NOW
    assert moment(Decimal("1790000000.5")) is not None


@pytest.mark.parametrize(
    "body", [b"", b"nothing", b"[]", b'"x"', b"\xff", b"{", b"[" * 100_000, b'{"a":1e99999999}']
)
def test_signed_nonsense_is_unreadable_and_never_crashes(body: bytes) -> None:
    with pytest.raises((DeliveryUnreadable, DeliveryStale)):
        check(body, SENDER.sign(body))
    if body != b'{"a":1e99999999}':
        with pytest.raises(DeliveryUnreadable):
            parse(body)


def test_a_delivery_without_an_id_is_known_by_its_digest() -> None:
    one = check(*SENDER.deliver("InvoicePaid", webhookId=None))
    two = check(*SENDER.deliver("InvoicePaid", webhookId=None, name="Other"))
    assert one.key.startswith("sha256:")
    assert one.key != two.key


# ------------------------------------------------------------------------------------------------ legacy


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def legacy(body: bytes) -> dict[str, str]:
    return {LEGACY_HEADER: base64.b64encode(RSA.sign(body, padding.PKCS1v15(), SHA256())).decode()}


def test_the_legacy_signature_is_refused_unless_it_is_asked_for() -> None:
    body, _ = SENDER.deliver("InvoicePaid")
    with pytest.raises(SignatureMissing, match="legacy_keys"):
        check(body, legacy(body))
    assert check(body, legacy(body), legacy_keys=(RSA_PUBLIC,))
    assert check(body, legacy(body) | {CURRENT_HEADER: "N/A"}, legacy_keys=(RSA_PUBLIC,))
    with pytest.raises(SignatureInvalid):
        check(body + b" ", legacy(body), legacy_keys=(RSA_PUBLIC,))
    with pytest.raises(SignatureInvalid):
        check(body, legacy(body), legacy_keys=(HIGHLEVEL_RSA,))
    with pytest.raises(SignatureMissing, match="neither"):
        check(body, {}, legacy_keys=(RSA_PUBLIC,))
    with pytest.raises(SignatureMissing, match="legacy_keys"):
        check(body, [(LEGACY_HEADER, "QQ=="), (LEGACY_HEADER, "Qg==")])


def test_a_bad_current_signature_is_never_outvoted_by_a_good_legacy_one() -> None:
    body, _ = SENDER.deliver("InvoicePaid")
    for bad in (base64.b64encode(bytes(64)).decode(), "junk"):
        with pytest.raises(SignatureInvalid):
            check(body, legacy(body) | {CURRENT_HEADER: bad}, legacy_keys=(RSA_PUBLIC,))


# -------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("settings_", "field"),
    [
        ({"keys": ()}, "keys"),
        ({"keys": ("junk",)}, "keys"),
        ({"keys": (RSA_PUBLIC,)}, "keys"),
        ({"keys": SENDER.public_key}, "keys"),
        ({"legacy_keys": (SENDER.public_key,)}, "legacy_keys"),
        ({"max_age": 0}, "max_age"),
    ],
)
def test_wrong_keys_and_settings_are_told_at_the_start(settings_: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        router(**settings_)
    assert caught.value.field == field


def test_verifying_without_any_key_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        check(b"{}", {}, keys=())


def test_highlevels_published_keys_load() -> None:
    assert Router(legacy_keys=(HIGHLEVEL_RSA,))
    raw = base64.b64decode(HIGHLEVEL_ED25519)[-32:]
    assert raw.hex() == "8b61d1d6cacbe28d7c3bc0516bb815258ec6edbba96cddc7f40c09ac708388e8"
    assert ed25519.Ed25519PublicKey.from_public_bytes(raw)


def test_without_cryptography_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, name, None)
    fresh = base64.b64encode(base64.b64decode(SENDER.public_key)[:-1] + b"\x00").decode()
    with pytest.raises(ConfigurationError, match=r"hl-async\[webhooks\]"):
        Router(keys=(fresh,))
    with pytest.raises(ConfigurationError, match=r"hl-async\[webhooks\]"):
        verify(b"{}", {}, keys=(fresh,))
    with pytest.raises(ConfigurationError, match=r"hl-async\[webhooks\]"):
        WebhookSender()


def test_a_senders_seed_has_32_bytes() -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        WebhookSender(seed=b"short")


# --------------------------------------------------------------------------------------------- mutations


def mutated(rng: random.Random, body: bytes, signature: str) -> tuple[bytes, str]:
    """One delivery with one thing changed: a bit, a byte more or less, a swap, in the body or the header."""
    target = bytearray(body) if rng.random() < 0.6 else bytearray(signature, "ascii")
    is_body = target == body
    at = rng.randrange(len(target))
    match rng.randrange(5):
        case 0:
            target[at] ^= 1 << rng.randrange(7)
        case 1:
            target.insert(at, rng.randrange(1, 127))
        case 2:
            del target[at]
        case 3:
            del target[at:]
        case _:
            target[at] = (target[at] + 1 + rng.randrange(120)) % 127
    return (bytes(target), signature) if is_body else (body, target.decode("latin-1"))


@pytest.mark.untraced
def test_no_mutated_delivery_is_ever_accepted() -> None:
    rng = random.Random(20)
    accepted = 0
    for _ in range(3000):
        body, headers = SENDER.deliver(rng.choice(list(INVOICE_EVENTS)))
        changed, signature = mutated(rng, body, headers[CURRENT_HEADER])
        if (changed, signature) == (body, headers[CURRENT_HEADER]):
            continue
        try:
            check(changed, {CURRENT_HEADER: signature})
        except WebhookError:
            continue
        accepted += 1
    assert accepted == 0


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=200), st.text(st.characters(), max_size=120))
def test_what_nobody_signed_is_refused_with_one_of_our_errors(body: bytes, signature: str) -> None:
    with pytest.raises(WebhookError):
        check(body, {CURRENT_HEADER: signature})


# ------------------------------------------------------------------------------------------------- parse


@pytest.mark.parametrize("name", list(INVOICE_EVENTS))
def test_every_invoice_event_is_typed_and_exact(name: str) -> None:
    body, _ = SENDER.deliver(name, total=Decimal("999.10"), locationId=None)
    event = parse(body)
    assert type(event) is INVOICE_EVENTS[name]
    assert isinstance(event, InvoiceEvent)
    assert event.type == name
    assert event.invoice.total == Decimal("999.10")
    assert event.invoice.business_details is not None
    assert event.invoice.business_details.address == "9931 Beechwood, TX"
    assert event.invoice.total_summary is not None
    assert event.invoice.total_summary.tax is None
    assert event.location == "6578278e879ad2646715ba9c"
    assert event.timestamp is not None
    assert event.timestamp.timestamp() == NOW


def test_an_invoice_without_a_name_is_typed_by_its_receiver_or_as_any_invoice_event() -> None:
    body = json.dumps(invoice_payload("InvoicePaid")).encode()
    assert type(parse(body)) is InvoiceEvent
    assert type(parse(body, event_type="InvoicePaid")) is InvoicePaidEvent


def test_text_that_was_cut_inside_an_emoji_does_not_lose_the_event() -> None:
    body = json.dumps({"type": "InvoicePaid", "_id": "i", "name": "cut \ud83d"}).encode()
    event = parse(body)
    assert isinstance(event, InvoicePaidEvent)
    assert event.invoice.name == "cut \ufffd"


def test_an_invoice_event_that_fits_no_invoice_is_unreadable_instead_of_guessed() -> None:
    body, _ = SENDER.deliver("InvoicePaid", total="a lot")
    with pytest.raises(DeliveryUnreadable, match=r"InvoicePaid: .* at \$.total"):
        parse(body)
    with pytest.raises(DeliveryUnreadable):
        parse(b'{"type":"InvoicePaid"}')


def test_installs_are_typed_whatever_is_missing() -> None:
    event = parse(
        json.dumps(
            {
                "type": "INSTALL",
                "appId": "ve9EPM428h8vShlRW1KT",
                "locationId": "otg8dTQqGLh3Q6iQI55w",
                "companyId": "comp",
                "planId": "66a0419a0dffa47fb5f8b22f",
                "trial": {"onTrial": True, "trialDuration": 10, "trialStartDate": "2024-07-23T23:54:51.264Z"},
                "isWhitelabelCompany": False,
                "whitelabelDetails": {},
                "companyName": "Example Company",
                "timestamp": "nonsense",
                "webhookId": 17,
            }
        ).encode()
    )
    assert isinstance(event, InstallEvent)
    assert event.location == "otg8dTQqGLh3Q6iQI55w"
    assert event.app_id == "ve9EPM428h8vShlRW1KT"
    assert event.trial is not None
    assert event.trial.trial_duration == 10
    assert event.timestamp is None
    assert event.webhook_id is None
    assert isinstance(parse(b'{"type":"INSTALL"}'), InstallEvent)
    assert isinstance(parse(b'{"type":"UNINSTALL","companyId":"c"}'), UninstallEvent)


def test_a_change_of_plan_keeps_what_no_sample_shows() -> None:
    event = parse(b'{"type":"PLAN_CHANGE","currentPlanId":"a","newPlanId":"b","surprise":1,"data":[2]}')
    assert isinstance(event, PlanChangeEvent)
    assert (event.current_plan_id, event.new_plan_id) == ("a", "b")
    assert event.data["surprise"] == 1


def test_an_unknown_event_keeps_everything() -> None:
    event = parse(b'{"type":"ContactCreate","locationId":"loc","score":0.1,"deep":{"x":[1]}}')
    assert isinstance(event, UnknownEvent)
    assert event.type == "ContactCreate"
    assert event.location == "loc"
    assert event.data["score"] == Decimal("0.1")
    assert event.data["deep"] == {"x": [1]}
    assert type(parse(b"{}")) is UnknownEvent


SAMPLES = Path(__file__).parents[3] / "shared" / "webhooks"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published samples are not part of the repository")
def test_every_published_sample_parses() -> None:
    seen = 0
    for path in sorted(SAMPLES.glob("*.json")):
        if path.name.endswith(".schema.json"):
            continue
        seen += 1
        name = "".join(part.capitalize() for part in path.stem.split("_"))
        event = parse(path.read_bytes(), event_type=name if name.startswith("Invoice") else None)
        assert not isinstance(event, UnknownEvent), path.name
        if isinstance(event, InvoiceEvent):
            assert type(event) is INVOICE_EVENTS[name]
            assert event.invoice.total == 999
    assert seen == 12


# ------------------------------------------------------------------------------------------------ router


class Inbox:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def note(self, event: WebhookEvent) -> None:
        self.seen.append(event.type)


async def test_events_reach_the_functions_that_asked_for_them_in_order() -> None:
    routes, order = router(), list[str]()

    @routes.on(InvoicePaidEvent)
    async def paid(event: InvoicePaidEvent) -> None:
        order.append(f"paid {event.invoice.amount_paid}")

    @routes.on(InvoiceEvent)
    async def any_invoice(event: InvoiceEvent) -> None:
        order.append(f"invoice {event.type}")

    @routes.on("ContactCreate")
    async def contact(event: WebhookEvent) -> None:
        order.append("contact")

    @routes.on(WebhookEvent)
    async def everything(event: WebhookEvent) -> None:
        order.append("all")

    event = await routes.dispatch(*SENDER.deliver("InvoicePaid"))
    assert isinstance(event, InvoicePaidEvent)
    assert order == ["paid 999", "invoice InvoicePaid", "all"]
    order.clear()
    await routes.dispatch(*SENDER.deliver("ContactCreate", {"id": "c"}))
    assert order == ["contact", "all"]
    assert paid is not None


async def test_an_event_nobody_asked_for_is_accepted() -> None:
    assert isinstance(await router().dispatch(*SENDER.deliver("NewThing", {})), UnknownEvent)


def test_a_registration_for_something_else_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="neither"):
        router().on(int)  # type: ignore[type-var]


async def test_the_same_delivery_is_handled_once() -> None:
    routes, inbox = router(), Inbox()
    routes.on(WebhookEvent)(inbox.note)
    delivery = SENDER.deliver("InvoicePaid")
    await routes.dispatch(*delivery)
    with pytest.raises(DeliveryReplayed):
        await routes.dispatch(*delivery)
    anonymous = SENDER.deliver("InvoicePaid", webhookId=None)
    await routes.dispatch(*anonymous)
    with pytest.raises(DeliveryReplayed):
        await routes.dispatch(*anonymous)
    assert len(inbox.seen) == 2


async def test_a_refused_delivery_reaches_no_handler_and_is_not_remembered() -> None:
    store = MemorySeenStore()
    routes, inbox = router(seen=store), Inbox()
    routes.on(WebhookEvent)(inbox.note)
    body, headers = SENDER.deliver("InvoicePaid")
    with pytest.raises(SignatureInvalid):
        await routes.dispatch(body + b" ", headers)
    with pytest.raises(SignatureMissing):
        await routes.dispatch(body, {})
    assert (inbox.seen, len(store)) == ([], 0)
    await routes.dispatch(body, headers)
    assert inbox.seen == ["InvoicePaid"]


async def test_a_delivery_whose_handler_failed_may_come_again() -> None:
    routes = router()
    failures = [RuntimeError("database")]

    @routes.on(InvoicePaidEvent)
    async def paid(event: InvoicePaidEvent) -> None:
        if failures:
            raise failures.pop()

    delivery = SENDER.deliver("InvoicePaid")
    with pytest.raises(RuntimeError, match="database") as caught:
        await routes.dispatch(*delivery)
    assert status_for(caught.value) == 429
    await routes.dispatch(*delivery)
    with pytest.raises(DeliveryReplayed):
        await routes.dispatch(*delivery)


async def test_a_nameless_delivery_takes_the_name_its_route_gives_it() -> None:
    body, headers = SENDER.deliver("", type=None, document=invoice_payload("InvoiceVoid"))
    event = await router().dispatch(body, headers, event_type="InvoiceVoid")
    assert event.type == "InvoiceVoid"


def test_statuses_make_highlevel_deliver_again_only_what_we_failed_to_handle() -> None:
    expected = {
        None: 200,
        DeliveryReplayed: 200,
        DeliveryTooLarge: 413,
        DeliveryUnreadable: 400,
        DeliveryStale: 401,
        SignatureMissing: 401,
        SignatureInvalid: 401,
        ValueError: 429,
    }
    for kind, status in expected.items():
        assert status_for(None if kind is None else kind("x")) == status


# ------------------------------------------------------------------------------------------------ memory


async def test_the_memory_store_forgets_by_age_alone() -> None:
    now = [0.0]
    store = MemorySeenStore(clock=lambda: now[0])
    for n in range(1000):
        assert await store.claim(str(n), 10.0)
        now[0] += 0.01
    assert not await store.claim("999", 10.0)
    assert len(store) == 1000
    now[0] = 20.5
    assert await store.claim("999", 10.0)
    assert len(store) == 1


async def test_a_released_key_can_be_claimed_again_and_keeps_its_new_time() -> None:
    now = [0.0]
    store = MemorySeenStore(clock=lambda: now[0])
    assert await store.claim("a", 10.0)
    await store.release("a")
    await store.release("never")
    now[0] = 5.0
    assert await store.claim("a", 10.0)
    now[0] = 11.0  # the first claim's time is over, the second's is not
    assert not await store.claim("a", 10.0)


def test_importing_webhooks_imports_neither_aiohttp_nor_cryptography() -> None:
    import subprocess

    code = (
        "import sys, hl_async.webhooks; "
        "sys.exit(int(any(name in sys.modules for name in ('aiohttp', 'cryptography', 'asyncio'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
