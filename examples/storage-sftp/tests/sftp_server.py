"""A real SFTP server: asyncssh's, in a process of its own, with keys made for the run.

Run as a program with the directory that it serves, the files of its own key and of the keys that it lets in; it prints its port when it is ready.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["SftpServer", "running_sftp"]

USER = "ada"


class SftpServer(NamedTuple):
    """A running server."""

    port: int
    directory: Path
    host_key: str
    identity_file: Path

    def bucket(self, root: str) -> dict[str, object]:
        """Return the ``extra_config`` of a bucket in a directory of the server."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "host_key": self.host_key,
            "identity_file": str(self.identity_file),
            "root": root,
        }


@contextlib.contextmanager
def running_sftp(directory: Path) -> Iterator[SftpServer]:
    """Start a server with its files in a directory, and end it."""
    import asyncssh

    served = directory / "served"
    served.mkdir()
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(directory / name)
        key.write_public_key(directory / f"{name}.pub")
    command = [sys.executable, __file__, str(served), str(directory / "host"), str(directory / "user.pub")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    with process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise RuntimeError(f"the SFTP server did not start: {(directory / 'log').read_text()[-2000:]}")
            yield SftpServer(int(port), served, (directory / "host.pub").read_text().strip(), directory / "user")
        finally:
            process.kill()


async def _serve(directory: str, host_key: str, authorized: str) -> None:
    import asyncssh

    class Below(asyncssh.SFTPServer):  # type: ignore[misc]
        """Shows one directory as if it were the root."""

        def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]") -> None:
            super().__init__(channel, chroot=directory.encode())

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        sftp_factory=Below,
        login_timeout="5m",
        config=[],
    )
    print(server.get_port(), flush=True)
    # The end of standard input tells that whoever started it is gone.
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
