"""What people see of builds: steps and cache, a failure's last lines everywhere, the log of a release, a rebuild."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.test_push import runs
from tests.support.buildkit import running_buildkitd
from tests.support.line import API, Line, commit, eventually, git, run_enclii, running_line, sample

BROKEN = '\nRUN ["/bin/busybox", "sh", "-c", "echo the table is missing >&2; exit 9"]\n'


def enclii(line: Line, *words: str) -> str:
    done = run_enclii(line, API, *words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def ended(line: Line, count: int) -> bool:
    found = line.api("/v1/runs?project=shop")["runs"]
    return len(found) >= count and all(run["status"] != "running" for run in found)


def test_builds_explain_themselves(tmp_path: Path) -> None:
    with running_line(tmp_path / "home", {"REPRODUCE": "1"}) as line:
        shop = tmp_path / "shop"
        sample(shop, "one\n")
        git("push", line.url("shop/shop"), "main", cwd=shop)
        eventually(lambda: runs(line, "v1"), what="v1 runs")

        shown = enclii(line, "builds", "v1")
        assert "first step that the cache did not have" in shown
        assert "COPY index.html" in shown
        assert "build web at" in enclii(line, "logs", "--build", "v1")
        assert "ENCLII_BUILDER=auto took it" in enclii(line, "logs", "--build", "v1")

        eventually(lambda: "built again without cache: the same image" in enclii(line, "verify", "v1"), what="v1 twice")

        sha = commit_with(shop, (shop / "Dockerfile").read_text().replace("CMD", BROKEN + "CMD"))
        git("push", line.url("shop/shop"), "main", cwd=shop)
        eventually(lambda: ended(line, 2), what="the broken build has ended")
        for words in (("why", sha), ("status",), ("builds", newest(line))):
            told = enclii(line, *words)
            assert "the table is missing" in told, words
            assert "exit code 9" in told, words
        assert "the table is missing" in json.dumps(line.api(f"/v1/runs/{newest(line)}"))

        checked = {one["subject"]: one["level"] for one in line.api("/v1/doctor")["checks"]}
        assert "builder" in [*checked][-1]
        assert [checked[one] for one in ("signer", "accepted signatures", "policy")] == ["ok"] * 3
        enclii(line, "rebuild", "--no-cache", "-s", "web", "-e", "production")
        eventually(lambda: ended(line, 3), what="the rebuild has ended")
        rebuilt = json.loads(enclii(line, "builds", "-o", "json"))["builds"][0]
        assert (rebuilt["reused"], rebuilt["status"]) == (False, "deployed")
        assert not any(step["cached"] for step in rebuilt["steps"] if ": COPY" in step["name"])


def newest(line: Line) -> str:
    return str(line.api("/v1/runs?project=shop")["runs"][0]["id"])


def commit_with(folder: Path, dockerfile: str) -> str:
    (folder / "Dockerfile").write_text(dockerfile)
    return commit(folder, "Break the build")


def test_a_daemon_that_is_told_of_builds_the_pushes(tmp_path: Path) -> None:
    with running_buildkitd() as daemon, running_line(tmp_path / "home") as line:
        line.kill("builder")
        line.more |= {"BUILDKIT_HOST": daemon.address, "BUILDCTL": daemon.program}
        line.start("builder")
        sample(tmp_path / "shop", "one\n")
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: runs(line, "v1"), what="v1 runs")

        assert "Dockerfiles are built by buildkit" in enclii(line, "logs", "--build", "v1")
        assert "[2/2] COPY index.html" in enclii(line, "builds", "v1")
        place = ("--build", "-p", "shop", "-s", "web")
        done = run_enclii(line, API, "secret", "set", "NPM=-", *place, stdin="hunter2-of-npm")
        assert "may mount NPM" in done.stdout, done.stderr
        assert "NPM" in enclii(line, "secret", "list", *place)
        dockerfile = (tmp_path / "shop" / "Dockerfile").read_text()
        show = '["/bin/busybox", "sh", "-c", "/bin/busybox cat /run/secrets/NPM && echo ."]'
        step = f"RUN --mount=type=secret,id=NPM,mode=0444 {show}\n"
        (tmp_path / "shop" / "enclii.yaml").write_text("services: {web: {port: 8080, build: {secrets: [NPM]}}}\n")
        commit_with(tmp_path / "shop", dockerfile.replace("USER", f"{step}USER"))
        git("push", line.url("shop/shop"), "main", cwd=tmp_path / "shop")
        eventually(lambda: runs(line, "v2"), what="v2 runs")
        said = enclii(line, "logs", "--build", "v2")
        assert "[secret]." in said
        assert "hunter2-of-npm" not in said
