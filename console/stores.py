"""The configuration files of the two stores that Enclii runs itself: NATS and the registry.

NATS holds back, by user, what a process must not say: the builder, which runs strangers' code, cannot claim a
release, and only the receiver and the git host can hand in deliveries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from console.ports import LOOPBACK
from pipeline.entries import STREAM_OF

MAX_PAYLOAD: Final = 8 << 20

_RELEASES = ("ev.release.ready.>", "st.release.>", "st.verdict.>")
_DEPLOYMENTS = (
    "ev.deployment.>", "st.deployment.>", "st.target.>", "st.live.>", "st.observer.>", "st.route.>", "st.config.>",
)  # fmt: skip
_RULES = ("st.project.>", "st.repository.>", "st.promotion.>")  # the config repository's word, as the committer read it
_DELIVERIES = ("hooks.>",)
_PLANS = ("ev.build.requested.>", "ev.services.>")
_IMAGES = ("ev.image.built.>", "ev.image.rebuilt.>")
_COMMANDS = (
    "ev.rollback.>", "ev.hold.>", "ev.resume.>", "ev.deploy.>", "ev.destroy.>", "ev.secret.>", "ev.scale.>",
    "ev.restart.>", "ev.adopt.>", "ev.promotion.>", "ev.check.reported.>", "ev.freeze.>", "ev.cancel.>",
    "ev.retention.>", "rq.>",
)  # fmt: skip
_LINKS = ("ev.link.>",)
_SHED = ("st.shed.>",)
_PULL_REQUESTS = ("ev.pull_request.>", "ev.comment.>", "ev.check.asked.>", "ev.branch.>", "ev.repository.>")
_PREVIEWS = ("ev.preview.>", "st.preview.>", "st.pull_request.>", "st.activity.>")
_PROPOSALS = ("ev.proposal.>",)
_LOGINS = ("web.>", "login.>", "st.token.>", "audit.>")
_STATE = tuple(subject for subject in (*_RELEASES, *_DEPLOYMENTS, *_RULES, *_PREVIEWS) if subject.startswith("st."))
_BUT_LOGS = (
    "$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.MSG.DELETE.>",
    *(f"$JS.API.STREAM.PURGE.{name}" for name in sorted({*STREAM_OF.values()} - {"LOGS"})),
)  # fmt: skip
"""The planner sheds build logs with the images that they tell of, and nothing else of any stream."""
_STREAMS = ("$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.MSG.DELETE.>")

FORBIDDEN: Final[Mapping[str, tuple[str, ...]]] = {
    "receiver": (
        *_RELEASES,
        *_DEPLOYMENTS,
        *_RULES,
        *_PLANS,
        *_IMAGES,
        *_COMMANDS,
        *_LINKS,
        *_SHED,
        *_PULL_REQUESTS,
        *_PREVIEWS,
        *_PROPOSALS,
        *_LOGINS,
        *_STREAMS,
    ),
    "githost": (
        *_RELEASES,
        *_DEPLOYMENTS,
        *_RULES,
        *_PLANS,
        *_IMAGES,
        *_COMMANDS,
        *_SHED,
        *_PULL_REQUESTS,
        *_PREVIEWS,
        *_PROPOSALS,
        *_LOGINS,
        *_STREAMS,
    ),
    "planner": (*_RELEASES, *_DEPLOYMENTS, *_RULES, *_COMMANDS, *_LINKS, *_PROPOSALS, *_LOGINS, *_BUT_LOGS),
    "builder": (
        *_RELEASES,
        *_DEPLOYMENTS,
        *_RULES,
        *_DELIVERIES,
        *_PLANS,
        *_COMMANDS,
        *_LINKS,
        *_SHED,
        *_PULL_REQUESTS,
        *_PREVIEWS,
        *_PROPOSALS,
        *_LOGINS,
        *_STREAMS,
    ),
    "signer": (
        *_DEPLOYMENTS,
        *_RULES,
        *_DELIVERIES,
        *_PLANS,
        *_IMAGES,
        *_COMMANDS,
        *_LINKS,
        *_SHED,
        *_PULL_REQUESTS,
        *_PREVIEWS,
        *_PROPOSALS,
        *_LOGINS,
        *_STREAMS,
    ),
    "committer": (*_DELIVERIES, *_IMAGES, "rq.>", *_PULL_REQUESTS, *_PREVIEWS, *_PROPOSALS, *_LOGINS, *_STREAMS),
    "syncer": (
        *_SHED,
        *_RULES,
        *_DELIVERIES,
        *_PLANS,
        *_IMAGES,
        *_RELEASES[:2],
        *_COMMANDS,
        *_LINKS,
        *_PULL_REQUESTS,
        *_PREVIEWS,
        *_PROPOSALS,
        *_LOGINS,
        *_STREAMS,
    ),
    "door": ("ev.>", "st.>", "hooks.>", "log.>", "rq.>", *_LOGINS, *_STREAMS),
    "forge": (
        *_RELEASES,
        *_DEPLOYMENTS,
        *_RULES,
        *_PLANS,
        *_IMAGES,
        *_SHED,
        *_PREVIEWS[1:],
        *_LOGINS,
        *_STREAMS,
        "rq.>",
    ),
    "console": (*_STATE, *_STREAMS),
}
"""What each process may not publish. ``PIPE`` carries state and events, so the subjects tell them apart.

The console may send any event, because a parked one goes through again by its hand; it decides nothing by itself."""


ANSWERS: Final[Mapping[str, str]] = {
    "rq.clusters.>": "syncer", "rq.secrets.>": "syncer", "rq.build_secrets.>": "builder",
    "rq.exec.>": "syncer", "rq.retention.>": "planner",
    "hits.>": "planner",
}  # fmt: skip
"""Who alone may listen to which questions: they carry what people type, and whose answer comes first is believed."""


def nats(*, store: Path, port: int, monitor: int, passwords: Mapping[str, str]) -> str:
    """The server's configuration: loopback only, every write fsynced, a user for each process."""
    users = "\n".join(_user(name, password) for name, password in passwords.items())
    return f"""\
listen: "{LOOPBACK}:{port}"
http: "{LOOPBACK}:{monitor}"
max_payload: {MAX_PAYLOAD}
lame_duck_duration: 30s
jetstream {{
  store_dir: {json.dumps(str(store))}
  sync_interval: always
}}
authorization {{
  users: [
{users}
  ]
}}
"""


def _user(name: str, password: str) -> str:
    deny = json.dumps(list(FORBIDDEN[name]))
    deaf = json.dumps([subject for subject, answers in ANSWERS.items() if answers != name])
    return (
        f"    {{user: {json.dumps(name)}, password: {json.dumps(password)},"
        f" permissions: {{publish: {{deny: {deny}}}, subscribe: {{deny: {deaf}}}}}}}"
    )


def registry(*, store: Path, port: int, secret: str) -> str:
    """The registry's configuration; JSON, which is YAML too."""
    document = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(store)}, "delete": {"enabled": True}},
        "http": {"addr": f"{LOOPBACK}:{port}", "secret": secret},
    }
    return json.dumps(document, indent=2) + "\n"
