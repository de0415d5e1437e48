"""Settings: frozen, and validated at construction.

Only this room reads the environment.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec.structs import force_setattr

from hl_async._version import __version__
from hl_async.errors import ConfigurationError
from hl_async.secret import Secret

DEFAULT_BASE_URL: Final = "https://services.leadconnectorhq.com"
"""The one server of the official specification (docs/api-facts.md#api-hosts)."""

DEFAULT_API_VERSION: Final = "2021-07-28"
"""The ``Version`` header of the official examples (docs/api-facts.md#api-version)."""

_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+")
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7e]+")


def base_url(value: str, *, insecure: bool = False) -> str:
    """Validate a base URL and return it without a trailing slash.

    Plain ``http`` is for loopback addresses alone, unless ``insecure`` is true: a bearer token would cross the
    network in the clear.

    Raises:
        ConfigurationError: The URL cannot be used.
    """
    field = "base_url"
    parts = split_address(field, value, "https://host")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigurationError(
            field,
            "must start with https:// and name a host; http:// is for loopback, such as http://127.0.0.1:8080",
        )
    # Paths of operations are appended to this text: after a "?" or "#" they would not be paths. A name before "@" would
    # be sent with every request.
    if "?" in value or "#" in value or "@" in value:
        raise ConfigurationError(field, "must not carry user information, a query or a fragment")
    if not _VISIBLE_ASCII.fullmatch(value) or "\\" in value:
        raise ConfigurationError(field, "must be plain visible ASCII without backslashes")
    # A server takes port 0 for "any port". A connection to it would fail with an error that does not name the setting.
    if parts.port == 0:
        raise ConfigurationError(field, "port 0 cannot be connected to")
    # a proxy or a typo would see the bearer in the clear
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ConfigurationError(
            field, "plain http would send the token in the clear; use https (or allow_insecure_http=True)"
        )
    return value.rstrip("/")


def split_address(field: str, value: str, example: str) -> SplitResult:
    """Return the parts of an address; its host and port are readable without error.

    Raises:
        ConfigurationError: It is not an address. The text leaves it out, because it may hold a password.
    """
    try:
        parts = urlsplit(value)
        # urlsplit() alone accepts ports that are not numbers, and raises when they are read
        _ = parts.port
    except ValueError:
        raise ConfigurationError(field, f"is not a URL; give something like {example}") from None
    return parts


def web_address(field: str, value: str, example: str) -> SplitResult:
    """Return the parts of an http or https address.

    Raises:
        ConfigurationError: It is not one, or it names no host.
    """
    parts = split_address(field, value, example)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(field, f"is not a web address; give something like {example}")
    return parts


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is ``localhost`` or a loopback address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def api_version(value: str) -> str:
    """Validate a ``Version`` header value: any visible ASCII word, for new versions."""
    if not isinstance(value, str) or not _VISIBLE_ASCII.fullmatch(value):
        raise ConfigurationError("api_version", "must be one word such as 2021-07-28 or v3")
    return value


def header_text(field: str, value: str) -> str:
    """Validate header text: visible ASCII and spaces, so that no header is split."""
    if not isinstance(value, str) or not _HEADER_TEXT.fullmatch(value):
        raise ConfigurationError(field, "must be printable ASCII and not empty")
    return value


def positive_seconds(field: str, value: float) -> float:
    """Validate a duration in seconds: a finite number above 0."""
    # True is the int 1, and nan compares false with everything
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(field, f"{value!r} is not a positive number of seconds")
    return value


class Lane(Enum):
    """The queue in which a call waits for the rate budget."""

    INTERACTIVE = "interactive"
    """For calls whose answer a user waits for. Admitted before bulk, never paced."""
    BULK = "bulk"
    """For migrations and mass work. Spread evenly over the interval, with a limit of requests in flight."""


class Timeouts(msgspec.Struct, frozen=True):
    """Time limits of connecting, of one request and of the whole call, in seconds.

    Attributes:
        connect: For TCP and TLS with one address.
        attempt: For one request and its answer, connecting included.
        total: For the whole call: the wait for the rate budget, the renewal of a token, all attempts and the pauses
            between them. Bulk calls have no total unless :class:`CallOptions` gives one.

    Raises:
        ConfigurationError: A value is not a positive number.
    """

    connect: float = 5.0
    attempt: float = 30.0
    total: float = 60.0

    def __post_init__(self) -> None:
        # A timeout of 0 would fail every call, and nan would never end one.
        for name in self.__struct_fields__:
            positive_seconds(f"timeouts.{name}", getattr(self, name))


