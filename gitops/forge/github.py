"""GitHub's REST answers: commit statuses or checks, deployments, one comment, reactions, and who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from gitops.forge import Check, Known, Level, Opened, Proposal, Reaction, Seen, Shown, Where
from gitops.forge.commit_checks import worst
from gitops.forge.credentials import Credential
from gitops.forge.door import Answer, fine
from gitops.forge.github_door import GitHubDoor, GitHubDoors
from gitops.forge.pages import Listed, listed
from pipeline.errors import Refused
from pipeline.promotions import CheckState
from pipeline.said import PullSaid

PAGES: Final = 10
SIZE: Final = 100
TITLE: Final = 140
FOLDED: Final[Mapping[str, Level]] = {"admin": "admin", "write": "write", "read": "read", "none": "none"}
STATUS: Final = {"pending": "pending", "success": "success", "failure": "failure", "waiting": "pending"}
SAID: Final[Mapping[str, CheckState]] = {"success": "success", "pending": "pending"}
CONCLUSION: Final = {"success": "success", "failure": "failure", "waiting": "neutral"}


class GitHub:
    """One GitHub (or GitHub Enterprise) with an App or a token."""

    name = "github"

    def __init__(self, credential: Credential) -> None:
        self._app = credential.app
        self.doors = GitHubDoors(credential)
        self._login = f"{self._app.slug}[bot]" if self._app else ""

    @property
    def is_app(self) -> bool:
        """Whether it acts as an App, and not as the owner of a token."""
        return self._app is not None

    async def level(self, where: Where, login: str) -> Level:
        answer = await self._send(where, "GET", f"/collaborators/{login}/permission")
        if answer.status == 404:
            return "none"
        said = fine(answer, f"what {login} may do")
        role = said.get("role_name")
        if role in ("admin", "maintain", "write", "triage", "read", "none"):
            return role  # type: ignore[no-any-return]
        return FOLDED.get(str(said.get("permission")), "none")  # a role of the organisation's own

    async def pull(self, where: Where, number: int) -> PullSaid:
        return described(fine(await self._send(where, "GET", f"/pulls/{number}"), f"pull request {number}"))

    async def pulls(self, where: Where, tag: str = "") -> Seen:
        found = await self._listed(where, "/pulls", {"state": "open"}, tag)
        return Seen(found.tag, tuple(described(one) for one in found.items), (), found.changed)

    async def heads(self, where: Where, tag: str = "") -> Seen:
        found = await self._listed(where, "/branches", {}, tag)
        heads = tuple((str(one["name"]), str(one["commit"]["sha"])) for one in found.items)
        return Seen(found.tag, (), heads, found.changed)

    async def say(self, where: Where, number: int, marker: str, body: str, known: str) -> str:
        if known:
            answer = await self._send(where, "PATCH", f"/issues/comments/{known}", {"body": body})
            if answer.status != 404:
                fine(answer, "our comment")
                return known
        mine = await self._mine(where, number, marker)
        for extra in mine[1:]:  # of a POST whose answer never came
            await self._send(where, "DELETE", f"/issues/comments/{extra}")
        if mine:
            fine(await self._send(where, "PATCH", f"/issues/comments/{mine[0]}", {"body": body}), "our comment")
            return mine[0]
        made = fine(await self._send(where, "POST", f"/issues/{number}/comments", {"body": body}), "our comment")
        return str(made["id"])

    async def _mine(self, where: Where, number: int, marker: str) -> list[str]:
        """Our comments with that marker, oldest first; somebody else's that copies it is not ours."""
        own = await self.login(where)
        every = await self._listed(where, f"/issues/{number}/comments", {})
        found = (one for one in every.items if str(one.get("body") or "").startswith(marker))
        return [str(one["id"]) for one in found if (one.get("user") or {}).get("login") == own]

    async def login(self, where: Where) -> str:
        """The account that our comments are written by."""
        if not self._login:
            door = await self.doors.of(where.number, where.name)
            self._login = str(fine(await door.send("GET", "/user"), "who we are")["login"])
        return self._login

    async def react(self, where: Where, number: int, comment: str, reaction: Reaction) -> None:
        path = f"/issues/comments/{comment}/reactions"
        fine(await self._send(where, "POST", path, {"content": reaction}), "a reaction")

    async def check(self, where: Where, check: Check, known: str) -> str:
        if self._app is None:
            return await self._status(where, check)
        body = _run(check)
        if not known:
            known = await self._same(where, check)
        if known:
            answer = await self._send(where, "PATCH", f"/check-runs/{known}", body)
            if answer.status != 404:
                fine(answer, f"the check {check.name}")
                return known
        made = fine(await self._send(where, "POST", "/check-runs", body | {"head_sha": check.sha}), check.name)
        return str(made["id"])

    async def _same(self, where: Where, check: Check) -> str:
        """Our check of that name on that commit: who died between saying and remembering finds it again."""
        params = {"check_name": check.name, "app_id": str(self._app.id if self._app else "")}
        found = fine(await self._send(where, "GET", f"/commits/{check.sha}/check-runs", params=params), check.name)
        return next((str(one["id"]) for one in found["check_runs"]), "")

    async def _status(self, where: Where, check: Check) -> str:
        body = {"state": STATUS[check.state], "target_url": check.url, "context": check.name}
        body["description"] = check.title[:TITLE]
        made = fine(await self._send(where, "POST", f"/statuses/{check.sha}", body), f"the status {check.name}")
        return str(made["id"])

    async def show(self, where: Where, shown: Shown, known: str) -> str:
        known = known or await self._shown(where, shown)
        if not known and shown.state == "inactive":
            return ""
        if not known:
            asked = {
                "ref": shown.sha, "environment": shown.environment, "auto_merge": False, "required_contexts": [],
                "transient_environment": shown.transient, "production_environment": shown.production,
                "description": shown.title[:TITLE], "payload": {"enclii": shown.key},
            }  # fmt: skip
            known = str(fine(await self._send(where, "POST", "/deployments", asked), "a deployment")["id"])
        body = {"state": shown.state, "description": shown.title[:TITLE], "auto_inactive": False}
        body |= {"environment_url": shown.url} if shown.url else {}
        body |= {"log_url": shown.log} if shown.log else {}
        fine(await self._send(where, "POST", f"/deployments/{known}/statuses", body), "a deployment's status")
        return known

    async def _shown(self, where: Where, shown: Shown) -> str:
        params = {"sha": shown.sha, "environment": shown.environment, "per_page": "100"}
        found = fine(await self._send(where, "GET", "/deployments", params=params), "deployments")
        ours = (one for one in found if isinstance(one.get("payload"), dict))
        return next((str(one["id"]) for one in ours if one["payload"].get("enclii") == shown.key), "")

    async def propose(self, where: Where, proposal: Proposal) -> Opened:
        found = await self._open(where, proposal)
        text = {"title": proposal.title, "body": proposal.body}
        if found is None:
            asked = text | {"head": proposal.branch, "base": proposal.base}
            answer = await self._send(where, "POST", "/pulls", asked)
            found = await self._open(where, proposal) if answer.status == 422 else None  # it was heard the first time
            found = found or fine(answer, "a pull request")
        elif any(found.get(key) != said for key, said in text.items()):
            fine(await self._send(where, "PATCH", f"/pulls/{found['number']}", text), "our pull request")
        return Opened(int(found["number"]), str(found["html_url"]))

    async def _open(self, where: Where, proposal: Proposal) -> Mapping[str, Any] | None:
        owner = where.name.partition("/")[0]
        asked = {"state": "open", "head": f"{owner}:{proposal.branch}", "base": proposal.base}
        found = await self._listed(where, "/pulls", asked)
        ours = (one for one in found.items if _joins(described(one), proposal))
        return next(ours, None)

    async def checks(self, where: Where, sha: str) -> Mapping[str, CheckState]:
        statuses = await self._inside(where, f"/commits/{sha}/status", "statuses")
        try:
            runs = await self._inside(where, f"/commits/{sha}/check-runs", "check_runs")
        except Refused:
            runs = []  # some tokens may read statuses alone; a check that is not seen is not there
        return worst(
            *((str(one["context"]), SAID.get(str(one["state"]), "failure")) for one in statuses),
            *((str(one["name"]), _concluded(one)) for one in runs),
        )

    async def _inside(self, where: Where, path: str, key: str) -> list[Mapping[str, Any]]:
        """The items of all pages that lie below ``key`` of each."""
        items: list[Mapping[str, Any]] = []
        for page in range(1, PAGES + 1):
            answer = await self._send(where, "GET", path, params={"per_page": "100", "page": str(page)})
            items += fine(answer, "the checks of a commit")[key]
            if not answer.following:
                break
        return items

    async def lookup(self, where: Where) -> Known:
        found = fine(await self._found(where), "the repository")
        return Known(f"github:{found['id']}", str(found["full_name"]), str(found["clone_url"]))

    async def _found(self, where: Where) -> Answer:
        if where.number:
            return await self._send(where, "GET", "")
        door = self.doors.app() if self._app else await self.doors.of("", where.name)
        if self._app is None:
            return await door.send("GET", f"/repos/{where.name}")
        # The App itself sees no repository; a token of its installation there does.
        return await (await self.doors.whole(where.name)).send("GET", f"/repos/{where.name}")

    async def _listed(self, where: Where, path: str, params: dict[str, str], tag: str = "") -> Listed:
        async def ask(page: str, known: str) -> Answer:
            asked = params | {"per_page": str(SIZE)} | ({"page": page} if page != "1" else {})
            return await self._send(where, "GET", path, params=asked, tag=known)

        return await listed(ask, path, size=SIZE, tag=tag)

    async def _send(self, where: Where, verb: str, path: str, body: Any = None, **more: Any) -> Answer:
        """One request about a repository, by its number: a name may be somebody else's by now."""
        door = await self.doors.of(where.number, where.name)
        answer = await door.send(verb, f"/repositories/{where.number}{path}", body, **more)
        if answer.status == 401:
            self.doors.forget(where.number)  # a token may be revoked early: the next one is another
        return answer

    async def deliveries(self, path: str, door: GitHubDoor) -> AsyncIterator[Mapping[str, Any]]:
        """The forge's own log of what it delivered, newest first."""
        params = {"per_page": "100"}
        for _ in range(PAGES):
            answer = await door.send("GET", path, params=params)
            for one in fine(answer, "the delivery log"):
                yield one
            following = answer.following.partition("cursor=")[2].partition("&")[0]
            if not following:
                return
            params |= {"cursor": following}


