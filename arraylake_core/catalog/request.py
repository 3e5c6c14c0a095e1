"""Checking what a caller says of a bucket config, against the plugins, before a catalog sees it."""

from collections.abc import Mapping

import msgspec

from arraylake_core.backends.storage import BucketAddress, Location, StoragePlatform
from arraylake_core.catalog.base import NewBucket
from arraylake_core.errors import InvalidNameError, InvalidOptionError
from arraylake_core.models import AuthConfig, BucketResponse, ExtraConfig
from arraylake_core.names import join_prefix, shown, validate_nickname
from arraylake_core.plugins import PluginRegistry

__all__ = ["bucket_location", "checked_auth", "container_location", "new_bucket", "place_of"]


def new_bucket(
    registry: PluginRegistry,
    *,
    nickname: str,
    uri: str,
    extra_config: Mapping[str, object] | None,
    auth_config: Mapping[str, object] | None,
    **more: object,
) -> NewBucket:
    """Check a bucket config whole.

    Parameters
    ----------
    registry
        The plugins to check against.
    nickname
        Its nickname.
    uri
        ``platform://bucket[/prefix]``.
    extra_config
        The platform's options.
    auth_config
        ``method`` and its options; None is ``{"method": "anonymous"}``.
    **more
        More of the platform's options.

    Raises
    ------
    InvalidNameError, InvalidOptionError, PluginError
        What is wrong with it.
    """
    validate_nickname(nickname)
    scheme, separator, _ = uri.partition("://") if isinstance(uri, str) else ("", "", "")
    if not separator or not scheme:
        raise InvalidNameError(
            "a bucket URI is 'platform://bucket[/prefix]', for example 's3://my-bucket/team' or 'file:///data/lake'"
        )
    platform = registry.platform_for_scheme(scheme)
    address = platform.parse_uri(uri)
    auth = _mapping(auth_config, "auth_config")
    given = {**_mapping(extra_config, "extra_config"), **more}
    options = platform.decode_options(_with_implied(platform.implied_options(uri, auth), given))
    return _new_bucket(nickname, platform, address, options, checked_auth(registry, platform, auth_config))


def _with_implied(implied: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    for name, value in implied.items():
        if given.get(name, value) != value:
            raise InvalidOptionError(f"the option {name!r} says something else than the URI or auth_config: leave one out")
    return {**implied, **given}


def place_of(
    platform: StoragePlatform,
    *,
    nickname: str,
    name: str,
    prefix: str,
    extra_config: Mapping[str, object],
    auth_config: Mapping[str, object] | None = None,
) -> NewBucket:
    """Check where a bucket config leads, said in parts instead of as a URI; its auth_config is that of an open bucket.

    Parameters
    ----------
    platform
        Its platform.
    nickname, name, prefix
        Its nickname, the bucket, and the prefix in it.
    extra_config
        The platform's options.
    auth_config
        What may imply some of them.
    """
    validate_nickname(nickname)
    address = platform.parse_uri(f"{platform.schemes[0]}://{join_prefix(name, prefix)}")
    if (address.name, address.prefix) != (name, prefix):
        raise InvalidNameError(
            f"{shown(name)} and the prefix {shown(prefix)} are no bucket of the platform {platform.name!r}: check both"
        )
    implied = platform.implied_options("", auth_config or {})
    options = platform.decode_options(_with_implied(implied, _mapping(extra_config, "extra_config")))
    return _new_bucket(nickname, platform, address, options, {"method": "anonymous"})


def _new_bucket(
    nickname: str, platform: StoragePlatform, address: BucketAddress, options: msgspec.Struct, auth: AuthConfig
) -> NewBucket:
    location = Location(platform=platform.name, bucket=address.name, prefix=address.prefix, options=options)
    return NewBucket(
        nickname=nickname,
        platform=platform.name,
        name=address.name,
        prefix=address.prefix,
        extra_config=_as_extra_config(options),
        auth_config=auth,
        identity=platform.identity(location),
    )


def checked_auth(registry: PluginRegistry, platform: StoragePlatform, auth_config: Mapping[str, object] | None) -> AuthConfig:
    """Check an ``auth_config`` against its method and platform; its secrets come back as Secrets."""
    values = dict(_mapping(auth_config, "auth_config")) if auth_config is not None else {"method": "anonymous"}
    method = values.pop("method", None)
    if not isinstance(method, str):
        raise InvalidOptionError(
            f"auth_config must have a 'method', for example {{'method': 'anonymous'}}; installed are {', '.join(registry.names('auth method'))}"
        )
    auth = registry.auth_method(method)
    if auth.platforms is not None and platform.name not in auth.platforms:
        raise InvalidOptionError(
            f"the auth method {method!r} does not serve the platform {platform.name!r}, only {', '.join(sorted(auth.platforms))}: "
            "for files and memory take {'method': 'anonymous'}"
        )
    config = auth.decode_config(values)
    auth.check(config, platform.name)
    return auth.encode_config(config)


def bucket_location(platform: StoragePlatform, bucket: BucketResponse) -> Location:
    """Return the place that a bucket config of the catalog names."""
    return Location(
        platform=platform.name,
        bucket=bucket.name,
        prefix=bucket.prefix,
        options=platform.decode_options(bucket.extra_config),
    )


def container_location(platform: StoragePlatform, bucket: BucketResponse, url: str) -> Location:
    """Return the place that a virtual chunk container names, which must lie in the bucket config that is to open it.

    Parameters
    ----------
    platform
        The platform of the bucket config.
    bucket
        The bucket config.
    url
        The container's URL prefix.
    """
    whole = bucket_location(platform, bucket)
    if url.partition("://")[0] not in platform.schemes:
        known = " or ".join(f"{scheme}://" for scheme in platform.schemes)
        raise InvalidNameError(
            f"the virtual chunk container {shown(url)} is no {known} URL, as the bucket config {bucket.nickname!r} has"
        )
    address = platform.parse_uri(url.rstrip("/"))
    place = Location(platform=platform.name, bucket=address.name, prefix=address.prefix, options=whole.options)
    outer, inner = platform.identity(whole), platform.identity(place)
    if inner.store != outer.store or not f"{inner.path}/".startswith(f"{outer.path}/"):
        raise InvalidNameError(
            f"the virtual chunk container {shown(url)} lies outside {whole.uri}, the place of {bucket.nickname!r}"
        )
    return place


def _mapping(values: Mapping[str, object] | None, what: str) -> Mapping[str, object]:
    if values is not None and not isinstance(values, Mapping):
        raise InvalidOptionError(f"{what} is a mapping from option names to values, not {shown(values)}")
    return values or {}


def _as_extra_config(options: msgspec.Struct) -> ExtraConfig:
    return {key: value for key, value in msgspec.structs.asdict(options).items() if value is not None}
