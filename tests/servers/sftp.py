"""The SFTP server and the plugin of examples/storage-sftp, for all tests."""

from pathlib import Path

from tests.servers.distribution import module_from

__all__ = ["PLUGIN", "SftpServer", "running_sftp"]

PLUGIN = Path(__file__).parents[2] / "examples" / "storage-sftp"

_server = module_from(PLUGIN / "tests" / "sftp_server.py")
SftpServer, running_sftp = _server.SftpServer, _server.running_sftp
