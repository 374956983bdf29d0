"""The API's OpenAPI 3.1 document, generated from the routes that are served, their operations and their types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from starlette.routing import Route

from console import answers, operations
from console.operations import PARAMETERS, Operation

REF: Final = "#/components/schemas/{name}"
_CONVERTER: Final = re.compile(r"\{(\w+):\w+\}")
_NAME: Final = re.compile(r"\{(\w+)\}")
_BODY_PROBLEMS: Final = {413: "the body is too large", 415: "the body is not JSON"}
_PROBLEMS: Final = {
    400: "a field or header is wrong; `reason_code` says how",
    401: "no token, or one that is nobody's",
    403: "a right is missing",
    404: "nothing has that name",
    409: "refused; `reason_code` says why",
    503: "a store or the cluster does not answer now",
}
_TEXT: Final = {"type": "string"}
_EVENT: Final = {"type": "object", "properties": {"event": _TEXT, "id": _TEXT, "data": _TEXT}, "required": ["data"]}
"""One event of a stream."""
_SAID: Final = {"id": "an id, as other answers name it", "slug": "a project's name"}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document of the given routes; one that has no operation is left out, and a test finds it."""
    known = {"GET": operations.READS, "POST": operations.writes()}
    served = [
        (route.path, method, operation)
        for route in routes
        for method in sorted((route.methods or set()) - {"HEAD"})
        if (operation := known.get(method, {}).get(route.path))
    ]
    named = [kind for *_, one in served for kind in (one.answer, one.body) if kind is not None]
    schemas, components = msgspec.json.schema_components([*named, answers.Problem], ref_template=REF)
    of = iter(schemas)
    paths: dict[str, Any] = {}
    for path, method, one in served:
        answer = next(of) if one.answer is not None else None
        body = next(of) if one.body is not None else None
        address = _CONVERTER.sub(r"{\1}", path)
        paths.setdefault(address, {})[method.lower()] = _operation(address, method, one, answer, body)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Enclii", "version": "1", "description": "What runs, why, and since when; and what to do."},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(address: str, method: str, one: Operation, answer: Any, body: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _identity(method, address),
        "summary": one.summary,
        "tags": [one.tag],
        "parameters": [*_path(address), *_query(one), *_headers(method, one)],
        "responses": _responses(method, one, answer),
    }
    if body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return told


def _identity(method: str, address: str) -> str:
    words = re.findall(r"[a-z]+", address.removeprefix("/v1/").replace("{", "by-"))
    return "-".join([method.lower(), *words])


def _path(address: str) -> list[dict[str, Any]]:
    found = []
    for name in _NAME.findall(address):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if name == "verb":
            schema = {"enum": ["retry", "drop"]}
        told = {"name": name, "in": "path", "required": True, "schema": schema}
        found.append(told | ({"description": _SAID[name]} if name in _SAID else {}))
    return found


def _query(one: Operation) -> list[dict[str, Any]]:
    needed = one.needed.split()
    return [
        {
            "name": name, "in": "query", "required": name in needed, "schema": PARAMETERS[name][0],
            "description": PARAMETERS[name][1],
        }
        for name in one.query.split()
    ]  # fmt: skip


def _headers(method: str, one: Operation) -> list[dict[str, Any]]:
    """What all operations of a kind understand."""
    text = {"type": "string", "pattern": "^[!-~]*$"}
    if method == "POST":
        said = "a repeated request with the same key is the same request; with another body it is refused"
        return [{"name": "Idempotency-Key", "in": "header", "schema": text | {"maxLength": 128}, "description": said}]
    if one.answer is None:
        said = "the id of the last event that was read: the stream goes on behind it"
        return [{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": said}]
    said = "an ETag that was given: 304 when the answer would be the same"
    return [{"name": "If-None-Match", "in": "header", "schema": text, "description": said}]


def _responses(method: str, one: Operation, answer: Any) -> dict[str, Any]:
    stream = {"text/event-stream": {"schema": _EVENT}}
    content = {"application/json": {"schema": answer}} if one.answer is not None else stream
    problem = {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}}
    found: dict[str, Any] = {str(one.status): {"description": one.summary, "content": content}}
    if method == "GET" and one.answer is not None:
        found["304"] = {"description": "as before"}
    problems = _PROBLEMS | (_BODY_PROBLEMS if one.body is not None else {})
    return found | {str(code): {"description": said, "content": problem} for code, said in problems.items()}


def encoded(routes: Iterable[Route]) -> bytes:
    """The document as bytes."""
    return msgspec.json.format(msgspec.json.encode(document(routes)), indent=2)
