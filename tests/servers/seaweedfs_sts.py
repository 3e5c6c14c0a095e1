"""SeaweedFS with roles, as a token service: AssumeRole, and AssumeRoleWithWebIdentity for the logins of an OpenID provider."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.seaweedfs import SeaweedFS, running_seaweedfs

__all__ = ["ACCOUNT", "LAKE_ROLE", "LOGIN_ROLE", "running_seaweedfs_sts"]

ACCOUNT = "123456789012"
LAKE_ROLE, LOGIN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/Lake", "arn:aws:iam::role/Login"
_ALL = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}


@contextmanager
def running_seaweedfs_sts(
    directory: Path, issuer: str | None = None, client_id: str = "cli", *, longest: str = "12h"
) -> Iterator[SeaweedFS]:
    """Start a server with two roles that may do all: one for who has keys, one for who has a login of the issuer; no key lives longer than ``longest``."""
    roles = [
        {
            "roleName": arn.rpartition("/")[2],
            "roleArn": arn,
            "attachedPolicies": ["All"],
            "trustPolicy": _trust(principal, action),
        }
        for arn, principal, action in (
            (LAKE_ROLE, {"AWS": "*"}, "sts:AssumeRole"),
            (LOGIN_ROLE, {"Federated": "*"}, "sts:AssumeRoleWithWebIdentity"),
        )
    ]
    provider = {
        "name": "logins",
        "type": "oidc",
        "enabled": True,
        "config": {"issuer": issuer, "clientId": client_id, "jwksUri": f"{issuer}/jwks", "scopes": ["openid", "email"]},
    }
    iam: dict[str, object] = {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": longest,
            "issuer": "seaweedfs-sts",
            "signingKey": base64.b64encode(os.urandom(32)).decode(),
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{"name": "All", "document": {"Version": "2012-10-17", "Statement": [_ALL]}}],
        "roles": roles,
        "providers": [provider] if issuer else [],
    }
    with running_seaweedfs(directory, iam=iam) as server:
        yield server


def _trust(principal: dict[str, str], action: str) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": [action]}]}
