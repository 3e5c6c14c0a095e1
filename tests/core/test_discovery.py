"""Strangers' distributions, installed side by side: broken, slow, of odd names, copies, from another time; nothing else suffers, and each is named."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from arraylake_core import hookspecs
from arraylake_core.backends import AnonymousCredentials, AuthMethod, NoOptions
from arraylake_core.errors import PluginLoadError, PluginNotFoundError
from arraylake_core.plugins import PluginRegistry


def method(named: str) -> AuthMethod:
    class Method(AuthMethod):
        name = named
        config = NoOptions

        async def credentials(self, config, location, access, identity):
            return AnonymousCredentials()

    return Method()


class Provides:
    def __init__(self, *names: str, spi: object = 1) -> None:
        self.names, self.ARRAYLAKE_SPI = names, spi

    @hookspecs.hookimpl
    def arraylake_auth_methods(self):
        return [method(name) for name in self.names]


class Waits(Provides):
    """Provides its names once it is let go."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.go = threading.Event()

    @hookspecs.hookimpl
    def arraylake_auth_methods(self):
        self.go.wait()
        return [method(name) for name in self.names]


def test_p25_a_late_plugin_keeps_nobody_waiting_who_needs_another():
    late = Waits("late")
    registry = PluginRegistry({"a-late": late, "b-good": Provides("good")})
    # Were it waited for, this would never end: it is let go only afterwards.
    assert registry.auth_method("good").name == "good"
    late.go.set()
    assert registry.auth_method("late").name == "late"
    assert registry.names("auth method") == ["good", "late"]
    assert [info.name for info in registry.plugins() if info.seconds is not None] == ["a-late", "b-good"]


def test_p25_a_plugin_that_never_ends_loading_is_given_up(monkeypatch):
    monkeypatch.setattr("arraylake_core.discovery._LONGEST", 0.5)
    hangs = Waits("hangs")
    registry = PluginRegistry({"hangs": hangs, "good": Provides("good")})
    with pytest.raises(PluginNotFoundError, match="Still loading, and too late: hangs"):
        registry.auth_method("hangs")
    assert registry.auth_method("good").name == "good"
    hangs.go.set()


def test_many_threads_that_ask_at_once_get_the_same():
    registry = PluginRegistry({f"p{number}": Provides(f"m{number}") for number in range(20)})
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(registry.auth_method("m19"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (hookspecs.SPI + 1, "version 2 of the plugin interface.*upgrade arraylake-core"),
        (hookspecs.OLDEST_SPI - 1, "version 0 of the plugin interface.*upgrade the plugin"),
        ("1", "must be a whole number"),
        (True, "must be a whole number"),
    ],
)
def test_a_plugin_of_another_interface_is_refused_with_what_to_upgrade(declared, says):
    registry = PluginRegistry({"other": Provides("other", spi=declared), "good": Provides("good")})
    with pytest.raises(PluginLoadError, match=says):
        registry.auth_method("other")
    assert registry.auth_method("good").name == "good"


def install(directory: Path, *, name: str, entry: str, body: str, value: str | None = None, version: str = "1.0") -> None:
    """Write an installed distribution with one plugin."""
    module = f"acme_{len(list(directory.iterdir()))}"
    (directory / f"{module}.py").write_text(textwrap.dedent(body))
    info = directory / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[arraylake]\n{entry} = {value or module}\n")


