"""Exports a repo, and kills its own process before the n-th write to the destination."""

import functools
import json
import os
import signal
import sys

from zarr.storage import LocalStore

from arraylake_core import Client


def main() -> None:
    """Run what the argument asks for."""
    asked = json.loads(sys.argv[1])
    left = asked["at_write"]
    write = LocalStore.set

    @functools.wraps(write)
    async def counted(*arguments: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        await write(*arguments)

    LocalStore.set = counted
    with Client(asked["uri"]) as client:
        client.get_repo(asked["repo"]).export(asked["dest"], **asked["options"])


if __name__ == "__main__":
    main()
