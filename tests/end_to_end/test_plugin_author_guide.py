"""The plugin author's guide leads from nothing to a checked platform: its commands and its code run, in order, in an empty directory."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.servers.distribution import described, path_with

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "plugin-author-guide.md").read_text()


def test_its_commands_and_its_code_run(tmp_path: Path) -> None:
    root = tmp_path / "shelf"
    root.mkdir()
    environment = os.environ | {"HOME": str(tmp_path)}
    code = ""
    blocks = re.findall(r"^```(console|python)\n(.*?)^```$", GUIDE.replace("/tmp/shelf", str(root)), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    for language, block in blocks:
        code += block if language == "python" else ""
        for command in block.splitlines() if language == "console" else ():
            program, *arguments = shlex.split(command.removeprefix("$ "))
            assert program == "arraylake-core"
            words = [Path(sys.executable).with_name(program), *arguments]
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            if arguments[:3] == ["plugins", "new", "storage"]:
                project = tmp_path / "arraylake-shelf"
                environment["PYTHONPATH"] = path_with(project, described(project, tmp_path / "site"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "BucketAddress(name='books', prefix='history')" in done.stdout
    assert "\nTrue\n" in done.stdout
    assert "injected: cat_file" in done.stdout


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", GUIDE) if not link.startswith("https://")]
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