GOOD = """
from arraylake_core.backends import AnonymousCredentials, AuthMethod, NoOptions
from arraylake_core.hookspecs import hookimpl

class Method(AuthMethod):
    name = {name!r}
    config = NoOptions
    async def credentials(self, config, location, access, identity):
        return AnonymousCredentials()

@hookimpl
def arraylake_auth_methods():
    return [Method()]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Install a broken, a slow, some of odd names and a duplicate plugin beside a good one."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, name="acme-broken", entry="acme-broken", body="raise ImportError('libacme.so \\x1b[2J is missing')")
    install(site, name="acme-slow", entry="acme-slow", body="import time; time.sleep(5)" + GOOD.format(name="slow"))
    install(site, name="acme-escape", entry="acme\x1b]0;pwned\x07", body=GOOD.format(name="escape"))
    install(site, name="acme-path", entry="../../acme", body=GOOD.format(name="path"))
    install(site, name="acme-value", entry="acme-value", body="", value="../../etc/passwd")
    install(site, name="acme\x1b[31mred", entry="acme-red", body=GOOD.format(name="red"), version="1\u202e0")
    install(site, name="acme-raises", entry="acme-raises", body="raise SystemExit('\u202efdp.exe')")
    install(site, name="acme-interrupts", entry="acme-interrupts", body="raise KeyboardInterrupt")
    install(site, name="acme-copy", entry="acme-copy", body=GOOD.format(name="hmac"))
    install(site, name="acme-future", entry="acme-future", body="ARRAYLAKE_SPI = 99" + GOOD.format(name="future"))
    install(site, name="zcme-good", entry="zcme-good", body=GOOD.format(name="zgood"))
    return site


def run(site: Path, *command: str) -> str:
    environment = {"PYTHONPATH": str(site), "PATH": os.defpath, "HOME": str(site.parent), "COLUMNS": "200", "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_p25_odd_distributions_side_by_side_harm_nobody_and_each_is_named(site):
    program = str(Path(sys.executable).with_name("arraylake-core"))
    listed = {plugin["distribution"]: plugin for plugin in json.loads(run(site, program, "plugins", "list", "-o", "json"))}
    states = {name: listed[name]["state"] for name in listed if name.startswith(("acme", "zcme"))}
    assert states == {
        "acme-broken": "broken",
        "acme-slow": "slow",
        "acme-escape": "broken",
        "acme-path": "broken",
        "acme-value": "broken",
        "acme\\x1b[31mred": "broken",
        "acme-raises": "broken",
        "acme-interrupts": "broken",
        "acme-copy": "ok",
        "acme-future": "broken",
        "zcme-good": "ok",
    }
    assert listed["acme-slow"]["provides"] == {"auth method": ["slow"]}
    assert "upgrade arraylake-core" in listed["acme-future"]["error"]
    assert all(plugin["state"] == "ok" for name, plugin in listed.items() if name.startswith("arraylake-"))
    table = run(site, program, "plugins", "list")
    for name in states:
        assert name.partition("\\")[0] in table
    assert "\x1b" not in table
    assert "\x07" not in table
    assert "\u202e" not in table


def test_p25_a_client_works_beside_odd_distributions(site):
    """From the first line to a commit; what a broken or a doubled one provides is refused with its name, when it is asked for."""
    script = """
    from arraylake_core import Client
    from arraylake_core.errors import PluginError
    with Client("memory://") as client:
        client.create_bucket_config(org="me", nickname="own", uri="memory://beside")
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="own")
        repo.root_group.attrs["title"] = "Ocean"
        print(bool(repo.commit("A title")), client.get_repo("me/ocean").root_group.attrs["title"])
        for method in ("hmac", "acme-broken"):
            try:
                client.create_bucket_config(org="me", nickname="keys", uri="s3://lake", auth_config={"method": method})
            except PluginError as error:
                print(type(error).__name__, "acme" in str(error))
    """
    assert run(site, sys.executable, "-c", textwrap.dedent(script)).splitlines() == [
        "True Ocean",
        "PluginConflictError True",
        "PluginLoadError True",
    ]


def test_p25_what_others_provide_is_there_while_a_slow_plugin_loads(site):
    script = """
    from arraylake_core.errors import PluginConflictError
    from arraylake_core.plugins import default_registry
    registry = default_registry()
    print(registry.auth_method("zgood"), registry.storage_platform("file"), registry.platform_for_scheme("s3"))
    print([info.seconds for info in registry._discovery().plugins if info.name == "acme-slow"])
    try:
        registry.auth_method("hmac")
    except PluginConflictError as error:
        print("acme-copy 1.0" in str(error), "arraylake-hmac" in str(error))
    """
    found, slow, conflict = run(site, sys.executable, "-W", "error", "-c", textwrap.dedent(script)).splitlines()
    assert found == "<auth method 'zgood'> <storage platform 'file'> <storage platform 's3'>"
    assert slow == "[None]"
    assert conflict == "True True"
