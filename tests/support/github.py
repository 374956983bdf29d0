"""A small GitHub over HTTP: what its REST documentation says of the few resources that Enclii uses, with a memory.

It counts and keeps every request, can be told to fail in the ways that GitHub fails, and knows nothing of Enclii. The
repository is ``shop/shop``, number 186853002, with a person for each level.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.support.github_state import APP as APP
from tests.support.github_state import HOUR, OWNER
from tests.support.github_state import NUMBER as NUMBER
from tests.support.github_state import TOKEN as TOKEN
from tests.support.github_state import Failure as Failure
from tests.support.github_state import GitHub as GitHub
from tests.support.serving import serving

Handler = Callable[[GitHub, Request, Mapping[str, Any], str], tuple[int, Any]]


def app(state: GitHub) -> Starlette:
    """The web application around the state."""

    def route(path: str, verb: str, handler: Handler) -> Route:
        async def answer(request: Request) -> Response:
            return await _answered(state, request, handler)

        return Route(path, answer, methods=[verb])

    return Starlette(routes=[route(path, verb, handler) for verb, path, handler in ROUTES])


async def _answered(state: GitHub, request: Request, handler: Handler) -> Response:
    line = f"{request.method} {request.url.path}"
    state.requests.append((request.method, request.url.path))
    failure = next((one for one in state.failures if one.times > 0 and re.search(one.match, line)), None)
    if failure is not None:
        failure.times -= 1
        if failure.hang:
            await asyncio.sleep(failure.hang)
        if not failure.heard:
            return JSONResponse({"message": failure.message}, failure.status, headers=dict(failure.headers))
    login = _login(state, request)
    if login is None:
        return JSONResponse({"message": "Bad credentials", "status": "401"}, 401)
    body = await request.body()
    status, data = handler(state, request, json.loads(body) if body else {}, login)
    if failure is not None:
        return JSONResponse({"message": failure.message}, failure.status, headers=dict(failure.headers))
    return _response(state, request, status, data)


def _response(state: GitHub, request: Request, status: int, data: Any) -> Response:
    headers = {
        "x-ratelimit-limit": str(HOUR), "x-ratelimit-remaining": str(HOUR - len(state.requests)),
        "x-ratelimit-reset": str(int(time.time()) + 3_600),
    }  # fmt: skip
    if isinstance(data, list):
        size, page = int(request.query_params.get("per_page", 30)), int(request.query_params.get("page", 1))
        if page * size < len(data):
            following = request.url.include_query_params(page=page + 1)
            headers["link"] = f'<{following}>; rel="next"'
        data = data[(page - 1) * size : page * size]
    text = b"" if status == 204 else json.dumps(data).encode()
    headers["etag"] = f'W/"{hashlib.sha256(text).hexdigest()}"'
    if request.method == "GET" and request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(text, status, headers=headers, media_type="application/json")


def _login(state: GitHub, request: Request) -> str | None:
    """Whose credential it is: the token's owner, an installation's token, or the App itself by its JWT."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if request.url.path.startswith("/app-manifests/"):
        return "nobody"
    if scheme.lower() == "token" and value == TOKEN:
        return OWNER
    if value in state.tokens:
        return str(APP["login"])
    return "app" if scheme == "Bearer" and value.count(".") == 2 else None


def _not_found(*_: Any) -> tuple[int, Any]:
    return 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}


def _repository(state: GitHub, *_: Any) -> tuple[int, Any]:
    return 200, {"id": NUMBER, "full_name": state.name, "clone_url": f"https://github.com/{state.name}.git"}