class CallChanges(TypedDict, total=False):
    """Fields of :class:`CallOptions`, for ``with_options()``."""

    timeout: float | None
    attempt_timeout: float | None
    lane: Lane
    api_version: str | None
    max_attempts: int | None


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one call, or of every call after ``with_options()``.

    None keeps the client's setting.

    Attributes:
        timeout: The total timeout in seconds; ``math.inf`` for none.
        attempt_timeout: The timeout of one request in seconds.
        lane: The queue in which the call waits for the rate budget.
        api_version: The ``Version`` header.
        max_attempts: The most requests of the call, 429s not counted.

    Raises:
        ConfigurationError: A value is not valid.
    """

    timeout: float | None = None
    attempt_timeout: float | None = None
    lane: Lane = Lane.INTERACTIVE
    api_version: str | None = None
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        # Infinity is allowed for the total alone: an attempt without an end would hold its connection forever.
        if self.timeout is not None and self.timeout != math.inf:
            positive_seconds("timeout", self.timeout)
        if self.attempt_timeout is not None:
            positive_seconds("attempt_timeout", self.attempt_timeout)
        if self.api_version is not None:
            api_version(self.api_version)
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ConfigurationError("max_attempts", f"{self.max_attempts} is below 1; 1 means no retry")

    def replace(self, **changes: Unpack[CallChanges]) -> CallOptions:
        """Return a copy with some fields replaced.

        Args:
            changes: Fields of this class.

        Raises:
            ConfigurationError: A field is unknown, or its value is not valid.
        """
        try:
            return msgspec.structs.replace(self, **changes)
        except TypeError:
            from difflib import get_close_matches  # a module that only this mistake needs

            known = self.__struct_fields__
            name = next(one for one in changes if one not in known)
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"options are {', '.join(known)}"
            raise ConfigurationError(name, f"is not an option; {hint}") from None


# Configurations are printed in logs and error reports, and the proxy's password is a part of its address.
class _WithoutProxy(msgspec.Struct, frozen=True):
    """Settings whose repr leaves out the proxy: its address may hold a password."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "proxy"]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class ClientConfig(_WithoutProxy, frozen=True, kw_only=True):
    """Settings of the client, apart from credentials and policies.

    Attributes:
        base_url: The server, without a trailing slash.
        api_version: The ``Version`` header.
        timeouts: Time limits of calls.
        max_connections: Size of the connection pool, and ceiling of bulk requests in flight.
        keep_alive: Seconds for which an idle connection is kept. It should be less than the server's own idle timeout,
            or a request meets a connection that is being closed.
        dns_ttl: Seconds for which an address of the server is kept.
        max_body: Largest decoded body of an answer in bytes.
        max_list_body: The same for a page of a list.
        close_grace: Seconds for which leaving ``async with`` waits for requests on the wire.
        user_agent: The ``User-Agent`` header.
        allow_insecure_http: Accept a ``base_url`` with http beyond loopback. The token crosses the network in the
            clear.
        proxy: Address of an HTTP proxy.
        compress: Ask for compressed lists.
        rules_off: Names of rules of ``hl_async.models.rules`` to switch off. The rules complete and check requests
            after observations of the live API.

    Raises:
        ConfigurationError: A value is not valid.
    """

    base_url: str = DEFAULT_BASE_URL
    api_version: str = DEFAULT_API_VERSION
    timeouts: Timeouts = Timeouts()
    max_connections: int = 100
    keep_alive: float = 10.0
    dns_ttl: float = 60.0
    max_body: int = 16 * 1024 * 1024
    max_list_body: int = 32 * 1024 * 1024
    close_grace: float = 5.0
    user_agent: str = f"hl_async/{__version__}"
    allow_insecure_http: bool = False
    proxy: str | None = None
    compress: bool = True
    rules_off: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        # Two spellings of one server would be two budgets and two runs.
        force_setattr(self, "base_url", base_url(self.base_url, insecure=self.allow_insecure_http))
        api_version(self.api_version)
        header_text("user_agent", self.user_agent)
        positive_seconds("keep_alive", self.keep_alive)
        positive_seconds("dns_ttl", self.dns_ttl)
        # 0 is allowed: the client then closes without waiting.
        if self.close_grace < 0 or not math.isfinite(self.close_grace):
            raise ConfigurationError("close_grace", f"{self.close_grace} is not a number of seconds from 0")
        if self.proxy is not None:
            web_address("proxy", self.proxy, "http://HOST:PORT")
        for name in ("max_connections", "max_body", "max_list_body"):
            if getattr(self, name) < 1:
                raise ConfigurationError(name, f"{getattr(self, name)} is below 1")