def _run(check: Check) -> dict[str, Any]:
    """A check run's fields; without a conclusion it is still on its way."""
    output = {"title": check.title[:TITLE], "summary": check.text or check.title}
    body: dict[str, Any] = {"name": check.name, "details_url": check.url, "external_id": check.key, "output": output}
    if check.state == "pending":
        return body | {"status": "in_progress"}
    buttons = [
        {"label": label[:20], "description": description[:40], "identifier": identifier[:20]}
        for label, description, identifier in check.buttons[:3]
    ]
    return body | {"status": "completed", "conclusion": CONCLUSION[check.state], "actions": buttons}


def _joins(pull: PullSaid, proposal: Proposal) -> bool:
    return (pull.branch, pull.base, pull.fork) == (proposal.branch, proposal.base, False)


def _concluded(run: Mapping[str, Any]) -> CheckState:
    """A run that was skipped or is neutral has not succeeded."""
    if run.get("status") != "completed":
        return "pending"
    return "success" if run.get("conclusion") == "success" else "failure"


def described(pull: Mapping[str, Any]) -> PullSaid:
    """A pull request of the REST API in our words."""
    head, base = pull["head"], pull["base"]
    source = head.get("repo") or {}
    return PullSaid(
        number=int(pull["number"]), state="open" if pull["state"] == "open" else "closed", head=str(head["sha"]),
        branch=str(head["ref"]), base=str(base["ref"]), fork=source.get("id") != base["repo"]["id"],
        source=f"github:{source['id']}" if source else "", draft=bool(pull.get("draft")),
        merged=bool(pull.get("merged") or pull.get("merged_at")),
        author=str((pull.get("user") or {}).get("login") or ""),
        updated_at=str(pull.get("updated_at") or ""),
    )  # fmt: skip
