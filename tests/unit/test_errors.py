"""Promises of the error tree and its mapper."""

from __future__ import annotations

import inspect
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async import errors
from hl_async.errors import (
    ApiError,
    BadRequest,
    Conflict,
    ConnectionLost,
    DecodeError,
    Forbidden,
    GatewayTimeout,
    HighLevelError,
    InvalidRequest,
    LocationInactive,
    MissingAlt,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RouteUnsupported,
    ScopeMissing,
    ServerError,
    Unauthorized,
    ValidationFailed,
    WireError,
    WireKind,
    WrongTokenType,
    bounded_text,
)
from hl_async.transport.responses import TokenVerdict, error_from_response, is_token_bad, token_verdict
from hl_async.wire import WireResponse


def answer(status: int, body: bytes | str = b"", **headers: str) -> ApiError:
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_response("get-invoice", WireResponse(status, named, content))


def test_every_exception_has_the_one_root() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BaseException)]
    assert len(classes) > 35
    assert all(issubclass(c, HighLevelError) for c in classes)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, NotFound),
        (418, ApiError),
        (422, ValidationFailed),
        (429, RateLimited),
        (500, ServerError),
        (502, ServerError),
        (504, GatewayTimeout),
        (524, ServerError),
    ],
)
def test_a_status_has_its_class(status: int, kind: type[ApiError]) -> None:
    error = answer(status, '{"message":"x"}')
    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    ("message", "kind", "bad"),
    [
        ("Invalid JWT", Unauthorized, True),
        ("Invalid token: access token is invalid", Unauthorized, True),
        ("Token expired", Unauthorized, True),
        ("Something new", Unauthorized, True),
        ("Invalid Private Integration token", Unauthorized, False),
        ("The token is not authorized for this scope.", ScopeMissing, False),
        ("This authClass type is not allowed to access this scope. Please verify", WrongTokenType, False),
        ("Token's user type mismatch!", WrongTokenType, False),
        ("version header was not found.", MissingAlt, False),
        ("version header is invalid", MissingAlt, False),
        ("altId is required", MissingAlt, False),
        ("Location is not active", LocationInactive, False),
        (
            "This route is not yet supported by the IAM Service. Please update your IAM config.",
            RouteUnsupported,
            False,
        ),
        ("Command timed out", GatewayTimeout, False),
        ("Request timed out", GatewayTimeout, False),
        ("upstream timeout", GatewayTimeout, False),
    ],
)
def test_only_a_401_that_means_the_token_is_bad_may_renew_it(
    message: str, kind: type[ApiError], bad: bool
) -> None:
    error = answer(401, f'{{"statusCode":401,"message":"{message}"}}')
    assert type(error) is kind
    assert is_token_bad(error) is bad


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("Invalid JWT", TokenVerdict.BAD),
        ("Invalid token: access token is invalid", TokenVerdict.BAD),
        ("The access token expired", TokenVerdict.BAD),
        ("Something new", TokenVerdict.UNCERTAIN),
        ("", TokenVerdict.UNCERTAIN),
        ("Invalid Private Integration token", TokenVerdict.GOOD),
        ("Command timed out", TokenVerdict.GOOD),
    ],
)
def test_a_401_says_that_the_token_is_bad_or_that_it_may_be_or_nothing(
    message: str, verdict: TokenVerdict
) -> None:
    assert token_verdict(answer(401, f'{{"message":"{message}"}}')) is verdict


def test_a_5xx_with_the_verdict_of_the_database_layer_is_a_refusal_of_the_document() -> None:
    message = "estimates validation failed: title: Path `title` is required., items.0.type: Path `type` is required."
    error = answer(500, f'{{"statusCode":500,"message":"{message}"}}')
    assert type(error) is ValidationFailed
    assert (error.status, error.messages) == (500, (message,))
    for other in (
        '{"message":"Internal server error"}',
        '{"message":"the validation failed"}',
        "<html>validation failed: x</html>",
        "",
    ):
        assert isinstance(answer(500, other), ServerError)


def test_an_unknown_outcome_carries_the_answer_that_hid_it() -> None:
    reason = answer(500, '{"message":"boom"}')
    unknown = OutcomeUnknown("x", reason=reason)
    assert (unknown.status, unknown.body) == (500, '{"message":"boom"}')
    lost = OutcomeUnknown("x", reason=ConnectionLost("gone", kind=WireKind.DISCONNECTED, sent=True))
    assert (lost.status, lost.body) == (0, "")
    cut = OutcomeUnknown("x", reason=DecodeError("x", body="{"))
    assert (cut.status, cut.body) == (0, "{")


