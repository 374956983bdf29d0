"""The account: for each push that git said yes to, what it became, by the API, the registry's digests and git."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from console import installation
from console.installation import Addresses
from tests.bench_cluster.soak.pushes import Pushed, Pushes
from tests.support.line import git

SETTLE: Final = 900.0
PAUSE: Final = 2.0
OVERTAKEN: Final = frozenset({"newer_push", "older_than_deployed", "already_deployed"})
"""Why a run ends without a deployment of its own: something newer was there."""
_TOGETHER: Final = "together with a later one"
AWAY = (OSError, http.client.HTTPException, ValueError, KeyError)


@dataclass
class Account:
    """What was lost and what was done twice, each in words; and how all pushes ended."""

    pushed: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    unsettled: str = ""

    def told(self) -> dict[str, Any]:
        return {"ends": dict(self.ends), "lost": self.lost[:20], "doubled": self.doubled[:20],
                "unsettled": self.unsettled}  # fmt: skip


def settled(at: Addresses, pushes: Pushes) -> Account:
    """Wait until every project shows its last page and no run goes on, and then take account of everything."""
    api = Api(at)
    account = Account(len(pushes.accepted))
    account.unsettled = _awaited(lambda: _unsettled(api, pushes))
    account.lost += [f"{one} was never accepted" for one in pushes.refused]
    if account.unsettled:
        account.lost.append(account.unsettled)
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in api.pages("/v1/runs?", "runs"):
        runs[run["sha"]].append(run)
    for project in pushes.projects:
        mine = [one for one in pushes.accepted if one.project == project]
        _account_of(api, at, project, mine, runs, account)
    account.lost += [f"parked: {one['id']} {one['reason']}" for one in api.get("/v1/parked")["parked"]]
    account.doubled += _left(at, pushes)
    return account


def begun(at: Addresses, pushes: Pushes) -> None:
    """Wait until each project shows its first page. Raises AssertionError."""
    api = Api(at)
    said = _awaited(lambda: _unsettled(api, pushes))
    assert not said, said


def _account_of(
    api: Api, at: Addresses, project: str, mine: list[Pushed], runs: dict[str, list[dict[str, Any]]], account: Account
) -> None:
    """Each push has a run, or stands before one; each run that went through has one release, digest and commit."""
    releases = list(api.pages(f"/v1/services/{project}.web/releases?", "releases"))
    of_sha, digests = Counter(one["git_sha"] for one in releases), Counter(one["digest"] for one in releases)
    commits = _deploys(at, project)
    after = False  # a later push of the project has a run
    for one in reversed(mine):
        found = runs[one.sha]
        if not found:
            account.ends[_TOGETHER if after else "no run"] += 1
            account.lost += [] if after else [f"{project} {one.sha[:12]}: no run"]
            continue
        after = True
        if len(found) > 1 or of_sha[one.sha] > 1:
            account.doubled.append(f"{project} {one.sha[:12]}: {len(found)} runs, {of_sha[one.sha]} releases")
        end = _end(api, found[0]["id"])
        account.ends[end] += 1
        version = next((release["version"] for release in releases if release["git_sha"] == one.sha), "")
        if end not in {"deployed", "held", *OVERTAKEN} or (end in {"deployed", "held"} and not version):
            account.lost.append(f"{project} {one.sha[:12]}: {end}, release {version or 'none'}")
        elif end == "deployed" and not commits[version]:
            account.lost.append(f"{project} {version}: no config commit")
    account.doubled += [f"{project} {version}: {n} config commits" for version, n in commits.items() if n > 1]
    account.doubled += [f"{project}: {n} releases of {digest}" for digest, n in digests.items() if n > 1]


def _end(api: Api, run: str) -> str:
    """How the run's one job ended: deployed, held, or the reason."""
    told = api.get(f"/v1/runs/{run}")
    jobs = told["jobs"]
    if len(jobs) != 1:
        return f"{told['status']} with {len(jobs)} jobs"
    status = str(jobs[0]["status"])
    if status in {"deployed", "held"}:
        return status
    return str(jobs[0]["reason"]) if status in {"superseded", "skipped"} else f"{status} {jobs[0]['reason']}"


def _deploys(at: Addresses, project: str) -> Counter[str]:
    """How many config commits deploy each release."""
    repository = at.home / "githost" / "repositories" / "enclii" / "config.git"
    before, behind = f"Deploy {project}/web ", " to production"
    subjects = git("--git-dir", str(repository), "log", "--format=%s", "main", cwd=repository).splitlines()
    return Counter(
        one.removeprefix(before).removesuffix(behind)
        for one in subjects
        if one.startswith(before) and one.endswith(behind)
    )


def _left(at: Addresses, pushes: Pushes) -> list[str]:
    """What there is more of than one pod a service, and what builds left."""

    def found() -> list[str]:
        label = f"label=enclii.dev/instance={at.instance}"
        argv = ["podman", "pod", "ps", "--filter", label, "--format", "{{.Name}}"]
        pods = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.split()
        more = [f"{len(pods)} pods: {' '.join(sorted(pods))}"] if len(pods) != len(pushes.projects) else []
        return more + [f"left of a build: {path.name}" for path in (at.home / "builds").glob("context-*")]

    _awaited(lambda: "; ".join(found()), 120.0)
    return found()


def _unsettled(api: Api, pushes: Pushes) -> str:
    """What is still on its way; empty when nothing is."""
    running = [run["id"] for run in api.pages("/v1/runs?", "runs") if run["status"] == "running"]
    if running:
        return f"{len(running)} runs go on, such as {running[-1]}"
    for project in pushes.projects:
        wanted = pushes.newest(project).page
        if (page := api.page(f"web.{project}.localhost")) != wanted:
            return f"{project} shows {page!r} and not {wanted!r}"
    return ""


def _awaited(question: Callable[[], str], limit: float = SETTLE) -> str:
    """Ask until the answer is empty; the last answer when the time is over."""
    deadline = time.monotonic() + limit
    while True:
        try:
            said = question()
        except AWAY as error:
            said = f"{type(error).__name__}: {error}"
        if not said or time.monotonic() > deadline:
            return said
        time.sleep(PAUSE)  # processes of their own, asked again as a person would


class Api:
    """The installation's API, and its front door."""

    def __init__(self, at: Addresses) -> None:
        self._at = at
        self._token = installation.token(at.home, "ENCLII_API_TOKEN")

    def get(self, path: str) -> Any:
        """The answer. Raises OSError, ValueError."""
        request = urllib.request.Request(self._at.console + path, headers={"Authorization": f"Bearer {self._token}"})
        with contextlib.closing(urllib.request.urlopen(request, timeout=60)) as answer:
            return json.load(answer)

    def pages(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        """The whole of a list."""
        cursor = ""
        while True:
            answer = self.get(f"{path}limit=200" + (f"&cursor={cursor}" if cursor else ""))
            yield from answer[name]
            if not (cursor := answer.get("next", "")):
                return

    def page(self, host: str) -> str:
        """What a service answers through the front door; the status where that is none of a page."""
        door = f"http://127.0.0.1:{self._at.ports['door']}/"
        try:
            with urllib.request.urlopen(urllib.request.Request(door, headers={"Host": host}), timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return str(error.code)
