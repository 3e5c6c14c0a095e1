"""Logins in the catalog, by several replicas at once."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import Home, file_home, postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.models import utc_now
from arraylake_core.people import Login, Role

ISSUER = "https://login.example.org"


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, path: Path) -> Home:
    if request.param == "sqlite":
        return file_home(path)
    return postgres_home(Dsn(request.getfixturevalue("postgres_uri")))


async def test_p20_of_logins_at_the_same_time_the_latest_one_decides(home: Home) -> None:
    """Whichever replica is first, and however often the same token comes: one person, one membership, one line of the audit log for each change."""
    replicas = [SqlCatalog(home) for _ in range(3)]
    await replicas[0].create_org("acme")
    await replicas[0].set_member("acme", "grace@example.org", Role.Admin)
    now = utc_now()
    for person in range(3):
        email = f"ada-{person}@example.org"
        roles = [Role.Reader, Role.Admin, Role.Writer]
        logins = [
            replica.log_in(
                email, login=Login(issuer=ISSUER, subject=email), issued=now + timedelta(seconds=second), roles={"acme": role}
            )
            for replica in replicas
            for second, role in enumerate(roles)
        ]
        found = await asyncio.gather(*logins)
        assert len({principal.user_id for principal in found}) == 1
    members = {member.email: member.role for member in await replicas[1].list_members("acme") if member.email.startswith("ada-")}
    assert members == {f"ada-{person}@example.org": Role.Writer for person in range(3)}
    changes = [entry.target for entry in (await replicas[2].list_audit("acme")).items if entry.action == "log_in"]
    assert len(changes) == len(set(changes))
    for replica in replicas:
        await replica.close()
