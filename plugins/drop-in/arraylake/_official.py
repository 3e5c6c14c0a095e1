"""What the official client takes and arraylake-core does not: each is refused in words that say what to do instead, and never by a bare TypeError."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import cast

from arraylake_core.errors import InvalidOptionError

__all__ = ["METHODS", "PARAMETERS", "OfficialNames", "also_takes"]

_HOSTED = "it belongs to the hosted service"
_BY_THEMSELVES = "repos get the credentials of their buckets and virtual chunks by themselves"
_GRANTS = "which prefixes virtual chunks may come from is said with authorize_virtual_chunk_access of create_repo and get_repo"

METHODS = {
    **dict.fromkeys(
        (
            "create_iceberg_namespace",
            "delete_iceberg_namespace",
            "get_api_client_from_token",
            "get_iceberg",
            "get_iceberg_namespace",
            "get_openeo_connection",
            "get_permission_check",
            "get_services",
            "list_iceberg_namespaces",
            "list_iceberg_namespaces_paginated",
            "list_iceberg_tables",
            "list_iceberg_tables_paginated",
            "modify_iceberg_namespace",
            "restore_iceberg_namespace",
        ),
        _HOSTED,
    ),
    **dict.fromkeys(
        (
            "containers_credentials_for_buckets",
            "get_icechunk_container_credentials_from_bucket",
            "get_icechunk_storage",
            "get_obstore_for_bucket",
        ),
        _BY_THEMSELVES,
    ),
    **dict.fromkeys(
        (
            "authorize_virtual_chunk_access",
            "delete_virtual_chunk_access_policy",
            "list_virtual_chunk_access_policies",
            "set_virtual_chunk_access_policy",
        ),
        _GRANTS,
    ),
    "get_orgs": "it is called list_orgs",
}
"""The methods that are not there, and why, or what to call instead."""

PARAMETERS: dict[tuple[str, str], tuple[object, str]] = {
    **{
        (method, "storage_options"): (
            None,
            "options of the storage belong to the bucket config: extra_config of create_bucket_config",
        )
        for method in ("create_repo", "get_or_create_repo", "get_repo", "import_repo")
    },
    **{
        (method, "include_ghosts"): (False, "deleted repos are brought back with restore_repo, by their names")
        for method in ("list_repos", "list_repos_paginated")
    },
    ("modify_repo", "optimization_config"): (None, _HOSTED),
}
"""The parameters that are not taken, by method and name: their default, and why."""


class OfficialNames:
    """Says of each method of the official client that is not there what to do instead."""

    def __getattr__(self, name: str) -> object:
        if name in METHODS:
            raise AttributeError(f"arraylake-drop-in has no method {name!r} of the official client: {METHODS[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def also_takes[C: type](client: C) -> C:
    """Let the methods of a client take the parameters of the official one at their defaults, and refuse other values."""
    for (method, name), (default, why) in PARAMETERS.items():
        setattr(client, method, _taking(getattr(client, method), name, default, why))
    return client


def _taking(method: Callable[..., object], name: str, default: object, why: str) -> Callable[..., object]:
    own = list(inspect.signature(method).parameters.values())
    positional = [each for each in own if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    # The official client takes these three by place, after what both take.
    kind = inspect.Parameter.KEYWORD_ONLY if name == "storage_options" else inspect.Parameter.POSITIONAL_OR_KEYWORD
    extra = inspect.Parameter(name, kind, default=default)
    extended = inspect.signature(method).replace(parameters=[*positional, extra, *own[len(positional) :]])

    @wraps(method)
    def call(*args: object, **kwargs: object) -> object:
        bound = extended.bind(*args, **kwargs)
        if bound.arguments.pop(name, default) not in (None, default):
            raise InvalidOptionError(f"{method.__name__} takes no {name} with arraylake-drop-in: {why}")
        return method(*bound.args, **bound.kwargs)

    if inspect.iscoroutinefunction(method):
        inspect.markcoroutinefunction(call)
    call.__signature__ = extended  # type: ignore[attr-defined]  # inspect reads it, and functions have none of their own
    return cast("Callable[..., object]", call)
