"""Azure Blob Storage: Azurite, from npm."""

import socket
import ssl
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
    """A running server; over https, with the file of the authority that vouches for it."""

    endpoint: str
    authority: Path | None = None

    def make_container(self, name: str, *, public: bool = False) -> str:
        """Make a container, and return its name."""
        verify = {} if self.authority is None else {"connection_verify": str(self.authority)}
        with BlobServiceClient(self.endpoint, credential=KEY, **verify) as client:
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
def running_azurite(directory: Path, *, https: bool = False) -> Iterator[Azurite]:
    """Start a server, and end it; over https it takes tokens of Entra too, whose signatures it does not check."""
    place = npm_package("azurite", VERSION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "node", str(place / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"), "--silent", "--inMemoryPersistence",
        "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port),
    ]  # fmt: skip
    authority = _certified(directory, command) if https else None
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    server = Azurite(f"http{'s' if https else ''}://127.0.0.1:{port}/{ACCOUNT}", authority)
    try:
        _wait_until_ready(server, process, directory / "log")
        server.make_container(PUBLIC_CONTAINER, public=True)
        yield server
    finally:
        process.kill()
        process.wait()


def _certified(directory: Path, command: list[str]) -> Path:
    """Make a certificate, have the server use it, and return the file of the authority."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    (directory / "certificate.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    command += ["--oauth", "basic", "--cert", str(directory / "certificate.pem"), "--key", str(directory / "key.pem")]
    return directory / "authority.pem"


def _wait_until_ready(server: Azurite, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            context = None if server.authority is None else ssl.create_default_context(cafile=str(server.authority))
            urllib.request.urlopen(f"{server.endpoint}?comp=list", timeout=2, context=context).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Azurite did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
