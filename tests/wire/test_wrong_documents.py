"""Promise of the connection: after the answer to another call it carries no further one."""

from __future__ import annotations

import asyncio

import pytest

from hl_async import GovernorPolicy, PrivateToken, RetryPolicy
from hl_async.config import CallOptions, ClientConfig
from hl_async.errors import WrongDocument
from hl_async.governor import Governor
from hl_async.resources.invoices import Invoices
from hl_async.resources.locations import ClientMemory, LocationRequester
from hl_async.transport.calls import Transport
from hl_async.transport.session import SessionManager
from servers import Opened, serving

pytestmark = pytest.mark.every_loop

FIRST, SECOND, THIRD = (f"64f0a1b2c3d4e5f6a7b8c9d{number}" for number in range(3))


class OneBehind:
    """Answers on its first connection with the document of the request before; on later ones as it should."""

    def __init__(self) -> None:
        self.connections = 0
        self.ended = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        late = self.connections == 1
        before = THIRD
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked = head.split(b"?")[0].rsplit(b"/", 1)[-1].decode()
                body = f'{{"_id":"{before if late else asked}"}}'.encode()
                before = asked
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.close()


def invoices(session: SessionManager, url: str) -> Invoices:
    governor = Governor(GovernorPolicy(max=100, interval=1.0))
    config = ClientConfig(base_url=url, allow_insecure_http=True)
    transport = Transport(config, session, PrivateToken("pit-x"), governor, retry=RetryPolicy.none())
    account = transport.account("loc1", "app")
    return Invoices(LocationRequester(transport, account, CallOptions(), ClientMemory()))


async def test_after_the_answer_to_another_call_the_next_call_takes_a_new_connection(opened: Opened) -> None:
    server = OneBehind()
    async with serving(server.handle) as url, opened() as session:
        shop = invoices(session, url)
        with pytest.raises(WrongDocument, match=THIRD):
            await shop.get(FIRST)
        await asyncio.wait_for(server.ended.wait(), 5)
        assert (await shop.get(SECOND)).id == SECOND
        assert (await shop.get(FIRST)).id == FIRST
        assert server.connections == 2
