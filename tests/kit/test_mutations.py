"""The kit catches backends that are wrong in one way each, by the tests that are meant for it, and lets those that are right pass."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.servers.distribution import path_with

HERE = Path(__file__).parent / "wrong"

# What is wrong, and a test that must find it.
CAUGHT = {
    "DropsWrite": "test_files_are_written_read_and_listed",
    "ListsStale": "test_a_listing_is_never_stale",
    "IgnoresCredentials": "test_who_may_not_is_refused_and_told",
    "LeaksSecret": "test_p10_secrets_do_not_show",
    "LosesPickledState": "test_p11_a_file_system_that_travels_leads_to_the_same_place",
    "WrongPrefix": "test_p13_what_is_written_in_one_place_is_in_no_other",
    "SwallowsErrors": "test_what_is_missing_is_told_as_missing",
    "ForgetsDelete": "test_p13_removal_takes_what_is_below_and_leaves_siblings",
    "RefreshesTwice": "test_p26_a_set_takes_no_more_requests_than_it_must",
    "BlocksLoop": "test_p27_it_does_not_block_the_loop",
    "LeaksSecretOfConfig": "test_p10_what_sounds_like_a_secret_is_one",
    "NotAtomic": "test_p22_a_commit_is_whole",
    "IgnoresReadOnly": "test_a_read_only_repo_refuses_writes",
    "KeepsWhatIsDestroyed": "test_p22_deleting_at_once_leaves_no_byte_and_frees_name_and_place",
    "SwallowsFailures": "test_p22_a_torn_write_leaves_no_half",
}
RIGHT = ("HonestPlatform", "HonestAuth", "HonestKind", "HonestUnderFaults")
# Of the repo kinds, only what is meant for them runs, and on the right one as well: the rest is in plugins/icechunk.
OF_KINDS = [CAUGHT[name] for name in ("NotAtomic", "IgnoresReadOnly", "KeepsWhatIsDestroyed")]
OF_FAULTS = [CAUGHT["SwallowsFailures"]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    """Run the kit on all of them, in one process, and return which tests of which class passed."""
    directory = tmp_path_factory.mktemp("mutations")
    info = directory / "wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[arraylake]\nwrong = wrong_backends\n")
    kinds = "HonestKind or NotAtomic or IgnoresReadOnly or KeepsWhatIsDestroyed or HonestUnderFaults or SwallowsFailures"
    chosen = f"not ({kinds}) or {' or '.join(OF_KINDS + OF_FAULTS)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path_with(HERE, directory))
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "/dev/null"),
                *("--rootdir", directory, "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
                *(f"--junitxml={directory}/found.xml", f"--basetemp={directory}/tmp", "-k", chosen, HERE / "run_wrong.py"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=directory,
        )
    assert run.returncode == 1, run.stdout + run.stderr
    passed: dict[str, dict[str, bool]] = defaultdict(dict)
    for case in ElementTree.parse(directory / "found.xml").iter("testcase"):
        name = case.attrib["name"].partition("[")[0]
        kit = passed[case.attrib["classname"].rpartition("Test")[2]]
        kit[name] = kit.get(name, True) and case.find("failure") is None and case.find("error") is None
    return passed


@pytest.mark.parametrize("mutant", CAUGHT)
def test_what_is_wrong_is_caught(found: dict[str, dict[str, bool]], mutant: str) -> None:
    assert found[mutant][CAUGHT[mutant]] is False


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_passes(found: dict[str, dict[str, bool]], right: str) -> None:
    assert [name for name, passed in found[right].items() if not passed] == []
    assert len(found[right]) >= len(OF_FAULTS if right == "HonestUnderFaults" else OF_KINDS)
