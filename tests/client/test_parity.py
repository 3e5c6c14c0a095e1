"""Client and AsyncClient in step, and both with the Arraylake API."""

import inspect

import pytest

from arraylake_core import AsyncClient, Client

# The methods of the Arraylake client API: positional arguments, then keyword-only ones, each with its default.
REQUIRED = inspect.Parameter.empty
OPEN = {"checkout": None, "read_only": False}
CREATE = {"bucket_config_nickname": None, "kind": None}
BUCKET = {"org": REQUIRED, "nickname": REQUIRED}
SURE = {"imsure": False, "imreallysure": False}
LOGIN = {"org": None, "browser": False}
API = {
    "list_repos": ({"org": REQUIRED}, {}),
    "get_repo_object": ({"name": REQUIRED}, {}),
    "get_repo": ({"name": REQUIRED}, OPEN),
    "get_or_create_repo": ({"name": REQUIRED}, {"checkout": None, **CREATE, "prefix": None}),
    "create_repo": ({"name": REQUIRED}, {**CREATE, "prefix": None}),
    "delete_repo": ({"name": REQUIRED}, SURE),
    "create_bucket_config": ({}, {**BUCKET, "uri": REQUIRED, "extra_config": None, "auth_config": None}),
    "set_default_bucket_config": ({}, BUCKET),
    "get_bucket_config": ({}, BUCKET),
    "list_bucket_configs": ({"org": REQUIRED}, {}),
    "list_repos_for_bucket_config": ({}, BUCKET),
    "delete_bucket_config": ({}, {**BUCKET, **SURE}),
    "login": ({}, LOGIN),
    "logout": ({}, LOGIN),
}


def public(cls):
    found = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}
    return {name: value for name, value in found.items() if callable(value)}


@pytest.mark.parametrize("client", [AsyncClient, Client])
@pytest.mark.parametrize("method", API)
def test_the_api_is_there_as_it_is_written(client, method):
    parameters = inspect.signature(getattr(client, method)).parameters
    positional, keywords = API[method]
    first = [parameter for name, parameter in parameters.items() if name != "self"][: len(positional)]
    assert [(p.name, p.default) for p in first] == list(positional.items())
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in first)
    for name, default in keywords.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == default
    others = [p for name, p in parameters.items() if name not in {"self", *positional, *keywords}]
    assert all(p.default is not inspect.Parameter.empty for p in others), "what is beyond the API is optional"


@pytest.mark.parametrize("client", [AsyncClient, Client])
def test_a_client_is_made_as_the_api_says(client):
    parameters = list(inspect.signature(client).parameters.values())
    assert [(p.name, p.default) for p in parameters[:3]] == [("service_uri", None), ("token", None), ("auth_org", None)]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[3:])


def test_client_has_every_method_of_async_client_with_the_same_signature():
    mine, theirs = public(Client), public(AsyncClient)
    assert mine.keys() == theirs.keys() - {"blocking"}
    for name, method in mine.items():
        expected = inspect.signature(theirs[name]).parameters.values()
        found = inspect.signature(method).parameters.values()
        assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in expected], name
        assert not inspect.iscoroutinefunction(method)


def test_every_method_of_client_is_one_line():
    for name, method in public(Client).items():
        lines = [line for line in inspect.getsource(method).splitlines() if line.strip()]
        statements = lines[next(i for i, line in enumerate(lines) if '"""' in line) + 1 :]
        assert f"self._aio.{name}(" in "".join(statements), name
        assert "".join(statements).count(";") == 0
