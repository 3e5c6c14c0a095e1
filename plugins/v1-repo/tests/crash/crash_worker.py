"""A process that runs tasks of crash_life in children of its own, each killed after a while, at its n-th write, or never.

It reads one task a line, and answers each with a line. It imports what the tasks need, but runs nothing itself, so that it can fork.
"""

import asyncio  # noqa: F401 - before the modules in order of their names, of which _asyncio is one
import functools
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType

STORAGE_WRITES = ("put_blocking", "delete")
CATALOG_WRITES = ("put_ref", "delete_ref", "append_journal", "drop_journal")
NOT_FORKED = ("icechunk", "arraylake_icechunk")


class DiesAt:
    """Kills the process before its n-th write to the storage or the catalog."""

    def __init__(self, number: int) -> None:
        self._left = number

    def watch(self, owner: type | ModuleType, name: str) -> None:
        """Count the calls of a method or a function."""
        method: Callable[..., object] = getattr(owner, name)

        @functools.wraps(method)
        def counted(*args: object, **kwargs: object) -> object:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        setattr(owner, name, counted)

    def watch_all(self) -> None:
        """Count all writes of a V1 repo."""
        from arraylake_v1_repo.files import FileObjects

        from arraylake_core.catalog.sql_coordination import SqlCoordination

        for name in STORAGE_WRITES:
            self.watch(FileObjects, name)
        self.watch(os, "replace")  # a file is written, and has not got its name
        for name in CATALOG_WRITES:
            self.watch(SqlCoordination, name)


def wait(hours: float) -> None:
    """Let time pass for what waits for the dead: leases of collections and commits, and sessions."""
    from arraylake_v1_repo.upkeep import garbage, holds

    now = holds.utc_now
    for module in (garbage, holds):
        module.utc_now = lambda: now() + timedelta(hours=hours)


def child(task: dict[str, object], notes: Path) -> None:
    """Run a task; what it needed to import is noted."""
    import crash_life

    code = 1
    try:
        if task["hours_later"]:
            wait(float(task["hours_later"]))
        if task["at_write"]:
            DiesAt(int(task["at_write"])).watch_all()
        crash_life.TASKS[str(task["task"])](str(task["uri"]), int(task["seed"]), Path(str(task["acknowledged"])))
        code = 0
    except BaseException:
        notes.write_text(traceback.format_exc())
    else:
        notes.write_text(json.dumps(sorted(sys.modules)))
    finally:
        os._exit(code)


def run(task: dict[str, object], notes: Path) -> dict[str, object]:
    """Fork, wait, kill where the time is over, and say how it ended."""
    notes.unlink(missing_ok=True)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "an import has started a thread: a fork would lose it"
    begin = time.perf_counter()
    pid = os.fork()
    if not pid:
        child(task, notes)
    ended = os.pidfd_open(pid)
    wait = task["seconds"]
    if wait is not None and not select.select([ended], [], [], float(wait))[0]:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(ended)
    answer = {"code": os.waitstatus_to_exitcode(status), "seconds": time.perf_counter() - begin, "failure": ""}
    if answer["code"] == 1:
        answer["failure"] = notes.read_text()
    elif answer["code"] == 0:
        for name in json.loads(notes.read_text()):
            if not name.startswith(NOT_FORKED):
                with suppress(Exception):
                    importlib.import_module(name)
    return answer


def main() -> None:
    """Answer task by task."""
    notes = Path(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), notes)), flush=True)


if __name__ == "__main__":
    main()
