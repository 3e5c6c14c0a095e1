"""Migrates a repo, and kills its own process before the n-th write to the copy."""

import functools
import json
import os
import signal
import sys

from arraylake_icechunk.history import IcechunkWriter

from arraylake_core import Client


def main() -> None:
    """Run what the argument asks for."""
    asked = json.loads(sys.argv[1])
    left = asked["at_write"]

    def counted(method):
        @functools.wraps(method)
        async def call(*arguments: object):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return await method(*arguments)

        return call

    for name in ("begin", "put", "commit", "point_branch", "point_tag", "store", "finish"):
        setattr(IcechunkWriter, name, counted(getattr(IcechunkWriter, name)))
    with Client(asked["uri"]) as client:
        client.migrate_repo(asked["repo"])


if __name__ == "__main__":
    main()
