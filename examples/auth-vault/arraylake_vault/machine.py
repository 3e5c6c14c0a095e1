"""The vaults that this machine knows, in ``~/.config/arraylake-vault.toml``.

Which server gets a token, and what is run, is for the owner of the machine to say: a bucket config is other people's, and can only name what is here::

    [team]
    address = "https://vault.example.org"
    token_file = "/run/secrets/vault-token"

    [cloud]
    command = ["/usr/local/bin/mint-keys", "--json"]
"""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from arraylake_core.errors import CredentialsError
from arraylake_core.names import shown

__all__ = ["Vault", "find_vault"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Vault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where secrets come from: a server, or a command, which gets the path as its last argument.

    Parameters
    ----------
    address
        The URL of the server, to which the path is added below ``/v1/``.
    token_file
        The file with the token that opens it.
    command
        A program and its arguments, which prints what ``credential_process`` of the AWS tools prints.
    """

    address: str = ""
    token_file: str = ""
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is neither, or both, and servers that would get the token in clear."""
        if bool(self.address and self.token_file) == bool(self.command):
            raise ValueError("give address and token_file, or command")
        url = urlsplit(self.address)
        if self.address and url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
            raise ValueError("the address must begin with https://")


def find_vault(name: str) -> Vault:
    """Return the vault that this machine has under a name.

    Raises
    ------
    CredentialsError
        The file is missing or wrong, or does not know the name.
    """
    path = Path.home() / ".config" / "arraylake-vault.toml"
    try:
        vaults = msgspec.convert(tomllib.loads(path.read_text()), dict[str, Vault])
    except FileNotFoundError:
        raise CredentialsError(f"this machine knows no vaults: write {path}, with a section [{name}]") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path} can't be used: {error}") from None
    if name not in vaults:
        known = ", ".join(map(shown, vaults)) or "none"
        raise CredentialsError(f"{path} has no vault {shown(name)} (it has {known}): add it, or correct auth_config")
    return vaults[name]
