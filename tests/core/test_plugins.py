"""The plugin registry: conflicts, broken plugins, what is missing."""

import subprocess
import sys
import textwrap

import pytest

from arraylake_core import config, hookspecs
from arraylake_core.backends import Access, AnonymousCredentials, AuthMethod, NoOptions
from arraylake_core.errors import PluginConflictError, PluginError, PluginLoadError, PluginNotFoundError
from arraylake_core.plugins import EXTRAS, PLANNED, PluginRegistry, default_registry, registry_of


class Method(AuthMethod):
    config = NoOptions

    def __init__(self, name: str) -> None:
        self.name = name

    async def credentials(self, config, location, access: Access, identity):
        return AnonymousCredentials()


class Provides:
    def __init__(self, *names: str) -> None:
        self.methods = [Method(name) for name in names]

    @hookspecs.hookimpl
    def arraylake_auth_methods(self):
        return self.methods


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookspecs.hookimpl
    def arraylake_auth_methods(self):
        raise self.error


class WrongType:
    @hookspecs.hookimpl
    def arraylake_auth_methods(self):
        return ["no auth method"]


class NoSuchHook:
    @hookspecs.hookimpl
    def arraylake_fry_eggs(self):
        return []


def test_a_name_is_found():
    registry = PluginRegistry({"good": Provides("good")})
    assert registry.names("auth method") == ["good"]
    assert registry.auth_method("good").name == "good"


@pytest.mark.parametrize(
    "broken",
    [Raises(RuntimeError("boom")), Raises(SystemExit(3)), WrongType(), NoSuchHook(), Provides("bad name"), Provides("")],
    ids=["raises", "exits", "wrong type", "unknown hook", "bad name", "empty name"],
)
def test_p25_a_broken_plugin_takes_nothing_else_down(broken):
    registry = PluginRegistry({"bad": broken, "good": Provides("good")})
    assert registry.auth_method("good").name == "good"
    bad, good = sorted(registry.plugins(), key=lambda info: info.name)
    assert bad.error
    assert good.error is None
    with pytest.raises(PluginLoadError, match=r"can't be used: .*"):
        registry.auth_method("bad")
    with pytest.raises(PluginNotFoundError, match="Broken: bad; see `arraylake-core plugins list`"):
        registry.auth_method("other")


def test_p25_a_hook_that_returns_none_or_no_iterable_is_broken_alone():
    class ReturnsNumber:
        @hookspecs.hookimpl
        def arraylake_auth_methods(self):
            return 7

    registry = PluginRegistry({"bad": ReturnsNumber(), "good": Provides("good")})
    assert registry.names("auth method") == ["good"]
    assert "TypeError" in {info.name: info.error for info in registry.plugins()}["bad"]


def test_two_distributions_with_one_name_are_both_named_and_a_setting_decides():
    plugins = {"one": Provides("same"), "two": Provides("same", "other")}
    with pytest.raises(PluginConflictError, match=r"one .*and two .*plugins\.prefer"):
        PluginRegistry(plugins).auth_method("same")
    assert PluginRegistry(plugins).auth_method("other").name == "other"
    chosen = PluginRegistry(plugins, prefer={"same": "two"}).auth_method("same")
    assert chosen is plugins["two"].methods[0]
    with config.set({"plugins.prefer": {"same": "one"}}):
        assert PluginRegistry(plugins).auth_method("same") is plugins["one"].methods[0]


def test_a_disabled_plugin_is_listed_and_not_asked():
    registry = PluginRegistry({"bad": Raises(RuntimeError("boom")), "good": Provides("good")}, disabled=["bad"])
    assert [(info.name, info.disabled, info.error) for info in registry.plugins()] == [("bad", True, None), ("good", False, None)]
    with pytest.raises(PluginNotFoundError, match=r"Disabled by the setting plugins\.disabled: bad"):
        registry.auth_method("bad")


def test_an_unknown_name_says_what_is_installed_and_which_extra_brings_it():
    registry = PluginRegistry({"good": Provides("good")})
    with pytest.raises(PluginNotFoundError, match=r"'hmac' \(installed: good\).*pip install \"arraylake-core\[s3\]\""):
        registry.auth_method("hmac")
    with pytest.raises(PluginNotFoundError, match="plans a plugin"):
        registry.auth_method("bucket_policy")
    with pytest.raises(PluginNotFoundError, match=r"'nonsense' \(installed: good\)"):
        registry.auth_method("nonsense")


def test_the_extras_that_errors_name_exist_and_bring_the_name():
    installed = default_registry()
    for family, names in EXTRAS.items():
        assert set(names) <= set(installed.names(family))
        assert not set(PLANNED[family]) & set(names)


def test_a_registry_is_found_again_by_its_token():
    registry = PluginRegistry({})
    assert registry_of(registry.token) is registry
    assert registry_of("") is default_registry()
    with pytest.raises(PluginError, match="only in the process that made it"):
        registry_of("gone")


def test_p25_installed_distributions_are_isolated_too(tmp_path):
    """A broken and a duplicate distribution, installed beside the real ones, are named in the list and hurt nobody."""
    for name, module, body in [
        ("acme-broken", "acme_broken", "raise ImportError('libacme.so is missing')"),
        (
            "acme-copy",
            "acme_copy",
            """
            from arraylake_core.hookspecs import hookimpl
            from arraylake_anonymous import AnonymousAuth
            @hookimpl
            def arraylake_auth_methods():
                return [AnonymousAuth()]
            """,
        ),
    ]:
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(body))
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[arraylake]\n{name} = {module}\n")
    script = """
        from arraylake_core.plugins import default_registry as registry
        found = {info.distribution: info for info in registry().plugins()}
        print(found["acme-broken"].error)
        print(registry().auth_method("hmac"))
        try:
            registry().auth_method("anonymous")
        except Exception as error:
            print(type(error).__name__, error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    broken, hmac, conflict = run.stdout.splitlines()
    assert broken == "ImportError: libacme.so is missing"
    assert hmac == "<auth method 'hmac'>"
    assert conflict.startswith("PluginConflictError")
    assert "acme-copy 1.0" in conflict
    assert "arraylake-anonymous" in conflict
