"""Auth methods of Azure Storage: an account's key, and a shared access signature that somebody has made."""

from datetime import UTC, datetime
from urllib.parse import parse_qs

import msgspec

from arraylake_core.backends import Access, AuthMethod, AzureCredentials, Credentials, Location
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import Identity, as_utc, utc_now
from arraylake_core.secret import Secret

__all__ = ["AzureKey", "AzureKeyConfig", "AzureSas", "AzureSasConfig", "sas_problem"]

_RIGHTS = {"r": "read", "w": "write", "d": "delete", "l": "list"}


class AzureKeyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "azure_account_key"}``.

    Parameters
    ----------
    storage_account
        The storage account.
    account_key
        One of its two keys: encrypted at rest, and never shown.
    """

    storage_account: str
    account_key: Secret


class AzureKey(AuthMethod):
    """The account's key itself, unlimited in place, right and time."""

    name = "azure_account_key"
    config = AzureKeyConfig
    platforms = frozenset({"azure"})

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse what is no key."""
        import base64
        import binascii

        if not isinstance(config, AzureKeyConfig):
            raise CredentialsError(f"azure_account_key needs an AzureKeyConfig, not a {type(config).__name__}")
        try:
            base64.b64decode(config.account_key.reveal(), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidOptionError("account_key is wrong: copy one of the account's two keys, which are base64") from None

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return AzureCredentials that never expire."""
        self.check(config, location.platform)
        assert isinstance(config, AzureKeyConfig)
        return AzureCredentials(storage_account=config.storage_account, account_key=config.account_key)


class AzureSasConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "azure_sas"}``.

    Parameters
    ----------
    storage_account
        The storage account.
    sas_token
        A shared access signature for the container, the directory or the account: encrypted at rest, and never shown.
    """

    storage_account: str
    sas_token: Secret


class AzureSas(AuthMethod):
    """A shared access signature, with the place, rights and end that whoever made it gave it."""

    name = "azure_sas"
    config = AzureSasConfig
    platforms = frozenset({"azure"})

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse a signature that can't even be read with, or has ended: it says what is wrong."""
        problem = sas_problem(_sas(config).sas_token, "read")
        if problem is not None:
            raise InvalidOptionError(f"sas_token is wrong: {problem}")

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return the signature, with its end.

        Raises
        ------
        CredentialsError
            It has ended, or lacks a right that is needed: it says which.
        """
        token = _sas(config).sas_token
        problem = sas_problem(token, access)
        if problem is not None:
            raise CredentialsError(f"the shared access signature of the bucket config can't be used: {problem}")
        return AzureCredentials(storage_account=_sas(config).storage_account, sas_token=token, expiration=_end(_fields(token)))


def sas_problem(token: Secret, access: Access, now: datetime | None = None) -> str | None:
    """Return what keeps a shared access signature from being used, or None; nothing of it is repeated but its times and rights.

    Parameters
    ----------
    token
        The signature.
    access
        What for.
    now
        The time.

    Notes
    -----
    https://learn.microsoft.com/rest/api/storageservices/create-service-sas

    Examples
    --------
    >>> sas_problem(Secret("sv=2022-11-02&sr=c&sp=rl&se=2020-01-01T00:00:00Z&sig=x"), "read")
    'it ended at 2020-01-01T00:00:00+00:00: make a new one'
    >>> sas_problem(Secret("sv=2022-11-02&sr=c&sp=rl&se=2999-01-01T00:00:00Z&sig=x"), "write")
    'it lacks the right to write (w), delete (d): make a new one with rights rwdl'
    """
    fields, now = _fields(token), now or utc_now()
    if "sig" not in fields:
        return "it is no shared access signature: copy the part after the question mark of the URL"
    if fields.get("sr") in ("b", "bs", "bv"):
        return "it is for a single blob (sr): make one for the container"
    if "si" in fields:
        return None
    end, begin = _end(fields), _time(fields.get("st"))
    if end is None:
        return "it does not say when it ends (se): make a new one"
    if end <= now:
        return f"it ended at {end.isoformat()}: make a new one"
    if begin is not None and begin > now:
        return f"it begins at {begin.isoformat()}: wait, or set the clock of this machine"
    if "ss" in fields and "b" not in fields["ss"]:
        return "it is for other services of the account than blobs (ss): make one for blobs"
    if "srt" in fields and not {"c", "o"} <= set(fields["srt"]):
        return "it does not reach containers and objects (srt): make one with srt=co"
    needed = "rl" if access == "read" else "rwdl"
    missing = [right for right in needed if right not in fields.get("sp", "")]
    if missing:
        return f"it lacks the right to {', '.join(f'{_RIGHTS[right]} ({right})' for right in missing)}: make a new one with rights {needed}"
    return None


def _sas(config: msgspec.Struct) -> AzureSasConfig:
    if not isinstance(config, AzureSasConfig):
        raise CredentialsError(f"azure_sas needs an AzureSasConfig, not a {type(config).__name__}")
    return config


def _fields(token: Secret) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(token.reveal().removeprefix("?")).items()}


def _end(fields: dict[str, str]) -> datetime | None:
    return _time(fields.get("se"))


def _time(text: str | None) -> datetime | None:
    try:
        return as_utc(datetime.fromisoformat(text)).astimezone(UTC) if text else None
    except ValueError:
        return None
