"""What is put in for the example names of a page: real servers for example endpoints, a real token for ``ema_...``."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.people import Role
from arraylake_core.service.settings import ServiceSettings
from tests.servers.azurite import ACCOUNT
from tests.servers.google_tokens import GoogleTokens
from tests.service.running import LOCAL, running

__all__ = ["Stage", "staged"]


@dataclass
class Stage:
    """What a page runs on.

    Parameters
    ----------
    replaced
        Texts of the page, and what stands in for them.
    environment
        Variables that the page's reader has set.
    """

    replaced: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Return a text with what stands in for the examples."""
        for example, real in self.replaced.items():
            text = text.replace(example, real)
        return text

    def told(self, output: str) -> str:
        """Return what was printed, with the examples in it."""
        for example, real in self.replaced.items():
            output = output.replace(real, example)
        return output


type Staging = Callable[[pytest.FixtureRequest, Stage, Path], Iterator[None]]


def _s3(request: pytest.FixtureRequest, stage: Stage, home: Path) -> Iterator[None]:
    server = request.getfixturevalue("seaweedfs")
    bucket = server.make_bucket(f"docs-{uuid4().hex[:12]}")
    key, secret = server.admin
    stage.replaced |= {"https://s3.example.org": server.endpoint, "s3://my-bucket": f"s3://{bucket}"}
    stage.environment |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    yield


def _google(request: pytest.FixtureRequest, stage: Stage, home: Path) -> Iterator[None]:
    server = request.getfixturevalue("gcs")
    before, tokens = server.token_endpoints, GoogleTokens(server, "https://login.example.org")
    server.token_endpoints = tokens.handle
    bucket = server.make_bucket(f"docs-{uuid4().hex[:12]}")
    key = tokens.service_account(home, "lake@our-project.iam.gserviceaccount.com")
    stage.replaced |= {
        'uri="gs://my-bucket/lake",': f'uri="gs://{bucket}/lake", extra_config={{"endpoint_url": "{server.endpoint}"}},',
        "/run/keys/lake.json": str(key),
    }
    for name, value in {"TOKEN": f"{server.endpoint}/token", "STS": server.endpoint, "IAM": server.endpoint}.items():
        stage.environment[f"ARRAYLAKE_DELEGATION__GOOGLE__{name}_ENDPOINT"] = value
    yield
    server.token_endpoints = before


def _azure(request: pytest.FixtureRequest, stage: Stage, home: Path) -> Iterator[None]:
    server = request.getfixturevalue("azurite")
    container = server.make_container(f"docs-{uuid4().hex[:12]}")
    stage.replaced |= {
        'uri="azure://my-container/lake",': f'uri="azure://{container}/lake", extra_config={{"endpoint_url": "{server.endpoint}"}},',
        "ourdata": ACCOUNT,
    }
    stage.environment["LAKE_SAS"] = server.sas(container)
    yield


def _service(request: pytest.FixtureRequest, stage: Stage, home: Path) -> Iterator[None]:
    """A service with the organization acme, whose admin is the reader: ada@example.org."""
    place = home / "service"
    place.mkdir()
    with running(SqlCatalog(file_home(place / "catalog.db")), ServiceSettings(allow_networks=LOCAL)) as service:
        service.run(service.catalog.create_org("acme"))
        service.member("acme", "ada@example.org", Role.Admin)
        token = service.token("acme", "ada@example.org").token.reveal()
        stage.replaced |= {"https://lake.example.org": service.uri, "ema_...": token}
        stage.environment |= {"ARRAYLAKE_SERVICE__URI": service.uri, "ARRAYLAKE_TOKEN": token}
        yield


_STAGED: dict[str, tuple[Staging, ...]] = {
    "tutorial.md": (_s3,),
    "how-to/s3.md": (_s3,),
    "how-to/google.md": (_google,),
    "how-to/azure.md": (_azure,),
    "how-to/icechunk.md": (_s3,),
    "how-to/official-client.md": (_s3,),
    "how-to/service.md": (_service,),
    "how-to/teams.md": (_service,),
}


@contextmanager
def staged(page: str, request: pytest.FixtureRequest, home: Path) -> Iterator[Stage]:
    """Set up what a page needs, in the reader's empty home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ARRAYLAKE_"))}
    stage = Stage(
        {"/data/": f"{home}/data/"},
        kept | {"HOME": str(home), "PYTHONUTF8": "1", "COLUMNS": "100", "NO_COLOR": "1", "LOGNAME": "ada"},
    )
    with ExitStack() as stack:
        for staging in _STAGED.get(page, ()):
            stack.enter_context(contextmanager(staging)(request, stage, home))
        yield stage
