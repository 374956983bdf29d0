"""The settings of logging in: sessions, the command line's logins, identity providers, and the audit."""

# ruff: noqa: RUF009 - each default is a dataclass field, made by one function so that the table has one shape

from __future__ import annotations

from dataclasses import dataclass

from pipeline import parsing
from pipeline.parsing import Secret
from pipeline.setting import setting


@dataclass(frozen=True, kw_only=True)
class LoginSettings:
    """What the console is told of people."""

    session_lifetime: float = setting(
        parsing.duration, "12h", "how long a login in the browser lasts; at most 31 days", to="console"
    )
    audit_retention: float = setting(
        parsing.duration,
        "400d",
        "how long the audit is kept; nothing is deleted before",
        to="committer console setup",
    )
    cli_lifetime: float = setting(
        parsing.duration, "168h", "how long a login of the command line lasts; at most 366 days", to="console"
    )
    oidc_issuer: tuple[str, ...] = setting(
        parsing.issuers, "", "identity provider where people log in; empty: by one-time addresses alone", to="console"
    )
    oidc_client_id: str = setting(parsing.text, "enclii", "what the provider calls this console", to="console")
    oidc_client_secret: Secret = setting(Secret, "", "that client's secret; empty: none", to="console", secret=True)
    oidc_scopes: str = setting(parsing.text, "openid profile email", "scopes that a login asks for", to="console")
    oidc_name_claim: str = setting(parsing.text, "preferred_username", "claim that names a person", to="console")
    oidc_groups_claim: str = setting(parsing.text, "groups", "claim with a person's groups", to="console")
    oidc_admins: tuple[str, ...] = setting(
        parsing.listed, "", "people and groups (group:NAME) who are admins of the installation", to="console"
    )
    api_issuers: tuple[str, ...] = setting(
        parsing.issuers, "", "more issuers whose tokens the API takes, by commas", to="console"
    )
    api_audience: str = setting(parsing.text, "enclii", "audience that tokens for the API must name", to="console")
