"""What a token must say before it is believed, as pure functions over its claims (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.access import Grant, Principal, entry_problem
from pipeline.errors import Refused

Claims = Mapping[str, Any]
SKEW: Final = 60.0
"""Seconds by which two clocks may differ."""
LOGOUT: Final = "http://schemas.openid.net/event/backchannel-logout"
MOST_GROUPS: Final = 500
_LONGEST: Final = 256


@dataclass(frozen=True)
class Naming:
    """Which claims name a person, and which people and groups are admins of the installation."""

    name: str = "preferred_username"
    groups: str = "groups"
    admins: tuple[str, ...] = ()


def check(claims: Claims, *, issuer: str, audience: str, now: float) -> None:
    """Return when the token is of that issuer, for that audience, and of this time. Raises Refused."""
    if claims.get("iss") != issuer:
        raise wrong("wrong_issuer", "it is of another issuer")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise wrong("wrong_audience", "it is for somebody else")
    if _seconds(claims, "exp") <= now - SKEW:
        raise wrong("token_expired", "it has expired")
    if "nbf" in claims and _seconds(claims, "nbf") > now + SKEW:
        raise wrong("token_not_yet_valid", "it is not valid yet")
    if "iat" in claims and _seconds(claims, "iat") > now + SKEW:
        raise wrong("token_not_yet_valid", "it was issued in the future")
    subject(claims)


def check_id_token(claims: Claims, *, issuer: str, client: str, nonce: str | None, now: float) -> None:
    """As ``check``, and that it answers our own question. Without ``nonce`` it renews a login. Raises Refused."""
    check(claims, issuer=issuer, audience=client, now=now)
    _seconds(claims, "iat")
    party = claims.get("azp")
    if party is not None and party != client:
        raise wrong("wrong_audience", "it was given to another client")
    if nonce is not None and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise wrong("wrong_nonce", "it does not answer this login")


def check_logout(claims: Claims, *, issuer: str, client: str, now: float) -> None:
    """As ``check`` for a logout token (OpenID Connect Back-Channel Logout 2.6). Raises Refused."""
    said = {**claims, "sub": claims.get("sub") or claims.get("sid") or ""}
    check({"exp": now + SKEW, **said}, issuer=issuer, audience=client, now=now)
    if _seconds(claims, "iat") < now - 10 * SKEW:
        raise wrong("token_expired", "it is too old")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT), dict) or "nonce" in claims:
        raise wrong("no_logout_token", "it is no logout token")
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        raise wrong("no_logout_token", "it has no id")


def subject(claims: Claims) -> str:
    """Who it is about, as the issuer calls them. Raises Refused."""
    found = claims.get("sub")
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST:
        raise wrong("no_subject", "it names nobody")
    return found


def principal(claims: Claims, naming: Naming, *, prefix: str = "") -> Principal:
    """The person that the claims describe. Raises Refused when they give no usable name.

    ``prefix`` keeps another issuer's names apart from people's; those are told by their subject.
    """
    if prefix:
        name = f"{prefix}:{subject(claims)}"
    else:
        said = claims.get(naming.name)
        name = said if isinstance(said, str) else ""
        if naming.name == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise Refused("the identity provider has not verified your email address", reason="email_not_verified")
    # github:ada and issuer:subject are others' names in a project's roles, and no person's.
    problem = "a colon is in it" if ":" in name and not prefix else entry_problem(name)
    if problem:
        raise Refused(f"the claim {naming.name!r} names you in no usable way: {problem}", reason="no_name")
    found = Principal(name=name, groups=() if prefix else groups(claims, naming))
    return Principal(name=name, groups=found.groups, grants=_admin(found, naming))


def groups(claims: Claims, naming: Naming) -> tuple[str, ...]:
    """The groups; what is no list of texts is none."""
    given = claims.get(naming.groups, [])
    listed = given if isinstance(given, list) else [given]
    return tuple(one for one in listed if isinstance(one, str) and 0 < len(one) <= _LONGEST)[:MOST_GROUPS]


def wrong(reason: str, what: str) -> Refused:
    """A token that is not believed."""
    return Refused(f"the token is not accepted: {what}", reason=reason)


def _admin(who: Principal, naming: Naming) -> tuple[Grant, ...]:
    return (Grant(role="admin"),) if who.is_named(naming.admins) else ()


def _seconds(claims: Claims, name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise wrong("bad_token", f"{name} is missing or no number")
    return float(found)
