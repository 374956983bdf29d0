"""Config commits that an SSH key signed, judged by git and ssh-keygen themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gitops.committing.edits import COMMITTER, Draft, Edit
from gitops.git import sshsig
from gitops.git.configrepo import ConfigRepo
from pipeline.errors import Invalid
from tests.support.components import needs
from tests.support.config_git import bare, git, served

AT = "2026-01-01T00:00:00Z"
DRAFTS = [
    Draft(Edit("shop", write={"a.yaml": text}), f"Deploy\n\nÉ {text!r}\n\nEnclii-Intent: one\n", "ada", AT)
    for text in (b"1", b"2", b"3")
]


def made(folder: Path, *words: str) -> Path:
    """A key by ssh-keygen, without a passphrase if not said otherwise."""
    path = folder / "key"
    secret = () if "-N" in words else ("-N", "")
    subprocess.run([needs("ssh-keygen"), "-q", *secret, *words, "-f", str(path)], check=True, timeout=60)
    return path


def pem(folder: Path, curve: ec.EllipticCurve) -> Path:
    """A key as Enclii's own are written."""
    path = folder / "key"
    path.touch(0o600)
    plain = serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(ec.generate_private_key(curve).private_bytes(*form))
    return path


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "p256", "p384", "p521"])
def test_git_says_that_the_signature_is_good(tmp_path: Path, kind: str) -> None:
    needs("ssh-keygen", "git")
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    path = pem(tmp_path, curves[kind]) if kind in curves else made(tmp_path, "-t", kind)
    remote, key = bare(tmp_path), sshsig.load(path)
    with served(tmp_path) as address:
        repo = ConfigRepo(tmp_path / "mirror", f"{address}/{remote.name}", sign=key.signature)
        tip = repo.write(repo.fetch(), DRAFTS)[-1][0]
        repo.push(tip)
        assert repo.fetch() == tip
    (tmp_path / "signers").write_text(f'{COMMITTER[1]} namespaces="git" {key.public}\n')
    git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "signers"), cwd=remote)
    assert git("log", "--format=%G? %GS", "main", cwd=remote).splitlines() == [f"G {COMMITTER[1]}"] * len(DRAFTS)
    git("verify-commit", "main", cwd=remote)
    assert git("fsck", "--strict", cwd=remote) == ""
    assert repo.commit(tip).ours

    forged = git("cat-file", "commit", "main", cwd=remote).replace("'3'", "'4'") + "\n"
    (tmp_path / "forged").write_text(forged)
    other = git("hash-object", "-t", "commit", "-w", str(tmp_path / "forged"), cwd=remote)
    assert git("log", "-1", "--format=%G?", other, cwd=remote) == "B"


def test_the_same_commit_gets_the_same_signature(tmp_path: Path) -> None:
    key = sshsig.load(pem(tmp_path, ec.SECP256R1()))
    assert key.signature(b"tree\n\nmessage\n") == key.signature(b"tree\n\nmessage\n")


@pytest.mark.parametrize(
    ("words", "mode", "reason"),
    [
        (("-t", "ed25519"), 0o640, "key_not_private"),
        (("-t", "rsa", "-b", "2048"), 0o600, "bad_key"),
        (("-t", "ecdsa", "-N", "a passphrase", "-m", "PKCS8"), 0o600, "bad_key"),
        (("-t", "ed25519", "-N", "a passphrase"), 0o600, "bad_key"),
    ],
)
def test_a_key_that_others_read_or_that_cannot_sign_is_refused_by_name(
    tmp_path: Path, words: tuple[str, ...], mode: int, reason: str
) -> None:
    path = made(tmp_path, *words)
    path.chmod(mode)
    with pytest.raises(Invalid, match=str(path)) as told:
        sshsig.load(path)
    assert told.value.reason == reason
    assert "PRIVATE" not in told.value.message
