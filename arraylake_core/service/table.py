"""What a route is.

All routes together are one table, from which come the router, the permissions, the OpenAPI document, and the test of the permission matrix.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from arraylake_core.service.call import Call

__all__ = ["Answer", "Handler", "Need", "NoQuery", "Route"]


class Need(StrEnum):
    """What whoever calls a route must be or have.

    A route below an organization or a repo that is hidden from the caller answers as if it did not exist.
    """

    Nothing = "nothing"
    SignedIn = "signed in"
    OrgMember = "member of the organization"
    OrgRead = "reader in the organization"
    OrgWrite = "writer in the organization"
    OrgAdmin = "admin in the organization"
    RepoRead = "reader of the repo"
    RepoWrite = "writer of the repo"
    RepoAdmin = "admin of the repo"
    Operator = "operator of the deployment"


class Answer(NamedTuple):
    """What a handler answers where it is more than a value with the route's own status.

    Parameters
    ----------
    value
        A Struct or plain data, encoded as JSON; None has no body.
    status
        The HTTP status.
    headers
        Further headers.
    """

    value: object = None
    status: int = 200
    headers: Mapping[str, str] = {}


type Handler = "Callable[[Call], Awaitable[object]]"


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The query of a route that takes none."""


class Route(NamedTuple):
    """One operation.

    Parameters
    ----------
    method, path
        As aiohttp writes them; ``{org}``, ``{repo}``, ``{repo_id}`` and ``{bucket_id}`` are looked at for permissions.
    need
        The permission.
    handler
        What it does; its name is the operation's.
    summary
        One sentence, for the OpenAPI document.
    body
        The type of the JSON body; None: there is none, ``bytes``: it is taken as it is.
    check
        What is looked at before the transaction of a change, since it may take long: where names lead.
    query
        The Struct of the query parameters.
    answer
        The type that is answered; None: nothing.
    status
        The status of success.
    more
        Further statuses of success.
    changes
        Whether it changes the catalog: then it runs in one transaction, and may be repeated with its Idempotency-Key.
    exclusive
        Whether that transaction keeps other such changes out.
    audited
        Whether the audit log gets a line.
    """

    method: str
    path: str
    need: Need
    handler: Handler
    summary: str
    body: object = None
    check: Handler | None = None
    query: type[msgspec.Struct] = NoQuery
    answer: object = None
    status: int = 200
    more: tuple[int, ...] = ()
    changes: bool = False
    exclusive: bool = True
    audited: bool = True

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.handler.__name__
