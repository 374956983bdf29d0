"""Evidence that is sound in every byte and proves something else: another repository, commit, builder or link."""

from __future__ import annotations

from typing import Any

from pipeline import attest
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef, sha256
from pipeline.keys import SigningKey
from pipeline.registry import Registry
from tests.support.forged_repositories import ANY_STATEMENT, Forged, Make, attach, both
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts, sealed

_OTHER = "d" * 40
UNASKED = "asks for no source, commit or builder"


async def _signed(registry: Registry, image: ImageRef, key: SigningKey) -> None:
    await attach(registry, image, sealed(key, attest.signature_statement(image)), attest.SIGNATURE)
    await attach(registry, image, sealed(key, attest.sbom_statement(image, SPDX)), attest.SBOM)


def _provenance(**told: str) -> Make:
    """A provenance that tells something else than what the gate asks for."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        await attach(registry, image, sealed(key, attest.provenance_statement(image, facts(**told))), attest.PROVENANCE)

    return make


def _link(*, by: SigningKey | None = None, of: ImageRef | None = None, **told: str) -> Make:
    """A link from the asked commit to the provenance of another commit, which is there, changed in one point."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        original = sealed(key, attest.provenance_statement(image, facts(sha=_OTHER)))
        manifest = attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), original, attest.PROVENANCE)
        facts_of = {"source_url": SOURCE, "sha": SHA, "provenance": manifest.digest, **told}
        link = attest.Link(ref="refs/heads/main", tree="e" * 40, build_key="key", run="r-2", **facts_of)
        await attach(registry, image, sealed(by or key, attest.link_statement(of or image, link)), attest.LINK)

    return make


def _replaced(kind: str) -> Make:
    """A whole set, one part of which speaks of another image."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        other = ImageRef(image.registry, image.repository, "sha256:" + "0" * 64)
        for part in (attest.SIGNATURE, attest.PROVENANCE, attest.SBOM):
            about = other if part == kind else image
            await attach(registry, image, sealed(key, _statement(part, about)), part)

    return make


def _strangers(kind: str) -> Make:
    """A whole set, one part of which a stranger signed."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        for part in (attest.SIGNATURE, attest.PROVENANCE, attest.SBOM):
            by = SigningKey.generate() if part == kind else key
            await attach(registry, image, sealed(by, _statement(part, image)), part)

    return make


def _statement(kind: str, image: ImageRef) -> bytes:
    if kind == attest.SIGNATURE:
        return attest.signature_statement(image)
    return attest.sbom_statement(image, SPDX) if kind == attest.SBOM else attest.provenance_statement(image, facts())


def _told(**told: str) -> Make:
    return both(_signed, _provenance(**told))


def _linked(**told: Any) -> Make:
    return both(_signed, _provenance(sha=_OTHER), _link(**told))


_ELSEWHERE: dict[str, dict[str, str]] = {
    "another repository": {"source_url": "https://forge.example/evil/web"},
    "another host": {"source_url": "https://f0rge.example/shop/web"},
    "another port": {"source_url": "https://forge.example:444/shop/web"},
    "the repository without encryption": {"source_url": SOURCE.replace("https", "http")},
    "the repository in capitals": {"source_url": SOURCE.upper()},
    "the repository and .git": {"source_url": SOURCE + ".git"},
    "the repository and a slash": {"source_url": SOURCE + "/"},
    "the repository and a blank": {"source_url": SOURCE + " "},
    "a path to the repository": {"source_url": "https://forge.example/evil/../shop/web"},
    "the repository as a user of another host": {"source_url": "https://forge.example@evil.example/shop/web"},
    "letters that only look so": {"source_url": SOURCE.replace("o", "\u043e")},
    "no repository": {"source_url": ""},
}
_COMMITS: dict[str, str] = {
    "another commit": _OTHER,
    "the commit in capitals": SHA.upper(),
    "the commit's beginning": SHA[:12],
    "the commit and more": SHA + "0" * 24,
    "the commit and a line's end": SHA + "\n",
    "no commit at all": "",
}
_BUILDERS: dict[str, str] = {
    "another builder": "https://other.example/builder",
    "the builder and a slash": BUILDER + "/",
    "the builder in capitals": BUILDER.upper(),
    "the builder's beginning": BUILDER[:-1],
    "no builder at all": "",
}

ORIGINS = [
    *(Forged(f"provenance of {name}", _told(**told), "wrong_source", UNASKED) for name, told in _ELSEWHERE.items()),
    *(Forged(f"provenance of {name}", _told(sha=sha), "wrong_commit", UNASKED) for name, sha in _COMMITS.items()),
    *(
        Forged(f"provenance by {name}", _told(builder_id=builder), "wrong_builder", UNASKED)
        for name, builder in _BUILDERS.items()
    ),
    Forged(
        "two provenances, each right in one half",
        both(_signed, _provenance(sha=_OTHER), _provenance(source_url="https://forge.example/evil/web")),
        "wrong_commit",
        UNASKED,
    ),
    Forged(
        "a trusted builder for another repository",
        both(_signed, _provenance(builder_id="https://other.example"), _provenance(source_url="https://evil.example")),
        "wrong_builder",
        UNASKED,
    ),
    Forged("a sound link", _linked()),
    Forged("a link to no provenance of this image", _linked(provenance="sha256:" + "0" * 64), "broken_link", UNASKED),
    Forged(
        "a link to the bundle and not to its manifest", _linked(provenance=sha256(attest.EMPTY)), "broken_link", UNASKED
    ),
    Forged(
        "a link of another repository", _linked(source_url="https://forge.example/evil/web"), "wrong_commit", UNASKED
    ),
    Forged("a link of another commit", _linked(sha="f" * 40), "wrong_commit", UNASKED),
    Forged("a link by a stranger", _linked(by=SigningKey.generate()), "wrong_commit", UNASKED),
    Forged(
        "a link about another image",
        _linked(of=ImageRef("registry.example", "shop/web", "sha256:" + "0" * 64)),
        "wrong_commit",
        UNASKED,
    ),
    Forged(
        "a link to another builder's provenance",
        both(_signed, _provenance(sha=_OTHER, builder_id="https://other.example"), _link()),
        "wrong_builder",
        UNASKED,
    ),
    Forged("a link and no provenance", both(_signed, _link()), "missing_provenance"),
    Forged("a signature of another image", _replaced(attest.SIGNATURE), "wrong_subject", ANY_STATEMENT),
    Forged("an SBOM of another image", _replaced(attest.SBOM), "wrong_subject"),
    Forged("a provenance by a stranger", _strangers(attest.PROVENANCE), "wrong_key"),
    Forged("an SBOM by a stranger", _strangers(attest.SBOM), "wrong_key"),
]
