"""A service as an operator starts it: two commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.seaweedfs import SeaweedFS
from tests.service.official.venvs import Official

# Scripts for the official client, which this Python has not.
collect_ignore = ["journey.py", "four_numbers.py", "signatures.py"]
PROGRAM = str(Path(sys.executable).with_name("arraylake-core"))


@dataclass(frozen=True)
class Deployed:
    """A service in a process of its own, and the token of its organization's admin."""

    uri: str
    token: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"ARRAYLAKE_TOKEN": self.token, "ARRAYLAKE_SERVICE__URI": self.uri, "HOME": str(self.home), "COLUMNS": "200"}
        return {**os.environ, **own}

    def python(self, client: Official, script: str, *arguments: str) -> str:
        """Run a script beside this file with the official client, and return what it prints."""
        path = Path(__file__).with_name(script)
        return self._run([str(client.python), str(path), *arguments])

    def command(self, client: Official, *words: str) -> str:
        """Run the official command line."""
        return self._run([str(client.program), *words])

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=180, input="y\n"
        )
        assert done.returncode == 0, f"{words[1:]}:\n{done.stdout}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    home = tmp_path_factory.mktemp("deployed")
    database = f"sqlite:///{home}/catalog.db"
    create = ["admin", "create-org", "acme", "--admin-email", "ada@example.org", "--database", database, "--output", "json"]
    made = json.loads(subprocess.run([PROGRAM, *create], check=True, capture_output=True, timeout=60).stdout)
    assert sorted(made) == ["org", "token"]
    with (home / "log").open("w") as log:
        serve = [PROGRAM, "serve", "--database", database, "--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline().strip()
        assert line.startswith("Listening on http://127.0.0.1:"), (home / "log").read_text()
        yield Deployed(line.removeprefix("Listening on "), made["token"], home)
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


@pytest.fixture
def sea(deployed: Deployed, seaweedfs: SeaweedFS) -> tuple[str, str, str, str]:
    """Endpoint, keys and a new bucket of a real S3 server."""
    bucket = seaweedfs.make_bucket(f"official-{os.urandom(4).hex()}")
    return seaweedfs.endpoint, *seaweedfs.admin, bucket
