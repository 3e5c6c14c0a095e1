"""The examples run as a user runs them: from the command line, in a home of their own, and with every warning an error."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.seaweedfs import SeaweedFS

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMIT = re.compile(r"\b[0-9A-Z]{20}\b")


def run(home: Path, name: str, *arguments: str, **variables: str) -> str:
    """Run an example in a home, and return what it printed; nothing may be on stderr."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ARRAYLAKE_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env=kept | {"HOME": str(home), "PYTHONUTF8": "1", "COLUMNS": "120"} | variables,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def assert_is_a_map(picture: Path) -> None:
    """Check that a picture has red, blue and the grey of the land in it, and a lot of each."""
    from matplotlib import image

    pixels = image.imread(picture)[..., :3]
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 800
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    assert (red - blue > 0.2).mean() > 0.05
    assert (blue - red > 0.2).mean() > 0.05
    assert ((abs(red - 0.8) < 0.01) & (abs(green - 0.8) < 0.01) & (abs(blue - 0.8) < 0.01)).mean() > 0.1


def assert_tells_the_story(printed: str) -> None:
    """Check that the months, the log and the way back in time were shown."""
    assert [line.split()[0] for line in printed.splitlines() if COMMIT.search(line) and line.startswith("  2015")] == [
        "2015-01", "2015-02", "2015-03"
    ]  # fmt: skip
    assert "tos (3, 330, 360) float32" in printed
    assert re.search(r"at the first commit +1 month: 2015-01\n", printed)
    assert re.search(r"at the tag q1 +3 months: 2015-01, 2015-02, 2015-03\n", printed)
    assert re.search(r"now, on main +3 months: 2015-01, 2015-02, 2015-03\n", printed)
    assert "from -7.0 to +7.1 °C" in printed


def test_quickstart_twice(tmp_path: Path) -> None:
    first = run(tmp_path, "quickstart.py")
    assert_tells_the_story(first)
    assert_is_a_map(tmp_path / "ocean-change.png")

    second = run(tmp_path, "quickstart.py")
    assert_tells_the_story(second)
    assert second.count("is there already") == 3
    assert set(COMMIT.findall(second)) == set(COMMIT.findall(first))


def test_quickstart_goes_on_where_it_was_interrupted_and_keeps_what_others_wrote(tmp_path: Path) -> None:
    setup = """
import sys
sys.path.insert(0, sys.argv[1])
import itertools, quickstart
from arraylake_core import Client
repo = Client().create_repo("me/ocean")
repo.root_group.create_array("mine", data=__import__("numpy").arange(3))
repo.commit("My own")
months = list(quickstart.model_months())
quickstart.model_months = lambda: months[:1]
quickstart.store_months(repo)
"""
    script = tmp_path / "setup.py"
    script.write_text(setup)
    run(tmp_path, str(script), str(EXAMPLES))

    printed = run(tmp_path, "quickstart.py")
    assert printed.count("is there already") == 1
    assert "mine (3,) int64" in printed
    assert "My own" in printed
    assert re.search(r"now, on main +3 months", printed)


def test_s3_on_a_bucket(tmp_path: Path, seaweedfs: SeaweedFS, bucket: str) -> None:
    key, secret = seaweedfs.admin
    keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    printed = run(tmp_path, "s3.py", "--bucket", bucket, "--endpoint", seaweedfs.endpoint, **keys)
    assert_tells_the_story(printed)
    assert printed.count("is there already") == 0
    assert re.search(r"safe for concurrent writes +yes", printed)
    assert "secret key ***" in printed
    assert secret not in printed
    assert_is_a_map(tmp_path / "ocean-change-s3.png")


def test_s3_with_a_server_of_its_own(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert_tells_the_story(run(tmp_path, "s3.py", "--local-server", PATH=path))
    assert not list(tmp_path.rglob("catalog.db")), "the user's own catalog knows nothing of a server that is gone"


def test_s3_says_what_it_needs(tmp_path: Path) -> None:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "s3.py")], capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
    )
    assert done.returncode == 2
    assert "--bucket" in done.stderr


def test_async_client(tmp_path: Path) -> None:
    printed = run(tmp_path, "async_client.py")
    for basin, mean in {"atlantic": "15.2", "pacific": "17.1", "indian": "18.4", "arctic": "-0.7"}.items():
        assert re.search(rf"me/{basin} +[0-9A-Z]{{20}}  mean +{re.escape(mean)} °C", printed)
    assert "with the metadata ocean=arctic: me/arctic" in printed
    assert not list(tmp_path.rglob("catalog.db"))


def test_v1_repo_twice(tmp_path: Path) -> None:
    for there in (0, 3):
        printed = run(tmp_path, "v1_repo.py")
        assert printed.count("is there already") == there
        assert "conflict in /nemo/tos" in printed
        assert "on review: January from -2.16 °C on (Ana's), comment 'reviewed by Ben' (Ben's)" in printed
        assert "/nemo/tos: metadata, 2 chunks" in printed
        assert re.search(r"at the first commit +1 month: 2015-01\n", printed)
        assert re.search(r"at the tag q1 +3 months: 2015-01, 2015-02, 2015-03\n", printed)
        assert "118,800 values, the same as those stored" in printed
        assert "all is well" in printed


def test_dask_writers(tmp_path: Path) -> None:
    assert "3,110,400 values by 2 processes, 1 commit, 0 wrong values\n" in run(tmp_path, "dask_writers.py")


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_example_is_tested_here(name: str) -> None:
    assert f'"{name}"' in Path(__file__).read_text()
