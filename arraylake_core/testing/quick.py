"""The quick part of the kits, on what is installed: what ``arraylake-core plugins check`` runs."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import msgspec
import pytest

from arraylake_core import plugins
from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.backends.removal import remove_all
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import StorageError
from arraylake_core.loops import run
from arraylake_core.models import AuthConfig, Identity
from arraylake_core.testing.auth import AuthMethodTests
from arraylake_core.testing.repo_kind_stored import StoredRepoTests
from arraylake_core.testing.storage import StoragePlatformTests

if TYPE_CHECKING:
    from arraylake_core.client.sync import Client
    from arraylake_core.plugins import Family

__all__ = ["CheckResult", "Subject", "run_kit"]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is checked, and where.

    Parameters
    ----------
    family, name
        The backend.
    uri
        The bucket, below which the kit writes at a prefix of its own.
    options
        Its ``extra_config``.
    auth
        Its ``auth_config``.
    place
        The prefix of its own.
    """

    family: "Family"
    name: str
    uri: str
    options: Mapping[str, object] = {}
    auth: AuthConfig = msgspec.field(default_factory=lambda: {"method": "anonymous"})

    place: str = msgspec.field(default_factory=lambda: f"kit-{uuid4().hex[:16]}")

    @property
    def whole(self) -> Location:
        """All that the kit writes to."""
        platform = plugins.default_registry().platform_for_scheme(self.uri.partition("://")[0])
        bucket, prefix = platform.parse_uri(self.uri)
        options = platform.decode_options(self.options)
        return Location(platform=platform.name, bucket=bucket, prefix=prefix, options=options).below(self.place)

    @property
    def location(self) -> Location:
        """A new place in there."""
        return self.whole.below(uuid4().hex[:16])


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one test of the kit ended."""

    backend: str
    test: str
    outcome: Literal["passed", "failed", "skipped"]
    problem: str = ""


_current: list[Subject] = []


class _OfSubject(msgspec.Struct, frozen=True):
    """The credentials of the bucket that is checked; the config stays where it is."""

    async def mint(self) -> Credentials:
        [subject] = _current
        method = plugins.default_registry().auth_method(str(subject.auth["method"]))
        config = method.decode_config({name: value for name, value in subject.auth.items() if name != "method"})
        return await method.credentials(config, subject.location, "write", Identity())


class TestPlatform(StoragePlatformTests):
    """A storage platform, with everything that the kit has."""

    @pytest.fixture
    def platform(self) -> StoragePlatform:
        """Return it."""
        return plugins.default_registry().storage_platform(_current[0].name)

    @pytest.fixture
    def location(self) -> Location:
        """Return a new place in the bucket."""
        return _current[0].location

    @pytest.fixture
    def provider(self) -> CredentialProvider:
        """Return the bucket's credentials."""
        return CredentialProvider(_OfSubject())


class TestMethod(AuthMethodTests):
    """An auth method, with everything that the kit has."""


class TestKind(StoredRepoTests):
    """A repo kind: what all kinds do, but for what takes other processes."""

    other_processes = False

    @pytest.fixture
    def client(self) -> "Iterator[Client]":
        """Open a catalog for the test alone."""
        with _client(_current[0]) as client:
            yield client

    def test_p11_a_handle_pickles_and_wakes_up_where_it_was(self) -> None:  # type: ignore[override]  # needs no repo
        """For the full kit, which knows whether other processes reach the bucket."""


@contextmanager
def _client(subject: Subject) -> "Iterator[Client]":
    """Open a catalog of its own, with the bucket as its default."""
    from arraylake_core.client import Client

    with tempfile.TemporaryDirectory() as directory, Client(f"sqlite:///{directory}/catalog.db") as client:
        client.create_bucket_config(
            org="me",
            nickname="checked",
            uri=f"{subject.uri.rstrip('/')}/{subject.place}/{uuid4().hex[:16]}",
            extra_config=dict(subject.options),
            auth_config=subject.auth,
        )
        client.set_default_bucket_config(org="me", nickname="checked")
        yield client


class _Results:
    """Hears from pytest how each test ended."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.found: dict[str, CheckResult] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.when == "call" or report.outcome != "passed":
            problem = ""
            if report.failed:
                problem = str(getattr(getattr(report.longrepr, "reprcrash", None), "message", "it failed")).partition("\n")[0][
                    :300
                ]
            elif report.skipped and isinstance(report.longrepr, tuple):
                problem = report.longrepr[2].removeprefix("Skipped: ")
            self.found[name] = CheckResult(backend=self.backend, test=name, outcome=report.outcome, problem=problem)


def run_kit(subject: Subject) -> list[CheckResult]:
    """Run the quick part of the kit of a backend's family in this process.

    Parameters
    ----------
    subject
        What is checked, and where; what was written there is removed.
    """
    kit = {"storage platform": TestPlatform, "auth method": TestMethod, "repo kind": TestKind}[subject.family].__name__
    TestPlatform.uris, TestPlatform.options = (subject.uri,), subject.options
    TestKind.kind, TestKind.versioned = subject.name, subject.family != "repo kind" or _has_versions(subject)
    if subject.family == "auth method":
        TestMethod.method = plugins.default_registry().auth_method(subject.name)
        TestMethod.config = {name: value for name, value in subject.auth.items() if name != "method"}
        TestMethod.location = subject.location
    results = _Results(f"{subject.family} {subject.name}")
    _current[:] = [subject]
    # What the user has set for tests of his own is not meant for these.
    os.environ.pop("PYTEST_ADDOPTS", None)
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["--pyargs", f"{__name__}::{kit}", "-p", "no:terminal", "-p", "no:cacheprovider", "-c", "/dev/null"]
        options = ["asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function"]
        pytest.main(
            [*arguments, "--rootdir", directory, *(word for option in options for word in ("-o", option))], plugins=[results]
        )
    if subject.family != "auth method":
        platform = plugins.default_registry().platform_for_scheme(subject.uri.partition("://")[0])
        with suppress(StorageError):  # a platform that can't even remove has failed tests that say so
            run(remove_all(platform, subject.whole, CredentialProvider(_OfSubject())))
    return list(results.found.values())


def _has_versions(subject: Subject) -> bool:
    """Tell whether a kind commits: a new repo of it has a branch."""
    with _client(subject) as client:
        return bool(client.create_repo("me/versions", kind=subject.name).branches)
