"""Every route of the service."""

from arraylake_core.service.routes import (
    buckets,
    coordination,
    credentials,
    deployment,
    lifecycle,
    login,
    members,
    orgs,
    repos,
    signing,
    tokens,
    user,
    webhooks,
)
from arraylake_core.service.table import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = (
    *deployment.ROUTES,
    *login.ROUTES,
    *user.ROUTES,
    *orgs.ROUTES,
    *members.ROUTES,
    *tokens.ROUTES,
    *webhooks.ROUTES,
    *buckets.ROUTES,
    *repos.ROUTES,
    *lifecycle.ROUTES,
    *credentials.ROUTES,
    *signing.ROUTES,
    *coordination.ROUTES,
)
