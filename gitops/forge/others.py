"""GitLab, and Gitea with Forgejo: commit statuses, one comment, reactions, who may do what; behind one interface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from gitops.forge import Check, Known, Level, Opened, Proposal, Reaction, Seen, Shown, Where
from gitops.forge.commit_checks import worst
from gitops.forge.credentials import Credential
from gitops.forge.door import Answer, Door, fine
from gitops.forge.pages import Listed, listed
from gitops.forge.rest import RestDoor
from pipeline.promotions import CheckState
from pipeline.said import PullSaid

TITLE: Final = 140
SIZE: Final = 20  # of GitLab, where none is asked for
GITEA_SAID: Final[Mapping[str, CheckState]] = {"success": "success", "pending": "pending"}
GITLAB_SAID: Final[Mapping[str, CheckState]] = {
    "success": "success", "created": "pending", "waiting_for_resource": "pending", "preparing": "pending",
    "pending": "pending", "running": "pending", "scheduled": "pending", "manual": "pending",
}  # fmt: skip


class _Listed:
    """What both have in common: pages, and one comment that is found by its first line and its author."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._login = ""

    async def _all(self, path: str, params: Mapping[str, str], tag: str = "") -> Listed:
        async def ask(page: str, known: str) -> Answer:
            asked = {**params, **({"page": page} if page != "1" else {})}
            return await self._door.send("GET", path, params=asked, tag=known)

        return await listed(ask, path, size=int(params.get("limit") or params.get("per_page") or SIZE), tag=tag)

    async def _keep(self, comments: str, one: str, marker: str, body: str, known: str, *, edit: str) -> str:
        """Edit our comment, or write it; ``comments`` lists and takes them, ``one`` is the address of one."""
        if known:
            answer = await self._door.send(edit, f"{one}/{known}", {"body": body})
            if answer.status != 404:
                fine(answer, "our comment")
                return known
        every = (await self._all(comments, {"per_page": "100", "limit": "50"})).items
        own = await self._me()
        mine = [str(c["id"]) for c in every if str(c.get("body") or "").startswith(marker) and _author(c) == own]
        for extra in mine[1:]:
            await self._door.send("DELETE", f"{one}/{extra}")
        if mine:
            fine(await self._door.send(edit, f"{one}/{mine[0]}", {"body": body}), "our comment")
            return mine[0]
        return str(fine(await self._door.send("POST", comments, {"body": body}), "our comment")["id"])

    async def _proposed(
        self, path: str, find: Callable[[], Awaitable[Mapping[str, Any] | None]], text: Mapping[str, str],
        joins: Mapping[str, str], *, number: str, edit: str, what: str,
    ) -> Mapping[str, Any]:  # fmt: skip
        """Ours as it is open, its text mended, or a new one; ``joins`` names its branches, ``number`` its field."""
        found = await find()
        if found is None:
            answer = await self._door.send("POST", path, {**text, **joins})
            found = await find() if answer.status in (409, 422) else None  # it was heard before
            return found or fine(answer, f"a {what}")
        if any(found.get(key) != said for key, said in text.items()):
            fine(await self._door.send(edit, f"{path}/{found[number]}", text), f"our {what}")
        return found

    async def _me(self) -> str:
        if not self._login:
            said = fine(await self._door.send("GET", "/user"), "who we are")
            self._login = str(said.get("username") or said.get("login"))
        return self._login

    async def show(self, where: Where, shown: Shown, known: str) -> str:
        """They have no list of environments that others fill: nothing is shown."""
        return ""


