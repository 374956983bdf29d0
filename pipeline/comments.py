"""Commands in comments under pull requests: a closed grammar over the first line, and nothing but it.

    /preview [up|down|status|extend DURATION|restart|approve SHA|help] [SERVICE...] [--ttl DURATION]
    /rollback ENVIRONMENT [--to vN]     /hold ENVIRONMENT ["reason"]     /resume ENVIRONMENT     /why

Pure. What stands in quotes, code, HTML comments or below the first line is talk; edited comments and those of bots are
nobody's command. No word reaches a shell, a path or a subject: each is a name, a number or a commit id, or is refused.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from pipeline.events import CommentPosted
from pipeline.names import NAME
from pipeline.preview_life import LONGEST

Verb = Literal["preview", "rollback", "hold", "resume", "why", "help"]
PreviewVerb = Literal["up", "down", "status", "extend", "restart", "approve", "help"]

LINE_LIMIT: Final = 500
WORDS: Final = ("/preview", "/rollback", "/hold", "/resume", "/why", "/enclii")
PREVIEW_VERBS: Final[tuple[str, ...]] = get_args(PreviewVerb)
HELP: Final = (
    "`/preview [up|down|status|extend 24h|restart|approve FULL-SHA] [service...] [--ttl 48h]`,"
    ' `/rollback ENVIRONMENT [--to v41]`, `/hold ENVIRONMENT "reason"`, `/resume ENVIRONMENT`, `/why`'
)
_UNITS: Final = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_HEX = re.compile(r"[0-9a-f]{4,}")
_RELEASE = re.compile(r"v([1-9][0-9]{0,8})")
_HOLD = re.compile(r'/hold +(\S+)(?: +"([^"]{1,300})")?', re.IGNORECASE)
_SLASHES: Final = {ord(char): "/" for char in "\u2044\u2215\u29f8\u2571\u27cb"}
"""Strokes that read as a slash and are none."""
_NEWLINE = re.compile(r"[\r\n]")
_BLANK = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Asked:
    """What somebody asks for; that he may, and that it fits what is there, others decide."""

    verb: Verb
    preview: PreviewVerb = "up"
    services: tuple[str, ...] = ()
    sha: str = ""  # full, for ``approve``
    seconds: float = 0.0  # of ``extend`` and ``--ttl``
    environment: str = ""
    to: int = 0
    why: str = ""


@dataclass(frozen=True)
class Refusal:
    """A command that is none, with one sentence that helps; nothing of what was typed is repeated in it."""

    reason: str
    message: str


@dataclass(frozen=True)
class Ignored:
    """No command of ours, and why: for the stored decision, not for the person."""

    reason: str


def read(comment: CommentPosted) -> Asked | Refusal | Ignored:
    """What a comment asks for. Never raises, whatever was typed."""
    if comment.edited:
        return Ignored("edited")
    if comment.bot:
        return Ignored("bot")
    if not comment.pull_request:
        return Ignored("not_a_pull_request")
    found = parse(comment.body)
    if not isinstance(found, Ignored) and not comment.open:
        return Refusal("pull_request_closed", "the pull request is closed")
    return found


def parse(body: str) -> Asked | Refusal | Ignored:
    """What the first line that is not blank asks for."""
    line = next((one for one in _NEWLINE.split(body[: 64 << 10]) if one.strip()), "").rstrip()
    word = line.partition(" ")[0].partition("\t")[0]
    if not line.startswith("/") or word.lower() not in WORDS:
        return _look_alike(word)
    if len(line) > LINE_LIMIT:
        return Refusal("too_long", f"a command has at most {LINE_LIMIT} characters")
    if any(unicodedata.category(char)[0] == "C" and char != "\t" for char in line):
        return Refusal("bad_characters", "the command holds characters that cannot be seen")
    if word.lower() == "/hold":
        return _hold(line)
    if not line.isascii():
        return Refusal("bad_characters", f"a command is written in plain ASCII: {HELP}")
    return _command([one for one in _BLANK.split(line.lower()) if one])


def unknown_names(asked: Asked, *, services: Collection[str], environments: Collection[str]) -> Refusal | None:
    """A refusal when a service or environment is named that the project does not have."""
    if set(asked.services) - set(services):
        return Refusal("unknown_service", f"services here: {_listed(services)}")
    if asked.environment and asked.environment not in environments:
        return Refusal("unknown_environment", f"environments here: {_listed(environments)}")
    return None


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"`{one}`" for one in sorted(names)) or "none"


def _look_alike(word: str) -> Refusal | Ignored:
    """A word that only looks like a command of ours is told so: it was typed with other letters than it seems."""
    shown = "".join(char for char in word[:40] if unicodedata.category(char) != "Cf").translate(_SLASHES)
    plain = unicodedata.normalize("NFKC", shown).lower()
    if word.isascii() or not plain.startswith("/"):
        return Ignored("no_command")
    seen = "".join(char for char in plain if char.isascii())
    if plain in WORDS or difflib.get_close_matches(seen, WORDS, n=1, cutoff=0.75):
        return Refusal("look_alike", f"the command holds letters that only look like ASCII: {HELP}")
    return Ignored("no_command")


def _command(words: Sequence[str]) -> Asked | Refusal:
    head, rest = words[0], words[1:]
    if head == "/preview":
        return _preview(rest)
    if head == "/rollback":
        return _rollback(rest)
    if head == "/resume":
        return _environment("resume", rest)
    if head == "/why":
        return Asked("why") if not rest else _wrong()
    return Asked("help") if rest in ([], ["help"]) else _wrong()


def _preview(words: Sequence[str]) -> Asked | Refusal:
    plain = not words or words[0] == "--ttl"
    verb, rest = ("up", list(words)) if plain else (words[0], list(words[1:]))
    if verb not in PREVIEW_VERBS:
        near = difflib.get_close_matches(verb, PREVIEW_VERBS, n=1)
        return Refusal("unknown_verb", (f"did you mean `/preview {near[0]}`? " if near else "") + HELP)
    if verb == "approve":
        return _approve(rest)
    if verb == "extend":
        seconds = _seconds(rest[0]) if rest else None
        if seconds is None:
            return Refusal("bad_duration", "say for how long, such as `/preview extend 24h`, at most 30d")
        return _services(Asked("preview", preview="extend", seconds=seconds), rest[1:])
    return _services(Asked("preview", preview=_known(verb)), rest)


def _known(verb: str) -> PreviewVerb:
    return next(one for one in get_args(PreviewVerb) if one == verb)


def _approve(words: Sequence[str]) -> Asked | Refusal:
    if len(words) == 1 and _FULL_SHA.fullmatch(words[0]):
        return Asked("preview", preview="approve", sha=words[0])
    if len(words) == 1 and _HEX.fullmatch(words[0]):
        return Refusal("short_sha", "approve names the whole commit id, 40 characters: a part of it can be forged")
    return Refusal("no_sha", "say what was read: `/preview approve FULL-SHA`")


def _services(asked: Asked, words: Sequence[str]) -> Asked | Refusal:
    names: list[str] = []
    seconds, rest = asked.seconds, list(words)
    while rest:
        word = rest.pop(0)
        if word == "--ttl" and asked.preview == "up":
            found = _seconds(rest.pop(0)) if rest else None
            if found is None:
                return Refusal("bad_duration", "--ttl needs a duration such as 48h, at most 30d")
            seconds = found
        elif NAME.fullmatch(word):
            names.append(word)
        else:
            return _wrong()
    if names and asked.preview in ("status", "help", "down", "extend"):
        return Refusal("too_many_words", f"this is said of the whole preview: {HELP}")
    found_names = tuple(dict.fromkeys(names))
    return Asked("preview", preview=asked.preview, services=found_names, seconds=seconds)


def _rollback(words: Sequence[str]) -> Asked | Refusal:
    asked = _environment("rollback", words[:1])
    if isinstance(asked, Refusal) or len(words) == 1:
        return asked
    release = _RELEASE.fullmatch(words[2]) if len(words) == 3 and words[1] == "--to" else None
    if release is None:
        return Refusal("bad_release", "say `/rollback ENVIRONMENT --to v41`")
    return Asked("rollback", environment=asked.environment, to=int(release[1]))


def _environment(verb: Verb, words: Sequence[str]) -> Asked | Refusal:
    """Such a verb names its environment: nothing in production happens by a word that was left out."""
    if len(words) != 1 or not NAME.fullmatch(words[0]):
        return Refusal("no_environment", f"name the environment: {HELP}")
    return Asked(verb, environment=words[0])


def _hold(line: str) -> Asked | Refusal:
    match = _HOLD.fullmatch(line)
    if match is None or not match[1].isascii():
        return Refusal("no_environment", f"name the environment, the reason in quotes: {HELP}")
    asked = _environment("hold", [match[1].lower()])
    return asked if isinstance(asked, Refusal) else Asked("hold", environment=asked.environment, why=match[2] or "")


def _seconds(word: str) -> float | None:
    match = _DURATION.fullmatch(word)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0.0
    return seconds if 0 < seconds <= LONGEST else None


def _wrong() -> Refusal:
    return Refusal("bad_argument", f"that is not how a command is written: {HELP}")
