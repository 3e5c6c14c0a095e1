"""Credentials of every kind come out of a service's answer as they went in."""

from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest

from arraylake_core.backends import Credentials, SignedCredentials
from arraylake_core.catalog import http_decoding
from arraylake_core.secret import Secret
from arraylake_core.service.wire import credentials_for

LATER = datetime(2999, 1, 1, tzinfo=UTC)
KINDS = [kind for kind in get_args(Credentials.__value__) if kind is not SignedCredentials]


class Signer:
    """What is asked where there are no credentials, which is not so here."""


def filled(kind):
    """Return an instance with something in each field."""
    values = {}
    for field in msgspec.structs.fields(kind):
        options = {field.type, *get_args(field.type)}
        value = Secret(f"secret-{field.name}") if Secret in options else LATER if datetime in options else f"plain-{field.name}"
        values[field.name] = value
    return kind(**values)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_comes_back_as_it_went(kind):
    sent = filled(kind)
    body = msgspec.json.encode(credentials_for(sent, tagged=True))
    assert http_decoding.credentials(body, Signer()) == sent
