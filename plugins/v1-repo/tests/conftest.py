"""A client for each kind of storage."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from arraylake_core import Client, config


@pytest.fixture(scope="module")
def client_on(request, tmp_path_factory) -> Iterator[Callable[[str], Client]]:
    """Return a function that gives the client whose default bucket is on "file", "memory", "s3" or "sftp"; its org is "me".

    Clients are shared by the tests of a module: take a new repo name in each.
    """
    clients: dict[str, Client] = {}
    with ExitStack() as stack:
        # The catalogs outlive the home that each test has of its own.
        home = tmp_path_factory.mktemp("home-of-clients")
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("ARRAYLAKE_DATA__DIR", str(home))
        config.refresh()

        def get(place: str) -> Client:
            if place not in clients:
                client = Client("memory://" if place == "memory" else f"sqlite:///{home}/{place}.db")
                stack.enter_context(client)
                if place != "memory":
                    client.create_bucket_config(org="me", nickname=f"on-{place}", **_bucket(place, request, home))
                    client.set_default_bucket_config(org="me", nickname=f"on-{place}")
                clients[place] = client
            return clients[place]

        yield get
    config.refresh()


def _bucket(place: str, request: pytest.FixtureRequest, home: object) -> dict[str, object]:
    if place == "file":
        return {"uri": f"file://{home}/lake"}
    if place == "s3":
        server = request.getfixturevalue("seaweedfs")
        key, secret = server.admin
        return {
            "uri": f"s3://{server.make_bucket(f'v1-{uuid4().hex[:12]}')}/lake",
            "extra_config": {"endpoint_url": server.endpoint, "region_name": "us-east-1"},
            "auth_config": {"method": "hmac", "access_key_id": key, "secret_access_key": secret},
        }
    server, _ = request.getfixturevalue("sftp_server"), request.getfixturevalue("sftp_plugin")
    return {
        "uri": "sftp://loopback/lake",
        "extra_config": server.bucket(f"/{uuid4().hex}"),
        "auth_config": {"method": "anonymous"},
    }
