"""GitHub's webhook in front of the line: linked, signed, delivered once or many times, and a forge that is private."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from console import cli
from tests.support.forge import Forge, running_forge
from tests.support.line import API, Line, commit, eventually, git, running_line, sample
from tests.support.nats import running_nats

TOKEN = "a-token-of-the-forge"


def enclii(line: Line, cwd: Path, *words: str) -> tuple[int, str]:
    """Run the program as its entry does; its exit code and all that it said."""
    said = io.StringIO()
    env = {"ENCLII_SERVER": f"http://127.0.0.1:{line.ports['console']}", "ENCLII_TOKEN": API}
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.run(words, env, cwd)
    return code, said.getvalue()


def linked(line: Line, forge: Forge, tmp: Path, *more: str) -> None:
    """Link the forge's repository and paste what the command says into the forge."""
    code, said = enclii(line, tmp, "link", forge.repository, "--forge", "github", *more)
    assert code == 0, said
    pasted = dict(row.strip().split("  ", 1) for row in said.splitlines() if row.startswith("  "))
    assert pasted["Content type"].strip() == "application/json"
    assert pasted["Events"].strip().startswith("push, pull_request, issue_comment")
    forge.payload_url, forge.secret = pasted["Payload URL"].strip(), pasted["Secret"].strip()
    eventually(lambda: forge.deliver(guid(), {}, secret="wrong")[0] == 401, what="the receiver knows the hook")


def guid() -> str:
    return str(uuid.uuid4())


def allow(line: Line, forge: Forge, token: str) -> None:
    """Put a token where the link's --credential looks for it."""
    folder = line.home / "credentials" / forge.host
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shop").write_text(token + "\n")
    (folder / "shop").chmod(0o600)


def why(line: Line, delivery: str) -> dict[str, Any]:
    """The stored decision of a delivery, once there is one."""
    found: dict[str, Any] = eventually(lambda: decision(line, delivery), what=f"{delivery} is decided")
    return found


def decision(line: Line, delivery: str) -> dict[str, Any] | None:
    with contextlib.suppress(OSError):
        return next((dict(one) for one in line.api(f"/v1/why/{delivery}")["decisions"]), None)
    return None


def is_live(line: Line, version: str) -> bool:
    services = line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
    now = services[0]["current_deployment"] if services else None
    return bool(now) and (now["version"], now["status"]) == (version, "running")


@contextlib.contextmanager
def linked_line(tmp: Path, *, token: str = "") -> Iterator[tuple[Line, Forge, str]]:
    """A line and a forge that know each other, and the head of what somebody pushed to the forge."""
    with running_line(tmp / "home") as line, running_forge(tmp / "forge", token=token) as forge:
        sample(tmp / "shop", "one\n")
        git("push", "-q", str(forge.bare), "main", cwd=tmp / "shop")
        linked(line, forge, tmp, *(("--credential", "shop") if token else ()))
        yield line, forge, git("rev-parse", "HEAD", cwd=tmp / "shop").strip()


def test_a_signed_push_runs_and_the_same_delivery_again_is_a_duplicate(tmp_path: Path) -> None:
    with linked_line(tmp_path) as (line, forge, head):
        first = guid()
        status, receipt, _ = forge.deliver(first, forge.pushed(head))
        assert (status, receipt["stream"]) == (202, "HOOKS")
        eventually(lambda: is_live(line, "v1"), what="v1 runs")
        assert line.page("web.shop.localhost") == "one\n"
        assert forge.deliver(first, forge.pushed(head))[:2] == (
            200, {"status": "duplicate", "delivery": receipt["delivery"]},
        )  # fmt: skip
        assert line.api(f"/v1/runs/{receipt['run']}")["actor"] == "octocat"

        kill_and_restart_nats(line, forge, tmp_path)


