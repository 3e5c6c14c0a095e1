"""What stands in front of a PostgreSQL server: ends TLS, and, as PgBouncer does for transactions, wants nothing to last longer than one."""

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Front", "front_of"]

_SSL_REQUEST = 80877103
# What PgBouncer takes of a client that connects.
_STARTUP = {"user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"}


@dataclass
class Front:
    """A port that leads to the server.

    Parameters
    ----------
    path
        The server's socket.
    tls
        What it ends TLS with; None has no TLS.
    shares
        Whether it refuses what PgBouncer refuses, and notes what would go wrong where each transaction gets another connection.
    """

    path: Path
    tls: ssl.SSLContext | None = None
    shares: bool = False
    port: int = 0
    encrypted: int = 0
    wrong: list[str] = field(default_factory=list)
    statements: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = await _rest(reader)
        if struct.unpack("!I", startup[:4])[0] == _SSL_REQUEST:
            writer.write(b"S" if self.tls else b"N")
            await writer.drain()
            if self.tls is not None:
                await writer.start_tls(self.tls)
                self.encrypted += 1
            startup = await _rest(reader)
        words = startup[4:].decode().split("\0")
        unknown = sorted(set(words[0:-2:2]) - _STARTUP)
        if self.shares and unknown:
            text = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {unknown[0]}\0\0".encode()
            writer.write(b"E" + struct.pack("!I", len(text) + 4) + text)
            return
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(self.path))
        inner_writer.write(struct.pack("!I", len(startup) + 4) + startup)
        state = {"status": b"I"}
        both = [
            asyncio.create_task(self._forward(reader, inner_writer, state, client=True)),
            asyncio.create_task(self._forward(inner_reader, writer, state, client=False)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        inner_writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: dict[str, bytes], *, client: bool
    ) -> None:
        while True:
            kind = await reader.readexactly(1)
            body = await _rest(reader)
            if not client and kind == b"Z":
                state["status"] = body
            elif client and kind == b"P":
                self.statements += 1
                if state["status"] == b"I" or not body.startswith(b"\0"):
                    self.wrong.append(f"prepared {'by itself' if state['status'] == b'I' else 'with a name'}: {body[:200]!r}")
            elif client and kind == b"Q" and (b"pg_advisory_lock" in body or (body.startswith(b"SET ") and b"LOCAL" not in body)):
                self.wrong.append(f"for longer than a transaction: {body[:200]!r}")
            writer.write(kind + struct.pack("!I", len(body) + 4) + body)
            await writer.drain()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes after a length."""
    (length,) = struct.unpack("!I", await reader.readexactly(4))
    return await reader.readexactly(length - 4)


@contextlib.contextmanager
def front_of(path: Path, tls: ssl.SSLContext | None = None, *, shares: bool = False) -> Iterator[Front]:
    """Listen, in a thread, until the block ends."""
    front = Front(path, tls, shares)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    tasks: set[asyncio.Task[None]] = set()

    async def begin() -> asyncio.Server:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(front.serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return await asyncio.start_server(connected, "127.0.0.1", 0)

    async def end() -> None:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    front.port = server.sockets[0].getsockname()[1]
    try:
        yield front
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
