"""The door to NATS JetStream: one writer's atomic batch, reads by subject, and a puller that neither stalls nor loses.

Both streams keep one message per subject and never expire it. An event's subject is written once (``expect=0``), a
record's by compare-and-set, and both commit together or not at all. nats-py's ``publish_async`` is avoided on purpose,
as it can wait for ever. A connection of a process's own user is held to what that process needs before anything leaves
it (needs.py): the server would refuse too, but by silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from pipeline.absent import absent
from pipeline.cancelling import not_lost
from pipeline.entries import NANO, STREAMS, entry_of, stream_of
from pipeline.entries import Entry as Entry
from pipeline.entries import Write as Write
from pipeline.errors import Conflict, EncliiError, Refused, Unavailable
from pipeline.puller import HEARTBEAT, REQUEST_LIMIT, Asked, Puller, ReaderGone
from pipeline.puller import Message as Message
from pipeline.right import OWN_RIGHTS, Rights, inbox

with absent("aiohttp"):  # nats-py takes it along for websockets, which are not spoken here: 8 MB a process
    import nats
    import nats.errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg

log = logging.getLogger(__name__)

CAS_MISSED = {10071, 10164, 10201}
STORE_FULL = {10047, 10077}
NO_MESSAGE = 10037
COMMIT_LIMIT = 8.0
ROUNDS = 4


class Full(Unavailable):
    """The stream takes nothing more: say so to the sender instead of dropping what was kept."""


class Bus:
    """A connection to JetStream. Open it with ``connect``; every call has a deadline and raises Unavailable.

    With ``rights`` whatever they do not hold raises Refused.
    """

    def __init__(self, client: Client, rights: Rights | None = None) -> None:
        self._client = client
        self._rights = rights

    @property
    def restricted(self) -> bool:
        """Whether it is a user's of ours, whose rights are known."""
        return self._rights is not None

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def reconnections(self) -> int:
        """How often a server was found again."""
        return int(self._client.stats["reconnects"])

    async def close(self) -> None:
        """Hand over what is buffered and close.

        Not by ``drain``: it waits for messages that came and that nobody takes any more, as their readers have ended.
        """
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            if self._client.is_connected:
                await asyncio.wait_for(self._client.flush(), REQUEST_LIMIT)
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await asyncio.wait_for(self._client.close(), REQUEST_LIMIT)

    async def create_streams(self, *, replicas: int = 1) -> None:
        """Make the streams, or bring their configuration to what this version wants."""
        for name, specific in STREAMS.items():
            await self.create(name, specific, replicas=replicas)

    async def create(self, name: str, specific: Mapping[str, Any], *, replicas: int = 1) -> None:
        """Make one stream, or bring its configuration to what is wanted."""
        config = {"name": name, "storage": "file", "retention": "limits", "max_msgs_per_subject": 1}
        config["num_replicas"] = replicas
        config |= {"allow_direct": True, "duplicate_window": 600 * NANO, **specific}
        answer = await self._api(f"STREAM.CREATE.{name}", config, tolerate={10058})
        if "error" in answer:
            await self._api(f"STREAM.UPDATE.{name}", config)

    async def get(self, subject: str) -> Entry | None:
        """The newest message of ``subject``, read from the stream's leader; None when there is none."""
        stream = stream_of(subject)
        answer = await self._api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}, tolerate={NO_MESSAGE})
        return entry_of(answer["message"]) if "message" in answer else None

    async def scan(self, subjects: str) -> list[Entry]:
        """The newest message of every subject that matches, in the order of writing."""
        found: dict[str, Entry] = {}
        async for message in self._replay(subjects, policy="last_per_subject"):
            found[message.subject] = Entry(message.subject, message.data, message.seq, message.headers)
        return list(found.values())

    async def commit(self, *writes: Write) -> int:
        """Write all or nothing and return the last sequence, once it is synced to disk.

        Raises Conflict when an expectation did not hold (nothing was written), Unavailable when the outcome is not
        known: read the state again then.
        """
        if len(writes) == 1:
            return await self._put(writes[0].subject, writes[0].data, writes[0].all_headers())
        batch = uuid.uuid4().hex
        for number, write in enumerate(writes[:-1], 1):
            headers = write.all_headers() | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == 1:
                _checked(await self._request(write.subject, write.data, headers))
            else:
                self._check(write.subject)
                await self._client.publish(write.subject, write.data, headers=headers)
        last = writes[-1]
        headers = last.all_headers() | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(len(writes))}
        return await self._put(last.subject, last.data, headers | {"Nats-Batch-Commit": "1"})

    async def append(self, subject: str, data: bytes) -> None:
        """Write without a condition and without waiting for the disk's word beyond the server's answer."""
        await self._put(subject, data, {})

    async def ask(self, subject: str, data: bytes, *, timeout: float = REQUEST_LIMIT) -> bytes:  # noqa: ASYNC109
        """What whoever answers ``subject`` says; nothing is stored on the way. Raises Unavailable."""
        self._check(subject)
        try:
            return bytes((await not_lost(self._client.request(subject, data, timeout=timeout))).data)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            told = f"what answers {subject} is away or stuck ({type(error).__name__}): enclii doctor says which process"
            raise Unavailable(told, reason="no_answer") from error

    async def answer(self, subject: str, reply: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer ``subject``, one question after the other, for ever; of several processes one answers each."""
        self._check(subject, listen=True)
        subscription = await self._client.subscribe(subject, queue="answers", pending_msgs_limit=1_000)
        async for question in subscription.messages:
            if question.reply:
                await self._client.publish(question.reply, await reply(question.data))

    async def answer_many(self, subject: str, reply: Callable[[bytes], Awaitable[bytes]]) -> None:
        """As ``answer``, with questions that wait for something: each is answered when it can be."""

        async def one(question: Msg) -> None:
            await self._client.publish(question.reply, await reply(question.data))

        self._check(subject, listen=True)
        subscription = await self._client.subscribe(subject, queue="answers", pending_msgs_limit=1_000)
        async with asyncio.TaskGroup() as group:
            async for question in subscription.messages:
                if question.reply:
                    group.create_task(one(question))

    async def asked(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What JetStream's own API says at ``$JS.API.<path>``; nothing found is an ``error`` in it."""
        return await self._api(path, body, tolerate={NO_MESSAGE, 10014, 10059})

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[str, AsyncIterator[tuple[bytes, str, str]]]]:
        """Yield a subject of this connection's own, and what comes there: data, where to answer, a failure's words."""
        subject = self._client.new_inbox()
        subscription = await self._client.subscribe(subject, pending_msgs_limit=-1, pending_bytes_limit=-1)

        async def arriving() -> AsyncIterator[tuple[bytes, str, str]]:
            async for message in subscription.messages:
                headers = message.headers or {}
                failed = headers.get("Description", "") if headers.get("Status", "204") not in ("200", "204") else ""
                yield bytes(message.data), str(message.reply), failed

        try:
            yield subject, arriving()
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def send(self, subject: str, data: bytes) -> None:
        """Say something to whoever listens, who need not answer."""
        self._check(subject)
        await self._client.publish(subject, data)

    async def hear(self, subject: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` for each hint that is sent to ``subject``, in every process that listens, for ever."""
        self._check(subject, listen=True)
        subscription = await self._client.subscribe(subject, pending_msgs_limit=100)
        async for _ in subscription.messages:
            heard()

    async def own_rights(self) -> dict[str, Any]:
        """What the server says that this connection's user may. Raises Unavailable.

        The form is that of rights.difference; empty: everything.
        """
        told = json.loads(await self._request(OWN_RIGHTS, b"", None))
        return dict(told["data"].get("permissions") or {})

    def _check(self, subject: str, *, listen: bool = False) -> None:
        rights = self._rights
        if rights is not None and not (rights.may_listen if listen else rights.may_publish)(subject):
            raise Refused(f"{subject} is not among this process's needs: pipeline/needs.py", reason="not_needed")

    async def _put(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        answer = _checked(await self._request(subject, data, headers))
        return int(answer["seq"])

    async def _request(self, subject: str, data: bytes, headers: dict[str, str] | None) -> bytes:
        self._check(subject)
        if not self._client.is_connected:
            raise Unavailable("the event store (NATS) does not answer", reason="nats_away", delay=1.0)
        try:
            asked = self._client.request(subject, data, timeout=REQUEST_LIMIT, headers=headers or None)
            answer = await not_lost(asked)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise Unavailable(
                f"the event store (NATS) did not answer: {type(error).__name__}", reason="nats_away", delay=1.0
            ) from error
        return bytes(answer.data)

    async def _api(self, path: str, body: Mapping[str, Any], *, tolerate: Collection[int] = ()) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._request(f"$JS.API.{path}", json.dumps(body).encode(), None))
        code = answer.get("error", {}).get("err_code", 0)
        if code and code not in tolerate:
            raise _refusal(answer["error"])
        return answer

    @contextlib.asynccontextmanager
    async def consume(
        self, stream: str, consumer: str, subjects: Sequence[str], *, ack_wait: float = 30.0, inflight: int = 16
    ) -> AsyncIterator[AsyncIterator[Message]]:
        """Yield an endless iterator over what waits for a durable consumer; competing processes share it by name."""
        config: dict[str, Any] = {
            "durable_name": consumer,
            "filter_subjects": list(subjects),
            "ack_policy": "explicit",
            "ack_wait": int(ack_wait * NANO),
            "max_ack_pending": inflight * 8,
            "max_deliver": -1,
        }
        path = f"CONSUMER.CREATE.{stream}.{consumer}"
        if len(subjects) == 1:  # so that the right to make it is one to make it with this filter
            path += f".{subjects[0]}"
            config["filter_subject"] = config.pop("filter_subjects")[0]
        await self._api(path, {"stream_name": stream, "config": config})
        async with self._pulled(stream, consumer, inflight) as messages:
            yield messages

    @contextlib.asynccontextmanager
    async def watch(self, subjects: str, *, after: int = 0) -> AsyncIterator[AsyncIterator[Message]]:
        """Yield an endless iterator over everything that matches, stored first and then live, after sequence ``after``.

        When the server has forgotten the reader it is made again behind the last message seen, so nothing is missed.
        """
        async with contextlib.aclosing(self._followed(subjects, after)) as messages:
            yield messages

    async def _followed(self, subjects: str, after: int) -> AsyncGenerator[Message]:
        while True:
            try:
                name = await self._ephemeral(subjects, after=after)
            except Unavailable:  # the server is on its way back
                await asyncio.sleep(HEARTBEAT)
                continue
            with contextlib.suppress(ReaderGone):
                async with self._pulled(stream_of(subjects), name, 256, acknowledge=False) as messages:
                    async for message in messages:
                        after = message.seq
                        yield message

    async def _replay(self, subjects: str, *, policy: str) -> AsyncIterator[Message]:
        """Up to the newest by its sequence: while records are replaced, the server's count of what is to come is off.

        What was replaced before it was read comes again behind what was the newest then, hence the rounds.
        """
        stream = stream_of(subjects)
        newest, last = await self._newest(subjects), 0
        if not newest:
            return
        name = await self._ephemeral(subjects, policy=policy)

        async def over() -> bool:  # asked when nothing came for a while: what was the newest may have been purged
            return await self._newest(subjects) <= last

        try:
            async with self._pulled(stream, name, 512, acknowledge=False, over=over) as messages:
                for _ in range(ROUNDS):
                    async for message in messages:
                        last = message.seq
                        yield message
                        if last >= newest:
                            break
                    if (newest := await self._newest(subjects)) <= last:
                        return
        except ReaderGone:
            raise Unavailable("the event store (NATS) went away while it was read", reason="nats_away") from None
        finally:
            with contextlib.suppress(EncliiError):
                await self._api(f"CONSUMER.DELETE.{stream}.{name}", {})

    async def _newest(self, subjects: str) -> int:
        entry = await self.get(subjects)
        return entry.seq if entry else 0

    async def _ephemeral(self, subjects: str, *, after: int = 0, policy: str = "") -> str:
        stream = stream_of(subjects)
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        name = f"r-{uuid.uuid4().hex[:16]}"
        config = {
            "name": name,
            "filter_subject": subjects,
            "ack_policy": "none",
            "inactive_threshold": 60 * NANO,
            "mem_storage": True,
        }
        config |= {"deliver_policy": policy} if policy else start
        await self._api(f"CONSUMER.CREATE.{stream}.{name}.{subjects}", {"stream_name": stream, "config": config})
        return name

    @contextlib.asynccontextmanager
    async def _pulled(
        self, stream: str, consumer: str, batch: int, *, acknowledge: bool = True, over: Asked = None
    ) -> AsyncIterator[AsyncIterator[Message]]:
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
        puller = Puller(self._client, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", inbox, batch)
        try:
            yield puller.messages(subscription, durable=acknowledge, over=over)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()


async def connect(
    url: str, *, name: str, user: str = "", password: str = "", ca: str = "", rights: Rights | None = None,
    wait: float = 10.0,
) -> Bus:  # fmt: skip
    """Connect to one of the servers (addresses, by commas) and keep connecting for ever after.

    Waits ``wait`` seconds for the first time. ``ca`` is the file of the authority that signed the servers'
    certificates, instead of the system's; to ``rights`` the connection is held. Raises Unavailable.
    """
    options: dict[str, Any] = {
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.25,
        "ping_interval": 10,
        "max_outstanding_pings": 2,
        "connect_timeout": 2,
        "pending_size": 16 << 20,
        "error_cb": _told,
    }
    options |= {"user": user, "password": password} if user else {}
    options |= {"inbox_prefix": inbox(user)} if rights else {}
    options |= {"tls": ssl.create_default_context(cafile=ca)} if ca else {}
    servers = [one.strip() for one in url.split(",")]
    try:
        async with asyncio.timeout(wait):
            return Bus(await nats.connect(servers, name=name, **options), rights)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise Unavailable(
            f"no event store (NATS) at {url.rsplit('@', 1)[-1]} within {wait:g} s", reason="nats_away", delay=1.0
        ) from error


async def _told(error: Exception) -> None:
    """Connection errors show as Unavailable where somebody waits; a right that is missing shows nowhere else."""
    if "permissions violation" in str(error).lower():
        log.error("NATS refused: %s", error)


def _checked(answer: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(answer or b"{}")
    if "error" in parsed:
        raise _refusal(parsed["error"])
    return parsed


def _refusal(error: Mapping[str, Any]) -> EncliiError:
    code = int(error.get("err_code", 0))
    text = str(error.get("description", "refused"))
    if code in CAS_MISSED:
        return Conflict(f"somebody else wrote first: {text}", reason="state_moved", delay=0.0)
    if code in STORE_FULL:
        return Full(f"the event store is full: {text}", reason="nats_full", delay=5.0)
    return Unavailable(f"the event store refused: {text} ({code})", reason="nats_refused", delay=2.0)
