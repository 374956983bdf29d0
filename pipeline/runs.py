"""Pushes on their way: a branch's newest head, the run that it started, and the run's jobs."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from pipeline.build_report import BuildReport
from pipeline.previews import PreviewRef
from pipeline.record import Record

JobStatus = Literal[
    "queued", "building", "signing", "committing", "deployed", "held", "skipped", "failed", "superseded", "cancelled",
]  # fmt: skip
RunStatus = Literal["running", "succeeded", "failed", "superseded", "cancelled", "skipped"]


class Branch(Record, frozen=True, kw_only=True):
    """The newest head that was planned for a branch, and the run that it started."""

    kind: ClassVar[str] = "branch"
    repository: str
    ref: str
    head: str
    run: str
    at: str
    services: tuple[str, ...] | None = None  # sorted, as the newest head that could be read has them; None: not known

    @property
    def key(self) -> tuple[str, ...]:
        return (self.repository, self.ref)


class Push(Record, frozen=True, kw_only=True):
    """What the git host was about to accept: stored before the ref moves, so that nothing accepted is forgotten."""

    kind: ClassVar[str] = "push"
    repository: str
    ref: str
    before: str
    after: str
    actor: str
    delivery: str
    at: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.repository, self.ref)


class Run(Record, frozen=True, kw_only=True):
    """One push on its way. ``status`` follows its jobs; ``reason`` says why it has none or failed."""

    kind: ClassVar[str] = "run"
    id: str
    project: str
    repository: str
    ref: str
    sha: str
    actor: str
    subject_line: str
    resumes: tuple[str, ...] = ()
    delivery: str
    created_at: str
    services: tuple[str, ...] = ()
    status: RunStatus = "running"
    reason: str = ""
    message: str = ""
    trace: str = ""  # W3C traceparent of its delivery
    preview: PreviewRef | None = None  # of a preview; None: of the branch's environments

    @property
    def key(self) -> tuple[str, ...]:
        return (self.id,)


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A stage's times within a job."""

    name: str
    started_at: str
    finished_at: str = ""


class Job(Record, frozen=True, kw_only=True):
    """One service of a run."""

    kind: ClassVar[str] = "job"
    run: str
    project: str
    service: str
    status: JobStatus = "queued"
    stages: tuple[Stage, ...] = ()
    spec: str = ""  # the ServiceSpec as JSON, from the run's commit
    tree: str = ""  # git's id of the service's path
    build_key: str = ""
    reused: bool = False  # the image was known: nothing was built
    image: str = ""  # "host/repository@sha256:…"
    release: str = ""  # release id
    reason: str = ""
    message: str = ""
    report: BuildReport | None = None
    created_at: str = ""
    finished_at: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (self.run, self.service)
