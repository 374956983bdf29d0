"""A small Buildpacks builder image in a real registry: busybox, a creator of ours, and one buildpack for ``start``."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from tests.support.components import needs
from tests.support.images import _call, _from_scratch, digest_of

CREATOR = Path(__file__).parents[1] / "data" / "buildpacks" / "creator"
LIFECYCLE = {
    "version": "0.17.0", "api": {"buildpack": "0.9", "platform": "0.12"},
    "apis": {
        "buildpack": {"deprecated": [], "supported": ["0.9"]}, "platform": {"deprecated": [], "supported": ["0.12"]},
    },
}  # fmt: skip
DETECT = "#!/bin/sh\n[ -f start ] || exit 100\n"
BUILD = (
    "#!/bin/sh\nid -u\n[ ! -f fail ] || exit 4\n[ ! -f hang ] || sleep 600\n"
    "[ ! -f fill ] || { dd if=/dev/zero of=/tmp/filled bs=1M count=400; sleep 600; }\n"
    "[ ! -f flood ] || yes | head -n 200000\n"
    'echo "greeting is $(cat $CNB_PLATFORM_DIR/env/GREETING 2>/dev/null)"; ls\n'
)


def push_builder(
    registry: str, repository: str = "builders/small", *, labelled: bool = True, lifecycle: str = ""
) -> str:
    """Push it and return its reference; without its label it is an image like any other. ``lifecycle`` is the real
    program, to be in it in place of ours.
    """
    buildah, busybox = needs("buildah", "podman", "busybox"), needs("busybox")
    with tempfile.TemporaryDirectory() as folder, _from_scratch(buildah) as container:
        _fill(Path(folder), busybox)
        if lifecycle:
            _take(Path(folder), lifecycle)
        _call(buildah, "copy", "-q", container, folder, "/")
        metadata = json.dumps(_metadata(f"{registry}/{repository}-run:1"))
        label = ("--label", f"io.buildpacks.builder.metadata={metadata}") if labelled else ()
        _call(
            buildah, "config", "--env=PATH=/bin", "--env=CNB_USER_ID=1000", "--env=CNB_GROUP_ID=1000", *label, container
        )
        target = f"{registry}/{repository}:1"
        _call(buildah, "commit", "-q", "--tls-verify=false", container, f"docker://{target}")
    assert digest_of(registry, repository, "1")
    return target


def push_run_image(registry: str, repository: str = "builders/small") -> None:
    """The empty image that the builder image names for running: ``pack`` looks at it."""
    buildah = needs("buildah")
    with _from_scratch(buildah) as container:
        _call(buildah, "config", "--os", "linux", "--arch", "amd64", container)
        _call(buildah, "commit", "-q", "--tls-verify=false", container, f"docker://{registry}/{repository}-run:1")


def _take(root: Path, lifecycle: str) -> None:
    """The real lifecycle, and the files that it wants to read of a builder image."""
    creator = root / "cnb/lifecycle/creator"
    creator.unlink()
    shutil.copy(lifecycle, root / "cnb/lifecycle/lifecycle")
    creator.symlink_to("lifecycle")
    (root / "cnb/lifecycle/launcher").write_text("#!/bin/sh\n")
    (root / "cnb/lifecycle/launcher").chmod(0o755)
    (root / "cnb/order.toml").write_text('[[order]]\n[[order.group]]\nid = "test_start"\nversion = "1"\n')
    (root / "cnb/buildpacks/test_start/1/buildpack.toml").write_text(
        'api = "0.9"\n[buildpack]\nid = "test_start"\nversion = "1"\n[[targets]]\nos = "linux"\narch = "amd64"\n'
    )


def _metadata(run_image: str) -> dict[str, object]:
    image = {"image": run_image}
    packs = [{"id": "test_start", "version": "1"}]
    return {"stack": {"runImage": image}, "images": [image], "buildpacks": packs, "lifecycle": LIFECYCLE}


def _fill(root: Path, busybox: str) -> None:
    root.chmod(0o755)
    for name in ("bin", "etc", "tmp", "cnb/lifecycle", "cnb/buildpacks/test_start/1/bin"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for applet in _call(busybox, "--list").split():
        if applet != "busybox":
            (root / "bin" / applet.rpartition("/")[2]).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\ncnb:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\ncnb:x:1000:\n")
    (root / "tmp").chmod(0o1777)
    pack = root / "cnb/buildpacks/test_start/1/bin"
    for file, text in ((pack / "detect", DETECT), (pack / "build", BUILD)):
        file.write_text(text)
        file.chmod(0o755)
    shutil.copy(CREATOR, root / "cnb/lifecycle/creator")
    (root / "cnb/lifecycle/creator").chmod(0o755)
