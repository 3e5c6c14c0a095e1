"""A server on a loopback port that answers as a script says, byte for byte, and notes what it was asked."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import msgspec

__all__ = ["CUT", "SILENCE", "MisbehavingServer", "Request", "answer", "misbehaving_server", "problem"]

CUT = b""
"""An answer that never begins: the connection is closed."""
SILENCE = None
"""An answer that never begins: the connection stays open."""

type Step = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]] | None


@dataclass(frozen=True)
class Request:
    """What the server was asked, and when."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class MisbehavingServer:
    """What it answers, one step a request, the last one again and again; and what it was asked."""

    port: int = 0
    script: list[Step] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    answer_by: Callable[[Request], bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            first = await reader.readexactly(1)
            if first == b"\x16":
                writer.write(answer(400, b"TLS is not spoken here"))
                return
            line, *lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (found.split(": ", 1) for found in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, target, _ = line.split(" ")
            self.requests.append(Request(method, target, headers, body, time.monotonic()))
            if self.answer_by is not None:
                writer.write(self.answer_by(self.requests[-1]))
                await writer.drain()
                return
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if step is None:
                await reader.read()
            elif callable(step):
                await step(writer)
            else:
                writer.write(step)
            await writer.drain()


def answer(status: int, body: object = None, *, content_type: str = "application/json", **headers: str) -> bytes:
    """Return an HTTP answer; a body that is not bytes goes as JSON."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {content_type}", f"content-length: {len(data)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def problem(status: int, detail: object, error: str, *, paths: object = None, **headers: str) -> bytes:
    """Return an error as the service words it."""
    body = {"type": "about:blank", "status": status, "detail": detail, "error": error, **({"paths": paths} if paths else {})}
    return answer(status, body, content_type="application/problem+json", **headers)


@contextmanager
def misbehaving_server(*script: Step) -> Iterator[MisbehavingServer]:
    """Run the server on a loop of its own."""
    found, loop = MisbehavingServer(script=list(script)), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="misbehaving", daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(found.serve, "127.0.0.1", 0), loop).result(10)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.02)
