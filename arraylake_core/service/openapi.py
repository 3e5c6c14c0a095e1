"""The OpenAPI 3.1 document, made from the route table and the models (https://spec.openapis.org/oas/v3.1.1)."""

import re
from functools import cache
from typing import Any

import msgspec

from arraylake_core.service.problems import Problem
from arraylake_core.service.routes import ROUTES
from arraylake_core.service.table import Need, Route
from arraylake_core.version import __version__

__all__ = ["document"]

_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_REFERENCE = "#/components/schemas/{name}"
_REFUSALS = {
    400: "The request can't be read.",
    401: "No token, or one that is not good.",
    403: "The role does not do.",
    404: "There is no such thing, or it is hidden from the caller.",
    409: "It is taken, in use, or was changed by somebody else.",
    412: "The ref has another version.",
    413: "The body is too large.",
    422: "A name or an option is wrong; the detail says which.",
    424: "Credentials could not be had from the provider.",
    428: "If-Match or If-None-Match is missing.",
    429: "Too many requests.",
    500: "The service failed.",
    503: "The catalog can't be reached.",
}


@cache
def document() -> bytes:
    """Return the document as JSON."""
    types = [kind for route in ROUTES for kind in (route.body, route.query, route.answer) if kind not in (None, bytes, str, Any)]
    _, components = msgspec.json.schema_components([*types, Problem], ref_template=_REFERENCE)
    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "arraylake-core",
                "version": __version__,
                "description": "A catalog of versioned Zarr repos in anyone's buckets: organizations, roles, bucket configs, credentials, refs.",
            },
            "security": [{"bearer": []}],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "An API token, `ema_...`."}},
            },
        }
    )


def _schema(kind: object) -> object:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return schema


def _operation(route: Route) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"Needs: {route.need}.",
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route),
    }
    if route.need is Need.Nothing:
        operation["security"] = []
    if route.body is bytes:
        operation["requestBody"] = {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    elif route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(route.body)}}}
    return operation


def _operation_id(route: Route) -> str:
    """Return a unique id: refs and journals have two ways in."""
    return f"{route.name}_by_id" if route.path.startswith("/repo-ids/") and not route.name.endswith("id") else route.name


def _path_parameters(route: Route) -> list[dict[str, object]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, object]]:
    _, components = msgspec.json.schema_components([route.query], ref_template=_REFERENCE)
    properties = components[route.query.__name__].get("properties", {})
    required = components[route.query.__name__].get("required", [])
    return [{"name": name, "in": "query", "required": name in required, "schema": schema} for name, schema in properties.items()]


def _header_parameters(route: Route) -> list[dict[str, object]]:
    names = ["Idempotency-Key"] if route.changes else []
    if "/refs/{" in route.path:
        names += {"GET": ["If-None-Match"], "PUT": ["If-Match", "If-None-Match"], "DELETE": ["If-Match"]}[route.method]
    patterns = {"Idempotency-Key": "^[A-Za-z0-9_-]{16,128}$"}
    return [
        {"name": name, "in": "header", "schema": {"type": "string"} | ({"pattern": patterns[name]} if name in patterns else {})}
        for name in names
    ]


def _responses(route: Route) -> dict[str, object]:
    answered: dict[str, object] = {"description": route.summary}
    if route.answer is str:
        answered["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif route.answer is not None:
        answered["content"] = {"application/json": {"schema": _schema(route.answer)}}
    found: dict[str, object] = {str(route.status): answered}
    for status in route.more:
        found[str(status)] = {"description": "It has not changed."} if status == 304 else answered
    for status in _refusals(route):
        content = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(name="Problem")}}}
        found[str(status)] = {"description": _REFUSALS[status], "content": content}
    return found


def _refusals(route: Route) -> list[int]:
    found = {400, 405, 422, 500, 503}
    if route.need is not Need.Nothing:
        found |= {401, 403, 404, 409, 424, 429}
    if route.body is not None:
        found.add(413)
    if "/refs/{" in route.path and route.changes:
        found |= {412, 428}
    return sorted(found & _REFUSALS.keys())
