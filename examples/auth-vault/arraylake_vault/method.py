"""The auth method ``vault``: what a bucket config says is the name of a vault and of a secret in it, and neither opens anything by itself."""

import msgspec

from arraylake_core.backends import Access, AuthMethod, Credentials, Location
from arraylake_core.models import Identity

__all__ = ["VaultAuth", "VaultConfig"]


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The ``auth_config`` of the method.

    Parameters
    ----------
    vault
        What this machine's file calls the vault.
    path
        Where the keys lie in it, such as ``secret/data/lake`` or ``aws/creds/lake``.
    """

    vault: str
    path: str


class VaultAuth(AuthMethod):
    """Keys of S3 that a vault keeps or mints; asked for when they are needed, and again before they expire."""

    name = "vault"
    config = VaultConfig
    platforms = frozenset({"s3", "s3-compatible", "minio", "gs"})
    # Which vaults there are, and how to log in to them, is in a file of the machine: a service refuses the method, or it would give away its own secrets.
    local = True

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Ask the vault, or run the command, that this machine has under the name."""
        from arraylake_vault.machine import find_vault
        from arraylake_vault.sources import ask_server, run_command

        assert isinstance(config, VaultConfig)
        vault = find_vault(config.vault)
        return await (run_command(vault, config.path) if vault.command else ask_server(vault, config.path))
