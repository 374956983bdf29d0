"""What Enclii says to GitHub, over HTTP: each thing once, whatever GitHub answers meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gitops.forge import Check, Shown, Where
from gitops.forge.credentials import App, Credential
from gitops.forge.github import GitHub
from pipeline.errors import EncliiError, NotFound, Refused, Unavailable
from tests.support.github import APP, NUMBER, TOKEN, rsa_key, running_github
from tests.support.github import GitHub as State

SHOP = Where(f"github:{NUMBER}", "shop/shop")
HEAD = "b" * 40
MARK = "<!-- enclii:pr=2 -->"
CHECK = Check(HEAD, "enclii/web", "pending", "building", "https://enclii.test/why?about=r-1", key="r-1")
PREVIEW = Shown(HEAD, "preview/pr-2", "in_progress", "d-1", "on its way", url="http://pr-2.test", transient=True)
PATIENT = 60
Scenario = Callable[[State, GitHub], Awaitable[None]]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for ten seconds is no GitHub that says nothing."""
    monkeypatch.setattr("gitops.forge.github_door.TIMEOUT", PATIENT)
    monkeypatch.setattr("gitops.forge.github_door.LIMIT", float(PATIENT))


def with_token(scenario: Scenario) -> None:
    async def whole() -> None:
        async with running_github() as state:
            await scenario(state, GitHub(Credential(forge="github", api=state.url, token=TOKEN)))

    asyncio.run(whole())


def with_app(scenario: Scenario) -> None:
    async def whole() -> None:
        async with running_github() as state:
            app = App(id=int(str(APP["id"])), slug=str(APP["slug"]), key=rsa_key())
            await scenario(state, GitHub(Credential(forge="github", api=state.url, app=app)))

    asyncio.run(whole())


def test_a_comment_is_one_comment_after_edits_deletion_and_lost_answers() -> None:
    async def scenario(state: State, github: GitHub) -> None:
        state.comment(2, f"{MARK} copied by a stranger")
        first = await github.say(SHOP, 2, MARK, f"{MARK} one", "")
        assert await github.say(SHOP, 2, MARK, f"{MARK} two", first) == first
        del state.comments[int(first)]
        state.fail("POST .*/issues/2/comments", 502, heard=True)
        with pytest.raises(Unavailable):
            await github.say(SHOP, 2, MARK, f"{MARK} three", first)
        await github.say(SHOP, 2, MARK, f"{MARK} three", "")
        assert state.ours(2) == [f"{MARK} three"]
        assert state.said("POST", "/issues/2/comments") == 2

    with_token(scenario)
    with_app(scenario)


def test_our_comment_is_found_behind_hundreds_and_a_double_is_removed() -> None:
    async def scenario(state: State, github: GitHub) -> None:
        for number in range(150):
            state.comment(2, f"talk {number}")
        for _ in range(2):
            made = state.comment(2, MARK)
            state.comments[made]["user"] = {"login": APP["login"]}
        await github.say(SHOP, 2, MARK, f"{MARK} now", "")
        assert state.ours(2) == [f"{MARK} now"]
        assert state.said("POST", "/issues/2/comments") == 0

    with_app(scenario)


def test_a_check_is_a_check_run_of_an_app_and_a_status_of_a_token() -> None:
    async def app(state: State, github: GitHub) -> None:
        known = await github.check(SHOP, CHECK, "")
        assert await github.check(SHOP, CHECK, "") == known  # after a crash before it was remembered
        done = Check(HEAD, CHECK.name, "waiting", "approval needed", CHECK.url, buttons=(("Approve", "it", "approve"),))
        await github.check(SHOP, done, known)
        [run] = state.checks.values()
        assert (run["status"], run["conclusion"], run["details_url"]) == ("completed", "neutral", CHECK.url)
        assert run["actions"][0]["identifier"] == "approve"

    async def token(state: State, github: GitHub) -> None:
        await github.check(SHOP, CHECK, "")
        [status] = state.statuses
        assert (status["state"], status["context"], status["target_url"]) == ("pending", CHECK.name, CHECK.url)

    with_app(app)
    with_token(token)


def test_rule_17_a_deployment_asks_for_no_contexts_and_ends_inactive() -> None:
    async def scenario(state: State, github: GitHub) -> None:
        known = await github.show(SHOP, PREVIEW, "")
        assert await github.show(SHOP, PREVIEW, "") == known
        await github.show(SHOP, Shown(HEAD, "preview/pr-2", "inactive", "d-1", "removed"), known)
        [made] = state.deployments.values()
        assert (made["environment"], made["transient_environment"]) == ("preview/pr-2", True)
        assert [one["state"] for one in made["statuses"]] == ["in_progress", "in_progress", "inactive"]
        assert made["statuses"][0]["environment_url"] == "http://pr-2.test"
        assert await github.show(SHOP, Shown("c" * 40, "preview/pr-9", "inactive", "d-9", ""), "") == ""

    with_token(scenario)


