"""What opens a registered repository: a credential of its own host, safe on disk, of the kind that it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Refused
from pipeline.mirrors import Access, access_to
from pipeline.records import Repository
from pipeline.settings import Secret, Settings

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


def repository(url: str, *, credential: str = "shop", forge: str = "github") -> Repository:
    return Repository(id="github:o/shop", project="shop", name="shop", forge=forge, url=url, credential=credential)


def put(home: Path, host: str, content: str, *, mode: int = 0o600) -> Path:
    file = home / "credentials" / host / "shop"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def access(home: Path, known: Repository) -> Access:
    return access_to(known, Settings(home=home, git_read_token=Secret("read")))


def test_a_public_repository_needs_nothing(tmp_path: Path) -> None:
    assert access(tmp_path, repository("https://github.com/o/shop", credential="")) == Access()


def test_our_own_git_host_is_opened_by_the_read_token(tmp_path: Path) -> None:
    assert access(tmp_path, repository("http://127.0.0.1:7081/o/shop.git", forge="local")) == Access(token="read")


def test_a_token_opens_https_and_shows_in_no_text(tmp_path: Path) -> None:
    put(tmp_path, "github.com", "hunter2\n")

    found = access(tmp_path, repository("https://github.com/o/shop"))

    assert found == Access(token="hunter2")
    assert "hunter2" not in repr(found)


def test_a_deploy_key_opens_ssh(tmp_path: Path) -> None:
    file = put(tmp_path, "github.com", KEY)

    assert access(tmp_path, repository("ssh://git@github.com/o/shop.git")) == Access(ssh_key=file)


@pytest.mark.parametrize("url", ["https://github.com.evil.test/o/shop", "https://github.com:8443/o/shop"])
def test_a_credential_follows_to_no_other_host(tmp_path: Path, url: str) -> None:
    put(tmp_path, "github.com", "hunter2\n")

    with pytest.raises(Refused) as refused:
        access(tmp_path, repository(url))

    assert refused.value.reason == "credential_missing"


def test_a_credential_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    put(tmp_path, "github.com", "hunter2\n", mode=0o640)

    with pytest.raises(Refused, match="chmod 600"):
        access(tmp_path, repository("https://github.com/o/shop"))


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("https://github.com/o/shop", KEY),
        ("ssh://git@github.com/o/shop", "hunter2"),
        ("https://github.com/o/shop", ""),
        ("https://github.com/o/shop", "two\nlines"),
    ],
)
def test_a_credential_of_the_wrong_kind_is_refused_and_not_repeated(tmp_path: Path, url: str, content: str) -> None:
    put(tmp_path, "github.com", content)

    with pytest.raises(Refused) as refused:
        access(tmp_path, repository(url))

    assert refused.value.reason == "credential_unfit"
    assert "hunter2" not in refused.value.message
