"""Every command line of podman that runs a Buildpacks builder, as a value, in a store that is the builder's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.builders import BuildJob
from pipeline.builders.buildah_host import HostFacts

PLATFORM_API = "0.12"
CREATOR = "/cnb/lifecycle/creator"


@dataclass(frozen=True)
class BuilderImage:
    """A builder image as its labels and environment describe it."""

    reference: str
    digest: str
    uid: int
    gid: int
    run_image: str


@dataclass(frozen=True)
class Mounts:
    """Folders of this machine that the container sees."""

    app: Path
    platform: Path
    report: Path
    cache: Path


def runroot(host: HostFacts) -> Path:
    """Where podman keeps what a reboot may take: at most 50 characters long, which a state folder need not be."""
    places = (Path("/run"), Path(f"/run/user/{os.geteuid()}"), Path("/var/tmp"))  # noqa: S108 - made private below
    place = next(one for one in places if os.access(one, os.W_OK))
    return place / f"enclii-{host.cage.name[-16:]}"


def podman(host: HostFacts, *words: str) -> tuple[str, ...]:
    """podman on the builder's own store."""
    here = runroot(host)
    folders = {"root": host.store.root, "runroot": here, "tmpdir": here / "libpod"}
    places = (word for name, folder in folders.items() for word in (f"--{name}", str(folder)))
    runtime = ("--runtime", host.runtime) if host.runtime else ()
    return ("podman", *places, "--storage-driver", host.driver, "--cgroup-manager", "cgroupfs", *runtime, *words)


def pull_command(host: HostFacts, image: str, *, plain_http: bool, authfile: Path | None) -> tuple[str, ...]:
    """Bring the builder image up to date."""
    login = ("--authfile", str(authfile)) if authfile else ()
    return podman(host, "pull", "--quiet", *(("--tls-verify=false",) if plain_http else ()), *login, image)


def inspect_command(host: HostFacts, image: str) -> tuple[str, ...]:
    """Print the image's configuration as JSON."""
    return podman(host, "image", "inspect", image)


def remove_command(host: HostFacts) -> tuple[str, ...]:
    """Remove every container of the store, running or not."""
    return podman(host, "rm", "--all", "--force", "--time", "0")


def prune_command(host: HostFacts) -> tuple[str, ...]:
    """Remove every image that no container uses."""
    return podman(host, "image", "prune", "--all", "--force")


def creator_command(
    host: HostFacts, image: BuilderImage, job: BuildJob, mounts: Mounts, *, network: str, ordered: bool
) -> tuple[str, ...]:
    """Run the creator: detect, build, export. The registry's login is in podman's environment, never in its words."""
    volumes = {
        mounts.app: "/workspace", mounts.platform: "/platform:ro", mounts.report: "/report", mounts.cache: "/cache",
    }  # fmt: skip
    return podman(
        host,
        *("run", "--rm", "--pull", "never", "--user", "0", "--network", network, "--log-driver", "none"),
        *(("--cgroup-parent", host.sandbox.cgroup_parent) if host.sandbox.cgroup_parent else ("--cgroups=disabled",)),
        *(word for place, inside in volumes.items() for word in ("--volume", f"{place}:{inside}")),
        *("--tmpfs", "/layers:exec", "--env", "CNB_REGISTRY_AUTH", "--env", f"CNB_PLATFORM_API={PLATFORM_API}"),
        *("--env", "CNB_NO_COLOR=true"),
        *("--env", f"SOURCE_DATE_EPOCH={job.timestamp}", "--entrypoint", CREATOR, image.reference),
        *("-app=/workspace", "-layers=/layers", "-platform=/platform", "-cache-dir=/cache"),
        *(f"-uid={image.uid}", f"-gid={image.gid}", "-report=/report/report.toml"),
        *((f"-run-image={image.run_image}",) if image.run_image else ()),
        *(("-order=/platform/order.toml",) if ordered else ()),
        *(("-skip-restore=true",) if job.no_cache else ()),
        f"{job.repository}:{job.tag}",
    )
