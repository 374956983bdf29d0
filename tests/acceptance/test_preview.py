"""A branch is previewed: built, signed apart, reached by its own name, renewed by a push, and gone without a trace."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from gitops.clusters import ServiceRef
from gitops.clusters.podman_commands import service_prefix
from tests.acceptance.test_push import runs
from tests.support.line import WRITE, Line, commit, eventually, git, run_enclii, running_line, sample

BASE = "previews:\n  base: {environment: production, copied: [old]}\n"
MAIN = (
    "services:\n  web: {port: 8080, health: /index.html}\n"
    "  old: {port: 8080, health: /index.html, previews: {enabled: false}}\n"
)
SERVICES = (
    "services:\n  web: {port: 8080, health: /index.html, secrets: [TOKEN, STRIPE]}\n"
    "  api: {port: 8080, health: /index.html}\n  old: {port: 8080, previews: {enabled: false}}\n"
)


def previews(line: Line) -> list[dict[str, object]]:
    return list(line.api("/v1/previews?project=shop")["previews"])


def page(line: Line, host: str) -> str:
    try:
        return line.page(host, "/index.html")
    except urllib.error.HTTPError as error:
        return f"{error.code}"


def pushed(folder: Path, line: Line, text: str) -> str:
    (folder / "index.html").write_text(text)
    head = commit(folder, text.strip())
    git("push", "-q", line.url("shop/shop"), "feature/new", cwd=folder)
    return head


def cloned(tmp_path: Path, line: Line) -> Path:
    """The config repository as it is now."""
    target = tmp_path / "config"
    if target.exists():
        git("pull", "-q", cwd=target)
    else:
        git("clone", "-q", line.url("enclii/config"), "config", cwd=tmp_path)
    return target


def based(tmp_path: Path, line: Line) -> None:
    """Have previews get copies of what production runs."""
    folder = tmp_path / "rules"
    git("clone", "-q", line.url("enclii/config", WRITE), "rules", cwd=tmp_path)
    with (folder / "shop/project.yaml").open("a") as file:
        file.write(BASE)
    commit(folder, "Copy old into previews")
    git("push", "-q", "origin", "HEAD:main", cwd=folder)


def containers(line: Line, environment: str) -> list[str]:
    return line.podman("ps", "-q", "--filter", f"label=enclii.dev/environment={environment}")


def asleep(line: Line, environment: str) -> bool:
    (found,) = previews(line)
    if found["state"] != "asleep":
        raise ValueError(found)  # what it is instead, should it never sleep
    return not containers(line, environment)


def left(line: Line, environment: str) -> list[str]:
    """What there still is of a preview: containers, pods, volumes, images and networks of podman, and tags."""
    label = f"label=enclii.dev/environment={environment}"
    found = [one for kind in (("ps", "-aq"), ("pod", "ps", "-q")) for one in line.podman(*kind, "--filter", label)]
    paths = [f"shop/{service}/previews/{environment}" for service in ("web", "api")]
    for path in paths:
        found += line.podman("images", f"--filter=reference={line.registry}/{path}", "--format", "{{.Repository}}")
    refs = [ServiceRef("shop", environment, service) for service in ("web", "api", "old")]
    own = tuple(service_prefix(line.instance, ref) for ref in refs)
    found += [one for one in line.podman("volume", "ls", "-q") if one.startswith(own)]
    found += line.podman("network", "ls", "-q", "--filter", f"label=enclii.dev/environment={environment}")
    return found + [f"{service}: {tag}" for service in ("web", "api") for tag in tags_of(line, service, environment)]


def tags_of(line: Line, service: str, environment: str) -> list[str]:
    address = f"http://{line.registry}/v2/shop/{service}/previews/{environment}/tags/list"
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return list(json.load(answer)["tags"] or ())
    except urllib.error.HTTPError:
        return []


def test_a_branch_is_previewed_renewed_and_gone_without_a_trace(tmp_path: Path) -> None:
    with running_line(tmp_path / "home", {"PREVIEW_SLEEP": "8s", "PREVIEW_SWEEP": "1s"}) as line:
        folder = tmp_path / "shop"
        sample(folder, "main\n")
        (folder / "enclii.yaml").write_text(MAIN)
        commit(folder, "Two services")
        git("push", "-q", line.url("shop/shop"), "main", cwd=folder)
        eventually(lambda: runs(line, "v1"), what="production runs")
        eventually(lambda: page(line, "old.shop.localhost") == "main\n", what="production runs whole")
        based(tmp_path, line)
        git("checkout", "-q", "-b", "feature/new", cwd=folder)
        (folder / "enclii.yaml").write_text(SERVICES)
        pushed(folder, line, "one\n")

        place = ("-p", "shop", "-e", "preview", "-s", "web")
        kept = run_enclii(line, "api-token", "secret", "set", "TOKEN", *place, stdin="for-previews")
        assert kept.returncode == 0, kept.stderr
        said = run_enclii(line, "api-token", "preview", "up", "feature/new", "-p", "shop")
        assert said.returncode == 0, said.stdout + said.stderr + line.log("planner") + line.log("committer")[-2000:]
        (one,) = previews(line)
        hosts = {str(service["name"]): str(service["host"]) for service in one["services"]}  # type: ignore[attr-defined]
        assert set(hosts) == {"web", "api", "old"}
        assert one["omitted"] == ["STRIPE"]
        assert hosts["web"].endswith("-web.preview.localhost")
        assert page(line, hosts["web"]) == "one\n"
        assert page(line, hosts["old"]) == "main\n"  # production's release, in a container of the preview's own
        assert page(line, "web.shop.localhost") == "main\n"

        environment = str(one["environment"])
        eventually(lambda: asleep(line, environment), what="it sleeps")
        pushed(folder, line, "two\n")
        eventually(lambda: page(line, hosts["web"]) == "two\n", what="a push wakes it, and the same address answers")
        eventually(lambda: page(line, hosts["old"]) == "main\n", what="the copy wakes with it")
        eventually(lambda: asleep(line, environment), what="it sleeps again")
        eventually(lambda: page(line, hosts["web"]) == "two\n", what="a request wakes it")
        log = git("log", "--format=%s", cwd=cloned(tmp_path, line)).splitlines()
        assert f"Put to sleep shop/{environment} (api, old, web)" in log
        assert {f"Deploy shop/web v2 to {environment}", f"Deploy shop/old v1 to {environment}"} <= set(log)

        gone = run_enclii(line, "api-token", "preview", "down", "feature/new", "-p", "shop")
        assert gone.returncode == 0, gone.stdout + gone.stderr + line.log("planner")
        assert previews(line) == []
        assert page(line, hosts["web"]) == "404"
        tree = cloned(tmp_path, line)
        assert not (tree / "shop" / environment).exists()
        assert git("log", "--format=%s", cwd=tree).splitlines()[0].startswith(f"Remove shop/{environment}")
        assert left(line, environment) == []
        assert page(line, "web.shop.localhost") == "main\n"
