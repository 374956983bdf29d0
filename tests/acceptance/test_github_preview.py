"""A pull request on GitHub is previewed: by a comment, kept up to date, and gone without a trace when it is closed."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.test_github import is_live, linked_line
from tests.acceptance.test_preview import cloned, left, page, previews
from tests.support.github_site import Site, running_site
from tests.support.line import Line, commit, eventually

HOST = "pr-12-web.preview.localhost"


def test_a_comment_makes_a_preview_that_follows_pushes_and_ends_with_the_pull_request(tmp_path: Path) -> None:
    """Rules 8, 9 and 11 by a fork's story at its end."""
    with linked_line(tmp_path) as (line, forge, head), running_site(line, forge) as site:
        shop = tmp_path / "shop"
        forge.deliver("72d3162e-cc78-11e3-81ab-4c9367dc0958", forge.pushed(head))
        eventually(lambda: is_live(line, "v1"), what="production runs")

        changed(shop, "two\n")
        site.pushed(12, shop, action="opened")
        asked = site.commented(12, "/preview")
        site.saw(asked, "eyes", "rocket")
        assert page(line, HOST) == "two\n"
        [comment] = site.api.ours(12)
        assert f"http://{HOST}:{line.ports['door']}" in comment

        changed(shop, "three\n")
        newest = site.pushed(12, shop)
        eventually(lambda: page(line, HOST) == "three\n", what="the same address shows the new page")
        line.kill("forge")
        eventually(lambda: previews(line)[0]["state"] == "ready", what="it is ready again")
        line.start_as("forge", "gitops", "forge")
        eventually(lambda: newest[:7] in site.api.ours(12)[0], what="the comment tells the new commit")
        assert page(line, "web.shop.localhost") == "one\n"

        site.closed(12)
        nothing_is_left(line, site, tmp_path)
        a_fork_is_built_when_its_commit_was_read(line, site, shop)


def changed(folder: Path, text: str) -> None:
    (folder / "index.html").write_text(text)
    commit(folder, text.strip())


def nothing_is_left(line: Line, site: Site, tmp: Path) -> None:
    eventually(lambda: previews(line) == [], what="it is removed")
    eventually(lambda: "nothing of it is left" in site.api.ours(12)[0], what="the comment says so")
    assert len(site.api.ours(12)) == 1
    assert left(line, "preview-12") == []
    assert page(line, HOST) == "404"
    assert not (cloned(tmp, line) / "shop/preview-12").exists()
    shown = [one for one in site.api.deployments.values() if one["environment"] == "preview/pr-12"]
    eventually(lambda: {one["statuses"][-1]["state"] for one in shown} == {"inactive"}, what="GitHub shows none")


def a_fork_is_built_when_its_commit_was_read(line: Line, site: Site, shop: Path) -> None:
    """Rules 8 and 9, from the stranger's push to the end."""
    own = "services:\n  web: {port: 8080, health: /index.html}\n  mine: {port: 8080, health: /index.html}\n"
    (shop / "enclii.yaml").write_text(own)
    changed(shop, "a stranger's\n")
    head = site.pushed(13, shop, action="opened", fork=True)
    refused = site.commented(13, "/preview")
    site.saw(refused, "eyes", "-1")
    eventually(lambda: f"/preview approve {head}" in "".join(site.api.ours(13)), what="it is told what to say")
    site.saw(site.commented(13, f"/preview approve {head}"), "eyes", "-1")  # who may write may not approve
    approved = site.commented(13, f"/preview approve {head}", "mia")
    site.saw(approved, "eyes", "rocket")
    assert page(line, HOST.replace("12", "13")) == "a stranger's\n"
    assert [one["name"] for one in previews(line)[0]["services"]] == ["web"]  # type: ignore[attr-defined]

    changed(shop, "another\n")
    newer = site.pushed(13, shop, fork=True)
    eventually(lambda: f"/preview approve {newer}" in site.api.ours(13)[-1], what="the new head is to be read")
    assert page(line, HOST.replace("12", "13")) == "a stranger's\n"
    site.closed(13)
    eventually(lambda: previews(line) == [], what="it is removed")
    assert left(line, "preview-13") == []
