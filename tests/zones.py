"""Time zones of every offset, with and without summer time, for tests about dates."""

from __future__ import annotations

ZONES = (
    "Pacific/Pago_Pago", "Pacific/Honolulu", "Pacific/Marquesas", "America/Adak", "America/Anchorage",
    "America/Los_Angeles", "America/Denver", "America/Phoenix", "America/Chicago", "America/New_York",
    "America/Caracas", "America/Halifax", "America/Santiago", "America/St_Johns", "America/Sao_Paulo",
    "America/Noronha", "Atlantic/Azores", "UTC", "Europe/London", "Africa/Lagos", "Europe/Berlin", "Africa/Cairo",
    "Asia/Beirut", "Africa/Nairobi", "Asia/Tehran", "Asia/Dubai", "Asia/Kabul", "Asia/Karachi", "Asia/Kolkata",
    "Asia/Kathmandu", "Asia/Dhaka", "Asia/Yangon", "Asia/Bangkok", "Asia/Shanghai", "Australia/Eucla", "Asia/Tokyo",
    "Australia/Darwin", "Australia/Adelaide", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Noumea",
    "Pacific/Auckland", "Pacific/Chatham", "Pacific/Tongatapu", "Pacific/Kiritimati",
)  # fmt: skip
TWO_READINGS = {"Pacific/Pago_Pago", "Pacific/Honolulu", "America/Adak", "Pacific/Auckland", "Pacific/Tongatapu", "Pacific/Kiritimati"}  # fmt: skip
"""Zones with a midnight that is one at the other side of the date line too."""
