"""The drop-in accepts every call that the official client accepts, or refuses it in words; and what it has not, its page lists."""

import inspect
import json
import subprocess
from functools import cache
from pathlib import Path

import arraylake
import pytest
from arraylake._official import METHODS, PARAMETERS

from arraylake_core.errors import InvalidOptionError
from tests.client.test_parity import API
from tests.service.official.venvs import official

PAGE = Path(__file__).parents[3] / "plugins" / "drop-in" / "README.md"
CLIENTS = ("AsyncClient", "Client")
# What the official client takes by place too, and this one by name alone, as the page says.
NOT_BY_PLACE = {("__init__", "cache_credentials")}


@cache
def theirs() -> dict[str, dict[str, list[tuple[str, str, bool]]]]:
    command = [official("1.7.0").python, Path(__file__).with_name("signatures.py")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_method_is_there_or_refused_in_words(client: str) -> None:
    ours = getattr(arraylake, client)
    missing = {name for name in theirs()[client] if not hasattr(ours, name)}
    assert missing <= set(METHODS)
    opened = arraylake.Client("memory://") if client == "Client" else arraylake.AsyncClient("memory://")
    for name in missing:
        with pytest.raises(AttributeError, match=f"no method '{name}' of the official client: .{{10}}"):
            getattr(opened, name)
    assert [name for name in METHODS if hasattr(ours, name)] == []


@pytest.mark.parametrize("client", CLIENTS)
def test_every_parameter_is_taken_by_its_name_and_place(client: str) -> None:
    wrong = []
    for name, expected in theirs()[client].items():
        if name in METHODS:
            continue
        found = list(inspect.signature(getattr(getattr(arraylake, client), name)).parameters.values())[1:]
        mine = {each.name: each for each in found}
        names = [each.name for each in found]
        for place, (parameter, kind, has_default) in enumerate(expected):
            if parameter not in mine:
                wrong.append((name, parameter, "missing"))
                continue
            by_place = kind == "POSITIONAL_OR_KEYWORD" and (name, parameter) not in NOT_BY_PLACE
            if by_place and (mine[parameter].kind.name != kind or names[place] != parameter):
                wrong.append((name, parameter, "another place"))
            if has_default and mine[parameter].default is mine[parameter].empty:
                wrong.append((name, parameter, "required"))
        taken = {parameter for parameter, _, _ in expected}
        wrong += [
            (name, each.name, "required here alone") for each in found if each.default is each.empty and each.name not in taken
        ]
    assert wrong == []


@pytest.mark.parametrize("method", API)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_documented_signatures_hold(client: str, method: str) -> None:
    positional, keywords = API[method]
    if client == "Client" and method == "get_repo_object":
        return
    parameters = inspect.signature(getattr(getattr(arraylake, client), method)).parameters
    assert list(parameters)[1 : 1 + len(positional)] == list(positional)
    for name, default in (positional | keywords).items():
        assert parameters[name].default == default
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in keywords)


@pytest.mark.parametrize(("method", "name"), PARAMETERS)
def test_what_is_not_taken_is_refused_in_words_and_at_its_default_accepted(method: str, name: str) -> None:
    default, _ = PARAMETERS[method, name]
    with arraylake.Client("memory://") as client:
        first = "me" if method.startswith("list") else "me/ocean"
        with pytest.raises(InvalidOptionError, match=f"{method} takes no {name} with arraylake-drop-in: .{{10}}"):
            getattr(client, method)(first, **{name: {"some": "thing"}})
        signature = inspect.signature(getattr(client, method))
        assert signature.bind(first, **{name: default})
        if method.startswith("list"):
            assert list(getattr(client, method)(first, **{name: default})) == []


def test_the_page_lists_all_that_is_not_there() -> None:
    page = PAGE.read_text()
    assert [name for name in (*METHODS, *(name for _, name in PARAMETERS)) if f"`{name}`" not in page] == []


def test_the_documented_calls_about_bucket_configs(tmp_path: Path) -> None:
    with arraylake.Client("memory://", cache_credentials=True) as client:
        made = client.create_bucket_config(org="me", nickname="disk", uri=f"file://{tmp_path}/lake")
        client.set_default_bucket_config(org="me", nickname="disk")
        client.create_repo("me/ocean", bucket_config_nickname="disk")
        assert client.get_bucket_config(org="me", nickname="disk").id == made.id
        assert [repo.name for repo in client.list_repos_for_bucket_config(org="me", nickname="disk")] == ["ocean"]
    with pytest.raises(InvalidOptionError, match="cache_credentials by its name"):
        arraylake.Client("memory://", None, True)
