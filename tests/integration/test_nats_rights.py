"""Each NATS user at a real server that demands TLS: it may do what its process needs, and is refused all the rest."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest

from console import nats_config
from pipeline import bus
from pipeline.entries import Write
from pipeline.errors import Refused, Unavailable
from pipeline.needs import NEEDS, SETUP
from pipeline.right import inbox
from pipeline.rights import USERS, difference, rights_of
from tests.support.certificates import write_certificates
from tests.support.components import needs
from tests.support.free_ports import free_port
from tests.support.line import ROOT, eventually
from tests.support.nats import password_of

HASHED = "$2a$04$fHmdWqQdkTbgr9KXL8REieFqFy3rmaWdGVIrl47p8BmplVWBcT35a"
"""Of the door's password, by bcrypt."""
OTHERS = (
    "st.secret.x",
    "ev.unknown.x",
    "$JS.API.STREAM.DELETE.PIPE",
    "$JS.API.STREAM.PURGE.AUDIT",
    "$SYS.REQ.SERVER.PING",
)
"""What nobody may, beside what others may."""


@dataclass(frozen=True)
class Server:
    url: str
    ca: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("nats")
    files, _ = write_certificates(folder)
    port = free_port()
    at = nats_config.Member("one", f"127.0.0.1:{port}", "", f"127.0.0.1:{free_port()}", store=str(folder / "store"))
    tls = nats_config.Tls(*(str(files / f"{name}.pem") for name in ("cert", "key", "ca")))
    (folder / "nats.conf").write_text(nats_config.member(at, tls=tls))
    passwords = {nats_config.reference(user).name: password_of(user) for user in USERS}
    passwords[nats_config.reference("door").name] = HASHED
    argv = (needs("nats-server"), "-c", str(folder / "nats.conf"))
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, env=passwords, stdout=log, stderr=log) as running:
        try:
            eventually(lambda: "Server is ready" in (folder / "log").read_text(), what="NATS is ready")
            _setup(port, files / "ca.pem", folder)
            yield Server(f"tls://127.0.0.1:{port}", files / "ca.pem")
        finally:
            running.terminate()


def _setup(port: int, ca: Path, home: Path) -> None:
    told = {"URL": f"tls://127.0.0.1:{port}", "CA": str(ca), "SETUP_PASSWORD": password_of(SETUP)}
    environ = {f"ENCLII_NATS_{name}": value for name, value in told.items()} | {"ENCLII_HOME": str(home)}
    argv = (sys.executable, "-m", "pipeline", "setup")
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def opened(server: Server, user: str) -> bus.Bus:
    return await bus.connect(
        server.url, name=user, user=user, password=password_of(user), ca=str(server.ca), rights=rights_of(user), wait=60
    )


def _example(pattern: str) -> str:
    return pattern.replace("*", "x").replace(">", "x")


LAST = "refused.to.everybody"
EXAMPLES = sorted({_example(one) for user in USERS for one in rights_of(user).publish} | set(OTHERS))


@pytest.mark.parametrize("user", sorted(NEEDS))
def test_a_process_may_do_all_that_it_needs_and_is_refused_whatever_else_there_is(server: Server, user: str) -> None:
    wanted = {one.lower() for one in EXAMPLES if not rights_of(user).may_publish(one)}

    assert asyncio.run(_refused(server, user, EXAMPLES)) == wanted
    assert wanted > {one.lower() for one in OTHERS}


async def _refused(server: Server, user: str, subjects: Iterable[str], *, listen: bool = False) -> set[str]:
    """The subjects that the server refuses, asked by its own client, which holds nothing back."""
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def told(error: Exception) -> None:
        for one in re.findall('permissions violation for [a-z]+ to "([^"]+)"', str(error).lower()):
            refused.put_nowait(one)

    client = await nats.connect(
        server.url, user=user, password=password_of(user), tls=ssl.create_default_context(cafile=str(server.ca)),
        inbox_prefix=inbox(user), error_cb=told, connect_timeout=60,
    )  # fmt: skip
    found = set()
    try:
        for subject in (*subjects, LAST):
            if listen:
                await client.subscribe(subject)
            else:
                await client.publish(subject, b"", reply=f"{inbox(user)}.nobody")
        async with asyncio.timeout(60):
            while (one := await refused.get()) != LAST:  # refusals come in the order of what is refused
                found.add(one)
    finally:
        await client.close()
    return found


@pytest.mark.parametrize("user", sorted(NEEDS))
def test_nobody_hears_what_is_not_for_him(server: Server, user: str) -> None:
    heard = {_example(one) for other in NEEDS for one in rights_of(other).listen} | {">", "hooks.x", "st.x"}
    wanted = {one.lower() for one in heard if not rights_of(user).may_listen(one)}

    assert asyncio.run(_refused(server, user, sorted(heard), listen=True)) == wanted


@pytest.mark.parametrize("user", USERS)
def test_what_the_server_says_of_a_user_is_what_the_code_needs(server: Server, user: str) -> None:
    async def asked() -> dict[str, object]:
        connection = await opened(server, user)
        try:
            return await connection.own_rights()
        finally:
            await connection.close()

    assert not difference(user, asyncio.run(asked()))


def test_what_a_process_does_not_need_it_does_not_even_send(server: Server) -> None:
    async def attempted() -> None:
        connection = await opened(server, "builder")
        try:
            await connection.commit(Write("st.release.x", b"{}"))
        finally:
            await connection.close()

    with pytest.raises(Refused) as refused:
        asyncio.run(attempted())

    assert refused.value.reason == "not_needed"


def test_without_the_right_certificate_password_or_tls_nobody_is_let_in(server: Server) -> None:
    plain = server.url.replace("tls://", "nats://")
    wrong = ((server.url, "", password_of("door")), (server.url, str(server.ca), "guessed"), (plain, "", ""))

    async def attempts() -> list[object]:
        tries = [bus.connect(url, name="x", user="door", password=word, ca=ca, wait=3) for url, ca, word in wrong]
        return await asyncio.gather(*tries, return_exceptions=True)

    assert [type(one) for one in asyncio.run(attempts())] == [Unavailable] * 3


def test_a_question_is_answered_and_the_one_who_answers_writes_nowhere_else(server: Server) -> None:
    async def asked() -> bytes:
        syncer, console = await opened(server, "syncer"), await opened(server, "console")

        async def reply(question: bytes) -> bytes:
            return json.dumps({"heard": question.decode()}).encode()

        task = asyncio.create_task(syncer.answer("rq.clusters.check", reply))
        try:
            async with asyncio.timeout(60):
                while True:
                    try:
                        return await console.ask("rq.clusters.check", b"well?", timeout=1)
                    except Unavailable:
                        await asyncio.sleep(0.02)
        finally:
            task.cancel()
            await syncer.close()
            await console.close()

    assert json.loads(asyncio.run(asked())) == {"heard": "well?"}
