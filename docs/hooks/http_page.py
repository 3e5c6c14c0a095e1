"""The page of the HTTP API, made from the OpenAPI document and the route table."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mkdocs.structure.files import File

from arraylake_core.service.openapi import document
from arraylake_core.service.routes import ROUTES
from arraylake_core.service.table import Need

_HEAD = """# HTTP API

What a service answers. Requests and answers are JSON; a request carries an API token, `Authorization: Bearer ema_...`, unless its route needs nothing.
Errors are [problem details](https://www.rfc-editor.org/rfc/rfc9457) with a `detail` that a person can read and the request's id. A change that is sent with an
`Idempotency-Key` may be sent again: it is done once. Every service has the whole document, with schemas, at `/openapi.json`.

What is hidden from a caller looks exactly like what is missing: 404.

## Permissions

Each route needs one of these of its caller:

"""


def page() -> str:
    """Return the page as Markdown."""
    api = json.loads(document())
    lines = [_HEAD + "\n".join(f"- {need}" for need in Need), "", "## Routes at a glance", ""]
    lines += ["| operation | method and path | needs |", "| --- | --- | --- |"]
    operations = list(_operations(api))
    lines += [
        f"| [{op['operationId']}](#{op['operationId']}) | `{method} {path}` | {need} |" for method, path, need, op in operations
    ]
    lines += ["", "## Routes", ""]
    for method, path, need, operation in operations:
        lines += _operation(method, path, need, operation)
    lines += ["## Schemas", "", *_schemas(api["components"]["schemas"])]
    return "\n".join(lines)


def _operations(api: Mapping[str, Any]) -> Iterator[tuple[str, str, Need, Mapping[str, Any]]]:
    needs = {(route.method, route.name): route.need for route in ROUTES}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            name = operation["operationId"].removesuffix("_by_id")
            need = needs.get((method.upper(), operation["operationId"])) or needs[method.upper(), name]
            yield method.upper(), path, need, operation


def _operation(method: str, path: str, need: Need, operation: Mapping[str, Any]) -> Iterator[str]:
    name = operation["operationId"]
    yield f"### {name} {{#{name}}}"
    yield ""
    yield f"`{method} {path}`"
    yield ""
    yield f"{operation['summary']} Needs: **{need}**."
    yield ""
    parameters = [parameter for parameter in operation["parameters"] if parameter["in"] != "path"]
    if parameters:
        yield "| parameter | in | type | |"
        yield "| --- | --- | --- | --- |"
        for parameter in parameters:
            must = "required" if parameter.get("required") else ""
            yield f"| `{parameter['name']}` | {parameter['in']} | {_type(parameter['schema'])} | {must} |"
        yield ""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body: {_type(content['schema']) if media == 'application/json' else f'`{media}`'}."
        yield ""
    for status, answer in operation["responses"].items():
        if int(status) < 400:
            content = answer.get("content", {}).values()
            yield f"Answers {status}" + "".join(f": {_type(part['schema'])}" for part in content) + "."
            yield ""
    refused = ", ".join(status for status in operation["responses"] if int(status) >= 400)
    yield f"Refuses with {refused}."
    yield ""


def _schemas(schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield f"### {name} {{#schema-{name}}}"
        yield ""
        text = " ".join(str(schema.get("description", "")).split("\n\n")[0].split())
        if text:
            yield text
            yield ""
        if "enum" in schema:
            yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."
            yield ""
        if schema.get("properties"):
            yield "| field | type | |"
            yield "| --- | --- | --- |"
            for field, kind in schema["properties"].items():
                yield f"| `{field}` | {_type(kind)} | {'required' if field in schema.get('required', []) else ''} |"
            yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{name})"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def on_files(files: Any, *, config: Any) -> Any:
    """Add the page to the site."""
    files.append(File.generated(config, "reference/http.md", content=page()))
    return files
