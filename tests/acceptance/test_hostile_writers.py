"""A thousand updates of people's files while three of them keep writing to the same branch: none is lost."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from pathlib import Path

import pygit2

from gitops.committing.recording import record
from gitops.layout import Place
from pipeline.events import AdoptRequested, ReleaseReady
from pipeline.records import Target
from tests.support.committer_world import World, image_of, told
from tests.support.config_git import Person, git

SERVICES = 50
UPDATES = 1_000
WRITERS = 3
GROUP = 200
LIMIT = 500
PAUSE = 2.0
VALUES = "charts/values-production.yaml"
KUSTOMIZATION = "apps/{}/kustomization.yaml"
SERVICE = "s{:02}"


def values() -> str:
    """Half of the services stand in one file of values: every two edits meet in it."""
    entries = (
        f"{name}:  # of team {number % 7}\n  image:\n    repository: ghcr.io/acme/{name}\n    tag: 'v0'\n"
        "  notes: |\n    image:\n"
        for number, name in enumerate(names()[: SERVICES // 2])
    )
    return "# Production\n\n" + "".join(entries)


def kustomization(name: str) -> str:
    return (
        f"# {name}\nresources: [../base]\nimages:\n  - name: {name}\n    newName: ghcr.io/acme/{name}  # by hand\n"
        "    newTag: v0\n# notes: 0\n"
    )


def names() -> list[str]:
    return [SERVICE.format(number) for number in range(SERVICES)]


class Writer(threading.Thread):
    """Somebody who edits other lines of the same files, and of his own, again and again.

    Like a person at a shell: edit, commit, push; when the push is refused, fetch, rebase, push again.
    """

    def __init__(self, remote: Path, home: Path, number: int, stopping: threading.Event) -> None:
        super().__init__()
        self._remote, self._home, self._number, self._stopping = remote, home, number, stopping
        self.pushed: list[str] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._write()
        except Exception as error:  # told by the test, which is another thread
            self.error = error

    def _write(self) -> None:
        self._home.mkdir()
        person = Person(self._remote, self._home)
        person.git("config", "gc.auto", "0")
        chance = random.Random(self._number)  # noqa: S311 - the same edits in each run
        count = 0
        while not self._stopping.is_set():
            count += 1
            word = f"w{self._number}-{count}"
            person.pull()
            self._edit(person, word, chance)
            person.git("add", "-A")
            person.git("commit", "-q", "-m", word)
            if _pushes(person):
                self.pushed.append(word)
            self._stopping.wait(chance.uniform(0, PAUSE))

    def _edit(self, person: Person, word: str, chance: random.Random) -> None:
        person.write(f"notes/{word}", word)
        name = chance.choice(names()[SERVICES // 2 :])
        path = person.clone / KUSTOMIZATION.format(name)
        path.write_bytes(re.sub(rb"# notes: .*\n", f"# notes: {word}\n".encode(), path.read_bytes()))


def _pushes(person: Person) -> bool:
    """True when the branch took it; a rival who was faster is no error."""
    try:
        person.git("push", "-q", "origin", "HEAD:main")
    except AssertionError as refusal:
        assert any(word in str(refusal) for word in ("rejected", "fetch first", "cannot lock", "failed to push"))  # noqa: PT017
        return False
    return True


def test_a_thousand_updates_beside_three_hostile_writers_are_none_lost(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await _adopted(world)
        stopping = threading.Event()
        writers = [Writer(world.remote, world.tmp / f"writer-{n}", n, stopping) for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        try:
            await _deployed(world)
        finally:
            stopping.set()
            await asyncio.to_thread(lambda: [writer.join() for writer in writers])
        assert [writer.error for writer in writers] == [None] * WRITERS
        await world.moved()
        await _everything_is_there(world, writers)

    told(tmp_path, story, limit=LIMIT)


async def _adopted(world: World) -> None:
    person = world.person()
    person.write(VALUES, values())
    for name in names()[SERVICES // 2 :]:
        person.write(KUSTOMIZATION.format(name), kustomization(name))
    person.push("What we have")
    events = [
        AdoptRequested(
            id=f"adopt-{name}", project="shop", environment="production", service=name,
            path=VALUES if number < SERVICES // 2 else f"apps/{name}",
            targets=(f"helm:{name}.image",) if number < SERVICES // 2 else (),
        )
        for number, name in enumerate(names())
    ]  # fmt: skip
    await world.do(*events)
    assert len([path for path in world.files() if path.endswith("enclii-targets.yaml")]) == SERVICES


async def _deployed(world: World) -> None:
    """Every update as an event, in groups as they arrive; what came back is sent again, as the stream does."""
    rounds = range(1, UPDATES // SERVICES + 1)
    waiting: list[ReleaseReady] = [await world.release(number, name) for number in rounds for name in names()]
    deadline = time.monotonic() + LIMIT
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} updates are left"
        results = await world.committer.handle(waiting[:GROUP])
        waiting = waiting[sum(one.event is not None for one in results) :]
        failed = [one.event for one in results if one.error is not None and isinstance(one.event, ReleaseReady)]
        _, stopped = await record(world.store, [one.step for one in results if one.error is None])
        assert stopped is None
        waiting = failed + waiting


async def _everything_is_there(world: World, writers: list[Writer]) -> None:
    last = UPDATES // SERVICES
    subjects = world.log()
    assert len([line for line in subjects if line.startswith("Deploy ")]) == UPDATES
    words = {line for line in subjects if line.startswith("w")}
    assert words == {word for writer in writers for word in writer.pushed}
    assert all(writer.pushed for writer in writers), "a writer never got through: nobody was hostile"
    repo = pygit2.Repository(str(world.remote))
    for number, name in enumerate(names()):
        target = await world.store.get(Target, *Place("shop", "production", name))
        assert target is not None
        assert (target.record.image, target.record.release) == (image_of(last, name), f"shop.{name}.v{last}")
        if number >= SERVICES // 2:
            _only_the_values_differ(repo, name, last)
    assert repo.revparse_single(f"main:{VALUES}").data.decode() == _expected(last)  # type: ignore[attr-defined]
    assert git("fsck", "--strict", "--no-dangling", cwd=world.remote) == ""


def _only_the_values_differ(repo: pygit2.Repository, name: str, last: int) -> None:
    data = repo.revparse_single(f"main:{KUSTOMIZATION.format(name)}").data.decode()  # type: ignore[attr-defined]
    image, _, digest = image_of(last, name).partition("@")
    expected = kustomization(name).replace(f"ghcr.io/acme/{name}", image).replace("v0", f"v{last}@{digest}")
    assert re.sub("# notes: .*", "# notes: 0", data) == expected


def _expected(last: int) -> str:
    text = values()
    for name in names()[: SERVICES // 2]:
        image, _, digest = image_of(last, name).partition("@")
        text = text.replace(f"ghcr.io/acme/{name}\n    tag: 'v0'", f"{image}\n    tag: 'v{last}@{digest}'")
    return text
