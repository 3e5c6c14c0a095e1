"""The command line as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arraylake_core.cli import main

HEAVY = ("sqlalchemy", "alembic", "icechunk", "zarr", "numpy", "xarray", "fsspec", "rich", "pluggy")
SCRIPT = Path(sys.executable).with_name("arraylake-core")


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "arraylake_core.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, timeout=60
    )


def test_the_script_is_installed() -> None:
    result = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("arraylake-core ")


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, arraylake_core.cli.program; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip() == "[]"


def test_from_nothing_to_a_repo(tmp_path: Path) -> None:
    name = "me/" + "ocean-" * 15
    uri = f"sqlite:///{tmp_path / 'catalog.db'}"
    created = run("--catalog", uri, "repo", "create", name, "--output", "json")
    assert (created.returncode, created.stderr) == (0, "")
    assert json.loads(created.stdout)["kind"] == "icechunk"
    # Piped, nothing is cut, wrapped or coloured, however narrow the terminal says it is.
    listed = run("repo", "list", "me", ARRAYLAKE_SERVICE__URI=uri, COLUMNS="40")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert name in listed.stdout
    assert "\x1b" not in listed.stdout
    refused = run("--catalog", uri, "repo", "delete", name)
    assert (refused.returncode, refused.stdout.strip()) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in refused.stderr
    assert run("--catalog", uri, "repo", "tree", name, PYTHONIOENCODING="ascii").returncode == 0


@pytest.mark.parametrize(("setting", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)])
def test_no_color_is_respected(setting: dict[str, str], coloured: bool) -> None:
    result = run("plugins", "show", "hmac", TERM="xterm-256color", **setting)
    assert result.returncode == 0
    assert ("\x1b[3" in result.stdout) <= coloured


def test_a_disabled_plugin_is_listed_as_such() -> None:
    result = run("plugins", "list", "--output", "json", ARRAYLAKE_PLUGINS__DISABLED='["hmac"]')
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(result.stdout)}
    assert states["hmac"] == "disabled"


def test_usage_errors_end_with_2() -> None:
    result = run("repo", "unheard-of")
    assert (result.returncode, result.stdout) == (2, "")


def test_the_package_runs_as_a_module() -> None:
    result = subprocess.run([sys.executable, "-m", "arraylake_core", "--version"], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.startswith("arraylake-core ")) == (0, True)


def test_an_interrupt_at_the_start_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arraylake_core.cli.program.run", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 130


def test_completion_is_offered() -> None:
    shown = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.returncode == 0
    assert "arraylake-core" in shown.stdout.lower() or "_ARRAYLAKE_CORE_COMPLETE" in shown.stdout
