"""Clients, records, repos and trees as notebooks and terminals show them."""

import asyncio
from io import StringIO

import pytest
import zarr
from rich.console import Console

from arraylake_core import AsyncClient, Client
from arraylake_core.backends.hierarchy import Tree

SCRIPT = "<script>alert(1)</script> [bold]"
# A terminal would clear its screen at the first, and a reader be misled by the second, which turns the direction of writing.
HOSTILE = "\x1b[2J\u202e"


def rendered(value):
    console = Console(width=200, record=True, file=StringIO())
    console.print(value)
    return console.export_text()


def test_what_a_description_says_stays_text():
    with Client("memory://") as client:
        client.create_repo("me/ocean", description=SCRIPT + HOSTILE, metadata={"<b>": "<i>"})
        for shown in (client.get_repo_object("me/ocean"), client.list_repos("me")):
            assert "<script>" not in shown._repr_html_()
            assert "&lt;script&gt;" in shown._repr_html_()
            assert SCRIPT in rendered(shown)
            assert not set(HOSTILE[0] + HOSTILE[-1]) & set(rendered(shown) + shown._repr_html_())
        assert "&lt;b&gt;" in client.get_repo_object("me/ocean")._repr_html_()


def test_lists_are_tables_in_ipython():
    class Printer:
        def __init__(self):
            self.said = ""

        def text(self, text):
            self.said += text

    with Client("memory://") as client:
        client.create_repo("me/ocean", description=HOSTILE)
        for shown, cells in ((client.list_repos("me"), "me/ocean"), (client.list_bucket_configs("me"), "anonymous")):
            printer = Printer()
            shown._repr_pretty_(printer, False)
            assert cells in printer.said
            assert "RepoModel(" not in printer.said
            assert not set(HOSTILE[0] + HOSTILE[-1]) & set(printer.said)


def test_p10_a_bucket_config_shows_its_method_and_no_secret():
    with Client("memory://") as client:
        auth = {"method": "hmac", "access_key_id": "KEYID", "secret_access_key": "CANARY"}
        made = client.create_bucket_config(org="me", nickname="sea", uri="s3://sea/lake", auth_config=auth)
        for shown in (made, client.get_bucket_config(org="me", nickname="sea"), client.list_bucket_configs("me")):
            for text in (shown._repr_html_(), rendered(shown)):
                assert "s3://sea/lake" in text
                assert "hmac" in text
                assert "CANARY" not in text


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_p10_a_client_shows_its_catalog_and_no_secret(kind):
    # Nobody is asked: there is no such host.
    for uri, place in (
        ("https://lake.example.invalid", "https://lake.example.invalid"),
        ("postgresql://lake:CANARY@db.example.invalid/lake", "db.example.invalid"),
    ):
        client = kind(uri, token="ema_CANARY0123456789abcdefghij", auth_org="acme")
        for text in (repr(client), f"{client}", client._repr_html_(), rendered(client)):
            assert place in text
            assert "CANARY" not in text
        assert "acme" in client._repr_html_()


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_a_repo_shows_what_it_is_and_where_it_stands(kind):
    with Client("memory://") as client:
        made = client.create_repo("me/ocean", kind=kind)
        made.root_group.create_group("daily")
        commit = made.commit("A group")
        place = client.get_repo_object("me/ocean").bucket.uri
        repo = client.get_repo("me/ocean", checkout=False)
        for text in (repo._repr_html_(), rendered(repo)):
            assert [
                word for word in ("me/ocean", kind, place, "for reading and writing", "nothing yet") if word not in text
            ] == []
        repo.checkout("main")
        assert f"branch main, at commit {commit}" in repo._repr_html_()
        assert f"branch main, at commit {commit}" in rendered(repo)
        reader = client.get_repo("me/ocean", read_only=True)
        reader.checkout(commit)
        assert f">commit {commit}<" in reader._repr_html_()
        assert ">read-only<" in reader._repr_html_()
        assert "Traceback" not in rendered(reader.commit_log)
        assert f"{commit}</td>" in reader.commit_log._repr_html_()


def test_the_async_handle_of_a_v1_repo_shows_the_same():
    async def shown():
        async with AsyncClient("memory://") as client:
            repo = await client.create_repo("me/ocean", kind="v1")
            return repo._repr_html_(), client.blocking(repo)._repr_html_()

    async_html, blocking_html = asyncio.run(shown())
    assert async_html == blocking_html
    assert "me/ocean" in async_html


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_a_tree_shows_shapes_types_sizes_and_chunks(kind):
    with Client("memory://") as client:
        repo = client.create_repo("me/ocean", kind=kind)
        group = repo.root_group
        group.create_array("daily/sst", shape=(360, 720), chunks=(30, 180), dtype="f4")
        group.create_array("daily/sharded", shape=(360, 720), chunks=(30, 180), shards=(60, 360), dtype="f4")
        group.create_array("day", shape=(360,), dtype="i8")
        group.create_array("none", shape=(0, 3), chunks=(5, 3), dtype="u1")
        group.create_array("name", shape=(), dtype=str)
        group.create_group("empty")
        tree = repo.tree()
        found = {name: (node.shape, node.dtype, node.chunks) for name, node in tree.children["daily"].children.items()}
        assert found == dict.fromkeys(("sharded", "sst"), ((360, 720), "float32", (30, 180)))
        lines = str(tree).splitlines()
        assert "│   └── sst (360, 720) float32 1012.5 KiB in chunks of (30, 180) (21.1 KiB)" in lines
        assert "├── day (360,) int64 2.8 KiB" in lines
        assert tree.children["name"].dtype == "string"
        assert tree.children["none"].label.startswith("none (0, 3) uint8 0 B in chunks of ")
        for text in (rendered(tree), tree._repr_html_()):
            for word in ("(360, 720)", "float32", "1012.5 KiB", "in chunks of (30, 180) (21.1 KiB)", "2.0 MiB", "empty"):
                assert word in text


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_names_of_arrays_stay_text(kind):
    with Client("memory://") as client:
        repo = client.create_repo("me/ocean", kind=kind)
        name = f"<script>alert(1) [red]x[-]{HOSTILE}\ttab"
        zarr.create_array(repo.store, name=name, shape=(2,), dtype="f4")
        tree = repo.tree()
        assert list(tree.children) == [name]
        for text in (str(tree), tree._repr_html_(), rendered(tree)):
            assert not {"\x1b", "\u202e", "\t"} & set(text)
            assert "[red]x[-]" in text
        assert "<script>" not in tree._repr_html_()
        assert "<script>alert(1)" in str(tree)


def test_a_deep_tree_is_folded_in_a_notebook():
    tree = Tree(name="end", shape=(1,), dtype="i1", nbytes=1)
    for level in range(6):
        tree = Tree(name=str(level), children={tree.name: tree}, nbytes=1)
    html = tree._repr_html_()
    assert (html.count("<details open>"), html.count("<details>")) == (3, 3)
