"""What happens in a catalog, as events for plugins and webhooks."""

from datetime import datetime
from typing import Literal, get_args

import msgspec

__all__ = ["EVENT_TYPES", "TEST", "Event", "EventType"]

type EventType = Literal["repo.created", "repo.modified", "repo.deleted", "repo.restored", "v1.commit"]
TEST = "webhook.test"
"""The type of the message by which an admin tries a webhook; nothing has happened, so that plugins don't hear of it."""

EVENT_TYPES: tuple[str, ...] = get_args(EventType.__value__)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a repo.

    Parameters
    ----------
    id
        The same however often it is told.
    type
        What happened.
    time
        When.
    org, repo, repo_id
        The repo.
    principal
        The e-mail address of whoever did it.
    data
        More about it: of a V1 commit, ``branch`` and ``commit``.
    """

    id: str
    type: EventType
    time: datetime
    org: str
    repo: str
    repo_id: str
    principal: str
    data: dict[str, str | None] = msgspec.field(default_factory=dict)
