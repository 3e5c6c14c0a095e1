"""Vending credentials: from a bucket config to credentials for one place in it, minted by its auth method and kept until near their end."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends.credentials import Access, CredentialProvider, Credentials
from arraylake_core.backends.exchange.http import CONNECTOR
from arraylake_core.catalog.request import bucket_location
from arraylake_core.errors import CredentialsError, PermissionDeniedError
from arraylake_core.models import BucketResponse, Identity, RepoModel
from arraylake_core.people import Principal, Role
from arraylake_core.secret import Secret
from arraylake_core.service.netguard import guarded_connector

if TYPE_CHECKING:
    from arraylake_core.backends.auth import AuthMethod
    from arraylake_core.backends.storage import Location
    from arraylake_core.plugins import PluginRegistry
    from arraylake_core.service.answers import Vended
    from arraylake_core.service.call import Call

__all__ = ["Vendor", "may_use_bucket", "repo_location"]

_KEPT = 4096
_MINT_SECONDS = 30


class _Minting:
    """Where one place's credentials come from."""

    def __init__(self, method: "AuthMethod", config: msgspec.Struct, location: "Location", access: Access) -> None:
        self._method, self._config, self._location, self._access = method, config, location, access
        self.identity = Identity()

    async def mint(self) -> Credentials:
        """Ask the auth method, for whoever asked last: the token that began it may have expired since."""
        return await self._method.credentials(self._config, self._location, self._access, self.identity)

    def __repr__(self) -> str:
        return f"the credentials by {self._method.name}"


class Vendor:
    """Mints credentials, once for all who ask for the same.

    Parameters
    ----------
    registry
        The plugins.
    allow
        Hosts and networks that auth methods may reach although they are not public.
    """

    def __init__(self, registry: "PluginRegistry", allow: Sequence[str] = ()) -> None:
        self.registry = registry
        self._allow = tuple(allow)
        self._providers: OrderedDict[tuple[object, ...], tuple[_Minting, CredentialProvider]] = OrderedDict()

    def method_of(self, bucket: BucketResponse) -> "AuthMethod":
        """Return the auth method of a bucket config."""
        return self.registry.auth_method(str(bucket.auth_config.get("method", "anonymous")))

    def is_open_handed(self, bucket: BucketResponse) -> bool:
        """Tell whether whoever gets credentials gets all that the bucket config itself can: its method can't limit them, and it holds secrets."""
        holds = any(isinstance(value, Secret) for value in bucket.auth_config.values())
        return holds and not self.method_of(bucket).delegated

    async def credentials(
        self,
        principal: Principal,
        token: Secret | None,
        bucket: BucketResponse,
        location: "Location",
        access: Access,
        *,
        may_use: bool,
        vended: "Vended | None" = None,
    ) -> Credentials:
        """Return credentials for a place, minted only now that the caller is known to be allowed.

        Parameters
        ----------
        principal, token
            Who asks.
        bucket
            The bucket config.
        location
            The place.
        access
            What for.
        may_use
            Whether the principal may have all that the bucket config can.
        vended
            Gets the credentials, with where they come from.

        Raises
        ------
        PermissionDeniedError
            The method can't limit credentials to one repo, and the principal may not use the whole bucket.
        """
        method = self.method_of(bucket)
        reaches_more = self.is_open_handed(bucket) or (method.delegated and not method.confines(location))
        if reaches_more and not may_use:
            raise PermissionDeniedError(
                f"the bucket config {bucket.nickname!r} gives keys that open more than you have a right to: ask an admin for "
                "a role in the organization that may have them, or for a bucket with a delegated role"
            )
        options = dict(bucket.auth_config)
        if method.local:
            raise PermissionDeniedError(
                f"the auth method {method.name!r} of the bucket config {bucket.nickname!r} reads a file of the machine that opens it, which a "
                "service never does: use a method with a role, or an embedded catalog"
            )
        options.pop("method", None)
        key = (bucket.id, bucket.updated, location, access, principal.id if method.delegated else "")
        minting, provider = self._providers.get(key) or (None, None)
        if minting is None or provider is None:
            minting = _Minting(method, method.decode_config(options), location, access)
            provider = CredentialProvider(minting)
            self._providers[key] = minting, provider
            while len(self._providers) > _KEPT:
                self._providers.popitem(last=False)
        self._providers.move_to_end(key)
        if method.delegated:
            minting.identity = Identity(principal.id, token)
        CONNECTOR.set(partial(guarded_connector, self._allow))
        try:
            found = await asyncio.wait_for(provider.get_lasting(), _MINT_SECONDS)
        except TimeoutError:
            raise CredentialsError(
                f"the auth method {method.name!r} gave no credentials for {bucket.nickname!r} in {_MINT_SECONDS} seconds: try again, and look at its provider"
            ) from None
        if vended is not None:
            vended.append((provider, found))
        return found


def may_use_bucket(call: "Call", org: str) -> bool:
    """Tell whether a caller may have the keys of an organization's buckets.

    Members with a role may, and tokens that are not for single repos; readers, whom such keys let write as well, unless the operator keeps them from it.
    """
    role = call.principal.role_in(org)
    return role is not None and (role.covers(Role.Writer) or call.services.settings.readers_get_keys)


def repo_location(registry: "PluginRegistry", repo: RepoModel, bucket: BucketResponse) -> "Location":
    """Return the place of a repo."""
    whole = bucket_location(registry.storage_platform(bucket.platform), bucket)
    return whole.below(repo.prefix.removeprefix(bucket.prefix).strip("/"))
