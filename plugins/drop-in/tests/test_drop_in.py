"""The import name ``arraylake``: what it exports, and its settings."""

import importlib

import arraylake
import pytest

import arraylake_core
from arraylake_core.errors import InvalidOptionError


@pytest.mark.parametrize("module", ["client", "types", "repo", "config", "exceptions"])
def test_every_submodule_exports_what_it_says(module):
    found = importlib.import_module(f"arraylake.{module}")
    assert found.__all__
    assert all(hasattr(found, name) for name in found.__all__)


def test_its_clients_are_those_of_the_core():
    assert issubclass(arraylake.Client, arraylake_core.Client)
    assert issubclass(arraylake.AsyncClient, arraylake_core.AsyncClient)


def test_settings_by_their_official_names_reach_the_core():
    with arraylake.config.set({"service.uri": "memory://"}):
        assert arraylake.Client().service_uri.startswith("memory://")
        assert arraylake.config.get("service.uri") == "memory://"
    assert arraylake.config.get("service.uri", "none") == "none"


def test_p10_a_token_in_the_settings_is_shown_as_stars():
    with arraylake.config.set({"service.token": "ema_CANARY"}):
        assert arraylake.config.get("service.token") == "***"


def test_settings_without_a_counterpart_are_named():
    with pytest.warns(UserWarning, match="service.token_path has no effect"):
        arraylake.config.set({"service.token_path": "~/token"})
    with pytest.raises(InvalidOptionError, match="can't be switched off"):
        arraylake.config.set({"service.ssl.verify": False})
    with pytest.raises(InvalidOptionError, match="unknown setting 'service.url'"):
        arraylake.config.set({"service.url": "memory://"})


def test_a_missing_repo_is_refused_by_the_official_names_of_errors():
    with arraylake.Client("memory://") as client, pytest.raises(arraylake.ArraylakeClientError, match="nothing"):
        client.get_repo("me/nothing")