def test_the_invoice_services_400_for_a_missing_document_is_a_not_found() -> None:
    error = answer(400, '{"statusCode":400,"message":"Unable to find an invoice with the given invoice id"}')
    assert isinstance(error, NotFound)
    assert error.status == 400


def test_every_violation_of_a_422_is_kept() -> None:
    error = answer(422, '{"message":["a must be x","b must be y","c","d"],"error":"Unprocessable Entity"}')
    assert error.messages == ("a must be x", "b must be y", "c", "d")
    assert str(error) == "get-invoice: 422 a must be x; b must be y; c; and 1 more"


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (
            '{"error":"UnAuthorized!","error_description":"Invalid client credentials!"}',
            ("Invalid client credentials!",),
        ),
        ('{"error":"UnAuthorized!"}', ("UnAuthorized!",)),
        ('{"error":{"code":"RESOURCE_NOT_FOUND","message":"gone","details":{}}}', ("gone",)),
        ('{"message":{"message":"inner"}}', ("inner",)),
        ('{"message":{"x":1}}', ("{'x': 1}",)),
        ('["a"]', ("['a']",)),
        ("<html><head><title>502 Bad Gateway</title></head></html>", ("HTML page: 502 Bad Gateway",)),
        ("plain words", ("plain words",)),
        ("", ()),
    ],
)
def test_error_bodies_of_every_shape_are_read(body: str, messages: tuple[str, ...]) -> None:
    assert answer(400, body).messages == messages


def test_codes_and_traces_come_from_the_body_or_the_headers() -> None:
    error = answer(400, '{"message":"x","code":"estimate_date_invalid","traceId":"abc"}', cf_ray="ray1")
    assert (error.code, error.trace_id, error.ray) == ("estimate_date_invalid", "abc", "ray1")
    assert "[trace abc]" in str(error)
    assert answer(500, "", X_Trace_Id="t1").trace_id == "t1"
    assert "[cf-ray ray1]" in str(answer(500, "", cf_ray="ray1"))


def test_attempts_are_told() -> None:
    error = answer(500, "")
    error.attempts, error.elapsed = 3, 2.25
    assert str(error) == "get-invoice: 500 no body (3 attempts in 2.2 s)"


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    status=st.integers(300, 599),
    body=st.one_of(
        st.binary(max_size=4000),
        st.text(st.characters(), max_size=2000).map(lambda text: text.encode("utf-8", "replace")),
    ),
)
def test_the_mapper_is_total_and_bounded(status: int, body: bytes) -> None:
    error = answer(status, body)
    assert isinstance(error, ApiError)
    assert len(error.body) <= errors.MAX_KEPT_BODY
    assert len(str(error)) < 3000


def test_a_deep_or_undecodable_body_is_text() -> None:
    assert answer(500, b"[" * 50_000).messages
    assert answer(500, b'{"message":"\xff"}').status == 500


def test_kept_bodies_hold_no_token() -> None:
    body = b'{"access_token":"s3ntinel-access-1","message":"Bearer s3ntinel-access-2 is bad"}'
    error = answer(400, body)
    assert "s3ntinel" not in error.body + str(error) + repr(error) + repr(error.messages)
    assert "s3ntinel" not in bounded_text(body)


def test_a_wire_error_keeps_its_cause_as_redacted_text() -> None:
    error = WireError("x", kind=WireKind.PROTOCOL, sent=True, cause="Authorization: Bearer s3ntinel-access")
    assert error.cause == "Authorization: …"


def test_refused_input_is_a_value_error_that_names_the_field() -> None:
    error = InvalidRequest("items[0].qty", "is negative")
    assert isinstance(error, ValueError)
    assert (str(error), error.field) == ("items[0].qty: is negative", "items[0].qty")


ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HighLevelError)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_travels_between_processes_whole(kind: type[HighLevelError]) -> None:
    filled: dict[str, object] = {
        "message": "it failed", "problem": "is wrong", "field": "items[0]", "document": "doc-1", "status": 409,
        "candidates": {"c1": ["email"]}, "kind": WireKind.TIMEOUT, "sent": True, "contact_id": "c1", "missing": ["tags"],
    }  # fmt: skip
    try:
        wanted = inspect.signature(kind).parameters
    except ValueError:  # built by Exception itself
        error = kind("it failed")
    else:
        error = kind(**{name: value for name, value in filled.items() if name in wanted})
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is kind
    assert str(received) == str(error) != ""
    assert (received.args, vars(received)) == (error.args, vars(error))


def test_every_error_is_named_by_its_public_place() -> None:
    assert {kind.__module__ for kind in ERRORS} == {"hl_async.errors"}
    assert {kind.__name__ for kind in ERRORS} < set(errors.__all__)
