"""schemathesis over the whole OpenAPI document: no 500, no status that is not documented, no answer that breaks its schema.

``SCHEMATHESIS_EXAMPLES`` sets how many requests each operation gets.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from arraylake_core.service.openapi import document
from arraylake_core.service.routes import ROUTES
from tests.service.conftest import KEYS, Peopled

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
SCHEMA = schemathesis.openapi.from_file(document().decode())
OPERATIONS = [(path, method) for path in sorted(SCHEMA) for method in sorted(SCHEMA[path])]
# What there is: without it, nearly every request would end with a 404.
KNOWN = {"org": "acme", "repo": "ocean", "bucket": "sea", "name": "branch/main"}


def test_the_document_has_every_route() -> None:
    assert len(OPERATIONS) == len(ROUTES)


@pytest.fixture
def lake(peopled: Peopled) -> Peopled:
    service, admin = peopled.service, peopled.tokens["admin"]
    place = {"extra_config": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}, "auth_config": KEYS}
    made = service.ask("POST", "/orgs/acme/buckets", admin, body={"nickname": "sea", "platform": "s3", "name": "lake", **place})
    repo = service.ask("POST", "/orgs/acme/repos", admin, body={"name": "ocean"}).json
    peopled.known = {**KNOWN, "repo_id": repo["_id"], "bucket_id": made.json["id"]}
    service.ask("PUT", "/repos/acme/ocean/refs/branch/main", admin, body={"commit": "c"}, headers={"If-None-Match": "*"})
    return peopled


@pytest.mark.parametrize("number", range(4))
def test_p25_every_operation_answers_as_documented(lake: Peopled, number: int) -> None:
    """Well-formed and malformed requests of a writer, mostly about what there is."""
    for path, method in OPERATIONS[number::4]:
        operation = SCHEMA[path][method]
        cases = [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(case=st.one_of(*cases), known=st.sampled_from([True, True, True, False]))
        def ask(case: schemathesis.Case, known: bool) -> None:
            for name in case.path_parameters if known else ():
                case.path_parameters[name] = lake.known.get(name, case.path_parameters[name])
            answer = case.call(base_url=lake.service.uri, headers={"Authorization": f"Bearer {lake.tokens['writer']}"})
            case.validate_response(answer, checks=CHECKS)

        ask()
