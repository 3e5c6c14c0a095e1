"""Making methods of Icechunk's that write refs or the repo object hold the repo's lock."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, cast

import icechunk

if TYPE_CHECKING:
    from arraylake_icechunk.repo import IcechunkRepo

__all__ = ["writes", "writes_async"]


def writes[**P, R](method: Callable[Concatenate[icechunk.Repository, P], R]) -> Callable[Concatenate["IcechunkRepo", P], R]:
    """Make a method of Icechunk's that writes refs or the repo object hold the lock."""

    @wraps(method)
    def locked(self: "IcechunkRepo", *args: P.args, **kwargs: P.kwargs) -> R:
        self.binding.require_writable()
        with self.binding.lock.hold():
            return method(self, *args, **kwargs)

    return cast("Callable[Concatenate[IcechunkRepo, P], R]", locked)


def writes_async[**P, R](
    method: Callable[Concatenate[icechunk.Repository, P], Coroutine[object, object, R]],
) -> Callable[Concatenate["IcechunkRepo", P], Coroutine[object, object, R]]:
    """Do the same for the async twin of such a method."""

    @wraps(method)
    async def locked(self: "IcechunkRepo", *args: P.args, **kwargs: P.kwargs) -> R:
        self.binding.require_writable()
        async with self.binding.lock.hold_async():
            return await method(self, *args, **kwargs)

    return cast("Callable[Concatenate[IcechunkRepo, P], Coroutine[object, object, R]]", locked)
