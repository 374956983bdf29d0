"""Statements that say the wrong thing, or that two readers would read in two ways, each soundly signed by our key."""

from __future__ import annotations

import json
from typing import Any

from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from tests.support.forgeries import (
    MALFORMED,
    SHA,
    SOURCE,
    Build,
    Case,
    Change,
    drop,
    facts,
    in_statement,
    pretty,
    put,
    renamed,
    reworded,
    sealed,
    twice,
)

_SUBJECT = ("subject", 0)
_DIGEST = (*_SUBJECT, "digest")
_DEFINITION = ("predicate", "buildDefinition")
_PARAMETERS = (*_DEFINITION, "externalParameters")
_DEPENDENCIES = (*_DEFINITION, "resolvedDependencies")
_BUILDER = ("predicate", "runDetails", "builder")
_UNREAD = "reads nothing of a provenance"
_BY_NAME = "reads the names of protocol buffers too"
_TYPE_UNREAD = "reads no type of a statement"


def _about(digest: str) -> Build:
    def build(key: SigningKey, image: ImageRef) -> bytes:
        return sealed(key, attest.provenance_statement(ImageRef(image.registry, image.repository, digest), facts()))

    return build


def _subject_text(change: Any) -> Change:
    """The digest of the subject, written otherwise."""

    def edit(document: dict[str, Any]) -> None:
        digests = document["subject"][0]["digest"]
        digests["sha256"] = change(digests["sha256"])

    return edit


def _elsewhere_in_the_subject(member: str, wrap: Any) -> Change:
    """The digest where people read it, and not where it counts."""

    def edit(document: dict[str, Any]) -> None:
        subject = document["subject"][0]
        hexadecimal = subject["digest"].pop("sha256")
        subject[member] = wrap(hexadecimal)

    return edit


def _other_subjects(count: int) -> Change:
    return lambda document: document["subject"].extend({"digest": {"sha256": "0" * 64}} for _ in range(count))


def _another_dependency(**commit: Any) -> Change:
    """A second source commit beside the true one."""

    def edit(document: dict[str, Any]) -> None:
        dependencies = document["predicate"]["buildDefinition"]["resolvedDependencies"]
        true = next(one for one in dependencies if "gitCommit" in one["digest"])
        dependencies.append({**true, "digest": commit})

    return edit


def _commit(value: Any) -> Change:
    """What stands for the source commit."""

    def edit(document: dict[str, Any]) -> None:
        for one in document["predicate"]["buildDefinition"]["resolvedDependencies"]:
            if "gitCommit" in one["digest"]:
                one["digest"] = value

    return edit


