"""Directories as they are found: links, spaces, missing ones, files in the way, disks that are full or read-only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from arraylake_local import FilePlatform

from arraylake_core.backends import AnonymousCredentials, CredentialProvider, Location
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import StorageError

FILE = FilePlatform()
# Root may do what permissions forbid, unless it gives up that right.
UNPRIVILEGED = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


class Nobody:
    async def mint(self) -> AnonymousCredentials:
        return AnonymousCredentials()


@pytest.fixture
def provider() -> CredentialProvider:
    return CredentialProvider(Nobody())


def place(directory: Path, prefix: str = "place") -> Location:
    return Location(platform="file", bucket=str(directory), prefix=prefix)


async def test_a_probe_of_a_directory_that_is_not_there_makes_none(tmp_path, provider):
    report = await FILE.probe(place(tmp_path / "new" / "with space" / "Bücher", "deep/er"), provider)
    assert report.ok
    assert f"{tmp_path / 'new'} does not exist" in report.notes[-1]
    assert list(tmp_path.iterdir()) == []


async def test_a_probe_keeps_directories_that_were_there(tmp_path, provider):
    (tmp_path / "lake" / "place" / "empty").mkdir(parents=True)
    report = await FILE.probe(place(tmp_path / "lake"), provider)
    assert report.ok
    assert not any("does not exist" in note for note in report.notes)
    assert [path.name for path in (tmp_path / "lake" / "place").iterdir()] == ["empty"]


@pytest.mark.parametrize("prefix", ["place", ""])
async def test_a_file_in_the_way_is_told(tmp_path, provider, prefix):
    (tmp_path / "lake").write_text("not a directory")
    report = await FILE.probe(place(tmp_path / "lake", prefix), provider)
    assert not report.ok
    assert "a part of the path is a file" in report.problems[0]
    assert (tmp_path / "lake").read_text() == "not a directory"


async def test_the_directory_itself_may_be_a_link(tmp_path, provider):
    (tmp_path / "disk").mkdir()
    (tmp_path / "lake").symlink_to(tmp_path / "disk")
    assert FILE.identity(place(tmp_path / "lake")) == FILE.identity(place(tmp_path / "disk"))
    report = await FILE.probe(place(tmp_path / "lake"), provider)
    assert report.ok
    assert report.safe_for_concurrent_writes
    assert "lock" in report.notes[0]


@pytest.mark.parametrize("target", ["outside", "lake/other", "lake", "nowhere"])
@pytest.mark.parametrize("prefix", ["link", "link/below"])
async def test_p13_no_link_below_the_directory_is_followed(tmp_path, provider, target, prefix):
    for name in ("outside", "lake/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "kept").write_text("kept")
    (tmp_path / "lake" / "link").symlink_to(tmp_path / target)
    linked = place(tmp_path / "lake", prefix)
    for use in (FILE.path, FILE.identity, lambda it: FILE.filesystem(it, AnonymousCredentials())):
        with pytest.raises(StorageError, match="symbolic link"):
            use(linked)
    with pytest.raises(StorageError, match="symbolic link"):
        await remove_all(FILE, linked, provider)
    report = await FILE.probe(linked, provider)
    assert not report.ok
    assert "symbolic link" in report.problems[0]
    assert (tmp_path / "outside" / "kept").exists()
    assert (tmp_path / "lake" / "other" / "kept").exists()
    assert not (tmp_path / "nowhere").exists()


async def test_p13_removal_takes_a_link_and_not_what_it_leads_to(tmp_path, provider):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    (tmp_path / "lake" / "place" / "deep").mkdir(parents=True)
    (tmp_path / "lake" / "place" / "deep" / "directory").symlink_to(tmp_path / "outside")
    (tmp_path / "lake" / "place" / "deep" / "file").symlink_to(tmp_path / "outside" / "kept")
    await remove_all(FILE, place(tmp_path / "lake"), provider)
    assert list((tmp_path / "lake").iterdir()) == []
    assert (tmp_path / "outside" / "kept").read_text() == "kept"


async def test_a_link_that_leads_to_itself_is_told(tmp_path, provider):
    (tmp_path / "lake").symlink_to(tmp_path / "lake")
    report = await FILE.probe(place(tmp_path / "lake"), provider)
    assert not report.ok
    assert "symbolic link" in report.problems[0]


SCRIPT = """
import asyncio, resource, sys
from arraylake_core.backends import AnonymousCredentials, CredentialProvider, Location
from arraylake_local import FilePlatform

class Nobody:
    async def mint(self):
        return AnonymousCredentials()

if sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
report = asyncio.run(FilePlatform().probe(Location(platform="file", bucket=sys.argv[1]), CredentialProvider(Nobody())))
print(report.ok, report.safe_for_concurrent_writes, report.problems)
"""


def probed(*arguments: object, under: list[str] | None = None) -> str:
    """Probe a directory from a process of its own, and return what it found."""
    command = [*(under or []), sys.executable, "-W", "error", "-c", SCRIPT, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_a_directory_that_may_not_be_written_is_told(tmp_path):
    (tmp_path / "lake").mkdir(mode=0o555)
    told = probed(tmp_path / "lake", under=UNPRIVILEGED)
    assert told == "False False ['could not write: the store denies it: grant the right to write']\n"


def test_a_directory_that_may_not_be_entered_is_told(tmp_path):
    (tmp_path / "lake").mkdir(mode=0o000)
    told = probed(tmp_path / "lake", under=UNPRIVILEGED)
    assert told.startswith("False False")
    assert "the store denies it" in told


def test_a_limit_on_the_size_of_files_is_told(tmp_path):
    (tmp_path / "lake").mkdir()
    told = probed(tmp_path / "lake", 16)
    assert told == "False False ['could not write: no file may be that large: raise the limit (ulimit -f)']\n"
    assert list((tmp_path / "lake").iterdir()) == []


def can_mount() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can_mount(), reason="this user may not mount a file system; the test of a limit on files stands in")
@pytest.mark.parametrize(("options", "says"), [("size=4k", "no space is left"), ("ro", "read-only")])
def test_a_full_disk_and_a_read_only_one_are_told(tmp_path, options, says):
    disk = tmp_path / "disk"
    disk.mkdir()
    fill = f"dd if=/dev/zero of={disk}/fill bs=4k count=2 2>/dev/null"
    mount = f'mount -t tmpfs -o {options} tmpfs {disk} && {{ {fill}; exec "$@"; }}'
    told = probed(disk, under=[*NAMESPACE, "sh", "-c", mount, "sh"])
    assert told.startswith("False False")
    assert says in told
