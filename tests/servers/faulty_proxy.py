"""A proxy in front of a TCP server, whose connections break when a test says so; bytes pass as they are, so that signatures hold."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Literal

__all__ = ["Fault", "FaultyProxy", "faulty_proxy"]

type Fault = Literal["drop", "503", "cut"]

_UNAVAILABLE = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_PIECE = 1 << 16


class FaultyProxy:
    """What a test says to a proxy.

    Attributes
    ----------
    port
        Where it listens, on 127.0.0.1.
    faults_told
        How many connections have got a fault so far.
    """

    def __init__(self, target: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self.faults_told = 0
        self._target = target
        self._loop = loop
        self._due: list[Fault] = []
        self._cut_after = 0
        self._open: set[asyncio.StreamWriter] = set()

    def disturb(self, fault: Fault, times: int, *, after: int = 0) -> None:
        """Break all connections, and then that many new ones.

        Parameters
        ----------
        fault
            Reset a connection when it is made (drop), answer its first HTTP request with 503, or reset it in the middle of what the server answers (cut).
        times
            How many connections.
        after
            How many bytes of the answer pass before it is cut.
        """

        async def do() -> None:
            self._due, self._cut_after = [fault] * times, after
            for writer in self._open:
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        fault = self._due.pop() if self._due else None
        self.faults_told += fault is not None
        self._open.add(writer)
        try:
            if fault == "drop":
                writer.transport.abort()
            elif fault == "503":
                await _read_request(reader)
                writer.write(_UNAVAILABLE % (len(_SLOW_DOWN), _SLOW_DOWN))
                await writer.drain()
            else:
                await self._pass(reader, writer, self._cut_after if fault == "cut" else None)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client has gone, or the proxy is ending.
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_after: int | None) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None) -> None:
            try:
                while limit is None or limit > 0:
                    piece = await source.read(_PIECE if limit is None else min(_PIECE, limit))
                    if not piece:
                        return
                    limit = None if limit is None else limit - len(piece)
                    sink.write(piece)
                    await sink.drain()
                sink.transport.abort()
            except OSError:
                pass
            finally:
                # Whichever side ends, the other does too: no client here closes one half only.
                to_server.close()
                writer.close()

        await asyncio.gather(copy(reader, to_server, None), copy(from_server, writer, cut_after))


async def _read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is not None and b"100-continue" not in head.lower():
        await reader.readexactly(int(length[1]))


@contextlib.contextmanager
def faulty_proxy(target: int) -> Iterator[FaultyProxy]:
    """Serve a proxy in front of a port of 127.0.0.1, from a thread of its own; until it is told otherwise, nothing breaks."""
    loop = asyncio.new_event_loop()
    proxy = FaultyProxy(target, loop)
    ready = threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        current = asyncio.current_task()
        connections = [task for task in asyncio.all_tasks() if task is not current]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="faulty-proxy")
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
