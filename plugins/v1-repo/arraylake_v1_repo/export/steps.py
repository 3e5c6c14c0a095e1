"""Running many steps, some at once, and knowing how many of the first ones are done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Room", "run_steps"]

_SAVE_EVERY = 256
_MOST_UNSAVED = 2 * _SAVE_EVERY
"""No more steps begin where so many would have to be taken again: saving waits for the disk, and a cache runs far ahead of it."""


class Room:
    """Memory that steps share: whoever wants more than is left waits.

    Parameters
    ----------
    size
        In bytes. A step that needs more than that has it all to itself.
    """

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = asyncio.Condition()

    async def take(self, wanted: int) -> int:
        """Take room, and return how much is to be given back."""
        taken = min(wanted, self._size)
        async with self._changed:
            await self._changed.wait_for(lambda: self._left >= taken)
            self._left -= taken
        return taken

    async def give(self, taken: int) -> None:
        """Give room back."""
        async with self._changed:
            self._left += taken
            self._changed.notify_all()


async def run_steps[T](
    steps: AsyncIterator[T],
    skip: int,
    do: Callable[[T], Awaitable[None]],
    save: Callable[[int], Awaitable[None]],
    *,
    weight: Callable[[T], int],
    concurrency: int,
    room: Room,
) -> None:
    """Run steps.

    Parameters
    ----------
    steps
        In an order that is the same at every try.
    skip
        How many of the first ones an earlier try has done.
    do
        Runs a step.
    save
        Is told now and then how many of the first ones are done.
    weight
        How many bytes a step holds.
    concurrency
        How many run at once.
    room
        The bytes that they share.
    """
    turns = asyncio.Semaphore(concurrency)
    saving = asyncio.Lock()
    ahead: set[int] = set()
    done = saved = skip

    async def run(number: int, step: T, taken: int) -> None:
        nonlocal done
        try:
            await do(step)
        finally:
            turns.release()
            await room.give(taken)
        ahead.add(number)
        while done in ahead:
            ahead.remove(done)
            done += 1
        if done - saved >= _SAVE_EVERY and not saving.locked():
            await keep()

    async def keep() -> None:
        nonlocal saved
        async with saving:
            if done - saved >= _SAVE_EVERY:
                now = done
                await save(now)
                saved = now

    try:
        async with asyncio.TaskGroup() as group:
            number = 0
            async for step in steps:
                if number >= skip:
                    if done - saved >= _MOST_UNSAVED:
                        await keep()
                    await turns.acquire()
                    taken = await room.take(weight(step))
                    group.create_task(run(number, step, taken))
                number += 1
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    await save(done)
