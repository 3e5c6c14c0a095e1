"""Exit codes, errors and confirmations."""

import pytest

from arraylake_core import Client

from .conftest import Run


@pytest.mark.parametrize(
    "arguments",
    [
        ["bucket", "list", "nobody"],
        ["bucket", "show", "me", "nothing"],
        ["bucket", "create", "me", "new", "no-uri", "--option", "a=b"],
        ["bucket", "create", "me", "new", "nowhere://bucket", "--option", "a=b"],
        ["bucket", "create", "me", "new", "shelf://good", "--auth", "unheard-of"],
        ["org", "create", "me"],
        ["repo", "create", "ocean"],
        ["repo", "show", "me/nothing"],
        ["repo", "log", "me/ocean", "--ref", "nothing"],
        ["repo", "tree", "me/ocean", "--path", "nothing"],
        ["repo", "rename", "me/ocean", "you/ocean"],
        ["repo", "restore", "me/nothing"],
        ["repo", "import", "me/found", "--prefix", "nothing/there"],
        ["plugins", "show", "nothing"],
        ["config", "get", "nothing"],
    ],
    ids=" ".join,
)
def test_what_is_refused_says_so_in_one_line(lake: Run, arguments: list[str]) -> None:
    result = lake(*arguments)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["repo", "unheard-of"],
        ["repo", "show"],
        ["repo", "list", "me", "--output", "xml"],
        ["repo", "list", "me", "--size", "101"],
        ["repo", "list", "me", "--filter", "ocean"],
        ["repo", "list", "me", "--filter", "a=1", "--filter", "a=2"],
        ["repo", "modify", "me/ocean"],
        ["repo", "import", "me/found"],
        ["bucket", "modify", "me", "local"],
        ["bucket", "create", "me", "new", "shelf://good", "--auth-option", "owner=me"],
        ["bucket", "create", "me", "new", "shelf://good", "--option", "port"],
    ],
    ids=" ".join,
)
def test_what_is_not_understood_ends_with_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err


@pytest.mark.parametrize("group", ["org", "bucket", "repo", "plugins", "config"])
def test_a_group_alone_explains_itself(run: Run, group: str) -> None:
    assert run(group).code == 2
    assert "Commands" in run(group, "--help").out


def test_a_wrong_catalog_is_refused(run: Run) -> None:
    result = run("--catalog", "postgresql://ada:s3cr3t@host/db", "org", "list")
    assert (result.code, result.out) == (1, "")
    assert "s3cr3t" not in result.err


def test_an_unexpected_error_names_its_type_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(client: Client) -> None:
        at_hand = "what a variable holds"
        raise RuntimeError(f"told {len(at_hand)}")

    monkeypatch.setattr(Client, "list_orgs", fail)
    result = run("org", "list")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "error: unexpected RuntimeError, which is a fault of arraylake-core or of a plugin; "
        "ARRAYLAKE_DEBUG=1 shows the traceback\n"
    )


def test_debugging_shows_the_traceback_without_locals(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from arraylake_core.cli import main

    def fail(client: Client) -> None:
        at_hand = "what a variable " + "holds"
        raise RuntimeError(f"told {len(at_hand)}")

    monkeypatch.setattr(Client, "list_orgs", fail)
    monkeypatch.setenv("ARRAYLAKE_DEBUG", "1")
    with pytest.raises(SystemExit, match="1"):
        main(["org", "list"])
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert "RuntimeError: told 21" in err
    assert "what a variable holds" not in err


@pytest.mark.parametrize(
    ("options", "typed", "deleted"),
    [
        ([], "", False),
        ([], "y\n", False),
        ([], "n\n", False),
        ([], "y\nn\n", False),
        ([], "y\ny\n", True),
        (["--imsure"], "", False),
        (["--imsure"], "y\n", True),
        (["--imreallysure"], "y\n", True),
        (["--imsure", "--imreallysure"], "", True),
    ],
)
def test_deleting_asks_twice(lake: Run, options: list[str], typed: str, deleted: bool) -> None:
    assert lake("bucket", "create", "me", "spare", "shelf://good").code == 0
    for thing in (["repo", "delete", "me/ocean"], ["bucket", "delete", "me", "spare"]):
        result = lake(*thing, *options, typed=typed)
        assert result.code == (0 if deleted else 1)
        assert ("was not deleted" in result.err) == (not deleted)
    assert [repo["name"] for repo in lake("repo", "list", "me", "-o", "json").json] == ([] if deleted else ["ocean"])
    assert ("spare" in lake("bucket", "list", "me").out) == (not deleted)
