"""From the text of a setting to its value, and the type that keeps a secret out of sight.

Each parser raises ValueError with what was expected and never with what was given: the given text may be a secret in
the wrong place.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import images, names
from pipeline.errors import Invalid

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")


class Secret:
    """A value that shows itself to nobody unless asked by ``reveal``: not in a log line, a traceback or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value. The only way to it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret(…)" if self._value else "Secret()"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")


def describe(parse: Callable[..., object]) -> str:
    """What documentation calls the type of a setting: the first words of the parser's docstring."""
    if parse is Secret:
        return "secret"
    return (parse.__doc__ or "").partition(".")[0].lower()


def text(given: str) -> str:
    """Text."""
    return given


def path(given: str) -> Path:
    """Path."""
    if not given or "\x00" in given:
        raise ValueError("a path is expected")
    return Path(given)


def name(given: str) -> str:
    """Name."""
    return _checked(names.name, given, "1 to 40 of a-z, 0-9 and inner hyphens are expected, a letter first")


def branch(given: str) -> str:
    """Branch."""
    _checked(names.ref, names.BRANCH_PREFIX + given, "a branch name is expected")
    return given


def address(given: str) -> str:
    """Host:port."""
    return _checked(images.registry_host, given, "a host, with or without a port, is expected")


def addresses(given: str) -> tuple[str, ...]:
    """Hosts:ports."""
    return tuple(address(part.strip()) for part in given.split(",") if part.strip())


def mirrors(given: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Mirrors."""
    found: dict[str, tuple[str, ...]] = {}
    for part in given.split(","):
        if part.strip():
            of, equals, mirror = part.strip().partition("=")
            if not equals:
                raise ValueError("registry=mirror, several by commas, is expected")
            found[address(of)] = (*found.get(of, ()), address(mirror))
    return tuple(found.items())


def paths(given: str) -> tuple[Path, ...]:
    """Paths."""
    return tuple(path(part.strip()) for part in given.split(",") if part.strip())


def optional_path(given: str) -> Path:
    """Path, or empty."""
    return path(given) if given else Path()


def host(given: str) -> str:
    """Address."""
    if not _HOST.fullmatch(given):
        raise ValueError("an IP address or a host name is expected")
    return given


def port(given: str) -> int:
    """Port."""
    return whole(0, 65_535)(given)


def boolean(given: str) -> bool:
    """True or false."""
    if given not in ("true", "false"):
        raise ValueError("true or false is expected")
    return given == "true"


def duration(given: str) -> float:
    """Duration."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", given)
    if not found or not (seconds := float(found[1]) * _SECONDS[found[2]]):
        raise ValueError("a duration above zero is expected, such as 90s, 15m or 1h")
    return seconds


def optional_duration(given: str) -> float:
    """Duration, or off."""
    return 0.0 if given == "off" else duration(given)


def size(given: str) -> int:
    """Size."""
    found = re.fullmatch(r"([0-9]{1,15})(|Ki|Mi|Gi|Ti)", given)
    if not found or not (count := int(found[1]) * _BYTES[found[2]]):
        raise ValueError("a size above zero is expected, such as 512Mi or 2Gi")
    return count


def fingerprints(given: str) -> tuple[str, ...]:
    """Fingerprints."""
    found = tuple(part.strip() for part in given.split(",") if part.strip())
    if not all(re.fullmatch(r"[0-9a-f]{16}", one) for one in found):
        raise ValueError("fingerprints of 16 hexadecimal digits, by commas, are expected")
    return found


def secrets(given: str) -> tuple[Secret, ...]:
    """Secrets."""
    return tuple(Secret(part.strip()) for part in given.split(",") if part.strip())


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` to ``most``."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", given) or not least <= int(given) <= most:
            raise ValueError(f"a whole number from {least} to {most} is expected")
        return int(given)

    parse.__doc__ = f"Whole number, {least} to {most}."
    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """A parser of numbers from ``least`` to ``most``."""

    def parse(given: str) -> float:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g} is expected")
        return value

    parse.__doc__ = f"Number, {int(least) if least == int(least) else 'above 0'} to {most:g}."
    return parse


def choice(*words: str) -> Callable[[str], str]:
    """A parser of one of ``words``."""

    def parse(given: str) -> str:
        if given not in words:
            raise ValueError(f"one of {', '.join(words)} is expected")
        return given

    parse.__doc__ = " or ".join(words) + "."
    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """A parser of addresses with one of ``schemes``, a host, and no credentials; several may stand between commas."""

    def parse(given: str) -> str:
        for part in given.split(","):
            _one_url(part.strip(), schemes)
        return given.rstrip("/")

    parse.__doc__ = "URL."
    return parse


def optional_url(*schemes: str) -> Callable[[str], str]:
    """A parser as ``url`` is, of an address or nothing."""

    def parse(given: str) -> str:
        return url(*schemes)(given) if given else ""

    parse.__doc__ = "URL, or empty."
    return parse


def issuers(given: str) -> tuple[str, ...]:
    """Issuers."""
    found = tuple(part.strip() for part in given.split(",") if part.strip())
    for one in found:  # kept as they are: an issuer is compared letter by letter, a slash at its end too
        _one_url(one, ("https", "http"))
        if one.startswith("http:") and urlsplit(one).hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("an issuer is asked over https://; plain http:// only on this machine")
    return found


def networks(given: str) -> tuple[str, ...]:
    """Networks."""
    found = listed(given)
    for one in found:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise ValueError("IP addresses or networks such as 10.0.0.0/8 are expected, several by commas") from None
    return found


def listed(given: str) -> tuple[str, ...]:
    """List."""
    return tuple(part.strip() for part in given.split(",") if part.strip())


def _one_url(given: str, schemes: tuple[str, ...]) -> None:
    wanted = f"an address that begins with {' or '.join(scheme + '://' for scheme in schemes)} is expected"
    try:
        parts = urlsplit(given)
        found = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError(wanted) from None
    if not found:
        raise ValueError(wanted)
    if parts.username or parts.password:
        raise ValueError("credentials have settings of their own and do not belong in an address")


def _checked(check: Callable[[str], str], given: str, expected: str) -> str:
    try:
        return check(given)
    except Invalid:
        raise ValueError(expected) from None
