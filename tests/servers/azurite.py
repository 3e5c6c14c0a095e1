"""Azure Blob Storage: Azurite, from npm."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from arraylake_core.models import utc_now
from tests.servers.npm import npm_package

__all__ = ["ACCOUNT", "KEY", "PUBLIC_CONTAINER", "Azurite", "running_azurite"]

VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PUBLIC_CONTAINER = "public-lake"
_READY_SECONDS = 60


class Azurite(NamedTuple):
    """A running server."""

    endpoint: str

    def make_container(self, name: str, *, public: bool = False) -> str:
        """Make a container, and return its name."""
        with BlobServiceClient(self.endpoint, credential=KEY) as client:
            client.create_container(name, public_access="container" if public else None)
        return name

    def sas(self, container: str, rights: str = "rwdl", end: datetime | None = None) -> str:
        """Return a shared access signature for a container."""
        return generate_container_sas(
            ACCOUNT,
            container,
            KEY,
            permission=ContainerSasPermissions.from_string(rights),
            expiry=end or utc_now() + timedelta(hours=1),
            start=utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=2),
        )


@contextmanager
def running_azurite(directory: Path) -> Iterator[Azurite]:
    """Start a server, and end it."""
    place = npm_package("azurite", VERSION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "node", str(place / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"), "--silent", "--inMemoryPersistence",
        "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port),
    ]  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    server = Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}")
    try:
        _wait_until_ready(server, process, directory / "log")
        server.make_container(PUBLIC_CONTAINER, public=True)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(server: Azurite, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{server.endpoint}?comp=list", timeout=2).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Azurite did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
