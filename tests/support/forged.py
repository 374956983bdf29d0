"""Every forgery there is, and which of them stand for each kind that cosign was tried with."""

from __future__ import annotations

from tests.support.forged_bundles import BUNDLES
from tests.support.forged_bundles import SOUND as SOUND_BUNDLES
from tests.support.forged_origins import ORIGINS
from tests.support.forged_repositories import REPOSITORIES
from tests.support.forged_signatures import SIGNATURES
from tests.support.forged_statements import SOUND as SOUND_STATEMENTS
from tests.support.forged_statements import STATEMENTS

GOOD = [*SOUND_STATEMENTS, *SOUND_BUNDLES]
FORGED = [*SIGNATURES, *BUNDLES, *STATEMENTS]
LAID = [*REPOSITORIES, *ORIGINS]

REFERENCE: dict[str, tuple[str, ...]] = {
    "nothing signed; the image is not there": ("nothing beside the image",),
    "bundle truncated; broken; empty": ("a truncated bundle", "an empty bundle", "every bundle cut off"),
    "bundle with an unknown field; a duplicate key": (
        "unknown member in the bundle", "unknown member in the envelope", "a member twice in the bundle",
    ),
    "another layer type; two layers; a compressed layer": (
        "a layer of another kind", "two layers", "a compressed bundle",
    ),
    "not in the index; an index without its media type": ("not in the list", "a list without its media type"),
    "legacy: payload names another digest; docker-reference of another repository": ("older form: another image",),
    "legacy: other key; flipped payload byte": ("older form: another key", "flipped payload"),
    "legacy: annotation missing; not base64": ("older form: no signature", "older form: no base64"),
    "legacy: two signatures, one bad": ("older form: a good and a bad one",),
    "legacy signature and nothing else": ("the older form alone",),
    "bundle by another key, with any hint": ("other key", "other key with our hint"),
    "flipped byte of the payload; of the signature; a signature cut off, longer, zero, raw": (
        "flipped payload", "flipped signature", "truncated signature", "signature with a tail", "zero signature",
        "raw signature",
    ),
    "signature of another statement; without the payload's type": (
        "signature of another statement", "payload signed without its type",
    ),
    "the twin of a signature, which is as good": ("twin signature",),
    "statement for another image; empty, missing subject; only gitCommit": (
        "another image", "empty subject", "no subject", "only a git commit", "digest under another algorithm's name",
    ),
    "two or zero DSSE signatures, both good or not": ("two signatures", "two signatures, one bad", "no signature"),
    "unknown field in the statement; in the subject; duplicate key": (
        "unknown member in the statement", "unknown member in the subject", "a member twice in the statement",
    ),
    "byte order mark; UTF-16; trailing text; a predicate that is text": (
        "byte order mark", "UTF-16", "text after the statement", "predicate is text", "half a surrogate pair", "NaN",
    ),
    "upper-case hex in the subject; more than 1024 subjects": ("upper-case digest", "1025 subjects"),
    "subject or digest of another shape": ("subject is text", "digest is a list"),
    "annotation says SLSA, statement says SPDX": ("an SBOM labelled as provenance", "SPDX by name only"),
    "two referrers, one by another key": ("a signature by a stranger beside ours",),
    "two different good provenances": ("two good provenances",),
    "provenance for another image beside a good signature": ("a provenance of another image beside a good signature",),
    "SBOM or provenance only; signature only": ("an SBOM alone", "a provenance alone", "a signature alone"),
    "bundles broken, and a good .sig": ("bundles cut off beside the older form",),
    "one bundle by a stranger, and a good .sig": ("a stranger's bundle beside the older form",),
    "a bundle by a stranger in the place of ours": ("a signature by a stranger alone",),
    "a bare key never expires; old timestamps in the statement": ("old times in the provenance",),
    "expired leaf certificate, legacy": ("older form: a certificate",),
    "expired leaf certificate in the bundle, also for a key": ("a certificate for a key",),
    "a log entry that nobody checks; none": ("a log entry that nobody checks", "no log entries", "null log entries"),
    "nonsense for _type; the older version": ("unknown statement type", "statement v0.1"),
    "subject of the manifest absent or wrong; labels wrong": (
        "manifests that name another subject", "manifests with nonsense for a label",
    ),
    "hint wrong or missing; keyid empty, or the hint": ("wrong hint", "no hint", "empty key id", "key id"),
    "SLSA content of any kind": (
        "provenance of nothing", "provenance without a source", "unknown external parameter", "another build type",
        "no commit",
    ),
    "predicate absent; snake_case predicate_type; not a text": (
        "no predicate", "snake-case predicate type", "predicate type is a list",
    ),
    "envelope: payload or signature not base64, another payload type, another bundle version": (
        "payload is not base64", "signature is not base64", "another payload type", "another bundle version",
    ),
    "JSON without end; nothing at all": ("nested without end", "empty payload"),
    "a link by name, or to no provenance": ("link by name only", "link without a provenance"),
}  # fmt: skip
"""What the reference page says was forged, by its words, to the cases here and in ``forgeries`` that stand for it."""

KNOWN = {one.name for one in (*FORGED, *GOOD, *LAID)}

REFUSED = [one for one in (*FORGED, *LAID) if one.reason]
