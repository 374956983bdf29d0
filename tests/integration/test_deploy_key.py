"""A private repository behind a real sshd: what opens it, who is trusted to be it, and where the key never goes."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from pipeline.errors import EncliiError, Refused
from pipeline.mirror import Mirror
from pipeline.mirrors import Mirrors
from pipeline.records import Repository
from pipeline.settings import Settings
from tests.support.components import needs
from tests.support.line import eventually
from tests.support.sshd import Server, new_key, running_sshd

SOMEONE = pygit2.Signature("Deployer", "deployer@example.test", 1_700_000_000, 0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    needs("sshd", "ssh", "ssh-keygen", "git")
    with running_sshd(tmp_path / "sshd") as found:
        (found.room / "go").touch()
        yield found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bare repository with one commit."""
    made = pygit2.init_repository(str(tmp_path / "source.git"), bare=True, initial_head="main")
    tree = made.TreeBuilder().write()
    made.create_commit("refs/heads/main", SOMEONE, SOMEONE, "Begin\n", tree, [])
    return tmp_path / "source.git"


def head(home: Path, url: str, *, credential: str = "shop") -> str:
    """The commit that main is at, fetched as the planner fetches it."""
    known = Repository(id="github:o/shop", project="shop", name="shop", forge="github", url=url, credential=credential)

    async def fetched() -> str:
        mirror = await Mirrors(Settings(home=home), home / "mirrors").of(known)
        return await mirror.fetch_commit("refs/heads/main")

    return asyncio.run(fetched())


def refusal(home: Path, url: str, *, credential: str = "shop") -> EncliiError:
    with pytest.raises(EncliiError) as caught:
        head(home, url, credential=credential)
    return caught.value


def deploy_key(home: Path, server: Server) -> Path:
    """The repository's key, where ``enclii link --credential shop`` looks for it."""
    return new_key(home / f"credentials/127.0.0.1:{server.port}/shop")


def test_the_deploy_key_opens_the_repository(server: Server, source: Path, tmp_path: Path) -> None:
    server.admit(deploy_key(tmp_path / "home", server))

    assert head(tmp_path / "home", server.url(source)) == str(pygit2.Repository(str(source)).head.target)


def test_another_key_and_none_at_all_are_denied_in_words(server: Server, source: Path, tmp_path: Path) -> None:
    server.admit(new_key(tmp_path / "other"))
    deploy_key(tmp_path / "home", server)

    found = [refusal(tmp_path / "home", server.url(source), credential=name) for name in ("shop", "")]

    assert [(type(one), one.reason) for one in found] == [(Refused, "remote_denied")] * 2
    assert "enclii link --credential" in found[0].message


def test_without_a_credential_no_key_of_the_machine_is_offered(tmp_path: Path) -> None:
    needs("ssh")
    command = Mirror(tmp_path / "mirror.git", "ssh://git@host.example/shop.git")._ssh_command()

    argv = (*shlex.split(command), "-G", "host.example")
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    told = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert (told["pubkeyauthentication"], told["identityagent"]) == ("false", "none")


def test_a_host_with_another_key_than_before_is_not_spoken_to(server: Server, source: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server.admit(deploy_key(home, server))
    head(home, server.url(source))
    server.program.terminate()
    server.program.wait()

    with running_sshd(server.room, port=server.port) as stranger:
        error = refusal(home, stranger.url(source))

    assert (type(error), error.reason) == (Refused, "host_key_changed")
    assert "Accepted publickey" not in stranger.log().partition("Server listening")[2].partition("Server listening")[2]


def test_a_host_key_that_was_given_beforehand_is_the_only_one_believed(
    server: Server, source: Path, tmp_path: Path
) -> None:
    key = deploy_key(tmp_path / "home", server)
    server.admit(key)
    kind, blob, _ = (server.room / "host.pub").read_text().split()
    place = f"[127.0.0.1]:{server.port}"
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()

    (key.parent / "known_hosts").write_text(f"{place} {other}")
    assert refusal(tmp_path / "home", server.url(source)).reason == "host_key_changed"
    (key.parent / "known_hosts").write_text("")
    assert refusal(tmp_path / "home", server.url(source)).reason == "host_key_changed"
    (key.parent / "known_hosts").write_text(f"{place} {kind} {blob}\n")
    assert head(tmp_path / "home", server.url(source))


def test_the_key_goes_to_no_other_host(server: Server, source: Path, tmp_path: Path) -> None:
    deploy_key(tmp_path / "home", server)

    with running_sshd(tmp_path / "elsewhere") as elsewhere:
        error = refusal(tmp_path / "home", elsewhere.url(source))
        heard = elsewhere.log()

    assert (type(error), error.reason) == (Refused, "credential_missing")
    assert "publickey" not in heard


def test_the_key_is_in_no_process_list_no_environment_and_no_error(
    server: Server, source: Path, tmp_path: Path
) -> None:
    home, seen = tmp_path / "home", []
    key = deploy_key(home, server)
    server.admit(key)
    (server.room / "go").unlink()
    secret = key.read_text().splitlines()[2]

    async def look() -> None:
        fetching = asyncio.create_task(asyncio.to_thread(head, home, server.url(source)))
        await asyncio.to_thread(eventually, lambda: (server.room / "begun").exists())
        seen.extend(_told_to_processes())
        (server.room / "go").touch()
        await fetching

    asyncio.run(look())
    shutil.rmtree(source)
    error = refusal(home, server.url(source))

    assert any(str(key).encode() in one for one in seen), "the ssh that has the key was among them"
    assert not [one for one in seen if secret.encode() in one]
    assert secret not in error.message + server.log()


def _told_to_processes() -> list[bytes]:
    """Arguments and environment of every process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((folder / name).read_bytes())
            except OSError:
                continue
    return found