def test_rule_5_the_level_is_asked_and_a_stranger_has_none() -> None:
    async def scenario(state: State, github: GitHub) -> None:
        state.levels["rita"] = "release-captain"  # a role of the organisation's own: what it folds to counts
        found = [await github.level(SHOP, who) for who in ("ada", "mia", "will", "rita", "stranger")]
        assert found == ["admin", "maintain", "write", "write", "none"]

    with_token(scenario)


def test_pages_are_followed_and_what_did_not_change_costs_no_answer() -> None:
    async def scenario(state: State, github: GitHub) -> None:
        for number in range(1, 131):
            state.pull(number, HEAD, fork=number % 2 == 0)
        first = await github.pulls(SHOP)
        assert (len(first.items), first.items[1].fork, first.items[0].fork) == (130, True, False)
        again = await github.pulls(SHOP, first.tag)
        assert (again.changed, again.items) == (False, ())
        state.pulls[125]["head"]["sha"] = "d" * 40  # on the second page: the first one is as it was
        assert (await github.pulls(SHOP, first.tag)).items[124].head == "d" * 40
        for number in range(131, 201):
            state.pull(number, HEAD)
        full = await github.pulls(SHOP)
        state.pull(201, HEAD)  # behind two full pages
        assert len((await github.pulls(SHOP, full.tag)).items) == 201
        assert dict((await github.heads(SHOP)).heads) == {"main": "a" * 40}
        state.pulls[5]["head"]["repo"] = None
        assert (await github.pull(SHOP, 5)).fork

    with_token(scenario)


def test_an_app_s_token_is_of_one_repository_and_of_what_is_needed() -> None:
    async def scenario(state: State, github: GitHub) -> None:
        state.permissions |= {"administration": "write"}
        del state.permissions["checks"]
        assert (await github.lookup(SHOP)).origin == SHOP.origin
        await github.lookup(SHOP)
        [token] = state.tokens.values()
        assert token["repository_ids"] == [NUMBER]
        assert {"administration", "checks"}.isdisjoint(token["permissions"])
        state.tokens.clear()  # revoked: the request after the refused one asks for another
        with pytest.raises(Refused):
            await github.lookup(SHOP)
        await github.lookup(SHOP)
        state.name = "new/shop"  # renamed: the number still opens it
        assert (await github.lookup(SHOP)).name == "new/shop"

    with_app(scenario)


def test_an_enterprise_server_is_the_same_below_its_own_path() -> None:
    async def whole() -> None:
        async with running_github(below="/api/v3") as state:
            app = App(id=int(str(APP["id"])), slug=str(APP["slug"]), key=rsa_key())
            for credential in (
                Credential(forge="github", api=state.url, token=TOKEN),
                Credential(forge="github", api=state.url, app=app),
            ):
                github = GitHub(credential)
                for number in range(1, 131):
                    state.pull(number, HEAD)
                assert len((await github.pulls(SHOP)).items) == 130
                known = await github.say(SHOP, 2, MARK, f"{MARK} one", "")
                assert await github.say(SHOP, 2, MARK, f"{MARK} two", known) == known
                assert await github.level(SHOP, "mia") == "maintain"
                await github.check(SHOP, CHECK, "")
            assert all(path.startswith("/api/v3/") for _, path in state.requests)

    asyncio.run(whole())


LIMITED = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999"}


@pytest.mark.parametrize(
    ("status", "headers", "message", "error", "reason"),
    [
        (401, {}, "Bad credentials", Refused, "forge_unauthorised"),
        (403, {}, "Resource not accessible by integration", Refused, "forge_forbidden"),
        (403, LIMITED, "API rate limit exceeded", Unavailable, "forge_limited"),
        (403, {"retry-after": "7"}, "You have exceeded a secondary rate limit.", Unavailable, "forge_limited"),
        (429, {}, "too many", Unavailable, "forge_limited"),
        (404, {}, "Not Found", NotFound, "forge_unknown"),
        (502, {}, "a page of a proxy", Unavailable, "forge_away"),
    ],
)
def test_each_bad_answer_says_what_may_be_done_about_it_and_is_asked_once(
    status: int, headers: dict[str, str], message: str, error: type[EncliiError], reason: str
) -> None:
    async def scenario(state: State, github: GitHub) -> None:
        state.fail("GET .*/pulls/2", status, times=9, headers=headers, message=message)
        with pytest.raises(error) as caught:
            await github.pull(SHOP, 2)
        assert caught.value.reason == reason
        assert state.said("GET", "/pulls/2") == 1
        if isinstance(caught.value, Unavailable) and headers:
            assert caught.value.delay == (7.0 if "retry-after" in headers else 900.0)

    with_token(scenario)


def test_a_github_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitops.forge.github_door.TIMEOUT", 1)

    async def scenario(state: State, github: GitHub) -> None:
        state.fail("GET .*/pulls/2", hang=2.0)
        with pytest.raises(Unavailable) as caught:
            await github.pull(SHOP, 2)
        assert TOKEN not in str(caught.value)

    with_token(scenario)
