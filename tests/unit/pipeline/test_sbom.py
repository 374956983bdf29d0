"""The SBOM is a function of the image and the commit's time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import Invalid
from pipeline.sbom import settled, settled_cyclonedx, syft_command, syft_environment

DIGEST = "sha256:" + "0" * 64


def document(number: int) -> bytes:
    info = {"created": f"2026-01-0{number}T00:00:00Z", "creators": ["Organization: X", "Tool: syft-1.18.1"]}
    return json.dumps({"spdxVersion": "SPDX-2.3", "documentNamespace": f"u{number}", "creationInfo": info}).encode()


def settle(data: bytes) -> bytes:
    return settled(data, name="127.0.0.1:5000/shop/web", digest=DIGEST, commit_time=0)


def test_two_runs_of_syft_give_one_document() -> None:
    assert settle(document(1)) == settle(document(2))


def test_the_document_is_named_after_the_digest_and_dated_at_the_commit() -> None:
    parsed = json.loads(settle(document(1)))

    assert parsed["documentNamespace"].endswith(DIGEST)
    assert parsed["creationInfo"] == {
        "created": "1970-01-01T00:00:00Z",
        "creators": ["Tool: enclii", "Tool: syft-1.18.1"],
    }


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"spdxVersion": 2}'])
def test_what_is_no_spdx_document_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        settle(data)


def test_syft_is_bounded_and_asks_nobody_for_updates() -> None:
    assert syft_command("syft", "h/r@d", Path("/t/bom"), memory=1)[:3] == ("prlimit", "--data=2", "--")
    assert syft_environment(Path("/t"), plain_http=True)["SYFT_CHECK_FOR_APP_UPDATE"] == "false"


def bom(number: int) -> bytes:
    metadata = {"timestamp": f"2026-01-0{number}T00:00:00Z", "component": {"bom-ref": f"{number}"}}
    return json.dumps({"bomFormat": "CycloneDX", "serialNumber": f"urn:{number}", "metadata": metadata}).encode()


def test_two_runs_of_syft_give_one_cyclonedx_document() -> None:
    first, second = (settled_cyclonedx(bom(number), name="h/r", digest=DIGEST, commit_time=0) for number in (1, 2))

    assert first == second
    assert json.loads(first)["metadata"]["component"] == {"type": "container", "name": "h/r", "version": DIGEST}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"bomFormat": "SPDX"}'])
def test_what_is_no_cyclonedx_document_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        settled_cyclonedx(data, name="h/r", digest=DIGEST, commit_time=0)
