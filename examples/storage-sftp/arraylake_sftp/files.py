"""fsspec's SFTP file system, made fit for threads."""

import socket
import threading

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

__all__ = ["ThreadedSFTPFileSystem"]


class ThreadedSFTPFileSystem(SFTPFileSystem):
    """One connection, a channel for each thread: paramiko's SFTPClient loses answers where threads share one."""

    def _connect(self) -> None:
        self._kwargs = dict(self.ssh_kwargs)
        self._host_key = self._kwargs.pop("host_key")
        self._lock, self._channels = threading.Lock(), threading.local()
        self.client = None

    @property
    def ftp(self) -> paramiko.SFTPClient:
        """The channel of this thread, opened anew where it has broken."""
        channel = getattr(self._channels, "ftp", None)
        if channel is None or channel.get_channel().closed:
            channel = self._channels.ftp = self._connected().open_sftp()
        return channel

    def _connected(self) -> paramiko.SSHClient:
        with self._lock:
            if self.client is None or not self.client.get_transport().is_active():
                client = paramiko.SSHClient()
                kind, body = self._host_key.split()[:2]
                entry = paramiko.hostkeys.HostKeyEntry.from_line(f"server {kind} {body}")
                port = self._kwargs["port"]
                client.get_host_keys().add(self.host if port == 22 else f"[{self.host}]:{port}", kind, entry.key)
                client.connect(self.host, **self._kwargs, allow_agent=False, look_for_keys=False)
                # Each request waits for its answer: nothing is gained by gathering small packets.
                client.get_transport().sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.client = client
            return self.client

    def makedirs(self, path: str, exist_ok: bool = False, mode: int = 0o777) -> None:
        """Make a directory and those above it, whoever else makes them at the same time."""
        path = self._strip_protocol(path)
        if self.isdir(path):
            if not exist_ok:
                raise FileExistsError(path)
            return
        if parent := self._parent(path).rstrip("/"):
            self.makedirs(parent, exist_ok=True, mode=mode)
        try:
            self.ftp.mkdir(path, mode)
        except OSError:
            if not self.isdir(path):
                raise

    def _open(self, path: str, mode: str = "rb", **kwargs: object) -> object:
        if "w" in mode:
            self.makedirs(self._parent(path), exist_ok=True)
        return super()._open(path, mode, **kwargs)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: object) -> bytes:
        """Read a file, or the part of it that a slice means."""
        with self.open(path, "rb") as file:
            begin, stop, _ = slice(start, end).indices(file.stat().st_size)
            file.seek(begin)
            return bytes(file.read(max(stop - begin, 0)))
