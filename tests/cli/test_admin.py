"""What operators do with a catalog's database, and the commands about tokens, members, grants and the audit log."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from arraylake_core import Client, config
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.keys import Key
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.people import Principal, Role
from tests.cli.conftest import Run
from tests.servers.postgres import Postgres

ADA, BO = "ada@example.org", "bo@example.org"


def authenticate(uri: str, token: str) -> Principal | None:
    async def asked() -> Principal | None:
        catalog = SqlCatalog(file_home(Path(uri.removeprefix("sqlite:///"))))
        try:
            return await catalog.authenticate(token)
        finally:
            await catalog.close()

    return asyncio.run(asked())


# Organizations and operators


def test_create_org_prints_the_org_and_a_token_once(run: Run, uri: str) -> None:
    made = run("admin", "create-org", "acme", "--admin-email", "Ada@Example.org", "--database", uri, "--output", "json")
    assert made.code == 0, made.err
    assert made.err == ""
    assert made.out.count("\n") == 1
    document = made.json
    assert isinstance(document, dict)
    assert set(document) == {"org", "token"}
    assert document["org"] == "acme"
    principal = authenticate(uri, document["token"])
    assert principal is not None
    assert (principal.email, principal.roles, principal.operator) == (ADA, {"acme": Role.Admin}, False)
    assert principal.expiration is None
    again = run("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri, "--output", "json")
    assert (again.code, again.out) == (1, "")
    assert "--new-token" in again.err
    (entry,) = run("org", "audit", "acme", "--output", "json").json["items"]
    assert (entry["principal"], entry["action"]) == ("arraylake-core admin", "create_org")
    assert document["token"] not in Path(uri.removeprefix("sqlite:///")).read_bytes().decode("latin1")


def test_create_org_as_a_table_says_the_token_on_standard_output_only(run: Run, uri: str) -> None:
    made = run("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri)
    org, token = made.out.splitlines()
    assert org == "org: acme"
    assert authenticate(uri, token.removeprefix("token: ")) is not None
    assert "ema_" not in made.err
    assert "this once" in made.err


def test_another_token_for_an_org(run: Run, uri: str) -> None:
    first = run("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri, "--output", "json").json
    options = ("--admin-email", BO, "--database", uri, "--new-token", "--expires-days", "2", "--output", "json")
    second = run("admin", "create-org", "acme", *options).json
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    for document, email in ((first, ADA), (second, BO)):
        principal = authenticate(uri, document["token"])
        assert principal is not None
        assert (principal.email, principal.role_in("acme")) == (email, Role.Admin)
        assert (principal.expiration is None) == (email == ADA)


def test_what_create_org_refuses_leaves_nothing(run: Run, uri: str) -> None:
    for options in (
        ("acme", "--admin-email", "ada"),
        ("../acme", "--admin-email", ADA),
        ("acme", "--admin-email", ADA, "--expires-days", "1e12"),
        ("acme", "--admin-email", ADA, "--expires-days", "nan"),
    ):
        refused = run("admin", "create-org", *options, "--database", uri)
        assert refused.code in (1, 2), refused
        assert "unexpected" not in refused.err
        assert refused.out == ""
    assert run("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri).code == 0


@pytest.mark.parametrize("database", ["memory://", "https://lake.example", "catalog.db", "postgresql://", "mysql://x/y"])
def test_a_database_is_one(run: Run, database: str) -> None:
    refused = run("admin", "create-org", "acme", "--admin-email", ADA, "--database", database)
    assert refused.code == 1
    assert "unexpected" not in refused.err


def test_the_database_comes_from_the_setting(run: Run, uri: str) -> None:
    assert "service.database" in run("admin", "migrate").err
    with config.set({"service.database": uri}):
        assert run("admin", "create-org", "acme", "--admin-email", ADA).code == 0
        shown = run("config", "list", "--output", "json").json
    assert isinstance(shown, list)
    assert {setting["name"]: setting["value"] for setting in shown}["service.database"] == "***"


def test_p10_a_password_in_the_database_is_not_told(run: Run) -> None:
    for command in (["migrate"], ["create-org", "acme", "--admin-email", ADA], ["rotate-key"], ["backup", "x.zip"]):
        refused = run("admin", *command, "--database", "postgresql://lake:CANARY-1@127.0.0.1:1/lake")
        assert refused.code == 1
        assert "CANARY" not in refused.err + refused.out
        assert "unexpected" not in refused.err


def test_create_operator(run: Run, uri: str) -> None:
    made = run("admin", "create-operator", "--email", "Ada@example.org", "--database", uri, "--output", "json").json
    assert isinstance(made, dict)
    assert set(made) == {"email", "token"}
    principal = authenticate(uri, made["token"])
    assert principal is not None
    assert principal.operator
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        ((action, target),) = connection.execute("SELECT action, target FROM audit").fetchall()
    assert action == "create_operator"
    assert target.startswith("ada@example.org is operator, by the token ")
    assert made["token"] not in target
    assert run("admin", "create-operator", "--email", "ada", "--database", uri).code == 1


# Keys, migration, backup


def test_migrate_makes_and_keeps_a_catalog(run: Run, uri: str) -> None:
    for _ in range(2):
        done = run("admin", "migrate", "--database", uri)
        assert (done.code, done.out) == (0, "")
        assert "revision" in done.err


def test_rotate_key(run: Run, uri: str) -> None:
    made = run("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri, "--output", "json").json
    key = Path(uri.removeprefix("sqlite:///")).with_suffix(".key")
    before = key.read_text()
    done = run("admin", "rotate-key", "--database", uri)
    assert (done.code, done.out) == (0, "")
    assert "1 secret" in done.err
    assert str(key) in done.err
    assert key.read_text().endswith(before)
    assert before.strip() not in done.err
    assert isinstance(made, dict)
    assert authenticate(uri, made["token"]) is not None


def test_backup_and_restore(lake: Run, uri: str, tmp_path: Path) -> None:
    assert lake("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri).code == 0
    saved, second = tmp_path / "saved.zip", tmp_path / "second" / "catalog.db"
    done = lake("admin", "backup", str(saved), "--database", uri, "--output", "json")
    assert done.code == 0, done.err
    assert isinstance(done.json, dict)
    assert {table["name"]: table["rows"] for table in done.json["tables"]}["repos"] == 1
    assert "key is NOT in it" in done.err
    assert str(tmp_path / "catalog.key") in done.err
    assert lake("admin", "backup", str(saved), "--database", uri).code == 1
    refused = lake("admin", "restore", str(saved), "--database", f"sqlite:///{second}")
    assert refused.code == 1
    assert "key" in refused.err
    assert not second.exists()
    second.parent.mkdir()
    shutil.copy(tmp_path / "catalog.key", second.with_suffix(".key"))
    restored = lake("admin", "restore", str(saved), "--database", f"sqlite:///{second}")
    assert restored.code == 0, restored.err
    assert "repos" in restored.out
    assert lake("admin", "restore", str(saved), "--database", f"sqlite:///{second}").code == 1
    with Client(f"sqlite:///{second}") as client:
        assert "surface" in client.get_repo("me/ocean").root_group


def test_restore_with_the_key_in_the_setting(run: Run, uri: str, tmp_path: Path) -> None:
    with config.set({"catalog.key": Key.generate().text()}):
        assert run("admin", "create-org", "acme", "--admin-email", ADA, "--database", uri).code == 0
        saved = run("admin", "backup", str(tmp_path / "saved.zip"), "--database", uri)
        assert "ARRAYLAKE_CATALOG__KEY" in saved.err
        assert run("admin", "restore", str(tmp_path / "saved.zip"), "--database", f"sqlite:///{tmp_path}/second.db").code == 0
    assert not (tmp_path / "second.key").exists()


def test_a_backup_that_can_t_be_reached_is_named(run: Run, uri: str, tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        refused = run("admin", command, str(tmp_path / "nowhere" / "saved.zip"), "--database", uri)
        assert refused.code == 1
        assert f"the backup at {tmp_path}/nowhere/saved.zip can't be used: No such file or directory" in refused.err


def test_restore_says_what_is_wrong_with_a_file(run: Run, uri: str, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    for name, message in (("text.zip", "no backup"), ("missing.zip", "missing.zip"), (".", "")):
        refused = run("admin", "restore", str(tmp_path / name), "--database", uri)
        assert refused.code == 1
        assert message in refused.err
        assert "unexpected" not in refused.err


# Tokens, members, grants, audit


def test_tokens(lake: Run, uri: str) -> None:
    assert lake("org", "set-member", "me", ADA, "writer").code == 0
    nobody = lake("token", "create", "nightly", "--org", "me")
    assert nobody.code == 1
    assert "e-mail" in nobody.err
    made = lake("token", "create", "nightly", "--org", "me", "--email", ADA, "--expires-days", "7", "--output", "json").json
    assert isinstance(made, dict)
    assert set(made) == {"id", "token"}
    options = ("--org", "me", "--email", ADA, "--role", "reader", "--repo", "ocean", "--repo", "me/ocean")
    one = lake("token", "create", "one repo", *options)
    assert "ema_" in one.out
    assert "ema_" not in one.err
    listed = lake("token", "list", "--org", "me", "--output", "json").json
    assert isinstance(listed, list)
    assert [(token["name"], token["repos"]) for token in listed] == [("one repo", ["ocean"]), ("nightly", None)]
    assert not any("token" in token for token in listed)
    shown = lake("token", "list", "--org", "me").out
    assert "nightly" in shown
    assert "ema_" not in shown
    wrong = lake("token", "revoke", made["token"], "--org", "me")
    assert wrong.code == 1
    assert made["token"] not in wrong.err
    assert lake("token", "revoke", made["id"], "--org", "me").code == 0
    assert authenticate(uri, made["token"]) is None
    assert lake("token", "revoke", "unknown", "--org", "me").code == 1
    for refused in (("x", "--org", "me", "--email", ADA, "--role", "admin"), ("x", "--org", "nobody", "--email", ADA)):
        assert lake("token", "create", *refused).code == 1
    assert lake("token", "create", "x", "--org", "me", "--role", "owner").code == 2


def test_members(run: Run) -> None:
    assert run("org", "set-member", "me", "Ada@Example.org", "admin").code == 0
    assert run("org", "set-member", "me", BO, "none").code == 0
    listed = run("org", "members", "me", "--output", "json").json
    assert isinstance(listed, list)
    assert [(member["email"], member["role"]) for member in listed] == [(ADA, "admin"), (BO, None)]
    assert ADA in run("org", "members", "me").out
    last = run("org", "remove-member", "me", ADA)
    assert last.code == 1
    assert "last admin" in last.err
    assert run("org", "remove-member", "me", "BO@example.org").code == 0
    assert run("org", "remove-member", "me", BO).code == 1
    assert run("org", "set-member", "me", BO, "owner").code == 2


def test_grants(lake: Run) -> None:
    made = lake("repo", "grant", "me/ocean", BO, "writer", "--output", "json").json
    assert isinstance(made, dict)
    assert (made["email"], made["repo"], made["role"]) == (BO, "me/ocean", "writer")
    assert BO in lake("repo", "grants", "me/ocean").out
    assert lake("repo", "grant", "me/ocean", BO, "none").code == 2
    assert lake("repo", "grant", "me/lake", BO, "reader").code == 1
    assert lake("repo", "revoke-grant", "me/ocean", BO).code == 0
    gone = lake("repo", "revoke-grant", "me/ocean", BO)
    assert gone.code == 1
    assert BO in gone.err


def test_the_audit_log(run: Run, uri: str) -> None:
    async def add() -> None:
        catalog = SqlCatalog(file_home(Path(uri.removeprefix("sqlite:///"))))
        principal = Principal(id="p" * 36, user_id="p" * 36, email=ADA)
        for number in range(3):
            await catalog.add_audit(principal, "me", "delete_repo", f"me/repo-{number}\x1b[2J", f"request-{number}")
        await catalog.close()

    run("org", "list")
    asyncio.run(add())
    page = run("org", "audit", "me", "--size", "2", "--output", "json").json
    assert isinstance(page, dict)
    assert (page["total"], [entry["request_id"] for entry in page["items"]]) == (3, ["request-2", "request-1"])
    shown = run("org", "audit", "me", "--page", "2", "--size", "2").out
    assert "me/repo-0" in shown
    assert "\x1b[2J" not in shown


def test_the_real_program_sets_a_database_up(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "arraylake_core.cli",
        "admin",
        "create-org",
        "acme",
        "--admin-email",
        ADA,
        "--output",
        "json",
    ]
    environment = os.environ | {"ARRAYLAKE_SERVICE__DATABASE": f"sqlite:///{tmp_path}/new/lake.db"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["org"] == "acme"
    assert {found.name for found in (tmp_path / "new").iterdir()} >= {"lake.db", "lake.key"}


# PostgreSQL


@pytest.fixture
def databases(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Two empty databases; keys are kept in a data directory of the test's own."""
    monkeypatch.setenv("ARRAYLAKE_DATA__DIR", str(tmp_path / "data"))
    config.refresh()
    names = postgres.new_database(), postgres.new_database()
    yield postgres.uri(names[0]), postgres.uri(names[1])
    for name in names:
        postgres.drop(name)
    monkeypatch.undo()
    config.refresh()


