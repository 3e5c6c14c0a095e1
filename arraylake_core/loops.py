"""The event loop that blocking callers share, and what must be kept apart per process and loop.

Async code runs on whatever loop its caller runs. Blocking code (Client, Icechunk's credential callbacks) hands coroutines to one
background loop of the process. It is started on first need and anew in a forked child, where the parent's thread does not exist.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import Future

__all__ = ["at_loop_end", "on_shared_loop", "run", "submit"]

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def _background_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="arraylake-core", daemon=True)
            _thread.start()
        return _loop


def submit[T](coroutine: Coroutine[object, object, T]) -> Future[T]:
    """Start a coroutine on the background loop, and return its future."""
    return asyncio.run_coroutine_threadsafe(coroutine, _background_loop())


def run[T](coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine on the background loop and wait for it, from any thread but the loop's own.

    Works in a notebook too, where the calling thread has a running loop of its own.
    """
    if threading.current_thread() is _thread:
        coroutine.close()
        raise RuntimeError("a blocking call was made from the event loop that would run it: await AsyncClient instead")
    future = submit(coroutine)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


async def on_shared_loop[T](coroutine: Coroutine[object, object, T]) -> T:
    """Await a coroutine that runs on the background loop, for what all loops of the process are to share, such as connections."""
    if asyncio.get_running_loop() is _background_loop():
        return await coroutine
    return await asyncio.wrap_future(submit(coroutine))


async def at_loop_end(end: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Have something ended when the running loop shuts down, as asyncio.run does at its end.

    Parameters
    ----------
    end
        What ends it.

    Returns
    -------
    AsyncGenerator
        To be kept for as long as it is in use; its ``aclose`` ends it earlier.
    """
    life = _life(end)
    await anext(life)
    return life


async def _life(end: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    # Every loop that shuts down closes the asynchronous generators that were begun on it.
    try:
        yield
    finally:
        await end()


def _stop() -> None:
    global _loop, _thread
    with _lock:
        loop, thread, _loop, _thread = _loop, _thread, None, None
    if loop is None or thread is None:
        return
    asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=10)
    loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


# Kept, never closed: closing the parent's loop in the child would close file descriptors that both share.
_inherited: list[asyncio.AbstractEventLoop] = []


def _forget_after_fork() -> None:
    global _lock, _loop, _thread
    if _loop is not None:
        _inherited.append(_loop)
    _lock, _loop, _thread = threading.Lock(), None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_stop)