def _link(**changed: Any) -> Build:
    """A link with members of another kind; a member that is to be None is left out."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        texts = dict.fromkeys(("ref", "sha", "tree", "buildKey", "run"), "x")
        told = {**texts, "source": f"git+{SOURCE}", "provenance": "sha256:" + "2" * 64, **changed}
        predicate = {name: value for name, value in told.items() if value is not None}
        return sealed(key, attest.statement(image, attest.LINK, predicate))

    return build


def _said(predicate_type: str, predicate: Any) -> Change:
    return lambda document: document.update(predicateType=predicate_type, predicate=predicate)


def _with_predicate(predicate: Any) -> Change:
    """Bytes that the compact writer would refuse."""
    return lambda document: json.dumps({**document, "predicate": predicate}).encode()


SOUND = [
    Case(name, in_statement(change))
    for name, change in (
        ("as we write it", lambda document: None),
        ("pretty-printed statement", pretty),
        ("a name in escapes", reworded('"subject":', '"\\u0073ubject":')),
        ("statement v0.1", put("_type", to="https://in-toto.io/Statement/v0.1")),
        ("more subjects", _other_subjects(3)),
        ("1024 subjects", _other_subjects(1023)),
        ("subject with annotations", put(*_SUBJECT, "annotations", to={"a": "b"})),
    )
]

_ELSEWHERE: list[tuple[str, Change]] = [
    ("empty subject", put("subject", to=[])),
    ("a subject of nothing", put(*_SUBJECT, to={})),
    ("only a git commit", put(*_DIGEST, to={"gitCommit": SHA})),
    ("digest under another algorithm's name", put(*_DIGEST, to={"sha512": SHA})),
    (
        "digest under its name in capitals",
        lambda one: put(*_DIGEST, to={"SHA256": one["subject"][0]["digest"]["sha256"]})(one),
    ),
    ("the digest's first half", _subject_text(lambda text: text[:32])),
    ("the digest and more", _subject_text(lambda text: text + "00")),
    ("the digest as a name alone", _elsewhere_in_the_subject("name", str)),
    ("the digest as an address alone", _elsewhere_in_the_subject("uri", lambda text: f"pkg:oci/web@sha256:{text}")),
    ("the digest as an annotation alone", _elsewhere_in_the_subject("annotations", lambda text: {"sha256": text})),
]

_STATEMENTS: list[tuple[str, Change, str]] = [
    ("no subject", drop("subject"), ""),
    ("subject is nothing", put("subject", to=None), ""),
    ("subject outside of a list", lambda one: put("subject", to=one["subject"][0])(one), ""),
    ("subject is text", put(*_SUBJECT, to="sha256"), ""),
    ("a subject that is null beside ours", lambda one: one["subject"].append(None), ""),
    ("a subject of the wrong kind beside ours", lambda one: one["subject"].append(7), ""),
    ("digest is a list", put(*_DIGEST, to=[]), ""),
    ("digest is a number", put(*_DIGEST, "sha256", to=7), ""),
    ("digest with its algorithm", _subject_text(lambda text: "sha256:" + text), ""),
    ("digest with a blank", _subject_text(lambda text: text + " "), ""),
    ("digest of nothing", put(*_DIGEST, "sha256", to=""), ""),
    ("upper-case digest", _subject_text(str.upper), ""),
    ("digest in digits of another script", _subject_text(lambda text: "\uff11" + text[1:]), ""),
    ("the digest twice", reworded('"sha256":', '"sha256":"00","sha256":'), ""),
    ("1025 subjects", _other_subjects(1024), ""),
    ("a subject's name as a number", put(*_SUBJECT, "name", to=7), ""),
    ("a subject's annotations as a list", put(*_SUBJECT, "annotations", to=[]), ""),
    ("a subject's content is no base64", put(*_SUBJECT, "content", to="%%%"), ""),
    ("unknown member in the subject", put(*_SUBJECT, "extra", to=1), ""),
    ("unknown member in the statement", put("extra", to=1), ""),
    ("snake-case predicate type", put("predicate_type", to=attest.PROVENANCE), ""),
    ("only a snake-case predicate type", renamed("predicateType", "predicate_type"), _BY_NAME),
    ("a member's name in capitals", renamed("predicateType", "PREDICATETYPE"), ""),
    ("a member twice in the statement", twice("predicateType"), ""),
    ("the subject twice in the statement", twice("subject"), ""),
    ("a member twice, once in escapes", reworded('"subject":', '"\\u0073ubject":[],"subject":'), ""),
    ("unknown statement type", put("_type", to="https://in-toto.io/Statement/v9"), _TYPE_UNREAD),
    ("no statement type", drop("_type"), _TYPE_UNREAD),
    ("statement type is a number", put("_type", to=1), ""),
    ("predicate type is a list", put("predicateType", to=[]), ""),
    ("no predicate type", drop("predicateType"), ""),
    ("predicate is text", put("predicate", to="x"), ""),
    ("predicate is a list", put("predicate", to=[]), ""),
    ("predicate is nothing", put("predicate", to=None), _UNREAD),
    ("no predicate", drop("predicate"), _UNREAD),
    ("half a surrogate pair", _with_predicate({"a": "\ud800"}), ""),
    ("NaN", _with_predicate({"a": float("nan")}), ""),
    ("infinity", _with_predicate({"a": float("-inf")}), ""),
    ("byte order mark", lambda one: b"\xef\xbb\xbf" + attest.compact(one), ""),
    ("UTF-16", lambda one: json.dumps(one).encode("utf-16"), ""),
    ("a statement that is no UTF-8", lambda one: attest.compact(one).replace(b"dockerfile", b"dockerfil\xe9"), ""),
    ("text after the statement", lambda one: attest.compact(one) + b"{}", ""),
    ("a statement cut off", lambda one: attest.compact(one)[:-9], ""),
    ("a statement in a list", lambda one: b"[" + attest.compact(one) + b"]", ""),
    ("a statement that is null", lambda _: b"null", ""),
    ("nested without end", lambda _: b"[" * 100_000, ""),
    ("empty payload", lambda _: b"", ""),
]

_PREDICATES: list[tuple[str, Change, str]] = [
    ("SPDX by name only", put("predicateType", to=attest.SBOM), ""),
    ("SPDX of a version that is none", _said(attest.SBOM, {"spdxVersion": "3"}), ""),
    ("CycloneDX by name only", put("predicateType", to=attest.CYCLONEDX), ""),
    ("link by name only", put("predicateType", to=attest.LINK), ""),
    ("comparison by name only", put("predicateType", to=attest.REPRODUCTION), ""),
    ("provenance without a source", drop(*_PARAMETERS, "source"), _UNREAD),
    ("provenance from no git repository", put(*_PARAMETERS, "source", to=SOURCE), _UNREAD),
    ("provenance with a list of sources", put(*_PARAMETERS, "source", to=[f"git+{SOURCE}"]), _UNREAD),
    ("provenance of another ref than its commit", put(*_PARAMETERS, "ref", to="refs/heads/evil"), _UNREAD),
    ("provenance without parameters", drop(*_PARAMETERS), _UNREAD),
    ("unknown external parameter", put(*_PARAMETERS, "extra", to=1), _UNREAD),
    ("another build type", put(*_DEFINITION, "buildType", to="x"), _UNREAD),
    ("no build type", drop(*_DEFINITION, "buildType"), _UNREAD),
    ("provenance of nothing", put("predicate", to={"a": 1}), _UNREAD),
    ("empty provenance", put("predicate", to={}), _UNREAD),
    ("no commit", put(*_DEPENDENCIES, to=[]), _UNREAD),
    ("dependencies are text", put(*_DEPENDENCIES, to="none"), _UNREAD),
    ("two commits", _another_dependency(gitCommit="d" * 40), _UNREAD),
    ("the commit under another name", _commit({"sha1": SHA}), _UNREAD),
    ("the commit is a number", _commit({"gitCommit": 7}), _UNREAD),
    ("no builder", drop(*_BUILDER), _UNREAD),
    ("the builder is a list", put(*_BUILDER, "id", to=[]), _UNREAD),
    ("the end of the build is a number", put("predicate", "runDetails", "metadata", "finishedOn", to=7), _UNREAD),
]

STATEMENTS = [
    Case("another image", _about("sha256:" + "0" * 64), "wrong_subject"),
    *(Case(name, in_statement(change), "wrong_subject") for name, change in _ELSEWHERE),
    *(Case(name, in_statement(change), MALFORMED, said) for name, change, said in (*_STATEMENTS, *_PREDICATES)),
    Case("link without a provenance", _link(provenance="latest"), MALFORMED),
    Case("link to a provenance by another algorithm", _link(provenance="md5:" + "2" * 32), MALFORMED),
    Case("link with a commit that is a number", _link(sha=7), MALFORMED),
    Case("link without its source", _link(source=None), MALFORMED),
    Case("link from no git repository", _link(source=SOURCE), MALFORMED),
    Case("unknown member in the link", _link(extra="x"), MALFORMED),
]
