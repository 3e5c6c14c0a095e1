"""Every command, by what it prints and how it ends."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from arraylake_v1_repo.export import ExportReport
from arraylake_v1_repo.upkeep.garbage import GarbageReport
from arraylake_v1_repo.upkeep.verification import VerifyReport
from typer.core import TyperCommand
from typer.main import get_command

from arraylake_core import config
from arraylake_core.catalog.backup_file import BackupManifest
from arraylake_core.cli.auth import LoginStatus
from arraylake_core.cli.config import ConfigPlace, SettingValue
from arraylake_core.cli.options import OptionField
from arraylake_core.cli.plugins import BackendDescription, PluginState
from arraylake_core.cli.program import app
from arraylake_core.cli.upkeep import Expired
from arraylake_core.client.migration import MigrationReport
from arraylake_core.models import BucketResponse, CommitInfo, OrgModel, Page, ProbeReport, RepoModel
from arraylake_core.people import Grant, Login, Member, Token
from arraylake_core.webhooks import Webhook

from .conftest import Run

# One example of each command on the catalog of `lake`, and the Struct whose JSON it prints, alone or in a list.
EXAMPLES: dict[str, tuple[list[str], type | list[type] | None]] = {
    "auth login": ([], None),
    "auth logout": ([], None),
    "auth status": ([], LoginStatus),
    "org list": ([], [OrgModel]),
    "org create": (["team", "--display-name", "The team", "--description", "Its lake"], OrgModel),
    "bucket list": (["me"], [BucketResponse]),
    "bucket show": (["me", "local"], BucketResponse),
    "bucket create": (["me", "shelf", "shelf://new/team", "--option", "port=80"], BucketResponse),
    "bucket modify": (["me", "local", "--nickname", "disk"], BucketResponse),
    "bucket delete": (["me", "spare", "--imsure", "--imreallysure"], None),
    "bucket set-default": (["me", "spare"], BucketResponse),
    "bucket probe": (["me", "spare"], ProbeReport),
    "repo create": (["me/sea", "--kind", "icechunk", "--bucket", "local", "--prefix", "team/sea"], RepoModel),
    "repo list": (["me", "--filter", "ocean=arctic", "--page", "1", "--size", "10"], [RepoModel]),
    "repo show": (["me/ocean"], RepoModel),
    "repo modify": (["me/ocean", "--description", "Water", "--update-metadata", "ocean=2"], RepoModel),
    "repo rename": (["me/ocean", "me/sea"], RepoModel),
    "repo delete": (["me/ocean", "--imsure", "--imreallysure"], None),
    "repo restore": (["me/gone"], RepoModel),
    "repo import": (["me/found", "--prefix", "kept/gone"], RepoModel),
    "repo tree": (["me/ocean", "--ref", "main", "--depth", "2"], None),
    "repo log": (["me/ocean"], [CommitInfo]),
    "repo repair": (["me"], []),
    "repo migrate": (["me/old", "--to", "icechunk", "--new-name", "me/newer"], MigrationReport),
    "repo export": (["me/old", "exported", "--ref", "main", "--zarr-format", "2"], ExportReport),
    "repo gc": (["me/old", "--grace", "0d"], GarbageReport),
    "repo verify": (["me/old"], VerifyReport),
    "repo expire": (["me/old", "--older-than", "2w"], Expired),
    "org members": (["me"], [Member]),
    "org set-member": (["me", "bo@example.org", "reader"], Member),
    "org remove-member": (["me", "bo@example.org"], None),
    "org logins": (["me", "bo@example.org"], [Login]),
    "org forget-login": (["me", "bo@example.org"], None),
    "org audit": (["me"], Page),
    "repo grants": (["me/ocean"], [Grant]),
    "repo grant": (["me/ocean", "bo@example.org", "reader"], Grant),
    "repo revoke-grant": (["me/ocean", "bo@example.org"], None),
    "token create": (["nightly", "--org", "me", "--email", "bo@example.org", "--role", "reader"], None),
    "token list": (["--org", "me"], [Token]),
    "token revoke": (["the-id", "--org", "me"], None),
    "admin create-org": (["acme", "--admin-email", "ada@example.org"], None),
    "admin create-operator": (["--email", "ada@example.org"], None),
    "admin forget-login": (["--email", "bo@example.org"], None),
    "admin remove-person": (["--email", "bo@example.org"], None),
    "admin migrate": ([], None),
    "admin rotate-key": ([], None),
    "admin backup": (["saved.zip"], BackupManifest),
    "admin restore": (["saved.zip"], BackupManifest),
    "repo set-visibility": (["me/ocean", "public"], RepoModel),
    "webhook list": (["me"], [Webhook]),
    "webhook create": (["me", "https://hooks.example.org/lake", "--event", "repo.created"], None),
    "webhook test": (["me", "the-id"], None),
    "webhook delete": (["me", "the-id"], None),
    "plugins list": ([], [PluginState]),
    "plugins show": (["shelf"], None),
    "config list": ([], [SettingValue]),
    "config get": (["repo.kind"], None),
    "config path": ([], [ConfigPlace]),
}
UPKEEP = {"repo migrate", "repo export", "repo gc", "repo verify", "repo expire"}
SILENT = {
    "auth login",
    "auth logout",
    "bucket delete",
    "repo delete",
    "org remove-member",
    "org forget-login",
    "admin forget-login",
    "admin remove-person",
    "repo revoke-grant",
    "token revoke",
    "webhook test",
    "webhook delete",
    "admin migrate",
    "admin rotate-key",
}
# It does not end by itself: tests/service runs it.
# They run until they are told to stop, or need somebody who is logged in: tests/login has them.
# Those that write or test plugins have tests of their own, in test_plugin_new.py.
LASTING = {"serve", "auth token", "plugins check", "plugins new"}


def commands() -> dict[str, TyperCommand]:
    found = {}
    for group_name, group in get_command(app).commands.items():
        if isinstance(group, TyperCommand):
            found[group_name] = group
        else:
            found |= {f"{group_name} {name}": command for name, command in group.commands.items()}
    return found


def keys(struct: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def ready(run: Run, command: str, request: pytest.FixtureRequest) -> Run:
    """Put into the catalog what the example of a command needs."""
    if command in {"repo restore", "repo import"}:
        end = ["--immediate", "--retain-data"] if command == "repo import" else []
        assert run("repo", "create", "me/gone", "--prefix", "kept/gone").code == 0
        assert run("repo", "delete", "me/gone", "--imsure", "--imreallysure", *end).code == 0
    elif command.startswith("admin"):
        ready_for_admin(run, command, request)
    elif command in UPKEEP:
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
        request.getfixturevalue("old")
    elif command.startswith("repo") and command not in {"repo create", "repo repair"}:
        request.getfixturevalue("lake")
        assert run("repo", "grant", "me/ocean", "bo@example.org", "writer").code == 0
    elif command.startswith("bucket"):
        assert run("bucket", "create", "me", "spare", "shelf://good").code == 0
    elif command.startswith("webhook"):
        assert run("webhook", "create", "me", "https://hooks.example.org/sea").code == 0
        with closing(sqlite3.connect(request.getfixturevalue("tmp_path") / "catalog.db", isolation_level=None)) as connection:
            connection.execute("UPDATE webhooks SET id = 'the-id'")
    elif command.startswith(("org", "token")):
        assert run("org", "set-member", "me", "bo@example.org", "reader").code == 0
        assert run("token", "create", "x", "--org", "me", "--email", "bo@example.org", "--role", "reader").code == 0
        with closing(sqlite3.connect(request.getfixturevalue("tmp_path") / "catalog.db", isolation_level=None)) as connection:
            connection.execute("UPDATE tokens SET id = 'the-id'")
            connection.execute("INSERT INTO identities SELECT '', 'https://login.example.org', 'bo', id, created FROM users")
    return run


def ready_for_admin(run: Run, command: str, request: pytest.FixtureRequest) -> None:
    """Name a database by the setting, and what a restore needs beside it."""
    directory, database = request.getfixturevalue("tmp_path"), request.getfixturevalue("uri")
    request.getfixturevalue("monkeypatch").chdir(directory)
    if command in {"admin forget-login", "admin remove-person"}:
        assert run("org", "set-member", "me", "bo@example.org", "reader").code == 0
    if command == "admin restore":
        assert run("admin", "backup", "saved.zip", "--database", database).code == 0
        (directory / "catalog.key").rename(directory / "second.key")
        database = f"sqlite:///{directory}/second.db"
    setting = config.set({"service.database": database})
    setting.__enter__()
    request.addfinalizer(lambda: setting.__exit__(None, None, None))


def test_there_is_an_example_of_every_command() -> None:
    assert commands().keys() == EXAMPLES.keys() | LASTING


@pytest.mark.parametrize("command", EXAMPLES)
def test_a_command_prints_a_table(run: Run, command: str, request: pytest.FixtureRequest) -> None:
    result = ready(run, command, request)(*command.split(), *EXAMPLES[command][0])
    assert result.code == 0, result.err
    assert bool(result.out.strip()) == (command not in SILENT)
    assert "\x1b" not in result.out


@pytest.mark.parametrize("command", sorted(EXAMPLES.keys() - SILENT))
def test_a_command_prints_one_json_document(run: Run, command: str, request: pytest.FixtureRequest) -> None:
    arguments, shape = EXAMPLES[command]
    result = ready(run, command, request)(*command.split(), *arguments, "--output", "json")
    assert result.code == 0, result.err
    assert result.out.count("\n") == 1
    document = result.json
    if isinstance(shape, list):
        assert isinstance(document, list)
        assert bool(document) == bool(shape)
        assert all(item.keys() == keys(shape[0]) for item in document)
    elif shape is not None:
        assert isinstance(document, dict)
        assert document.keys() == keys(shape)


@pytest.mark.parametrize("name", commands())
def test_help_has_text_for_every_option(run: Run, name: str) -> None:
    command = commands()[name]
    assert command.help
    assert [parameter.name for parameter in command.params if not parameter.help] == []
    result = run(*name.split(), "--help")
    assert result.code == 0
    assert all(option in result.out for parameter in command.params for option in parameter.opts if option.startswith("--"))


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - SILENT))
def test_whatever_prints_data_takes_output(name: str) -> None:
    assert "--output" in {option for parameter in commands()[name].params for option in parameter.opts}


def test_tree_as_json(lake: Run) -> None:
    document = lake("repo", "tree", "me/ocean", "--output", "json").json
    assert document["name"] == "me/ocean"
    assert document["children"]["surface"]["children"]["temperature"] == {
        "name": "temperature",
        "shape": [4],
        "dtype": "float32",
        "chunks": [4],
        "nbytes": 16,
        "children": {},
    }
    assert lake("repo", "tree", "me/ocean", "--depth", "1", "-o", "json").json["children"]["surface"]["children"] == {}
    assert lake("repo", "tree", "me/ocean", "--path", "surface", "-o", "json").json["name"] == "me/ocean/surface"


def test_the_log_goes_back_from_a_ref(lake: Run) -> None:
    newest, first = lake("repo", "log", "me/ocean", "-o", "json").json
    assert newest["parent"] == first["id"]
    assert [commit["id"] for commit in lake("repo", "log", "me/ocean", "--ref", first["id"], "-o", "json").json] == [first["id"]]


def test_other_peoples_text_is_neither_markup_nor_obeyed(lake: Run) -> None:
    assert "Ice [/bold] :ice:" in lake("repo", "list", "me").out
    assert "Ice [/bold] :ice:" in lake("repo", "show", "me/ocean").out
    assert "Four [/red] temperatures�[2J" in lake("repo", "log", "me/ocean").out


def test_metadata_is_json_or_text(lake: Run) -> None:
    changed = lake(
        "repo", "modify", "me/ocean", "--add-metadata", "levels=[1, 2]", "--add-metadata", 'version="1.10"', "-o", "json"
    )
    assert changed.json["metadata"] == {"ocean": "arctic", "levels": [1, 2], "version": "1.10"}
    assert lake("repo", "list", "me", "--filter", "levels=[1,2]", "-o", "json").json[0]["name"] == "ocean"
    assert lake("repo", "list", "me", "--filter", "ocean=antarctic", "-o", "json").json == []
    assert lake("repo", "modify", "me/ocean", "--remove-metadata", "levels", "-o", "json").json["metadata"].keys() == {
        "ocean",
        "version",
    }


def test_platform_options_have_the_types_of_their_struct(run: Run) -> None:
    options = ["--option", "region=1", "--option", "use_ssl=false", "--option", "port=80"]
    assert run("bucket", "create", "me", "shelf", "shelf://good", *options, "-o", "json").json["extra_config"] == {
        "region": "1",
        "use_ssl": False,
        "port": 80,
    }
    changed = run("bucket", "modify", "me", "shelf", "--option", "use_ssl=0", "-o", "json")
    assert changed.json["extra_config"] == {"use_ssl": False, "port": 443}
    moved = run("bucket", "modify", "me", "shelf", "--uri", "shelf://other/team", "-o", "json").json
    assert (moved["name"], moved["prefix"], moved["extra_config"]) == ("other", "team", {"use_ssl": False, "port": 443})
    refused = run("bucket", "modify", "me", "shelf", "--option", "port=eighty")
    assert (refused.code, refused.out) == (1, "")
    assert "'port' must be a whole number" in refused.err


def test_a_probe_is_a_checklist_and_its_exit_code_the_answer(run: Run) -> None:
    assert run("bucket", "create", "me", "bad", "shelf://shut").code == 0
    result = run("bucket", "probe", "me", "bad")
    assert result.code == 1
    assert result.err == ""
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines[:4] == ["shelf://shut", "yes  reachable", "no   readable", "no   writable"]
    assert lines[-2:] == ["problem: reading was refused: mend auth_config", "note: it stands in the corner"]
    document = run("bucket", "probe", "me", "bad", "--output", "json")
    assert (document.code, document.json["writable"]) == (1, False)


def test_the_default_bucket_is_fit_for_repos(run: Run) -> None:
    report = run("bucket", "probe", "me", "local", "--output", "json")
    assert report.code == 0
    assert report.json["writable"]
    assert report.json["problems"] == []


def test_plugins_are_listed_with_their_state(run: Run) -> None:
    found = {plugin["name"]: plugin for plugin in run("plugins", "list", "-o", "json").json}
    assert {name: plugin["state"] for name, plugin in found.items()} == {
        "anonymous": "ok",
        "broken": "broken",
        "icechunk": "ok",
        "idle": "disabled",
        "local": "ok",
        "shelf": "ok",
        "v1-repo": "ok",
    }
    assert "its shelves are empty" in found["broken"]["error"]
    assert found["shelf"]["provides"] == {"storage platform": ["shelf"], "auth method": ["key"]}
    assert "broken: RuntimeError: its shelves are empty" in run("plugins", "list").out
    assert run("plugins", "show", "broken").code == 0


def test_a_plugin_is_shown_with_the_options_of_its_backends(run: Run) -> None:
    document = run("plugins", "show", "shelf", "-o", "json").json
    assert document.keys() == {"plugin", "backends"}
    platform, method = document["backends"]
    assert platform.keys() == method.keys() == keys(BackendDescription)
    assert platform["schemes"] == ["shelf"]
    assert method["platforms"] == ["shelf"]
    assert all(option.keys() == keys(OptionField) for option in platform["options"])
    assert [(option["name"], option["type"], option["default"]) for option in platform["options"]] == [
        ("region", "string", None),
        ("use_ssl", "boolean", True),
        ("port", "integer", 443),
    ]
    assert [(option["name"], option["required"], option["secret"]) for option in method["options"]] == [
        ("owner", True, False),
        ("passphrase", True, True),
        ("second", False, True),
    ]
    assert run("plugins", "show", "key", "-o", "json").json["plugin"]["name"] == "shelf"
    assert method["options"][1]["help"] == "What opens the shelf."
    assert "What opens the shelf." in run("plugins", "show", "shelf").out


def test_settings(run: Run, uri: str) -> None:
    settings = {setting["name"]: setting for setting in run("config", "list", "-o", "json").json}
    assert settings["service.uri"]["value"] == uri
    assert settings["service.uri"]["variable"] == "ARRAYLAKE_SERVICE__URI"
    assert run("config", "get", "repo.kind").out == "icechunk\n"
    assert run("config", "get", "user.email").out == "\n"
    assert run("config", "get", "user.email", "-o", "json").json is None
    assert run("config", "get", "plugins.disabled", "-o", "json").json == []


def test_the_places_of_the_embedded_catalog_are_told(run: Run, tmp_path: Path) -> None:
    with config.set({"data.dir": str(tmp_path)}):
        (tmp_path / "catalog.key").touch()
        places = {place["what"]: place for place in run("config", "path", "-o", "json").json}
        assert places["its key"] == {"what": "its key", "path": f"{tmp_path}/catalog.key", "exists": True}
        assert places["embedded catalog"]["path"] == f"{tmp_path}/catalog.db"
        with config.set({"catalog.key": "elsewhere"}):
            assert "its key" not in {place["what"] for place in run("config", "path", "-o", "json").json}


def test_settings_that_nothing_reads_are_warned_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRAYLAKE_SERVICE__REQUEST_PER_SECOND", "5")
    config.refresh()
    listed = run("config", "list", "-o", "json")
    assert "service.requests_per_second" in {setting["name"] for setting in listed.json}
    assert "warning: unknown setting 'service.request_per_second': did you mean 'service.requests_per_second'?" in listed.err


def test_the_catalog_option_ends_with_the_command(run: Run) -> None:
    from arraylake_core import config

    assert run("org", "list").code == 0
    assert config.get_str("service.uri") is None
