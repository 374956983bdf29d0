"""A key that never leaves its HSM: SoftHSM by PKCS #11, signatures in a real registry, judged by cosign."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from securesystemslib.signer import Signer, SSlibKey

from pipeline.errors import EncliiError, Invalid, Refused, Unavailable
from pipeline.evidence import Demand
from pipeline.images import ImageRef
from pipeline.keys import SigningKey, write_public
from pipeline.registry import Registry
from pipeline.remote_key import PIN, RemoteKey, environment_of, open_key
from pipeline.supply import Link, sign_link, sign_release
from pipeline.verify import verify_image
from tests.support.components import needs
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts
from tests.support.judge import cosign
from tests.support.registry import push_image, running_registry

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
SECRET = {PIN: "2468"}
KEY = SigningKey.generate()
URI = "hsm:2?label=enclii"


@pytest.fixture(scope="module", autouse=True)
def _token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    program, folder = needs("softhsm2-util"), tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    (folder / "key.pem").write_bytes(KEY.pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        patch.setenv("PYKCS11LIB", MODULE)
        named = ["--pin", SECRET[PIN], "--label", "enclii"]
        for argv in (
            ["--init-token", "--free", "--so-pin", "1357", *named],
            ["--import", str(folder / "key.pem"), "--token", "enclii", "--id", "02", *named],
        ):
            subprocess.run([program, *argv], check=True, capture_output=True, timeout=120)
        yield


def _opened(uri: str = URI, **changed: str) -> RemoteKey:
    return asyncio.run(open_key(uri, public=Path("/nowhere"), environment=SECRET | changed))


def test_cosign_accepts_what_an_hsm_signed_and_a_second_signing_adds_nothing(tmp_path: Path) -> None:
    public = tmp_path / "key.pub"

    async def story(host: str) -> ImageRef:
        key = await open_key(URI, public=public, environment=SECRET)
        write_public(public, key.public)
        async with Registry(host, plain_http=True) as registry:
            image = await push_image(registry, "supply/hsm")
            first, second = [
                await sign_release(registry, image, key=key, provenance=facts(), sbom=SPDX) for _ in range(2)
            ]
            assert (len(first.added), second.added, second.manifests) == (3, (), first.manifests)
            link = Link(SOURCE, "refs/heads/main", "e" * 40, "f" * 40, "k", first.provenance, "r")
            assert [len((await sign_link(registry, image, key=key, link=link)).added) for _ in range(2)] == [1, 0]
            demand = Demand(SOURCE, SHA, frozenset({BUILDER}))
            assert (await verify_image(registry, image, keys=[KEY.public], demand=demand)).signed
            return image

    with running_registry(tmp_path / "registry") as host:
        image = asyncio.run(story(host))
        for kind, older in (("", False), ("", True), ("slsaprovenance1", False), ("spdxjson", False)):
            judged = cosign(public, image, kind=kind, older=older)
            assert judged.returncode == 0, judged.stderr


def test_the_key_is_the_hsms_and_signs_as_its_public_half_says() -> None:
    key = _opened()

    assert key.public == KEY.public
    assert KEY.public.verifies(asyncio.run(key.signature(b"data")), b"data")


@pytest.mark.parametrize(
    ("uri", "secret", "kind", "reason"),
    [
        (URI, "0000", Unavailable, "key_unavailable"),
        ("hsm:7?label=enclii", SECRET[PIN], Unavailable, "key_unavailable"),
        ("hsm:2?label=another", SECRET[PIN], Unavailable, "key_unavailable"),
        ("ftp://key", "", Invalid, "bad_key"),
    ],
    ids=["wrong-pin", "no-such-key", "no-such-token", "no-such-scheme"],
)
def test_a_key_that_cannot_be_used_is_told_and_its_pin_is_not(
    uri: str, secret: str, kind: type[EncliiError], reason: str
) -> None:
    with pytest.raises(kind) as caught:
        _opened(uri, **{PIN: secret})

    assert caught.value.reason == reason
    assert SECRET[PIN] not in str(caught.value)


def test_a_signature_that_is_not_of_the_trusted_key_never_leaves(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(KEY.pem)
    library = Signer.from_priv_key_uri(f"file2:{tmp_path}/key.pem", SSlibKey.from_crypto(KEY.public.crypto))

    with pytest.raises(Refused) as caught:
        asyncio.run(RemoteKey(library, SigningKey.generate().public, at_once=1).signature(b"data"))

    assert caught.value.reason == "key_mismatch"


def test_the_environment_of_a_key_is_read_from_a_private_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "signing.env"
    path.write_text(f"# the token\nPYKCS11LIB={MODULE}\n{PIN}=a=b\n")
    path.chmod(0o644)
    with pytest.raises(Invalid, match="chmod 600"):
        environment_of(path)

    path.chmod(0o600)

    assert environment_of(path) == {"PYKCS11LIB": MODULE, PIN: "a=b"}
    assert environment_of(tmp_path / "none") == {}
