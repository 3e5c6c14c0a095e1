"""The kit, run on each wrong backend, and on the right ones; test_mutations.py looks at what it found."""

import pytest
import wrong_backends as wrong

from arraylake_core import Client
from arraylake_core.backends import AzureCredentials, Location
from arraylake_core.plugins import default_registry
from arraylake_core.secret import Secret
from arraylake_core.testing import AuthMethodTests, RepoFaultTests, RepoKindTests, StoragePlatformTests
from arraylake_core.testing.directory import DirectoryOptions


class PlatformTests(StoragePlatformTests):
    uris = ("directory://lake/a",)
    options = {"root": "/data"}
    foreign = (AzureCredentials(storage_account="a", account_key=Secret("CANARY-of-the-kit")),)
    made: type[wrong.HonestPlatform]

    @pytest.fixture
    def platform(self):
        return self.made()

    @pytest.fixture
    def location(self, tmp_path):
        return Location(platform="directory", bucket="lake", prefix="place", options=DirectoryOptions(root=str(tmp_path)))

    @pytest.fixture
    def provider(self):
        return wrong.OWNER

    @pytest.fixture
    def intruder(self):
        return wrong.INTRUDER

    def test_importing_it_loads_nothing_heavy(self):
        """The module of the wrong ones loads what it breaks."""


class MethodTests(AuthMethodTests):
    config = {"secret": "CANARY-of-the-kit"}
    location = Location(platform="s3", bucket="lake")

    def asked(self):
        return type(self.method).asked

    def test_importing_it_loads_nothing_heavy(self):
        """The same."""


class KindTests(RepoKindTests):
    processes, commits = 1, 1

    @pytest.fixture
    def client(self, tmp_path):
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            yield client

    def test_importing_it_loads_nothing_heavy(self):
        """The same."""


class FaultTests(RepoFaultTests):
    """On a directory where things go wrong."""


for _name in (
    "HonestPlatform", "DropsWrite", "ListsStale", "IgnoresCredentials", "LeaksSecret", "LosesPickledState", "WrongPrefix", "SwallowsErrors", "ForgetsDelete"
):  # fmt: skip
    globals()[f"Test{_name}"] = type(f"Test{_name}", (PlatformTests,), {"made": getattr(wrong, _name)})
for _name in ("HonestAuth", "RefreshesTwice", "BlocksLoop", "LeaksSecretOfConfig"):
    globals()[f"Test{_name}"] = type(f"Test{_name}", (MethodTests,), {"method": getattr(wrong, _name)()})
for _name, _kind in {
    "HonestKind": "icechunk", "NotAtomic": "not-atomic", "IgnoresReadOnly": "ignores-read-only", "KeepsWhatIsDestroyed": "keeps-what-is-destroyed"
}.items():  # fmt: skip
    globals()[f"Test{_name}"] = type(f"Test{_name}", (KindTests,), {"kind": _kind})
for _name, _kind in {"HonestUnderFaults": "v1", "SwallowsFailures": "swallows-failures"}.items():
    globals()[f"Test{_name}"] = type(f"Test{_name}", (FaultTests,), {"kind": _kind})

assert default_registry().repo_kind("not-atomic")
