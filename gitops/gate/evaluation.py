"""A policy applied to what is known of one image: every rule with its answer. A pure function.

A rule that cannot be judged fails. An override lets one image pass the rules that it names, and stays visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from gitops.gate.policyfile import Override, Policy
from pipeline.licenses import allowed

SHOWN = 5
UNKNOWN = "UNKNOWN"
"""The licence of a package that names none, so that a policy can deny it."""


@dataclass(frozen=True)
class Package:
    """One package of an SBOM: ``purl`` without its qualifiers, "" when there is none; licences as SPDX expressions."""

    name: str
    version: str
    purl: str
    licenses: tuple[str, ...]

    def __str__(self) -> str:
        return self.purl or f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Facts:
    """What was verified of one image by the ``attestations`` with these digests.

    ``identities`` are the hints of the keys that signed all of it; ``packages`` is None when an SBOM's cannot be read,
    ``reachable`` when it could not be found out.
    """

    image: str
    predicates: frozenset[str]
    builder: str
    identities: frozenset[str]
    packages: tuple[Package, ...] | None
    attestations: tuple[str, ...] = ()
    reachable: bool | None = None


@dataclass(frozen=True)
class Check:
    """The answer to one rule."""

    rule: str
    passed: bool
    detail: str
    override: Override | None = None


@dataclass(frozen=True)
class Evaluation:
    """All answers; an overridden rule counts as passed and says by whom."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.checks)

    @property
    def overridden(self) -> bool:
        return any(one.override is not None for one in self.checks)

    @property
    def refusal(self) -> str:
        """What failed, in one line."""
        return "; ".join(f"{one.rule}: {one.detail}" for one in self.checks if not one.passed)


def evaluate(policy: Policy, facts: Facts, *, builders: frozenset[str], at: datetime) -> Evaluation:
    """Every rule of ``policy``; ``builders`` are the instance's own, for a policy that names none."""
    checks = [_predicate(facts, wanted) for wanted in sorted(policy.predicates)]
    checks += [_builder(facts, policy.builders or builders), *_identity(policy, facts)]
    checks += [*_reachable(policy, facts), *_licenses(policy, facts), *_packages(policy, facts)]
    return Evaluation(tuple(_overridden(one, policy.overrides, facts.image, at) for one in checks))


def _overridden(check: Check, overrides: Sequence[Override], image: str, at: datetime) -> Check:
    if check.passed:
        return check
    for one in overrides:
        if check.rule in one.rules and _same_image(one.image, image) and (one.until is None or at < one.until):
            return replace(check, passed=True, override=one)
    return check


def _same_image(named: str, image: str) -> bool:
    """An override names the whole image or its digest alone, and never more than one digest."""
    return named in (image, image.rpartition("@")[2])


def _predicate(facts: Facts, wanted: str) -> Check:
    there = wanted in facts.predicates
    return Check("predicates", there, f"{wanted} is {'attached and verified' if there else 'missing'}")


def _builder(facts: Facts, trusted: frozenset[str]) -> Check:
    known = facts.builder in trusted
    return Check("builder", known, f"built by {facts.builder or 'nobody known'}" + ("" if known else ", not allowed"))


def _identity(policy: Policy, facts: Facts) -> Iterator[Check]:
    if policy.identities:
        good = bool(facts.identities & policy.identities)
        who = ", ".join(sorted(facts.identities)) or "nobody known"
        yield Check("identity", good, f"signed by {who}" + ("" if good else ", not allowed"))


def _reachable(policy: Policy, facts: Facts) -> Iterator[Check]:
    if policy.reachable:
        said = {True: "is on", False: "is not on", None: "could not be found on"}[facts.reachable]
        yield Check("reachable", facts.reachable is True, f"the commit {said} the branch that feeds the environment")


def _licenses(policy: Policy, facts: Facts) -> Iterator[Check]:
    if policy.licenses:

        def denied(name: str) -> bool:
            return _matches(name, policy.licenses)

        def is_bad(one: Package) -> bool:
            return not all(allowed(text, denied) for text in one.licenses or (UNKNOWN,))

        yield _without("licenses", facts, is_bad, "no package has a denied licence", "have a denied licence")


def _packages(policy: Policy, facts: Facts) -> Iterator[Check]:
    if policy.packages:
        yield _without("packages", facts, lambda one: _is_denied(one, policy.packages), "no denied package", "denied")


def _without(rule: str, facts: Facts, is_bad: Callable[[Package], bool], good: str, what: str) -> Check:
    if facts.packages is None:
        return Check(rule, passed=False, detail="the packages of the SBOM cannot be read")
    bad = [one for one in facts.packages if is_bad(one)]
    return Check(rule, not bad, _named(bad, good, what))


def _is_denied(package: Package, patterns: Sequence[str]) -> bool:
    names = (package.name, f"{package.name}@{package.version}", package.purl, package.purl.rpartition("@")[0])
    return any(_matches(name, patterns) for name in names if name)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _named(bad: Sequence[Package], good: str, what: str) -> str:
    if not bad:
        return good
    shown = ", ".join(str(one) for one in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return f"{shown}{more} {what}"


def packages(sboms: Iterable[Mapping[str, Any]]) -> tuple[Package, ...] | None:
    """The packages of all SPDX 2 documents of one image, each once; None when one of them lists them in another form.

    Of several SBOMs none is chosen: what any of them names is in the image.
    """
    found: dict[Package, None] = {}
    for spdx in sboms:
        listed = spdx.get("packages", [])
        if not isinstance(listed, list) or not all(map(_is_package, listed)):
            return None
        found |= dict.fromkeys(map(_package, listed))
    return tuple(found)


def _is_package(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("name"), str)


def _package(one: Mapping[str, Any]) -> Package:
    declared = (one.get("licenseConcluded"), one.get("licenseDeclared"))
    licenses = tuple(text for text in declared if isinstance(text, str) and text not in ("NOASSERTION", "NONE", ""))
    version = one.get("versionInfo")
    return Package(one["name"], version if isinstance(version, str) else "", _purl(one), licenses)


def _purl(one: Mapping[str, Any]) -> str:
    references = one.get("externalRefs")
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("referenceType") == "purl":
            return str(reference.get("referenceLocator", "")).partition("?")[0]
    return ""
