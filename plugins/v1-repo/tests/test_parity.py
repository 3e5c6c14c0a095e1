"""The blocking Repo has every public name of AsyncRepo, with the same parameters, and the async calls turned into values."""

import inspect

import pytest
from arraylake_v1_repo.aio import AsyncRepo
from arraylake_v1_repo.sync import Repo

PROPERTIES = {"branches", "tags", "commit_log", "root_group"}
"""Methods of AsyncRepo, since they ask the catalog, and properties of Repo, as every kind's handle has them."""
ONE_SIDED = {"binding"}


def public(cls: type) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")}


def test_both_have_the_same_names():
    assert public(AsyncRepo) - ONE_SIDED == public(Repo)


@pytest.mark.parametrize("name", sorted(public(AsyncRepo) - ONE_SIDED))
def test_each_name_is_the_same_thing(name):
    theirs, mine = inspect.getattr_static(AsyncRepo, name), inspect.getattr_static(Repo, name)
    if name in PROPERTIES:
        assert isinstance(mine, property)
        assert list(inspect.signature(theirs).parameters) == ["self"]
    elif inspect.isfunction(theirs):
        assert inspect.iscoroutinefunction(theirs)
        assert not inspect.iscoroutinefunction(mine)
        ours = inspect.signature(mine).parameters.values()
        assert [(p.name, p.kind, p.default) for p in ours] == [
            (p.name, p.kind, p.default) for p in inspect.signature(theirs).parameters.values()
        ]
    else:
        assert type(theirs) is type(mine)


@pytest.mark.parametrize("name", sorted(public(Repo)))
def test_each_method_of_the_blocking_repo_is_one_line(name):
    member = inspect.getattr_static(Repo, name)
    function = member.fget if isinstance(member, property) else member
    if not inspect.isfunction(function):
        return
    source = inspect.getsource(function).split('"""')[-1].strip().splitlines()
    assert len([line for line in source if not line.strip().startswith("from ") and line.strip()]) == 1, source
