"""Internal. Errors of webhook deliveries."""

from __future__ import annotations

from hl_async.errors.root import HighLevelError


class WebhookError(HighLevelError):
    """A webhook delivery was not accepted."""


class SignatureMissing(WebhookError):
    """No signature header, or the literal ``N/A`` in it."""


class SignatureInvalid(WebhookError):
    """The signature is malformed or does not belong to this body and these keys."""


class SignatureMalformed(SignatureInvalid):
    """Several signatures, or one that is not canonical base64 of the right length.

    It was not checked.
    """


class DeliveryStale(WebhookError):
    """The event's timestamp is missing or too old."""


class DeliveryFromFuture(DeliveryStale):
    """The event's timestamp is further in the future than clocks may differ."""


class DeliveryReplayed(WebhookError):
    """This delivery was accepted before, or is being handled right now."""


class DeliveryUnreadable(WebhookError):
    """The body is not a JSON object, or not a document of its type's kind."""


class DeliveryTooLarge(DeliveryUnreadable):
    """The body is larger than a delivery may be. It was not read."""