def kill_and_restart_nats(line: Line, forge: Forge, tmp: Path) -> None:
    """The forge is told to come again while the store is away, and what it then brings runs."""
    (tmp / "shop/index.html").write_text("two\n")
    head = commit(tmp / "shop", "The second page")
    git("push", "-q", str(forge.bare), "main", cwd=tmp / "shop")
    [ports] = (line.home / "nats/nats.ports").glob("*.ports")
    os.kill(int(ports.stem.rpartition("_")[2]), signal.SIGKILL)
    again = guid()
    status, _, headers = forge.deliver(again, forge.pushed(head))
    assert status == 503
    assert int(headers["Retry-After"]) >= 1
    with running_nats(line.home / "nats", port=int(line.nats.rpartition(":")[2])):
        eventually(lambda: forge.deliver(again, forge.pushed(head))[0] in {200, 202}, what="the delivery is taken")
        eventually(lambda: is_live(line, "v2"), what="v2 runs")
        assert line.page("web.shop.localhost") == "two\n"
        line.end()


def test_every_delivery_has_a_decision_and_a_hook_belongs_to_one_repository(tmp_path: Path) -> None:
    with linked_line(tmp_path) as (line, forge, head):
        hook = forge.payload_url.rpartition("/")[2]
        known = {"id": 186853002}
        cases = [
            ("ping", {"zen": "Keep it simple.", "hook_id": 1, "repository": known}, "skipped", "ping"),
            ("issues", {"action": "opened", "repository": known}, "skipped", "ignored_issues"),
            ("push", forge.pushed(head, ref="refs/tags/v1"), "skipped", "not_a_branch"),
            ("push", forge.pushed("0" * 40), "skipped", "branch_deleted"),
            ("push", forge.pushed(head, ref="refs/heads/other"), "skipped", "branch_gone"),
            ("push", forge.pushed(head, repository=1), "refused", "other_repository"),
        ]
        for event, payload, outcome, reason in cases:
            delivered = guid()
            assert forge.deliver(delivered, payload, event=event)[0] == 202
            found = why(line, f"github:{hook}:{delivered}")
            assert (found["outcome"], found["reason"]) == (outcome, reason)
        assert forge.deliver(guid(), forge.pushed(head), secret="wrong")[:2] == (401, {"error": "bad_signature"})

        old = forge.payload_url
        linked(line, forge, tmp_path)
        assert forge.payload_url == old
        linked(line, forge, tmp_path, "--rotate")
        assert forge.payload_url != old
        forge.payload_url = old
        assert forge.deliver(guid(), forge.pushed(head))[0] == 404
        only_safe_addresses_are_linked(line, tmp_path)


def only_safe_addresses_are_linked(line: Line, tmp: Path) -> None:
    """A repository of our own git host is; one that neither forge serves, or that would travel in the clear, is not."""
    for url in ("https://git.example.test/shop/shop", "http://github.com/shop/shop"):
        code, said = enclii(line, tmp, "link", url)
        assert code == 2
        assert "reason: bad_url" in said
    own = f"http://127.0.0.1:{line.ports['githost']}/shop/site.git"
    assert enclii(line, tmp, "link", own, "-p", "site", "--branch", "staging=next")[0] == 0
    repositories = [one["id"] for project in line.api("/v1/projects")["projects"] for one in project["repositories"]]
    assert "local:shop/site" in repositories


def test_a_private_repository_is_opened_by_its_token_and_a_refused_delivery_starts_again(tmp_path: Path) -> None:
    with linked_line(tmp_path, token=TOKEN) as (line, forge, head):
        delivered = guid()
        _, receipt, _ = forge.deliver(delivered, forge.pushed(head))
        assert why(line, receipt["delivery"])["reason"] == "credential_missing"
        allow(line, forge, "wrong")
        assert forge.deliver(delivered, forge.pushed(head))[0] == 202
        eventually(lambda: why(line, receipt["delivery"])["reason"] == "remote_denied", what="the wrong token is told")
        allow(line, forge, TOKEN)
        status, again, _ = forge.deliver(delivered, forge.pushed(head))
        assert (status, again["delivery"]) == (202, receipt["delivery"])
        assert again["run"] != receipt["run"]
        eventually(lambda: is_live(line, "v1"), what="v1 runs")
        assert all(TOKEN not in line.log(name) for name in ("receiver", "planner", "committer", "console"))
