"""The NATS configuration that is installed in a cluster is the one that the code asks for."""

from __future__ import annotations

import re

import pytest

from console import nats_config
from console.installing import nats
from pipeline.rights import USERS

PLATFORM = nats.MANIFESTS / "platform"


@pytest.mark.parametrize("folder", nats.SERVERS)
def test_the_file_is_as_the_code_makes_it(folder: str) -> None:
    assert nats.path(folder).read_text() == nats.text(nats.SERVERS[folder]), "python -m console.installing.nats"


def test_the_server_is_given_the_password_of_every_user_from_that_users_secret() -> None:
    given = re.findall(r"name: (ENCLII_NATS_\w+)\n +valueFrom: .secretKeyRef: .name: enclii-nats-(\w+), key: password",
                       (PLATFORM / "base/nats.yaml").read_text())  # fmt: skip

    assert given == [(nats_config.reference(user).name, user) for user in USERS]


def test_a_password_is_made_for_every_user() -> None:
    (made,) = re.findall(r"^users=\((.*)\)$", (PLATFORM / "make-secrets").read_text(), re.MULTILINE)

    assert tuple(made.split()) == USERS
