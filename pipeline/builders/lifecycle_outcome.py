"""What a Buildpacks builder's labels, exit code and report mean.

The exit codes are those of the platform specification; the report is the lifecycle's word and is held against the
registry afterwards.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import images
from pipeline.builders import BuildFailed
from pipeline.builders.lifecycle_commands import BuilderImage
from pipeline.errors import EncliiError, Invalid, Unavailable

LABEL = "io.buildpacks.builder.metadata"
REPORT_LIMIT = 1 << 20


def builder_image(reference: str, inspected: bytes) -> BuilderImage:
    """The image as a builder. Raises BuildFailed when it is none."""
    try:
        found = json.loads(inspected)[0]
        labels = found.get("Labels") or {}
        metadata = json.loads(labels[LABEL])
        pairs = (pair.partition("=") for pair in found["Config"].get("Env") or ())
        env = {name: value for name, _, value in pairs}
        return BuilderImage(
            reference, images.digest(str(found["Digest"])), int(env["CNB_USER_ID"]), int(env["CNB_GROUP_ID"]),
            _run_image(metadata),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, Invalid) as error:
        text = f"{reference} is no Buildpacks builder: it lacks the label {LABEL}, CNB_USER_ID or CNB_GROUP_ID"
        raise BuildFailed(text, reason="not_a_builder_image") from error


def _run_image(metadata: Mapping[str, Any]) -> str:
    for one in metadata.get("images") or ():
        return str(one["image"])
    stack = metadata.get("stack") or {}
    return str((stack.get("runImage") or {}).get("image") or "")


def of_creator(code: int, tail: str, *, out_of_memory: bool) -> EncliiError:
    """The error for a creator that ended with ``code``."""
    if out_of_memory and code in (1, 51, 137):
        return BuildFailed(
            f"the build needed more memory than it may have\n{tail}", reason="build_memory", exit_code=137
        )
    if code == 20:
        text = f"no buildpack of the builder image can build these sources\n{tail}"
        return BuildFailed(text, reason="buildpacks_none_detected", exit_code=code)
    if code in (11, 12, 126, 127):
        text = f"the builder image does not run here (exit code {code})\n{tail}"
        return BuildFailed(text, reason="builder_image_unsupported", exit_code=code)
    if 30 <= code < 50 or 60 <= code < 70:
        return Unavailable(f"the registry failed the builder (exit code {code})\n{tail}", reason="registry_unavailable")
    if code == 125:
        return Unavailable(f"podman could not run the builder image\n{tail}", reason="builder_unavailable")
    return BuildFailed(f"the buildpacks ended with exit code {code}\n{tail}", reason="build_failed", exit_code=code)


def digest_of(report: Path) -> str:
    """The digest in ``report.toml``. Raises BuildFailed when it has none, or is no file of ours."""
    try:
        if report.is_symlink():
            raise ValueError("a link")
        with report.open("rb") as file:
            document = tomllib.loads(file.read(REPORT_LIMIT).decode())
        return images.digest(str(document["image"]["digest"]))
    except (OSError, ValueError, LookupError, TypeError, Invalid) as error:
        raise BuildFailed("the builder image wrote no digest to its report", reason="builder_report") from error
