"""The text of a token that Enclii gave out: its form, what is kept of it, and whether a token counts."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import secrets
from typing import Final

from pipeline.principals import Token

PREFIX: Final = "enclii_"
_FORM: Final = re.compile(r"enclii_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def new_text(number: str) -> str:
    """A text that nobody can guess, for the token of that number."""
    return f"{PREFIX}{number}_{secrets.token_urlsafe(32)}"


def number_in(text: str) -> str:
    """The number of the token that a text may be of; "" when it has not the form."""
    found = _FORM.fullmatch(text)
    return found[1] if found else ""


def digest(text: str) -> str:
    """What is kept of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def opens(token: Token, text: str) -> bool:
    """Whether that is the token's text, compared in constant time, and the token still counts."""
    return hmac.compare_digest(token.digest, digest(text)) and lasts(token)


def lasts(token: Token) -> bool:
    """Whether it is neither revoked nor past its end."""
    try:
        end = datetime.datetime.fromisoformat(token.expires_at)
    except ValueError:
        return False
    return not token.revoked_at and end > datetime.datetime.now(datetime.UTC)
