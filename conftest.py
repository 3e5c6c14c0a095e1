"""What every test of the workspace stands on: a home of its own, no ambient credentials, and real servers."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.fixtures", "arraylake_core.testing.xarray_marks"]

# Without bytecode, each of the many processes that the tests start would compile all that it imports anew, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What repeats, in one more place or form, what other tests show: run with --thorough, as `tox -e soak` does, so that the usual run stays under 20 minutes.
_REPEATED = re.compile(
    r"(?:test_xarray|icechunk/tests/test_suites)\.py::TestUncommitted"
    r"|test_objects\.py::.*\[.*(?:file|s3) by fsspec"
    r"|test_interrupted\.py::.*given prefix"
    r"|test_export\.py::test_p22_an_export_that_was_killed.*\[2\]"
    r"|v1-repo/tests/test_kind\.py::TestOverFsspecAlone"
    r"|catalog/test_sqlite\.py::TestMemory"
    r"|test_examples\.py::test_(?:s3_with_a_server_of_its_own|quickstart_goes_on)"
    r"|test_pickles\.py::.*\[v1\]"
    r"|test_export\.py::test_p22_a_delta_that_was_killed"
    r"|test_plugin_new\.py::test_the_quick_part.*words[12]"
    r"|test_every_backend\.py::test_a_repo.*\[(?:minio|s3-compatible)-(?:icechunk|v1)-(?:oauth|aws|anonymous)"
    r"|catalog/test_processes\.py::.*postgres"
    r"|test_rolling_upgrade\.py::.*sqlite"
    r"|test_long_files\.py::.*azure"
    r"|gcs/tests/test_kinds\.py::TestV1"
    r"|v1-repo/tests/test_concurrency\.py::.*postgres"
    r"|s3/tests/test_platform\.py::Test(?:Minio|S3Compatible)"
    r"|test_crash\.py::.*every_single_write.*\[(?:litter|write_one)\]"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the option --thorough."""
    parser.addoption(
        "--thorough", action="store_true", help="Run what repeats, in one more place or form, what other tests show, too."
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only repeats others, unless it is asked for, or named."""
    if config.getoption("--thorough") or any("::" in word for word in config.args):
        return
    repeated = [item for item in items if _REPEATED.search(item.nodeid)]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if not _REPEATED.search(item.nodeid)]


_AMBIENT = ("AWS_", "GOOGLE_", "GCE_", "AZURE_", "ARRAYLAKE_")


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let no test touch the user's home, settings or credentials."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(_AMBIENT) and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("ARRAYLAKE_DATA__DIR", str(home / "lake"))
    # Whoever asks the machine's metadata server in spite of all gets its answer at once: there is none.
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, "127.0.0.1:1")
    from arraylake_core import config

    config.refresh()
    yield home
    monkeypatch.undo()
    config.refresh()