class Gitea(_Listed):
    """Gitea and Forgejo, whose API follows GitHub's from afar."""

    def __init__(self, credential: Credential, door: Door | None = None) -> None:
        super().__init__(door or RestDoor(credential.api, {"Authorization": f"token {credential.token}"}))
        self.name: str = credential.forge

    async def level(self, where: Where, login: str) -> Level:
        answer = await self._door.send("GET", f"/repos/{where.name}/collaborators/{quote(login)}/permission")
        if answer.status == 404:
            return "none"
        said = str(fine(answer, f"what {login} may do").get("permission"))
        levels: dict[str, Level] = {"owner": "admin", "admin": "admin", "write": "write", "read": "read"}
        return levels.get(said, "none")

    async def pull(self, where: Where, number: int) -> PullSaid:
        return self._described(fine(await self._door.send("GET", f"/repos/{where.name}/pulls/{number}"), "it"))

    async def pulls(self, where: Where, tag: str = "") -> Seen:
        found = await self._all(f"/repos/{where.name}/pulls", {"state": "open", "limit": "50"}, tag)
        return Seen(found.tag, tuple(map(self._described, found.items)), (), found.changed)

    async def heads(self, where: Where, tag: str = "") -> Seen:
        found = await self._all(f"/repos/{where.name}/branches", {"limit": "50"}, tag)
        heads = tuple((str(one["name"]), str(one["commit"]["id"])) for one in found.items)
        return Seen(found.tag, (), heads, found.changed)

    async def say(self, where: Where, number: int, marker: str, body: str, known: str) -> str:
        root = f"/repos/{where.name}/issues"
        return await self._keep(f"{root}/{number}/comments", f"{root}/comments", marker, body, known, edit="PATCH")

    async def react(self, where: Where, number: int, comment: str, reaction: Reaction) -> None:
        path = f"/repos/{where.name}/issues/comments/{comment}/reactions"
        fine(await self._door.send("POST", path, {"content": reaction}), "a reaction")

    async def check(self, where: Where, check: Check, known: str) -> str:
        body = {"state": "pending" if check.state == "waiting" else check.state, "context": check.name}
        body |= {"target_url": check.url, "description": check.title[:TITLE]}
        made = await self._door.send("POST", f"/repos/{where.name}/statuses/{check.sha}", body)
        return str(fine(made, check.name)["id"])

    async def lookup(self, where: Where) -> Known:
        path = f"/repositories/{where.number}" if where.number else f"/repos/{where.name}"
        found = fine(await self._door.send("GET", path), "the repository")
        return Known(f"{self.name}:{found['id']}", str(found["full_name"]), str(found["clone_url"]))

    async def propose(self, where: Where, proposal: Proposal) -> Opened:
        pulls = f"/repos/{where.name}/pulls"
        found = await self._proposed(
            pulls,
            lambda: self._open(pulls, proposal),
            {"title": proposal.title, "body": proposal.body},
            {"head": proposal.branch, "base": proposal.base},
            number="number",
            edit="PATCH",
            what="pull request",
        )
        return Opened(int(found["number"]), str(found["html_url"]))

    async def _open(self, pulls: str, proposal: Proposal) -> Mapping[str, Any] | None:
        items = (await self._all(pulls, {"state": "open", "limit": "50"})).items
        return next((one for one in items if _joins(self._described(one), proposal)), None)

    async def checks(self, where: Where, sha: str) -> Mapping[str, CheckState]:
        # The combined status has the newest of each name; the list has every one that ever was.
        path = f"/repos/{where.name}/commits/{sha}/status"
        said = fine(await self._door.send("GET", path), "the checks of a commit")
        states = said.get("statuses") or ()
        return worst(*((str(one["context"]), GITEA_SAID.get(str(one["status"]), "failure")) for one in states))

    def _described(self, pull: Mapping[str, Any]) -> PullSaid:
        head, base = pull["head"], pull["base"]
        source = head.get("repo") or {}
        return PullSaid(
            number=int(pull["number"]), state="open" if pull["state"] == "open" else "closed", head=str(head["sha"]),
            branch=str(head["ref"]), base=str(base["ref"]), fork=source.get("id") != base["repo"]["id"],
            source=f"{self.name}:{source['id']}" if source else "", draft=bool(pull.get("draft")),
            merged=bool(pull.get("merged")), author=_author(pull), updated_at=str(pull.get("updated_at") or ""),
        )  # fmt: skip


