"""What `plugins new` writes passes its kit as written, installed as a distribution; what it can't write it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.servers.distribution import described, path_with


@pytest.mark.parametrize(("family", "name"), [("storage", "shelf-two"), ("auth", "keyring"), ("repo-kind", "plain")])
def test_what_it_writes_passes_as_written(run: Run, tmp_path: Path, family: str, name: str) -> None:
    done = run("plugins", "new", family, name, "--directory", str(tmp_path))
    assert done.code == 0, done.err
    project = tmp_path / f"arraylake-{name}"
    environment = os.environ | {"PYTHONPATH": path_with(project, described(project, tmp_path / "site"))}
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error::DeprecationWarning"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
    shown = subprocess.run(
        [Path(sys.executable).with_name("arraylake-core"), "plugins", "show", name],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"arraylake-{name} 0.1.0" in shown.stdout
    assert "ok" in shown.stdout


@pytest.mark.parametrize("name", ["", "../up", "Two", "a_b", "1st", "x" * 41, "a--b", "a\n", "-c"])
def test_a_name_that_is_none_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    done = run("plugins", "new", "--directory", str(tmp_path / "new"), "storage", "--", name)
    assert done.code == 1
    assert "is no name for a plugin" in done.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("family", "name", "whose"),
    [
        ("storage", "core", "arraylake-core is a distribution of this project"),
        ("auth", "gcs", "arraylake-gcs is a distribution of this project"),
        ("storage", "file", "it is the storage platform of arraylake-local"),
        ("auth", "hmac", "arraylake-s3"),
        ("repo-kind", "v1", "arraylake-v1"),
        ("storage", "shelf", "shelf is installed"),
    ],
)
def test_a_name_that_is_taken_is_refused(run: Run, tmp_path: Path, family: str, name: str, whose: str) -> None:
    done = run("plugins", "new", family, name, "--directory", str(tmp_path))
    assert done.code == 1
    assert "is taken" in done.err
    assert whose in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "arraylake-attic").mkdir()
    done = run("plugins", "new", "storage", "attic", "--directory", str(tmp_path))
    assert done.code == 1
    assert "is there already" in done.err
    assert list((tmp_path / "arraylake-attic").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["local", "--bucket", "memory://check/here"], "test_a_listing_is_never_stale"),
        (["v1", "--bucket", "memory://check/here"], "test_a_read_only_repo_refuses_writes"),
        (["anonymous", "--auth", "anonymous"], "test_p27_it_does_not_block_the_loop"),
    ],
)
def test_the_quick_part_of_the_kit_runs_on_what_is_installed(words: list[str], passed: str) -> None:
    program = Path(sys.executable).with_name("arraylake-core")
    done = subprocess.run([program, "plugins", "check", *words, "-o", "json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"test":"{passed}","outcome":"passed"' in done.stdout.replace(" ", "")


def test_a_check_leaves_nothing_in_the_bucket(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    program = Path(sys.executable).with_name("arraylake-core")
    subprocess.run([program, "plugins", "check", "local", "--bucket", f"file://{tmp_path}/lake"], capture_output=True, check=True)
    assert list((tmp_path / "lake").iterdir()) == []


def test_what_can_not_be_checked_says_why(run: Run) -> None:
    assert "its shelves are empty" in run("plugins", "check", "broken").err
    assert "nothing of shelf was checked" in run("plugins", "check", "key").err


def test_a_platform_that_is_wrong_fails_the_check(run: Run) -> None:
    done = run("plugins", "check", "shelf", "--bucket", "shelf://good/place")
    assert done.code == 1
    assert "failed" in done.out
