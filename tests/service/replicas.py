"""Replicas of the service, each a process as an operator starts it, to be killed and started again."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from arraylake_core.catalog.http import HttpCatalog
from arraylake_core.catalog.http_tokens import remember
from arraylake_core.secret import Secret

__all__ = ["PROGRAM", "Deployment", "Replica", "deployed"]

PROGRAM = str(Path(sys.executable).with_name("arraylake-core"))
_READY_SECONDS = 60


class Replica:
    """One process.

    Parameters
    ----------
    database
        The catalog's URI.
    environment
        The process's environment.
    log
        Where its log goes.
    program
        The command of ``arraylake-core``.
    """

    def __init__(self, database: str, environment: Mapping[str, str], log: Path, program: Sequence[str] = (PROGRAM,)) -> None:
        self.log = log
        self.port = 0
        self._database, self._environment = database, environment
        self._program = program
        self._process: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port that it had, and wait until it answers."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it."""
        command = [*self._program, "serve", "--database", self._database, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment)

    def wait(self) -> None:
        """Wait until it answers."""
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _READY_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        assert line.startswith("Listening on http://127.0.0.1:"), self.log.read_text()[-3000:]
        self.port = int(line.rpartition(":")[2])

    def kill9(self) -> None:
        """End it as the kernel does when memory runs out."""
        self._end(9)

    def stop(self) -> int:
        """Tell it to end, and return its exit code."""
        return self._end(15)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        code = process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def logged(self, field: str) -> list[object]:
        """Return a field of every line of its log that has it."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line[field] for line in lines if field in line]


class Deployment:
    """Replicas on one database, with the organization ``acme``, and the tokens of its admin and of an operator.

    Parameters
    ----------
    database
        The catalog's URI.
    directory
        Where the keys and logs lie.
    replicas
        How many.
    """

    org = "acme"

    def __init__(self, database: str, directory: Path, replicas: int) -> None:
        self.database = database
        self.environment = {**os.environ, "HOME": str(directory), "ARRAYLAKE_DATA__DIR": str(directory / "lake")}
        self.token = self.admin("create-org", self.org, "--admin-email", "ada@example.org")["token"]
        self.operator = ""
        self.replicas = [Replica(database, self.environment, directory / f"replica-{number}.log") for number in range(replicas)]

    def admin(self, *words: str) -> dict[str, str]:
        """Run ``arraylake-core admin``, and return what it prints."""
        command = [PROGRAM, "admin", *words, "--database", self.database, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=_READY_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def catalog(self, replica: int | str, token: str | None = None) -> HttpCatalog:
        """Return the catalog through one replica, or through what listens at a URI."""
        uri = replica if isinstance(replica, str) else self.replicas[replica].uri
        return HttpCatalog(uri, remember(Secret(token or self.token)))


@contextmanager
def deployed(database: str, directory: Path, replicas: int = 2) -> Iterator[Deployment]:
    """Make an organization in a database, and start replicas on it."""
    deployment = Deployment(database, directory, replicas)
    with ExitStack() as stack:
        for replica in deployment.replicas:
            stack.callback(replica.kill9)
            replica.begin()
        deployment.operator = deployment.admin("create-operator", "--email", "olga@example.org")["token"]
        for replica in deployment.replicas:
            replica.wait()
        yield deployment
