"""One request, as handlers see it: read, authenticated and permitted."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import msgspec

from arraylake_core.errors import PermissionDeniedError
from arraylake_core.events import Event, EventType
from arraylake_core.models import RepoModel, utc_now
from arraylake_core.people import Principal, Role
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from arraylake_core.catalog.base import OpenRepo
    from arraylake_core.catalog.sql_catalog import SqlCatalog
    from arraylake_core.plugins import PluginRegistry
    from arraylake_core.service.answers import Answers, Vended
    from arraylake_core.service.credentials import Vendor
    from arraylake_core.service.metrics import Metrics
    from arraylake_core.service.oidc.logins import Logins
    from arraylake_core.service.settings import ServiceSettings

__all__ = ["Call", "Services"]


@dataclass(frozen=True)
class Services:
    """What handlers work with."""

    catalog: "SqlCatalog"
    registry: "PluginRegistry"
    settings: "ServiceSettings"
    vendor: "Vendor"
    metrics: "Metrics"
    answers: "Answers"
    logins: "Logins"


@dataclass
class Call:
    """One request.

    Parameters
    ----------
    services
        What handlers work with.
    principal
        Who calls.
    token
        The bearer token, for auth methods that exchange it.
    path
        The parts of the path.
    query
        The query parameters, of the route's type.
    body
        The body, of the route's type.
    headers
        The few headers that handlers look at, in lower case.
    request_id
        The id of the request.
    org
        The organization's name, where there is one.
    repo
        The repo's name, where there is one.
    role
        The role on what the route is about.
    events
        What is to be announced once the change is made.
    target
        What the audit log says it was done to; by default the repo, or else the path.
    audited
        Whether the audit log gets a line, where the route's changes do.
    opened
        The repo of the path, where deciding on access has read it already.
    vended
        The credentials that the answer has.
    """

    services: Services
    principal: Principal
    path: dict[str, str]
    query: msgspec.Struct
    body: object
    headers: dict[str, str]
    request_id: str
    token: Secret | None = None
    org: str = ""
    repo: str = ""
    role: Role | None = None
    events: "list[Event]" = field(default_factory=list)
    target: str = ""
    audited: bool = True
    opened: "OpenRepo | None" = None
    vended: "Vended" = field(default_factory=list)

    @property
    def catalog(self) -> "SqlCatalog":
        """The catalog."""
        return self.services.catalog

    async def open_repo(self) -> "OpenRepo":
        """Return the repo of the path, with all that opening it needs."""
        org, repo = self.path["org"], self.path["repo"]
        return self.opened or await self.catalog.find_open(org, repo) or await self.catalog.open_repo(org, repo)

    async def get_repo(self) -> RepoModel:
        """Return the repo of the path."""
        return (await self.open_repo()).repo

    def read[T](self, kind: type[T]) -> T:
        """Return the body, whose type the route has checked."""
        return cast("T", self.body)

    def require(self, needed: Role, what: str) -> None:
        """Raise PermissionDeniedError where the caller's role on what the route is about does not do."""
        if self.role is None or not self.role.covers(needed):
            raise PermissionDeniedError(
                f"to {what} you must be {needed}, and you are {self.role or 'without a role'}: ask an admin"
            )

    def announce(self, kind: EventType, repo: RepoModel, **data: str | None) -> None:
        """Note an event, which is told to plugins and webhooks once the change is made."""
        self.events.append(
            Event(
                id=str(uuid4()),
                type=kind,
                time=utc_now(),
                org=repo.org,
                repo=repo.name,
                repo_id=repo.id,
                principal=self.principal.email,
                data=data,
            )
        )

    def asked[T: msgspec.Struct](self, kind: type[T]) -> T:
        """Return the query parameters, whose type the route has checked."""
        return cast("T", self.query)
