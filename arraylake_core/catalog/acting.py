"""Who the catalog works for, so that records say whom they are by: the service sets it for each request; in the process itself nobody is set."""

from contextvars import ContextVar

from arraylake_core.people import Principal

__all__ = ["acting", "actor_id", "actor_name"]

acting: ContextVar[Principal | None] = ContextVar("arraylake_acting", default=None)


def actor_id() -> str | None:
    """Return the id of whoever makes the request, or None in the process itself."""
    principal = acting.get()
    return principal.id if principal else None


def actor_name() -> str | None:
    """Return the e-mail address of whoever makes the request, or None in the process itself."""
    principal = acting.get()
    return principal.email if principal else None
