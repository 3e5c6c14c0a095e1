"""Auth methods: how a bucket config turns into credentials."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.models import AuthConfig, Identity
from arraylake_core.names import shown
from arraylake_core.options import decode_struct
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from arraylake_core.backends.credentials import Access, Credentials
    from arraylake_core.backends.storage import Location

__all__ = ["AuthMethod"]


class AuthMethod(ABC):
    """A way to get credentials for a bucket.

    Attributes
    ----------
    name
        What ``auth_config["method"]`` says.
    config
        The Struct of the other fields; those of type Secret are encrypted at rest and never shown.
    aliases
        Older names, which are taken too.
    platforms
        The platforms that it serves; None means every one.
    identified
        Whether it exchanges the token of the caller's login, which ``credentials`` then gets in ``identity``.
    delegated
        Whether its credentials are limited to a place and a right, and expire. Then a service mints them for its clients, and the secrets of the config
        never leave it.
    local
        Whether it reads files of the machine, which a service never does for whoever makes a bucket config.
    """

    name: str
    config: type[msgspec.Struct]
    aliases: tuple[str, ...] = ()
    platforms: frozenset[str] | None = None
    identified: bool = False
    delegated: bool = False
    local: bool = False

    def decode_config(self, values: Mapping[str, object]) -> msgspec.Struct:
        """Check the fields of an ``auth_config`` other than ``method``; no value is repeated in an error."""
        return decode_struct(self.config, values, f"{self.name} auth")

    def check(self, config: msgspec.Struct, platform: str) -> None:  # noqa: B027 - most methods need not know the platform
        """Refuse a config that is right by itself, but not on a platform; called when it is set, before anything is changed.

        Raises
        ------
        InvalidOptionError
            What is missing or odd.
        """

    def confines(self, location: "Location") -> bool:
        """Tell whether its credentials for a location reach no more than that; a service gives others to nobody with a right to one repo only."""
        return self.delegated

    def encode_config(self, config: msgspec.Struct) -> AuthConfig:
        """Return a checked config as the catalog keeps it: ``method``, and the fields that are set."""
        values: dict[str, object] = {
            field.encode_name: getattr(config, field.name)
            for field in msgspec.structs.fields(config)
            if getattr(config, field.name) is not None
        }
        plain = msgspec.to_builtins({key: value for key, value in values.items() if not isinstance(value, Secret)})
        hidden = {key: value for key, value in values.items() if isinstance(value, Secret)}
        return {"method": self.name, **plain, **hidden}

    @abstractmethod
    async def credentials(
        self, config: msgspec.Struct, location: "Location", access: "Access", identity: Identity
    ) -> "Credentials":
        """Return credentials for a location.

        Parameters
        ----------
        config
            An instance of ``self.config``.
        location
            What they must reach: a repo's prefix, or a whole bucket config. A method that can limits them to it.
        access
            ``"read"`` or ``"write"``. A method that can limits them to it.
        identity
            Who asks.

        Returns
        -------
        Credentials
            With an expiration where they expire.

        Raises
        ------
        CredentialsError
            They can't be had.
        """

    def __repr__(self) -> str:
        return f"<auth method {shown(self.name)}>"
