"""Repeated requests in the SQL catalog: the answer of a change is kept in the transaction of the change.

Answers may hold secrets that are shown once, so they are sealed.
"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from arraylake_core.catalog.engine import ConstraintError, insert_missing
from arraylake_core.catalog.records import Records
from arraylake_core.catalog.sealing import associated_answer
from arraylake_core.catalog.tables import encryption_keys, idempotency
from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import utc_now

__all__ = ["IdempotencyRecords", "KeptAnswer"]

KEPT_FOR = timedelta(hours=24)


class KeptAnswer(NamedTuple):
    """The answer of a request that was made before."""

    status: int
    body: bytes


class IdempotencyRecords(Records):
    """The requests of the last day that carried an idempotency key."""

    async def claim_request(self, principal_id: str, key: str, digest: str) -> KeptAnswer | None:
        """Begin a request, inside a transaction; whoever sends the same at the same time waits for its end.

        Parameters
        ----------
        principal_id
            Who makes it.
        key
            Its idempotency key.
        digest
            What it asks for: method, path and body.

        Returns
        -------
        KeptAnswer or None
            What it was answered, where it was made before.

        Raises
        ------
        InvalidOptionError
            The key was used for something else.
        """
        row = {"principal_id": principal_id, "key": key, "digest": digest, "status": 0, "answer": b"", "created": utc_now()}
        try:
            async with self._write(exclusive=False) as connection:
                await connection.execute(insert(idempotency).values(row))
            return None
        except ConstraintError:
            return await self.kept_answer(principal_id, key, digest)

    async def kept_answer(self, principal_id: str, key: str, digest: str) -> KeptAnswer | None:
        """Return what a request was answered that was made before, or None."""
        async with self._read(single=True) as connection:
            found = (await connection.execute(select(idempotency).filter_by(principal_id=principal_id, key=key))).one_or_none()
        if found is None:
            return None
        if found.digest != digest:
            raise InvalidOptionError("this Idempotency-Key was used for another request: make a new key for each request")
        kept = self._vault.source.load().require(found.key_id, "the answer to a repeated request")
        return KeptAnswer(found.status, kept.open(found.answer, associated_answer(principal_id, key)))

    async def keep_answer(self, principal_id: str, key: str, answer: KeptAnswer) -> None:
        """End a request, inside the transaction that began it."""
        active = self._vault.source.load().active
        sealed = active.seal(answer.body, associated_answer(principal_id, key))
        async with self._write(exclusive=False) as connection:
            await insert_missing(connection, encryption_keys, [{"id": active.id, "created": utc_now()}])
            change = update(idempotency).filter_by(principal_id=principal_id, key=key)
            await connection.execute(change.values(status=answer.status, answer=sealed, key_id=active.id))

    async def forget_requests(self) -> None:
        """Forget the requests that are older than a day."""
        async with self._write(exclusive=False) as connection:
            await connection.execute(delete(idempotency).where(idempotency.c.created < utc_now() - KEPT_FOR))
