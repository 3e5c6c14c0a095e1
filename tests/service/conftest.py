"""A service on SQLite with two organizations, people of every role, and a repo or two."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.models import utc_now
from arraylake_core.people import Principal, Role
from arraylake_core.service.settings import ServiceSettings
from tests.service.running import LOCAL, RunningService, running

KEYS = {"method": "hmac", "access_key_id": "AKIDTEST", "secret_access_key": "CANARY-hmac-secret"}


@dataclass
class Peopled:
    """Two organizations, ``acme`` and ``rival``, and a token for each kind of caller."""

    service: RunningService
    tokens: dict[str, str | None]
    known: dict[str, str] = field(default_factory=dict)


class Template(NamedTuple):
    """A catalog that tests copy: making one anew takes a second."""

    directory: Path
    tokens: dict[str, str | None]
    people: dict[str, Principal]

    def copied_to(self, directory: Path) -> SqlCatalog:
        """Return a catalog that is the same, at another place."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("catalog.db", "catalog.key"):
            shutil.copy(self.directory / name, directory / name)
        return SqlCatalog(file_home(directory / "catalog.db"))


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """An empty catalog, but for the organization ``me``."""
    directory = tmp_path_factory.mktemp("blank")
    with running(SqlCatalog(file_home(directory / "catalog.db"))) as service:
        service.run(service.catalog.ping())
    return Template(directory, {}, {})


@pytest.fixture(scope="session")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A catalog with people of every role in two organizations."""
    directory = tmp_path_factory.mktemp("populated")
    with running(SqlCatalog(file_home(directory / "catalog.db"))) as service:
        return Template(directory, _populate(service), service.people)


def _populate(service: RunningService) -> dict[str, str | None]:
    for org in ("acme", "rival"):
        service.run(service.catalog.create_org(org))
    roles = {"member": None, "reader": Role.Reader, "writer": Role.Writer, "admin": Role.Admin}
    for name, role in roles.items():
        service.member("acme", f"{name}@example.org", role)
    service.member("rival", "rival@example.org", Role.Admin)
    tokens: dict[str, str | None] = {"nobody": None}
    for name in roles:
        tokens[name] = service.token("acme", f"{name}@example.org", roles[name] or Role.Reader).token.reveal()
    tokens["rival"] = service.token("rival", "rival@example.org").token.reveal()
    soon = utc_now() + timedelta(milliseconds=300)
    expired, revoked = (service.token("acme", "admin@example.org", expires=end) for end in (soon, None))
    service.run(service.catalog.revoke_token("acme", revoked.id))
    while utc_now() < soon:
        pass
    return tokens | {"revoked": revoked.token.reveal(), "expired": expired.token.reveal()}


@pytest.fixture
def service(blank: Template, tmp_path: Path) -> Iterator[RunningService]:
    """A running service over an empty SQLite catalog."""
    with running(blank.copied_to(tmp_path), ServiceSettings(allow_networks=LOCAL, failures_per_minute=0)) as found:
        yield found


@pytest.fixture
def peopled(populated: Template, tmp_path: Path) -> Iterator[Peopled]:
    """A running service over a catalog with people of every role."""
    with running(populated.copied_to(tmp_path), ServiceSettings(allow_networks=LOCAL, failures_per_minute=0)) as service:
        service.people |= populated.people
        yield Peopled(service, dict(populated.tokens))
