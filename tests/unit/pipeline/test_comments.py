"""Commands in comments: what is one, what is talk, and what is refused; the rules are those of docs/previews.md."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.comments import Asked, Ignored, Refusal, parse, read, unknown_names
from pipeline.events import CommentPosted
from pipeline.names import NAME

SHA = "3f2a9c1" + "0" * 33


def comment(body: str, *, edited: bool = False, bot: bool = False, there: bool = True) -> CommentPosted:
    return CommentPosted(
        id="github:1:comment:9", forge="github", repository="github:1", number=12, comment="9", author="ada",
        body=body, edited=edited, bot=bot, open=there,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("/preview", Asked("preview")),
        ("/Preview UP web API --ttl 2d\r\nplease", Asked("preview", services=("web", "api"), seconds=172_800)),
        ("\n\n/preview down", Asked("preview", preview="down")),
        ("/preview --ttl 48h", Asked("preview", seconds=172_800)),
        ("/preview\t\tDOWN\t", Asked("preview", preview="down")),
        ("/preview\n" + "so " * 20_000, Asked("preview")),
        ("/preview status", Asked("preview", preview="status")),
        ("/preview extend 24h", Asked("preview", preview="extend", seconds=86_400)),
        ("/preview restart web", Asked("preview", preview="restart", services=("web",))),
        (f"/preview approve {SHA.upper()}", Asked("preview", preview="approve", sha=SHA)),
        ("/rollback production", Asked("rollback", environment="production")),
        ("/rollback production --to v41", Asked("rollback", environment="production", to=41)),
        ('/hold production "Zahlungen prüfen; $(date)"', Asked("hold", environment="production",
                                                               why="Zahlungen prüfen; $(date)")),
        ("/resume staging", Asked("resume", environment="staging")),
        ("/why", Asked("why")),
        ("/enclii help", Asked("help")),
    ],
)  # fmt: skip
def test_a_command_is_its_first_line(body: str, asked: Asked) -> None:
    assert parse(body) == asked


@pytest.mark.parametrize("body", ["/preview\n/rollback production", "/preview\n> /preview down", "/preview up \n\nso"])
def test_rule_3_one_command_a_comment_and_the_rest_is_talk(body: str) -> None:
    assert parse(body) == Asked("preview")


@pytest.mark.parametrize(
    "body",
    [
        "", " \n\t", "> /preview", "> > /preview", "```\n/preview\n```", "~~~\n/preview", "    /preview", "\t/preview",
        "`/preview`", "<!-- \n/preview -->", "<!-- /preview -->", "please /preview", "look:\n/preview", "- /preview",
        "* /preview", "1. /preview", "**/preview**", "\\/preview", " /preview", "/preview!", "/preview/up",
        "<!--\n/preview\n-->", "/preview\x0bdown", "<details>\n/preview",
        "/previews", "/preview-up", "/deploy", "//preview", "/ preview", "/test all", "[x](/preview)", "/preview\u200b",
    ],
)  # fmt: skip
def test_rule_3_quotes_code_html_and_talk_are_no_commands(body: str) -> None:
    assert not isinstance(parse(body), Asked)


def test_rule_2_edited_comments_bots_and_issues_are_passed_over() -> None:
    assert read(comment("/preview", edited=True)) == Ignored("edited")
    assert read(comment("/preview", bot=True)) == Ignored("bot")
    closed = read(comment("/preview", there=False))

    assert isinstance(closed, Refusal)
    assert closed.reason == "pull_request_closed"
    assert read(comment("nice", there=False)) == Ignored("no_command")


@pytest.mark.parametrize(
    "body",
    [
        "/pr\u0435view",
        "\uff0fpreview",
        "/\u0440review up",
        "/\uff50\uff52\uff45\uff56\uff49\uff45\uff57",
        "/preview\u00a0up",
        "/r\u043ellback production",
        "/pre\u200bview",
        "\u200b/preview",
        "\ufeff/preview up",
        "\u200e/preview",
        "\u2215preview",
        "\u2044preview down",
        "/preview\u2028down",
        "/\u212areview",
    ],
)
def test_rule_4_letters_that_only_look_alike_are_told(body: str) -> None:
    found = parse(body)

    assert isinstance(found, Refusal)
    assert found.reason in ("look_alike", "bad_characters")


@pytest.mark.parametrize(
    "words",
    [
        "up $(id)", "up web;reboot", "up `id`", "up web|sh", "up web&&id", "up ../etc", "up -rf", "up --help",
        "up web\x00", "up wéb", "up --ttl", "up --ttl 1w", "up --ttl 0h", "extend", "extend 99999d",
        "extend 1h --force", "approve", "approve HEAD", "approve " + SHA + " x", "upp", "down web",
        "up web\u202egnp", "status 'a",
    ],
)  # fmt: skip
def test_rule_4_anything_outside_the_grammar_is_refused_and_not_repeated(words: str) -> None:
    found = parse(f"/preview {words}")

    assert isinstance(found, Refusal)
    assert not any(sign in found.message for sign in ("$(", "../", "reboot", "\u202e", "HEAD"))


@pytest.mark.parametrize("sha", ["3f2a9c1", SHA[:39], SHA + "0"])
def test_rule_9_an_approval_names_the_whole_commit(sha: str) -> None:
    assert parse(f"/preview approve {sha}") == Refusal(
        "short_sha", "approve names the whole commit id, 40 characters: a part of it can be forged"
    )


@pytest.mark.parametrize(
    "body", ["/rollback", "/hold", "/hold \u212a8s", "/resume", '/hold "because"', "/rollback --to v3", "/resume a b"]
)
def test_rule_6_what_touches_an_environment_names_it(body: str) -> None:
    found = parse(body)

    assert isinstance(found, Refusal)
    assert found.reason == "no_environment"


def test_rule_4_names_are_those_that_the_project_has() -> None:
    asked = Asked("preview", services=("web", "nothere"))
    refusal = unknown_names(asked, services={"web", "api"}, environments={"production"})

    assert refusal == Refusal("unknown_service", "services here: `api`, `web`")
    assert unknown_names(Asked("hold", environment="x"), services=(), environments=("production",)) is not None
    assert unknown_names(Asked("preview", services=("web",)), services={"web"}, environments=()) is None


def test_ten_thousand_inputs_end_in_the_grammar_or_outside_of_it() -> None:
    source = random.Random(6)  # noqa: S311 - guards nothing
    words = ["/preview", "/rollback", "/hold", "/why", "up", "down", "extend", "approve", SHA, "24h", "web", "--ttl",
             "--to", "v3", '"', "$(id)", ";", "`", "\n", ">", "```", "\u202e", "\u0435", "@all", " "]  # fmt: skip
    noise = string.printable + "\u1e9e\u0130\uff0f\u200d\U0001f680\x00"
    for _ in range(10_000):
        some = source.choices(words, k=source.randint(1, 5)) + source.choices(noise, k=source.randint(0, 3))
        source.shuffle(some)
        _is_closed(source.choice([" ", ""]).join(some))


@settings(max_examples=300)
@given(st.text())
def test_no_text_breaks_the_grammar(text: str) -> None:
    _is_closed(text)
    _is_closed(f"/preview {text}")
    _is_closed(f"/hold {text}")


def _is_closed(body: str) -> None:
    found = parse(body)
    if isinstance(found, Asked):
        assert all(NAME.fullmatch(name) for name in (*found.services, *([found.environment] * bool(found.environment))))
        assert found.sha == "" or (len(found.sha) == 40 and set(found.sha) <= set("0123456789abcdef"))
        assert found.why.isprintable()
        first = next(line for line in re.split(r"[\r\n]", body) if line.strip())
        assert first.startswith("/")
