"""The README says what is true: its code runs, its commands work, and its tables are those of the code."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from arraylake_core.config import SETTINGS
from tests.servers.seaweedfs import SeaweedFS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Return the text below a heading."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_column(title: str) -> list[str]:
    """Return what is in backticks in the first column of a section's table."""
    return re.findall(r"^\| `([^`]+)` \|", section(title), re.MULTILINE)


def test_the_code_and_the_commands_run_in_an_empty_home(tmp_path: Path, seaweedfs: SeaweedFS, bucket: str) -> None:
    key, secret = seaweedfs.admin
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ARRAYLAKE_"))}
    environment = kept | {"HOME": str(tmp_path), "PYTHONUTF8": "1", "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    script = tmp_path / "readme.py"
    script.write_text(
        "\n".join(blocks("python")).replace("https://s3.example.org", seaweedfs.endpoint).replace("my-bucket", bucket)
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("<xarray.Dataset>") == 2
    assert "True True []" in done.stdout
    assert secret not in done.stdout

    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert commands
    program = Path(sys.executable).with_name("arraylake-core")
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "arraylake-core"
        done = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert done.stdout
        assert secret not in done.stdout + done.stderr


def test_a_service_in_two_commands_serves_the_five_lines(tmp_path: Path) -> None:
    create, serve = blocks("sh")[2].strip().splitlines()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(tmp_path), "PATH": programs}
    made = subprocess.run(
        shlex.split(create), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    [token] = re.findall(r"ema_\w+", made.stdout)
    with (tmp_path / "log").open("w") as log:
        words = [*shlex.split(serve), "--port", "0"]
        service = subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert service.stdout is not None
        uri = service.stdout.readline().strip().removeprefix("Listening on ")
        [five] = [block for block in blocks("python") if "Three days" in block and 'create_repo("me/weather")' in block]
        bucket = f"Client().create_bucket_config(org='acme', nickname='disk', uri='file://{tmp_path}/lake')\n"
        (tmp_path / "lake").mkdir()
        head, body = five.split("\n\n", 1)
        script = f"{head}\n{bucket}{body}".replace("me/weather", "acme/weather")
        environment |= {"ARRAYLAKE_SERVICE__URI": uri, "ARRAYLAKE_TOKEN": token}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        assert done.stdout.count("<xarray.Dataset>") == 1
    finally:
        service.terminate()
        service.communicate(timeout=30)


def test_the_commands_on_the_first_screen_are_those_of_ci() -> None:
    quickstart, tests = (block.strip() for block in blocks("sh")[:2])
    setup = "python3 -m venv .uv && .uv/bin/pip install -q uv && "
    assert quickstart == f"{setup}.uv/bin/uv run examples/quickstart.py"
    assert tests.startswith(setup)
    assert tests.splitlines()[-1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_extra_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(first_column("What to install")) == sorted(project["optional-dependencies"])


def test_every_setting_is_listed_as_it_is() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", section("Settings"), re.MULTILINE))
    defaults = {setting.name: f"`{setting.default}`" if setting.default else "" for setting in SETTINGS}
    assert rows == {setting.name: f"{defaults[setting.name]} | {setting.help}" for setting in SETTINGS}


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_test_that_it_names_exists() -> None:
    sources = "".join(
        path.read_text() for place in ("arraylake_core", "plugins", "tests") for path in (ROOT / place).rglob("*.py")
    )
    named = re.findall(r"`(test_\w+)…?`", section("What is safe, and how that is proved"))
    assert len(named) > 5
    assert [name for name in named if f"def {name}" not in sources] == []
