"""The audit log in the SQL catalog."""

from math import ceil

from sqlalchemy import func, insert, select

from arraylake_core.catalog.paging import validate_page
from arraylake_core.catalog.records import Records
from arraylake_core.catalog.tables import audit
from arraylake_core.models import Page, utc_now
from arraylake_core.people import AuditEntry, Principal

__all__ = ["AuditRecords"]

_LONGEST_NAME = 254
_LONGEST_ID = 64


class AuditRecords(Records):
    """Who did what, when."""

    async def add_audit(self, principal: Principal, org: str, action: str, target: str, request_id: str = "") -> None:
        """Add a line, in the transaction that is going on, so that it is there exactly if what it tells of is.

        Parameters
        ----------
        principal
            Who did it.
        org
            The organization's name; empty where there is none.
        action
            The name of the operation.
        target
            What it was done to.
        request_id
            The id of the request.
        """
        values = {
            "time": utc_now(),
            "org": org or None,
            "principal_id": principal.id[:36],
            "principal": (principal.email or principal.name)[:_LONGEST_NAME],
            "action": action[:_LONGEST_ID],
            "target": target,
            "request_id": request_id[:_LONGEST_ID],
        }
        async with self._write(exclusive=False) as connection:
            await connection.execute(insert(audit).values(values))

    async def list_audit(self, org: str, *, page: int = 1, size: int = 50) -> Page[AuditEntry]:
        """Return a page of the audit log, newest first."""
        validate_page(page, size)
        async with self._read() as connection:
            await self._org_id(connection, org)
            total = await connection.scalar(select(func.count()).select_from(audit).where(audit.c.org == org)) or 0
            pages = ceil(total / size)
            query = select(audit).where(audit.c.org == org).order_by(audit.c.id.desc()).limit(size).offset((page - 1) * size)
            # A page beyond the end may be beyond what the database can count to as well.
            rows = (await connection.execute(query)).mappings().all() if page <= pages else []
        fields = AuditEntry.__struct_fields__
        items = [AuditEntry(**{name: row[name] for name in fields}) for row in rows]
        return Page(items=items, total=total, page=page, size=size, pages=pages)
