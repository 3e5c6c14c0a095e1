"""Nothing works only because the workspace is editable: all wheels are built, and used in an empty environment of their own."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]

EXAMPLES = ["storage-sftp", "auth-vault", "kind-plain-zarr"]

FIVE_LINES = """
import numpy as np
from arraylake_core import Client

repo = Client().create_repo("me/weather")
repo.root_group.create_array("temperature", data=np.array([281.4, 282.0, 279.9]))
repo.commit("Three days")
print(Client().get_repo("me/weather").root_group["temperature"][:])
"""
TO_XARRAY = "from arraylake_core import Client; Client().get_repo('me/weather').to_xarray()"


def uv(*arguments: str | Path) -> str:
    """Run uv, which lies beside this Python or on the path."""
    beside = Path(sys.executable).with_name("uv")
    program = beside if beside.exists() else shutil.which("uv")
    assert program is not None, "the program `uv` is missing"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of every distribution of the workspace, built from its source distribution."""
    directory = tmp_path_factory.mktemp("wheels")
    uv("build", "--all-packages", "--quiet", "--directory", ROOT, "--out-dir", directory)
    return directory


@pytest.fixture(scope="session")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make an environment with requirements in it, ours from the wheels and the others from the registry."""
    cache = uv("cache", "dir").strip()  # asked for while the home is the user's own, so that nothing is downloaded twice

    def make(*requirements: str) -> Path:
        directory = tmp_path_factory.mktemp("environment")
        uv("venv", "--quiet", "--cache-dir", cache, "--python", sys.executable, directory)
        python = directory / "bin" / "python"
        uv("pip", "install", "--quiet", "--cache-dir", cache, "--python", python, "--find-links", wheels, *requirements)
        return directory / "bin"

    return make


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., "subprocess.CompletedProcess[str]"]]:
    """Run a program in an empty home, with nothing of this workspace or this environment in sight."""
    variables = {"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONUTF8": "1", "COLUMNS": "120"}

    def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False)

    return run


def test_wheels_are_whole(wheels: Path) -> None:
    for project in PROJECTS:
        described = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        stem = f"{described['name'].replace('-', '_')}-{described['version']}"
        assert (wheels / f"{stem}.tar.gz").exists()
        package = next(path.parent for path in project.glob("*/py.typed"))
        with zipfile.ZipFile(wheels / f"{stem}-py3-none-any.whl") as wheel:
            names = set(wheel.namelist())
        ours = {
            path.relative_to(project).as_posix()
            for path in package.rglob("*")
            if path.suffix in {".py", ".mako", ".typed", ".tmpl"}
        }
        assert ours - names == set()
        assert {name.partition("/")[0] for name in names} == {package.name, f"{stem}.dist-info"}
        assert any(name.endswith("/LICENSE") for name in names) or project != ROOT
        assert any("/migrations/versions/" in name for name in names) or project != ROOT


def test_the_five_lines_in_an_empty_environment(
    environment: Callable[..., Path], run: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    bin_directory = environment("arraylake-core[s3,icechunk]")
    done = run(bin_directory / "python", "-W", "error", "-c", FIVE_LINES)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == "[281.4 282.  279.9]\n"
    refused = run(bin_directory / "python", "-c", TO_XARRAY)
    assert refused.stderr.endswith('to_xarray needs xarray: pip install "arraylake-core[xarray]"\n')

    installed = run(
        bin_directory / "python",
        "-c",
        "import arraylake_core, arraylake_s3; print(arraylake_core.__file__, arraylake_s3.__file__)",
    )
    assert str(ROOT) not in installed.stdout
    assert installed.stdout.count(str(bin_directory.parent)) == 2

    listed = run(bin_directory / "arraylake-core", "plugins", "list", "--output", "json")
    assert listed.returncode == 0, listed.stderr
    for plugin in ("anonymous", "hmac", "icechunk", "local", "s3"):
        assert f'"{plugin}"' in listed.stdout
    assert run(bin_directory / "arraylake-core", "repo", "log", "me/weather").stdout.count("Three days") == 1
    assert list(tmp_path.rglob("catalog.db"))


def test_bare_the_core_says_which_extra_to_install(
    environment: Callable[..., Path], run: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    bin_directory = environment("arraylake-core")
    done = run(bin_directory / "python", "-c", "from arraylake_core import Client\nClient().create_repo('me/weather')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("arraylake_core.errors.PluginNotFoundError")
    assert 'pip install "arraylake-core[icechunk]"' in done.stderr.splitlines()[-1]
    assert run(bin_directory / "arraylake-core", "plugins", "list").returncode == 0
    assert run(bin_directory / "arraylake-core", "repo", "list", "me").returncode == 0


def test_plugins_of_strangers_pass_their_tests_from_their_wheels(
    wheels: Path, environment: Callable[..., Path], run: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    for example in EXAMPLES:
        uv("build", "--quiet", "--wheel", "--directory", ROOT / "examples" / example, "--out-dir", wheels)
    names = ["arraylake-sftp", "arraylake-vault", "arraylake-plain-zarr"]
    bin_directory = environment(*(f"{name}[test]" for name in names))
    listed = run(bin_directory / "arraylake-core", "plugins", "list", "--output", "json")
    assert listed.returncode == 0, listed.stderr
    assert [name for name in names if f'"{name}"' not in listed.stdout] == []
    assert "broken" not in listed.stdout
    for example in EXAMPLES:
        # A copy of the tests and their settings, and nothing of the package: that comes from the wheel.
        copied = tmp_path / example
        copied.mkdir()
        shutil.copy(ROOT / "examples" / example / "pyproject.toml", copied)
        shutil.copytree(ROOT / "examples" / example / "tests", copied / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        tested = run(
            bin_directory / "python",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            copied,
            "-c",
            copied / "pyproject.toml",
            copied,
        )
        assert tested.returncode == 0, tested.stdout[-4000:] + tested.stderr


def test_the_drop_in_runs_the_seeds_first_example_and_refuses_to_shadow_the_official_client(
    wheels: Path, environment: Callable[[str], Path], run: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    bin_directory = environment("arraylake-drop-in")
    assert run(bin_directory / "arraylake", "org", "create", "my-org").returncode == 0
    assert run(bin_directory / "arraylake", "bucket", "create", "my-org", "disk", f"file://{tmp_path}/lake").returncode == 0
    example = """
from arraylake import Client
client = Client()
repo = client.get_repo("my-org/my-repo")
"""
    python = bin_directory / "python"
    create = "from arraylake import Client; Client().create_repo('my-org/my-repo')"
    for script in (create, example):
        done = run(python, "-c", script)
        assert (done.returncode, done.stderr) == (0, "")

    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "arraylake==1.7.0")
    ours = ("--reinstall-package", "arraylake-drop-in", "arraylake-drop-in")
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--find-links", wheels, *ours)
    refused = run(python, "-c", example)
    assert refused.stderr.splitlines()[-1].startswith("ImportError: the official client (arraylake 1.7.0) and arraylake-drop-in")
    refused = run(bin_directory / "arraylake", "org", "list")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "pip uninstall -y arraylake arraylake-drop-in" in refused.stderr

    uv("pip", "uninstall", "--quiet", "--python", python, "arraylake", "arraylake-drop-in")
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--find-links", wheels, "arraylake-drop-in")
    assert run(bin_directory / "arraylake", "org", "list").returncode == 0
