"""Secrets go in by a side door, and never come out (P10)."""

import getpass
import io
import sys
from pathlib import Path

import pytest

from arraylake_core import Client, config
from arraylake_core.cli import main
from arraylake_core.secret import Secret

from .conftest import Result, Run

CANARY = "canary-7f3Qz9Lw2"
CREATE = ("bucket", "create", "me", "shelf", "shelf://good", "--auth", "key", "--auth-option", "owner=ada")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def create(run: Run, secret: str, *more: str) -> Result:
    return run(*CREATE, "--auth-secret", secret, *more)


def stored(uri: str, nickname: str = "shelf") -> object:
    with Client(uri) as client:
        passphrase = client.get_bucket_config(org="me", nickname=nickname).auth_config["passphrase"]
    assert isinstance(passphrase, Secret)
    return passphrase.reveal()


def test_p10_no_command_prints_a_secret(run: Run, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF_KEY", CANARY)
    said = [create(run, "passphrase=env:SHELF_KEY", "--output", "json")]
    assert said[0].json["auth_config"] == {"method": "key", "owner": "ada", "passphrase": "***"}
    new_key = ["--auth", "key", "--auth-option", "owner=bob", "--auth-secret", "passphrase=env:SHELF_KEY"]
    for output in ("table", "json"):
        for command in (["list", "me"], ["show", "me", "shelf"], ["set-default", "me", "shelf"], ["probe", "me", "shelf"]):
            said += [run("bucket", *command, "--output", output)]
        said += [run("bucket", "modify", "me", "shelf", *new_key, "--output", output)]
    assert "***" in run("bucket", "show", "me", "shelf").out
    assert all(result.code == 0 for result in said)
    said.append(create(run, "passphrase=env:SHELF_KEY"))
    assert said[-1].code == 1
    assert CANARY not in repr(said)
    assert stored(uri) == CANARY


def test_p10_a_secret_is_read_from_a_file_or_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    key = tmp_path / "key"
    key.write_text(CANARY + "\n")
    from_file = create(run, f"passphrase=@{key}")
    assert from_file.code == 0, from_file.err
    asked: list[str] = []

    def ask(prompt: str, stream: object = None) -> str:
        asked.append(prompt)
        return CANARY

    monkeypatch.setattr(getpass, "getpass", ask)
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(SystemExit, match="0"):
        main(["--catalog", uri, "bucket", "create", "me", "asked", "shelf://other", *CREATE[5:], "--auth-secret", "passphrase"])
    assert len(asked) == 1
    assert stored(uri) == stored(uri, "asked") == CANARY
    assert CANARY not in repr((from_file, capsys.readouterr()))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--auth-option", f"passphrase={CANARY}"],
        ["--auth-option", CANARY],
        ["--auth-option", f"{CANARY}=="],
        ["--auth-secret", f"passphrase={CANARY}"],
        ["--auth-secret", CANARY],
        ["--auth-secret", f"{CANARY}="],
        ["--auth-secret", "passphrase"],
        ["--auth-secret", "passphrase=env:UNHEARD_OF"],
        ["--auth-secret", "passphrase=@/nowhere/key"],
        ["--auth-secret", "owner=env:HOME"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_p10_a_secret_on_the_command_line_is_refused_and_not_repeated(run: Run, arguments: list[str]) -> None:
    result = run(*CREATE, *arguments)
    assert (result.code, result.out) == (2, "")
    assert CANARY not in result.err
    assert "shelf" not in run("bucket", "list", "me").out


def test_the_refusal_says_how_to_do_it_right(run: Run) -> None:
    said = " ".join(run(*CREATE, "--auth-option", "passphrase=x").err.replace("│", " ").split())
    assert "--auth-secret passphrase=env:VARIABLE" in said
    assert "--auth-secret passphrase=@FILE" in said


@pytest.mark.parametrize("debug", ["", "1"])
def test_p10_an_error_that_repeats_a_secret_is_shown_without_it(
    run: Run, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], debug: str
) -> None:
    def fail(client: Client, **arguments: object) -> None:
        raise RuntimeError(f"refused: {arguments['auth_config']['passphrase'].reveal()}")

    monkeypatch.setattr(Client, "create_bucket_config", fail)
    monkeypatch.setenv("SHELF_KEY", CANARY)
    monkeypatch.setenv("ARRAYLAKE_DEBUG", debug)
    with pytest.raises(SystemExit, match="1"):
        main(["--catalog", uri, *CREATE, "--auth-secret", "passphrase=env:SHELF_KEY"])
    out, err = capsys.readouterr()
    assert ("refused: ***" in err) == bool(debug)
    assert CANARY not in out + err


def test_p10_secret_settings_are_stars(run: Run) -> None:
    with config.set({"catalog.key": CANARY}):
        said = [run("config", *command) for command in (["list"], ["list", "-o", "json"], ["get", "catalog.key"])]
    assert said[-1].out == "***\n"
    assert CANARY not in repr(said)
