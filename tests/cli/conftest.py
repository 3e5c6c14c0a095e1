"""The command line, run in this process on a catalog of its own."""

import io
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import arraylake_anonymous
import arraylake_icechunk
import arraylake_local
import arraylake_v1_repo
import msgspec
import pytest
from fsspec.spec import AbstractFileSystem

from arraylake_core import Client, plugins
from arraylake_core.backends import Access, AuthMethod, CredentialProvider, Credentials, Location, S3Credentials, StoragePlatform
from arraylake_core.cli import main
from arraylake_core.client import aio
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import Identity, ProbeReport
from arraylake_core.plugins import PluginRegistry
from arraylake_core.secret import Secret


class Result(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """The one JSON document that was printed."""
        return json.loads(self.out)


type Run = Callable[..., Result]


class ShelfOptions(msgspec.Struct, frozen=True):
    region: str | None = None
    use_ssl: bool = True
    port: int = 443


class Shelf(StoragePlatform):
    """A platform that only answers probes: well below ``shelf://good``."""

    name = "shelf"
    schemes = ("shelf",)
    options = ShelfOptions

    def filesystem(self, location: Location, credentials: Credentials) -> AbstractFileSystem:
        raise NotImplementedError

    async def probe(self, location: Location, credentials: CredentialProvider) -> ProbeReport:
        good = location.bucket == "good"
        return ProbeReport(
            uri=location.uri,
            reachable=True,
            readable=good,
            writable=good,
            problems=[] if good else ["reading was refused: mend auth_config"],
            notes=["it stands in the corner"],
        )


class KeyConfig(msgspec.Struct, frozen=True):
    """The key of a shelf.

    Parameters
    ----------
    owner
        Whose it is.
    passphrase, second
        What opens the shelf.
    """

    owner: str
    passphrase: Secret
    second: Secret | None = None


class KeyAuth(AuthMethod):
    name = "key"
    config = KeyConfig
    platforms = frozenset({"shelf"})

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        assert isinstance(config, KeyConfig)
        return S3Credentials(aws_access_key_id=config.owner, aws_secret_access_key=config.passphrase)


class ShelfPlugin:
    @hookimpl
    def arraylake_storage_platforms(self) -> Iterable[StoragePlatform]:
        return [Shelf()]

    @hookimpl
    def arraylake_auth_methods(self) -> Iterable[AuthMethod]:
        return [KeyAuth()]


class BrokenPlugin:
    @hookimpl
    def arraylake_repo_kinds(self) -> Iterable[object]:
        raise RuntimeError("its shelves are empty")


class IdlePlugin:
    """A plugin that the registry of the tests disables."""


@pytest.fixture(scope="session")
def registry() -> PluginRegistry:
    """Real plugins, and one each that is made up, broken and disabled."""
    return PluginRegistry(
        {
            "anonymous": arraylake_anonymous,
            "icechunk": arraylake_icechunk,
            "local": arraylake_local,
            "v1-repo": arraylake_v1_repo,
            "shelf": ShelfPlugin(),
            "broken": BrokenPlugin(),
            "idle": IdlePlugin(),
        },
        disabled=["idle"],
        prefer={},
    )


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A catalog in SQLite."""
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture
def run(uri: str, registry: PluginRegistry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the catalog; ``typed`` is what somebody types at its questions."""
    monkeypatch.setattr(plugins, "default_registry", lambda: registry)
    monkeypatch.setattr(aio, "default_registry", lambda: registry)

    def run(*arguments: str, typed: str = "") -> Result:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(typed))
            with pytest.raises(SystemExit) as ended:
                main(["--catalog", uri, *arguments])
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        assert "Traceback" not in err
        return Result(code, out, err)

    return run


@pytest.fixture
def lake(run: Run, uri: str) -> Run:
    """``run`` on a catalog with the repo me/ocean, which holds a group with an array."""
    created = run("repo", "create", "me/ocean", "--metadata", "ocean=arctic", "--description", "Ice [/bold] :ice:")
    assert created.code == 0, created.err
    with Client(uri) as client:
        repo = client.get_repo("me/ocean")
        group = repo.root_group.create_group("surface")
        group.create_array("temperature", shape=(4,), dtype="f4")
        repo.commit("Four [/red] temperatures\x1b[2J")
    return run


@pytest.fixture
def old(run: Run, uri: str) -> Run:
    """``run`` on a catalog with the repo me/old of the kind v1, which has two commits, and me/ocean of the kind icechunk."""
    for name, kind in (("me/old", "v1"), ("me/ocean", "icechunk")):
        created = run("repo", "create", name, "--kind", kind)
        assert created.code == 0, created.err
    with Client(uri) as client:
        repo = client.get_repo("me/old")
        repo.root_group.create_array("temperature", shape=(4,), chunks=(2,), dtype="f4")[:] = 1
        repo.commit("Four temperatures")
    return run
