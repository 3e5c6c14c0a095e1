"""HTTP sessions, one for each event loop that uses them and none shared between loops; each is closed when its loop shuts down."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, NamedTuple

from arraylake_core.loops import at_loop_end

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["LoopSessions"]


class _Held(NamedTuple):
    """The session of one loop, and what closes it when the loop shuts down."""

    session: "ClientSession"
    life: AsyncGenerator[None]


class LoopSessions:
    """The sessions of one user.

    Parameters
    ----------
    new
        Makes a session; called on the loop that it is for.
    """

    def __init__(self, new: "Callable[[], ClientSession]") -> None:
        self._new = new
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._sessions: dict[asyncio.AbstractEventLoop, _Held] = {}

    async def get(self) -> "ClientSession":
        """Return the session of the running loop, made where there is none."""
        if self._pid != os.getpid():
            # The parent's connections are the parent's; they must not even be closed here.
            _inherited.append(self._sessions)
            self._lock, self._sessions, self._pid = threading.Lock(), {}, os.getpid()
        loop = asyncio.get_running_loop()
        held = self._sessions.get(loop)
        if held is None or held.session.closed:
            session = self._new()
            held = _Held(session, await at_loop_end(session.close))
            with self._lock:
                for ended in [known for known in self._sessions if known.is_closed()]:
                    del self._sessions[ended]
                other = self._sessions.get(loop)
                if other is None or other.session.closed:
                    self._sessions[loop] = held
                    return session
            await held.life.aclose()
            return other.session
        return held.session

    async def close(self) -> None:
        """Close the sessions of every loop; the next request opens a new one."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        here = asyncio.get_running_loop()
        for loop, held in sessions.items():
            if loop is here:
                await held.life.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(held.life.aclose(), loop))


_inherited: list[object] = []
