from collections.abc import Callable, Mapping
from typing import Any

from hl_async._version import __version__ as __version__
from hl_async.auth import ConsentFlow as ConsentFlow
from hl_async.auth import Credentials as Credentials
from hl_async.auth import EncryptedStore as EncryptedStore
from hl_async.auth import Installation as Installation
from hl_async.auth import MemoryStore as MemoryStore
from hl_async.auth import OAuthApp as OAuthApp
from hl_async.auth import PostgresTokenStore as PostgresTokenStore
from hl_async.auth import PrivateToken as PrivateToken
from hl_async.auth import RefreshPolicy as RefreshPolicy
from hl_async.auth import SqliteStore as SqliteStore
from hl_async.auth import TokenStore as TokenStore
from hl_async.bulk import bulk_map as bulk_map
from hl_async.client import HighLevel as HighLevel
from hl_async.client import Location as Location
from hl_async.config import CallOptions as CallOptions
from hl_async.config import ClientConfig as ClientConfig
from hl_async.config import Lane as Lane
from hl_async.config import Timeouts as Timeouts
from hl_async.errors import HighLevelError as HighLevelError
from hl_async.governor import Governor as Governor
from hl_async.governor import GovernorPolicy as GovernorPolicy
from hl_async.governor.shared import BudgetStore as BudgetStore
from hl_async.governor.shared import MemoryBudget as MemoryBudget
from hl_async.governor.shared import PostgresBudget as PostgresBudget
from hl_async.operations import OPERATIONS as OPERATIONS
from hl_async.operations import Operation as Operation
from hl_async.pagination import Page as Page
from hl_async.pagination import Pager as Pager
from hl_async.resources.once import Once as Once
from hl_async.resources.once import OnceStore as OnceStore
from hl_async.secret import Secret as Secret
from hl_async.telemetry import LoggingObserver as LoggingObserver
from hl_async.telemetry import Observer as Observer
from hl_async.transport.retry import RetryPolicy as RetryPolicy
from hl_async.wire import WireResponse as WireResponse

def lazy_exports(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]: ...