def log_level() -> str:
    """Return ``HL_LOG``, the level of the log on stderr; empty if it is not set."""
    return os.environ.get("HL_LOG", "").strip()


def use_proxy(address: str) -> None:
    """Let every client that this process opens from the environment use a proxy.

    The effect is that of ``HL_PROXY``.

    Raises:
        ConfigurationError: It is not the address of an HTTP proxy.
    """
    web_address("--proxy", address, "http://HOST:PORT")
    # Worker processes inherit the environment, not a variable of this process.
    os.environ["HL_PROXY"] = address


def environment_with(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a child process, with ``settings`` set."""
    return {**os.environ, **settings}


class Environment(_WithoutProxy, frozen=True, kw_only=True):
    """The settings of environment variables; every field may be missing."""

    token: Secret | None = None
    proxy: str | None = None
    location_id: str | None = None
    base_url: str | None = None
    api_version: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    redirect_uri: str | None = None
    company_id: str | None = None
    token_store: str | None = None
    store_key: Secret | None = None
    postgres: Secret | None = None
    rules_off: frozenset[str] = frozenset()
    watch_secret: Secret | None = None
    sandbox_timezone: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Environment:
        """Read ``HL_*``, each with its ``GHL_*`` fallback; empty ones count as missing."""
        # compose files and CI export a variable that has no value as an empty one
        values = os.environ if environ is None else environ

        def first(*names: str) -> str | None:
            return next((values[name].strip() for name in names if values.get(name, "").strip()), None)

        token = first("HL_TOKEN", "GHL_API_KEY")
        client_secret = first("HL_CLIENT_SECRET", "GHL_CLIENT_SECRET")
        store_key = first("HL_STORE_KEY")
        postgres = first("HL_POSTGRES")
        watch_secret = first("HL_WATCH_SECRET")
        # Workers of one database share its tokens. A file would hold other ones.
        in_a_file = None if postgres else _state_path(first("XDG_STATE_HOME"), first("HOME"))
        return cls(
            token=Secret(token) if token else None,
            location_id=first("HL_LOCATION_ID", "GHL_LOCATION_ID"),
            proxy=first("HL_PROXY"),
            base_url=first("HL_BASE_URL", "GHL_BASE_URL"),
            api_version=first("HL_API_VERSION", "GHL_API_VERSION"),
            client_id=first("HL_CLIENT_ID", "GHL_CLIENT_ID"),
            client_secret=Secret(client_secret) if client_secret else None,
            redirect_uri=first("HL_REDIRECT_URI"),
            company_id=first("HL_COMPANY_ID", "GHL_COMPANY_ID"),
            token_store=first("HL_TOKEN_STORE") or in_a_file,
            store_key=Secret(store_key) if store_key else None,
            postgres=Secret(postgres) if postgres else None,
            # commas and spaces both: lists in .env files are written either way
            rules_off=frozenset((first("HL_RULES_OFF") or "").replace(",", " ").split()),
            watch_secret=Secret(watch_secret) if watch_secret else None,
            sandbox_timezone=first("HL_SANDBOX_TIMEZONE"),
        )

    def completed(self, config: ClientConfig | None) -> ClientConfig:
        """Return ``config`` with the environment's proxy and switched off rules.

        A proxy or rules of ``config`` win.
        """
        given = config or ClientConfig()
        return msgspec.structs.replace(
            given, proxy=given.proxy or self.proxy, rules_off=given.rules_off or self.rules_off
        )

    def client_settings(self) -> dict[str, str | None]:
        """Return the keywords of the client that variables name directly."""
        return {
            "base_url": self.base_url,
            "api_version": self.api_version,
            "location_id": self.location_id,
        }


def _state_path(state_home: str | None, home: str | None) -> str | None:
    """Return the default file of tokens, in the user's state directory (XDG)."""
    if state_home is None and home is None:
        return None
    return f"{state_home or f'{home}/.local/state'}/hl_async/tokens.db"
