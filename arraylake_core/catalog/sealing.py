"""The auth_config of a bucket config at rest: the plain fields as JSON, the secret ones in one sealed blob."""

from typing import TypedDict, cast

import msgspec

from arraylake_core.catalog.keys import Key, Keyring, KeySource
from arraylake_core.errors import CatalogError, InvalidOptionError
from arraylake_core.models import AuthConfig
from arraylake_core.secret import Secret

__all__ = ["SealedAuth", "Vault", "associated_answer", "associated_auth", "associated_secret", "associated_webhook"]


class SealedAuth(TypedDict):
    """The columns that an auth_config is kept in."""

    auth_config: dict[str, object]
    secrets: bytes | None
    key_id: str | None


class Vault:
    """Seals and opens the secrets of bucket configs.

    What is sealed is bound to the ids of the organization and of the bucket config, so that it opens in its own row only.

    Parameters
    ----------
    source
        Where the keys are kept.
    """

    def __init__(self, source: KeySource) -> None:
        self.source = source
        self._keyring: Keyring | None = None

    def seal(self, org_id: str, bucket_id: str, auth: AuthConfig) -> SealedAuth:
        """Return the columns for an auth_config, sealed with the key that is active now."""
        hidden = {name for name, value in auth.items() if isinstance(value, Secret)}
        plain: dict[str, object] = {name: value for name, value in auth.items() if name not in hidden}
        if not hidden:
            return {"auth_config": plain, "secrets": None, "key_id": None}
        self._keyring = self.source.load()
        key = self._keyring.active
        sealed = _seal(key, auth, associated_auth(org_id, bucket_id))
        if sealed is None:
            raise InvalidOptionError("a secret of auth_config is no valid Unicode text: copy it anew from where it was issued")
        return {"auth_config": plain, "secrets": sealed, "key_id": key.id}

    def open(self, org_id: str, bucket_id: str, nickname: str, sealed: SealedAuth) -> AuthConfig:
        """Return the auth_config of a row, its secret fields as Secrets."""
        auth = cast("AuthConfig", dict(sealed["auth_config"]))
        if sealed["secrets"] is None or sealed["key_id"] is None:
            return auth
        if self._keyring is None or self._keyring.find(sealed["key_id"]) is None:
            # Another process may have rotated the keys since they were read.
            self._keyring = self.source.load()
        key = self._keyring.require(sealed["key_id"], f"the auth_config of bucket config {nickname!r}")
        try:
            text = key.open(sealed["secrets"], associated_auth(org_id, bucket_id))
        except ValueError:
            raise CatalogError(
                f"the secrets of bucket config {nickname!r} are damaged or were moved from another one: set its auth_config again"
            ) from None
        return auth | {name: Secret(value) for name, value in msgspec.json.decode(text, type=dict[str, str]).items()}


def _seal(key: Key, auth: AuthConfig, associated: bytes) -> bytes | None:
    """Seal the secrets; None where one is no text, so that the error is raised where no secret is at hand."""
    try:
        plain = msgspec.json.encode({name: value.reveal() for name, value in auth.items() if isinstance(value, Secret)})
    except UnicodeEncodeError:
        return None
    return key.seal(plain, associated)


# What each secret at rest is bound to, so that it opens in its own row only.


def associated_auth(org_id: str, bucket_id: str) -> bytes:
    """Return what the auth_config of a bucket config is bound to."""
    return f"arraylake-core auth_config\0{org_id}\0{bucket_id}".encode()


def associated_secret(name: str) -> bytes:
    """Return what a secret of the catalog itself is bound to."""
    return f"arraylake-core catalog_secrets\0{name}".encode()


def associated_webhook(org_id: str, webhook_id: str) -> bytes:
    """Return what the secret of a webhook is bound to."""
    return f"arraylake-core webhook\0{org_id}\0{webhook_id}".encode()


def associated_answer(principal_id: str, key: str) -> bytes:
    """Return what the answer to a request with an idempotency key is bound to."""
    return f"arraylake-core answer\0{principal_id}\0{key}".encode()