def _permission(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    login = request.path_params["login"]
    if login not in state.levels:
        return _not_found()
    role = state.levels[login]
    folded = {"maintain": "write", "triage": "read"}.get(role, role if role in ("admin", "write", "read") else "write")
    return 200, {"permission": folded, "role_name": role, "user": {"login": login}}


def _pulls(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    wanted, head = (request.query_params.get(key, "") for key in ("state", "head"))
    shown = [one for one in state.pulls.values() if (wanted or "open") in ("all", one["state"])]
    owner = state.name.partition("/")[0]
    return 200, [one for one in shown if head in ("", f"{owner}:{one['head']['ref']}")]


def _open_pull(state: GitHub, _: Request, body: Mapping[str, Any], __: str) -> tuple[int, Any]:
    if any((one["state"], one["head"]["ref"]) == ("open", body["head"]) for one in state.pulls.values()):
        return 422, {"message": "Validation Failed", "errors": [{"message": "A pull request already exists"}]}
    made = state.pull(next(state.ids), state.branches.get(body["head"], "b" * 40), title=body["title"])
    made |= {"body": body["body"], "html_url": f"https://github.com/{state.name}/pull/{made['number']}"}
    made["head"]["ref"], made["base"]["ref"] = body["head"], body["base"]
    return 201, made


def _edit_pull(state: GitHub, request: Request, body: Mapping[str, Any], _: str) -> tuple[int, Any]:
    found = state.pulls.get(int(request.path_params["number"]))
    if found is None:
        return _not_found()
    found.update(body)
    return 200, found


def _combined(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    mine = [one for one in state.statuses if one["sha"] == request.path_params["sha"]]
    newest = {one["context"]: one for one in mine}
    return 200, {"state": "pending", "total_count": len(newest), "statuses": list(newest.values())}


def _pull(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    found = state.pulls.get(int(request.path_params["number"]))
    return (200, found) if found else _not_found()


def _branches(state: GitHub, *_: Any) -> tuple[int, Any]:
    return 200, [{"name": name, "commit": {"sha": sha}} for name, sha in state.branches.items()]


def _comments(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    number = int(request.path_params["number"])
    return 200, [one for one in state.comments.values() if one["issue"] == number]


def _write(state: GitHub, request: Request, body: Mapping[str, Any], login: str) -> tuple[int, Any]:
    made = next(state.ids)
    number = int(request.path_params["number"])
    state.comments[made] = {"id": made, "issue": number, "body": body["body"], "user": {"login": login, "type": "Bot"}}
    return 201, state.comments[made]


def _edit(state: GitHub, request: Request, body: Mapping[str, Any], _: str) -> tuple[int, Any]:
    found = state.comments.get(int(request.path_params["id"]))
    if found is None:
        return _not_found()
    found["body"] = body["body"]
    return 200, found


def _remove(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    return (204, None) if state.comments.pop(int(request.path_params["id"]), None) else _not_found()


def _react(state: GitHub, request: Request, body: Mapping[str, Any], _: str) -> tuple[int, Any]:
    if int(request.path_params["id"]) not in state.comments:
        return _not_found()
    entry = (str(request.path_params["id"]), str(body["content"]))
    if entry in state.reactions:
        return 200, {"id": 1, "content": entry[1]}
    state.reactions.append(entry)
    return 201, {"id": 1, "content": entry[1]}


def _status(state: GitHub, request: Request, body: Mapping[str, Any], _: str) -> tuple[int, Any]:
    if len(body.get("description") or "") > 140:
        return 422, {"message": "Validation Failed"}
    made = {"id": next(state.ids), "sha": request.path_params["sha"], **body}
    state.statuses.append(made)
    return 201, made


def _make_check(state: GitHub, _: Request, body: Mapping[str, Any], login: str) -> tuple[int, Any]:
    if login != APP["login"]:
        return 403, {"message": "You must authenticate via a GitHub App."}
    made = {"id": next(state.ids), **body}
    state.checks[made["id"]] = made
    return 201, made


def _edit_check(state: GitHub, request: Request, body: Mapping[str, Any], _: str) -> tuple[int, Any]:
    found = state.checks.get(int(request.path_params["id"]))
    if found is None:
        return _not_found()
    found.update(body)
    return 200, found


def _checks(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    name, sha = request.query_params.get("check_name", ""), request.path_params["sha"]
    found = [one for one in state.checks.values() if one["head_sha"] == sha and name in ("", one["name"])]
    return 200, {"total_count": len(found), "check_runs": found}


def _deployments(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    wanted = {key: request.query_params[key] for key in ("sha", "environment") if key in request.query_params}
    return 200, [one for one in state.deployments.values() if wanted.items() <= one.items()]


def _deploy(state: GitHub, _: Request, body: Mapping[str, Any], __: str) -> tuple[int, Any]:
    if body.get("required_contexts") != [] or body.get("auto_merge") is not False:
        return 409, {"message": "Conflict: Commit status checks failed"}
    made = {"id": next(state.ids), "sha": body["ref"], "statuses": [], **body}
    state.deployments[made["id"]] = made
    return 201, made


def _deployment_status(state: GitHub, request: Request, body: Mapping[str, Any], _: str) -> tuple[int, Any]:
    found = state.deployments.get(int(request.path_params["id"]))
    if found is None:
        return _not_found()
    found["statuses"].append(dict(body))
    return 201, {"id": next(state.ids), **body}


def _user(_: GitHub, __: Request, ___: Mapping[str, Any], login: str) -> tuple[int, Any]:
    return (403, {"message": "Resource not accessible by integration"}) if "[bot]" in login else (200, {"login": login})


def _installation(state: GitHub, request: Request, _: Mapping[str, Any], login: str) -> tuple[int, Any]:
    named = f"{request.path_params['owner']}/{request.path_params['name']}"
    if login != "app" or named != state.name:
        return _not_found()
    return 200, {"id": 55, "permissions": state.permissions, "events": list(state.events), "suspended_at": None}


def _token(state: GitHub, _: Request, body: Mapping[str, Any], login: str) -> tuple[int, Any]:
    if login != "app":
        return _not_found()
    if not body.get("permissions", {}).items() <= state.permissions.items():
        return 422, {"message": "The permissions requested are not granted to this installation."}
    made = f"ghs_{next(state.ids)}"
    state.tokens[made] = dict(body)
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3_600))
    return 201, {"token": made, "expires_at": ends, "permissions": body.get("permissions", {})}


def _app(state: GitHub, _: Request, __: Mapping[str, Any], login: str) -> tuple[int, Any]:
    if login != "app":
        return 401, {"message": "A JSON web token could not be decoded"}
    return 200, {"id": APP["id"], "slug": APP["slug"], "permissions": state.permissions, "events": list(state.events)}


def _logged(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    return 200, sorted(state.deliveries, key=lambda one: -int(one["id"]))


def _attempt(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    state.redelivered.append(int(request.path_params["id"]))
    return 202, {}


def _hook(state: GitHub, _: Request, body: Mapping[str, Any], login: str) -> tuple[int, Any]:
    state.hook |= {str(key): str(value) for key, value in body.items()}
    return (200, state.hook) if login == "app" else _not_found()


def _convert(state: GitHub, request: Request, *_: Any) -> tuple[int, Any]:
    if request.path_params["code"] != "a-code":
        return _not_found()
    return 201, {
        "id": APP["id"], "slug": APP["slug"], "pem": rsa_key(), "webhook_secret": "from-github",
        "client_id": "Iv1.x", "client_secret": "c", "html_url": f"https://github.com/apps/{APP['slug']}",
    }  # fmt: skip


@functools.cache
def rsa_key() -> str:
    """A private key such as GitHub makes for an App."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    coded = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return coded.decode()


REPO = f"/repositories/{NUMBER}"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", REPO, _repository),
    ("GET", REPO + "/collaborators/{login}/permission", _permission),
    ("GET", REPO + "/pulls", _pulls),
    ("POST", REPO + "/pulls", _open_pull),
    ("GET", REPO + "/pulls/{number}", _pull),
    ("PATCH", REPO + "/pulls/{number}", _edit_pull),
    ("GET", REPO + "/branches", _branches),
    ("GET", REPO + "/issues/{number}/comments", _comments),
    ("POST", REPO + "/issues/{number}/comments", _write),
    ("PATCH", REPO + "/issues/comments/{id}", _edit),
    ("DELETE", REPO + "/issues/comments/{id}", _remove),
    ("POST", REPO + "/issues/comments/{id}/reactions", _react),
    ("POST", REPO + "/statuses/{sha}", _status),
    ("POST", REPO + "/check-runs", _make_check),
    ("PATCH", REPO + "/check-runs/{id}", _edit_check),
    ("GET", REPO + "/commits/{sha}/check-runs", _checks),
    ("GET", REPO + "/commits/{sha}/status", _combined),
    ("GET", REPO + "/deployments", _deployments),
    ("POST", REPO + "/deployments", _deploy),
    ("POST", REPO + "/deployments/{id}/statuses", _deployment_status),
    ("GET", REPO + "/hooks/{hook}/deliveries", _logged),
    ("POST", REPO + "/hooks/{hook}/deliveries/{id}/attempts", _attempt),
    ("GET", "/user", _user),
    ("GET", "/app", _app),
    ("GET", "/app/hook/deliveries", _logged),
    ("POST", "/app/hook/deliveries/{id}/attempts", _attempt),
    ("PATCH", "/app/hook/config", _hook),
    ("GET", "/repos/{owner}/{name}/installation", _installation),
    ("GET", "/repos/{owner}/{name}", lambda state, request, *_: _repository(state)),
    ("POST", "/app/installations/55/access_tokens", _token),
    ("POST", "/app-manifests/{code}/conversions", _convert),
]


@contextlib.asynccontextmanager
async def running_github(state: GitHub | None = None, *, below: str = "") -> AsyncIterator[GitHub]:
    """Serve it in the test's own loop, ``below`` a path as an Enterprise Server does; ``url`` is the API's address."""
    found = state or GitHub()
    served = Starlette(routes=[Mount(below, app(found))]) if below else app(found)
    async with serving(served) as url:
        found.url = url + below
        yield found


async def until(question: Callable[[], Any], *, limit: float = 60.0) -> Any:
    """The first true answer. Raises TimeoutError."""
    async with asyncio.timeout(limit):
        while not (found := question()):  # noqa: ASYNC110 - the state is changed by the server's handlers
            await asyncio.sleep(0.02)
        return found
