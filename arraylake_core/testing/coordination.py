"""What every catalog does with refs and journals."""

# ruff: noqa: D102 - the name of a test says what it holds

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from arraylake_core.catalog.base import Catalog
from arraylake_core.errors import (
    ConflictError,
    InvalidNameError,
    InvalidOptionError,
)
from arraylake_core.secret import Secret
from arraylake_core.testing.catalog_samples import CANARY, make_repo

__all__ = ["CoordinationTests"]


class CoordinationTests:
    """Refs and journals."""

    # Refs

    async def test_refs(self, catalog: Catalog) -> None:
        refs = catalog.coordination((await make_repo(catalog)).id)
        assert await refs.get_ref("branch/main") is None
        first = await refs.put_ref("branch/main", {"snapshot": "a", "parents": [None, 1.5]}, expected=None)
        assert first.version == 1
        assert await refs.get_ref("branch/main") == first
        second = await refs.put_ref("branch/main", "b", expected=1)
        assert (second.version, second.value) == (2, "b")
        with pytest.raises(ConflictError, match=r"expected at version 1, and was found at version 2"):
            await refs.put_ref("branch/main", "c", expected=1)
        with pytest.raises(ConflictError, match=r"expected not to exist, and was found at version 2"):
            await refs.put_ref("branch/main", "c", expected=None)
        with pytest.raises(ConflictError, match=r"expected at version 1, and was found not to exist"):
            await refs.put_ref("branch/other", "c", expected=1)
        with pytest.raises(ConflictError):
            await refs.delete_ref("branch/main", expected=10**30)
        assert await refs.get_ref("branch/main") == second
        await refs.delete_ref("branch/main", expected=2)
        assert await refs.get_ref("branch/main") is None

    async def test_p21_a_version_never_comes_twice(self, catalog: Catalog) -> None:
        refs = catalog.coordination((await make_repo(catalog)).id)
        stale = await refs.put_ref("branch/main", "a", expected=None)
        await refs.delete_ref("branch/main", expected=stale.version)
        again = await refs.put_ref("branch/main", "b", expected=None)
        with pytest.raises(ConflictError):
            await refs.put_ref("branch/main", "lost", expected=stale.version)
        assert await refs.get_ref("branch/main") == again

    async def test_ref_names_and_values_are_checked(self, catalog: Catalog) -> None:
        refs = catalog.coordination((await make_repo(catalog)).id)
        for name in ("", "/a", "a//b", "a b", "../up"):
            with pytest.raises(InvalidNameError):
                await refs.put_ref(name, 1, expected=None)
        for value in ("x" * 65535, float("nan"), datetime.now(UTC), {1: 2}, b"bytes", {"a": {1, 2}}, "\ud800", Secret(CANARY)):
            with pytest.raises(InvalidOptionError):
                await refs.put_ref("name", value, expected=None)  # type: ignore[arg-type]
        assert await refs.list_refs() == []
        assert (await refs.put_ref("name", "x" * 65534, expected=None)).version == 1

    async def test_prefixes_of_refs_are_literal(self, catalog: Catalog) -> None:
        refs = catalog.coordination((await make_repo(catalog)).id)
        other = catalog.coordination((await make_repo(catalog, "other")).id)
        for name in ("branch/a_b", "branch/axb", "branch/A_b", "branches/x", "tag/v1"):
            await refs.put_ref(name, name, expected=None)
        await other.put_ref("branch/other", 1, expected=None)
        assert [ref.name for ref in await refs.list_refs("branch/a_")] == ["branch/a_b"]
        assert [ref.name for ref in await refs.list_refs("branch/")] == ["branch/A_b", "branch/a_b", "branch/axb"]
        assert await refs.list_refs("branch/%") == []
        assert len(await refs.list_refs()) == 5

    async def test_p21_of_racing_puts_one_wins(self, catalog: Catalog) -> None:
        refs = catalog.coordination((await make_repo(catalog)).id)

        async def count() -> None:
            for _ in range(5):
                while True:
                    found = await refs.get_ref("counter")
                    number = found.value if found is not None else 0
                    assert isinstance(number, int)
                    try:
                        await refs.put_ref("counter", number + 1, expected=None if found is None else found.version)
                    except ConflictError:
                        continue
                    break

        await asyncio.gather(*(count() for _ in range(4)))
        final = await refs.get_ref("counter")
        assert final is not None
        assert (final.value, final.version) == (20, 20)

    # Journals

    async def test_journals(self, catalog: Catalog) -> None:
        journals = catalog.coordination((await make_repo(catalog)).id)
        assert await journals.read_journal("session/1") == []
        assert [await journals.append_journal("session/1", data) for data in (b"one", b"", b"\0\xff")] == [1, 2, 3]
        entries = await journals.read_journal("session/1")
        assert [(entry.sequence, entry.data) for entry in entries] == [(1, b"one"), (2, b""), (3, b"\0\xff")]
        assert await journals.read_journal("session/1", after=2) == entries[2:]
        await journals.append_journal("session/2", b"x" * 2**20)
        with pytest.raises(InvalidOptionError):
            await journals.append_journal("session/2", b"x" * (2**20 + 1))
        for _ in range(2):
            await journals.drop_journal("session/1")
        assert await journals.read_journal("session/1") == []
        assert len(await journals.read_journal("session/2")) == 1

    async def test_concurrent_appends_leave_no_gaps(self, catalog: Catalog) -> None:
        journals = catalog.coordination((await make_repo(catalog)).id)
        numbers = await asyncio.gather(*(journals.append_journal("log", b"%d" % index) for index in range(25)))
        assert sorted(numbers) == list(range(1, 26))
        entries = await journals.read_journal("log")
        assert [entry.sequence for entry in entries] == list(range(1, 26))
        assert {entry.data for entry in entries} == {b"%d" % index for index in range(25)}

    async def test_expired_journals_are_dropped(self, catalog: Catalog) -> None:
        journals = catalog.coordination((await make_repo(catalog)).id)
        now = datetime.now(UTC)
        await journals.append_journal("old", b"1", expires=now - timedelta(seconds=1))
        await journals.append_journal("young", b"1", expires=now + timedelta(days=1))
        await journals.append_journal("young", b"2")
        assert await journals.read_journal("old") == []
        assert len(await journals.read_journal("young")) == 2
        assert await journals.append_journal("old", b"again") == 1
        assert len(await journals.read_journal("old")) == 1
        with pytest.raises(InvalidOptionError, match="time zone"):
            await journals.append_journal("old", b"1", expires=datetime.now())
