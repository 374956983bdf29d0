"""The identity provider of the settings, if there is one; only then is anything of it imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.settings import Settings

if TYPE_CHECKING:
    from console.audit import Audit
    from console.bearer import Known
    from console.web.provider_login import ProviderLogin
    from console.web.sessions import Sessions


def provider_login(told: Settings, sessions: Sessions, audit: Audit | None = None) -> ProviderLogin | None:
    """Logging in at the provider; None without one."""
    if not told.oidc_issuer:
        return None
    from console.identity.claims import Naming
    from console.identity.issuer import Issuer
    from console.identity.provider import Provider
    from console.identity.renewal import Renewal
    from console.web.provider_login import ProviderLogin

    provider = Provider(
        Issuer(told.oidc_issuer[0]),
        client_id=told.oidc_client_id,
        client_secret=told.oidc_client_secret.reveal(),
        scopes=told.oidc_scopes,
        naming=Naming(told.oidc_name_claim, told.oidc_groups_claim, told.oidc_admins),
    )
    return ProviderLogin(sessions, provider, Renewal(sessions, provider), console_url=told.console_url, audit=audit)


def bearers(told: Settings, login: ProviderLogin | None) -> list[Known]:
    """Who checks the API's JWTs; nobody where no issuer is believed."""
    if login is None and not told.api_issuers:
        return []
    from console.identity.bearers import Bearers
    from console.identity.claims import Naming
    from console.identity.issuer import Issuer

    naming = Naming(told.oidc_name_claim, told.oidc_groups_claim, told.oidc_admins)
    people = login.provider.issuer if login else None
    others = [Issuer(one) for one in told.api_issuers if people is None or one != people.url]
    return [Bearers(people=people, others=others, audience=told.api_audience, naming=naming).principal]