def test_an_empty_postgresql_database_is_set_up_backed_up_and_restored(
    run: Run, uri: str, databases: tuple[str, str], tmp_path: Path
) -> None:
    first, second = databases
    made = run("admin", "create-org", "acme", "--admin-email", ADA, "--database", first, "--output", "json")
    assert made.code == 0, made.err
    assert isinstance(made.json, dict)
    assert made.json["org"] == "acme"
    assert run("admin", "create-org", "acme", "--admin-email", ADA, "--database", first).code == 1
    assert run("admin", "migrate", "--database", first).code == 0
    assert run("admin", "rotate-key", "--database", first).code == 0
    saved = run("admin", "backup", str(tmp_path / "saved.zip"), "--database", first)
    assert saved.code == 0, saved.err
    (key,) = (tmp_path / "data").glob("*.key")
    assert str(key) in saved.err
    refused = run("admin", "restore", str(tmp_path / "saved.zip"), "--database", second)
    assert refused.code == 1
    missing = refused.err.partition("the key file ")[2].partition(", which")[0]
    shutil.copy(key, missing)
    restored = run("admin", "restore", str(tmp_path / "saved.zip"), "--database", second)
    assert restored.code == 0, restored.err
    assert run("admin", "restore", str(tmp_path / "saved.zip"), "--database", second).code == 1
    # And into SQLite, whose key file lies beside it.
    shutil.copy(key, Path(uri.removeprefix("sqlite:///")).with_suffix(".key"))
    assert run("admin", "restore", str(tmp_path / "saved.zip"), "--database", uri).code == 0
    principal = authenticate(uri, made.json["token"])
    assert principal is not None
    assert principal.role_in("acme") is Role.Admin
