"""A service on SQLite with two organizations, people of every role, and a repo or two."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.models import utc_now
from arraylake_core.people import Role
from arraylake_core.service.settings import ServiceSettings
from tests.service.running import LOCAL, RunningService, running

KEYS = {"method": "hmac", "access_key_id": "AKIDTEST", "secret_access_key": "CANARY-hmac-secret"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """A running service over an empty SQLite catalog, but for the organization ``me``."""
    with running(
        SqlCatalog(file_home(tmp_path / "catalog.db")), ServiceSettings(allow_networks=LOCAL, failures_per_minute=0)
    ) as found:
        yield found


class Peopled:
    """Two organizations, ``acme`` and ``rival``, and a token for each kind of caller."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        for org in ("acme", "rival"):
            service.run(service.catalog.create_org(org))
        roles = {"member": None, "reader": Role.Reader, "writer": Role.Writer, "admin": Role.Admin}
        for name, role in roles.items():
            service.member("acme", f"{name}@example.org", role)
        service.member("rival", "rival@example.org", Role.Admin)
        self.tokens: dict[str, str | None] = {"nobody": None}
        for name in roles:
            self.tokens[name] = service.token("acme", f"{name}@example.org", roles[name] or Role.Reader).token.reveal()
        self.tokens["rival"] = service.token("rival", "rival@example.org").token.reveal()
        soon = utc_now() + timedelta(milliseconds=150)
        expired, revoked = (service.token("acme", "admin@example.org", expires=end) for end in (soon, None))
        service.run(service.catalog.revoke_token("acme", revoked.id))
        self.tokens |= {"revoked": revoked.token.reveal(), "expired": expired.token.reveal()}
        while utc_now() < soon:
            pass


@pytest.fixture
def peopled(service: RunningService) -> Peopled:
    return Peopled(service)
