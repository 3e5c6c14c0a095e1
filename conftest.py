"""What every test of the workspace stands on: a home of its own, no ambient credentials, and real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.fixtures"]

_AMBIENT = ("AWS_", "GOOGLE_", "GCE_", "AZURE_", "ARRAYLAKE_")


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let no test touch the user's home, settings or credentials."""
    import os

    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(_AMBIENT) and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("ARRAYLAKE_DATA__DIR", str(home / "lake"))
    from arraylake_core import config

    config.refresh()
    yield home
    monkeypatch.undo()
    config.refresh()