class GitLab(_Listed):
    """GitLab, by the project's number."""

    name = "gitlab"

    def __init__(self, credential: Credential, door: Door | None = None) -> None:
        super().__init__(door or RestDoor(credential.api, {"PRIVATE-TOKEN": credential.token}))

    async def level(self, where: Where, login: str) -> Level:
        people = await self._all(f"/projects/{where.number}/members/all", {"query": login, "per_page": "100"})
        found = max((int(one["access_level"]) for one in people.items if one.get("username") == login), default=0)
        steps: tuple[tuple[int, Level], ...] = (
            (50, "admin"),
            (40, "maintain"),
            (30, "write"),
            (20, "triage"),
            (10, "read"),
        )
        return next((level for least, level in steps if found >= least), "none")

    async def pull(self, where: Where, number: int) -> PullSaid:
        path = f"/projects/{where.number}/merge_requests/{number}"
        return _merge_request(fine(await self._door.send("GET", path), "it"))

    async def pulls(self, where: Where, tag: str = "") -> Seen:
        asked = {"state": "opened", "per_page": "100"}
        found = await self._all(f"/projects/{where.number}/merge_requests", asked, tag)
        return Seen(found.tag, tuple(map(_merge_request, found.items)), (), found.changed)

    async def heads(self, where: Where, tag: str = "") -> Seen:
        found = await self._all(f"/projects/{where.number}/repository/branches", {"per_page": "100"}, tag)
        heads = tuple((str(one["name"]), str(one["commit"]["id"])) for one in found.items)
        return Seen(found.tag, (), heads, found.changed)

    async def say(self, where: Where, number: int, marker: str, body: str, known: str) -> str:
        notes = f"/projects/{where.number}/merge_requests/{number}/notes"
        return await self._keep(notes, notes, marker, body, known, edit="PUT")

    async def react(self, where: Where, number: int, comment: str, reaction: Reaction) -> None:
        names = {"eyes": "eyes", "rocket": "rocket", "confused": "confused", "-1": "thumbsdown"}
        path = f"/projects/{where.number}/merge_requests/{number}/notes/{comment}/award_emoji"
        answer = await self._door.send("POST", path, {"name": names[reaction]})
        if answer.status != 404:  # GitLab's word for: it is there already
            fine(answer, "a reaction")

    async def check(self, where: Where, check: Check, known: str) -> str:
        states = {"pending": "running", "waiting": "pending", "success": "success", "failure": "failed"}
        body = {"state": states[check.state], "name": check.name, "target_url": check.url}
        body["description"] = check.title[:TITLE]
        answer = await self._door.send("POST", f"/projects/{where.number}/statuses/{check.sha}", body)
        if answer.status == 400 and "transition" in str(answer.data):
            return known  # it is in that state already
        return str(fine(answer, check.name)["id"])

    async def lookup(self, where: Where) -> Known:
        found = fine(
            await self._door.send("GET", f"/projects/{where.number or quote(where.name, safe='')}"), "the project"
        )
        return Known(f"gitlab:{found['id']}", str(found["path_with_namespace"]), str(found["http_url_to_repo"]))

    async def propose(self, where: Where, proposal: Proposal) -> Opened:
        requests = f"/projects/{where.number}/merge_requests"
        found = await self._proposed(
            requests,
            lambda: self._open(requests, proposal),
            {"title": proposal.title, "description": proposal.body},
            {"source_branch": proposal.branch, "target_branch": proposal.base},
            number="iid",
            edit="PUT",
            what="merge request",
        )
        return Opened(int(found["iid"]), str(found["web_url"]))

    async def _open(self, requests: str, proposal: Proposal) -> Mapping[str, Any] | None:
        asked = {"state": "opened", "source_branch": proposal.branch, "target_branch": proposal.base}
        items = (await self._all(requests, asked)).items
        return next((one for one in items if _joins(_merge_request(one), proposal)), None)

    async def checks(self, where: Where, sha: str) -> Mapping[str, CheckState]:
        path = f"/projects/{where.number}/repository/commits/{sha}/statuses"
        items = (await self._all(path, {"per_page": "100"})).items
        # A job that may fail says failed all the same: who asks for it by name means it.
        return worst(*((str(one["name"]), GITLAB_SAID.get(str(one["status"]), "failure")) for one in items))


def _joins(pull: PullSaid, proposal: Proposal) -> bool:
    return (pull.branch, pull.base, pull.fork) == (proposal.branch, proposal.base, False)


def _merge_request(said: Mapping[str, Any]) -> PullSaid:
    source, target = said.get("source_project_id"), said["target_project_id"]
    return PullSaid(
        number=int(said["iid"]), state="open" if said["state"] == "opened" else "closed", head=str(said["sha"]),
        branch=str(said["source_branch"]), base=str(said["target_branch"]), fork=source != target,
        source=f"gitlab:{source}" if source else "", draft=bool(said.get("draft")), merged=said["state"] == "merged",
        author=_author(said), updated_at=str(said.get("updated_at") or ""),
    )  # fmt: skip


def _author(said: Mapping[str, Any]) -> str:
    person = said.get("author") or said.get("user") or {}
    return str(person.get("username") or person.get("login") or "")
