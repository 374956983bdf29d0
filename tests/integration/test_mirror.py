"""The mirror against real git: a repository on disk, and one behind git's own HTTP program."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from pipeline.errors import EncliiError, Invalid, NotFound, Refused, Unavailable
from pipeline.mirror import Mirror
from pipeline.source_export import ExportLimits
from tests.support.components import needs

SOMEONE = pygit2.Signature("Deployer", "deployer@example.test", 1_700_000_000, 0)
FILE, RUNS, LINK, MODULE = 0o100644, 0o100755, 0o120000, 0o160000
ZERO = "0" * 40
Files = dict[str, tuple[int, bytes]]


@pytest.fixture
def source(tmp_path: Path) -> pygit2.Repository:
    needs("git")
    return pygit2.init_repository(str(tmp_path / "source"), bare=True, initial_head="main")


def commit(source: pygit2.Repository, files: Files, *parents: str, ref: str = "refs/heads/main") -> str:
    tree = write_tree(source, files)
    sha = str(source.create_commit(None, SOMEONE, SOMEONE, "Change\n\nWhy.\n", tree, list(parents)))
    source.references.create(ref, sha, force=True)
    return sha


def write_tree(source: pygit2.Repository, files: Files) -> pygit2.Oid:
    builder = source.TreeBuilder()
    folders = {name.split("/")[0] for name in files if "/" in name}
    for folder in folders:
        below = {name.split("/", 1)[1]: file for name, file in files.items() if name.startswith(f"{folder}/")}
        builder.insert(folder, write_tree(source, below), 0o040000)
    for name, (mode, data) in files.items():
        if "/" not in name:
            builder.insert(name, pygit2.Oid(hex="1" * 40) if mode == MODULE else source.create_blob(data), mode)
    return builder.write()


def mirror_of(source: pygit2.Repository) -> Mirror:
    path = Path(source.path)
    return Mirror(path.parent / "mirror.git", path.as_uri().rstrip("/"))


def fetched(source: pygit2.Repository, sha: str) -> Mirror:
    mirror = mirror_of(source)
    asyncio.run(mirror.fetch_commit(sha))
    return mirror


def test_a_commit_that_no_ref_names_any_more_is_fetched(source: pygit2.Repository) -> None:
    first = commit(source, {"a": (FILE, b"1")})
    commit(source, {"a": (FILE, b"2")})

    assert fetched(source, first).read(first, "a") == b"1"


def test_a_ref_is_fetched_as_it_is_now(source: pygit2.Repository) -> None:
    sha = commit(source, {"a": (FILE, b"1")})

    assert asyncio.run(mirror_of(source).fetch_commit("refs/heads/main")) == sha


def test_a_missing_ref_and_a_missing_commit_are_not_found(source: pygit2.Repository) -> None:
    commit(source, {"a": (FILE, b"1")})

    for wanted in ("refs/heads/gone", "1" * 40):
        with pytest.raises(NotFound):
            asyncio.run(mirror_of(source).fetch_commit(wanted))


def test_a_tree_is_not_a_commit(source: pygit2.Repository) -> None:
    sha = commit(source, {"a": (FILE, b"1")})

    with pytest.raises(EncliiError):
        asyncio.run(mirror_of(source).fetch_commit(str(source[sha].tree.id)))


def test_locks_of_a_killed_git_do_not_stop_the_next_fetch(source: pygit2.Repository) -> None:
    mirror = fetched(source, commit(source, {"a": (FILE, b"1")}))
    second = commit(source, {"a": (FILE, b"2")})
    lock = Path(source.path).parent / f"mirror.git/refs/enclii/commits/{second}.lock"
    lock.touch()

    assert asyncio.run(mirror.fetch_commit(second)) == second


def test_what_changed_between_two_commits(source: pygit2.Repository) -> None:
    old = commit(source, {"a": (FILE, b"1"), "web/b": (FILE, b"1")})
    new = commit(source, {"a": (FILE, b"1"), "web/c": (FILE, b"2")}, old)
    mirror = fetched(source, new)

    assert mirror.changed_paths(old, new) == ["web/b", "web/c"]
    assert mirror.changed_paths(ZERO, new) is None
    assert mirror.is_ancestor(old, new)
    assert not mirror.is_ancestor(new, old)


def test_what_a_commit_says_of_itself(source: pygit2.Repository) -> None:
    sha = commit(source, {"web/Dockerfile": (FILE, b"FROM scratch\n")})
    mirror = fetched(source, sha)

    assert mirror.author(sha) == "Deployer <deployer@example.test>"
    assert (mirror.subject(sha), mirror.commit_time(sha)) == ("Change", 1_700_000_000)
    assert mirror.paths(sha) == ["web/Dockerfile"]
    assert mirror.tree_id(sha, "web") == str(source[sha].tree["web"].id)
    assert mirror.read(sha, "web/../secret") is None


def test_an_export_keeps_modes_links_and_times(source: pygit2.Repository, tmp_path: Path) -> None:
    files = {"web/run": (RUNS, b"#!"), "web/d/f": (FILE, b"1"), "web/d/l": (LINK, b"../run"), "other": (FILE, b"")}
    sha = commit(source, files)

    fetched(source, sha).export(sha, "web", tmp_path / "out")

    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["d", "d/f", "d/l", "run"]
    assert (out / "run").stat().st_mode & 0o777 == 0o755
    assert (out / "d/l").read_bytes() == b"#!"
    assert {path.lstat().st_mtime for path in (out, *out.rglob("*"))} == {1_700_000_000.0}


@pytest.mark.parametrize("target", [b"/etc/passwd", b"../../x", b"../..", b"s/../../x", b""])
def test_a_link_that_leads_out_is_refused(source: pygit2.Repository, tmp_path: Path, target: bytes) -> None:
    sha = commit(source, {"d/link": (LINK, target), "d/s": (LINK, b"..")})

    with pytest.raises(Invalid, match="leads out"):
        fetched(source, sha).export(sha, ".", tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("limits", [ExportLimits(files=1), ExportLimits(size=3)], ids=["files", "bytes"])
def test_an_export_is_bounded(source: pygit2.Repository, tmp_path: Path, limits: ExportLimits) -> None:
    sha = commit(source, {"a": (FILE, b"12"), "b": (FILE, b"12")})

    with pytest.raises(Invalid):
        fetched(source, sha).export(sha, ".", tmp_path / "out", limits=limits)


def test_a_submodule_is_left_empty_and_told(source: pygit2.Repository, tmp_path: Path) -> None:
    sha = commit(source, {"a": (FILE, b"1"), "lib": (MODULE, b"")})

    done = fetched(source, sha).export(sha, ".", tmp_path / "out")

    assert done.warnings == ("lib: a submodule, left empty",)


@pytest.mark.parametrize("url", ["ext::sh -c x", "-u", "https://user:word@host/x", "https://host/a b", "ftp://host/x"])
def test_an_address_that_git_could_misread_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Invalid):
        Mirror(tmp_path, url)


def test_a_token_opens_a_private_repository(source: pygit2.Repository, tmp_path: Path) -> None:
    sha = commit(source, {"a": (FILE, b"1")})

    with git_over_http(tmp_path, token="right") as address:
        mirror = Mirror(tmp_path / "mirror.git", f"{address}/source", token="right")
        assert asyncio.run(mirror.fetch_commit(sha)) == sha


def test_a_wrong_token_is_not_in_the_error(source: pygit2.Repository, tmp_path: Path) -> None:
    with git_over_http(tmp_path, token="right") as address, pytest.raises(Refused) as caught:
        asyncio.run(Mirror(tmp_path / "m.git", f"{address}/source", token="wrong-token").head("HEAD"))

    assert caught.value.reason == "remote_denied"
    assert "wrong-token" not in caught.value.message


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with git_over_http(tmp_path, redirect="http://127.0.0.1:1/") as address, pytest.raises(Refused) as caught:
        asyncio.run(Mirror(tmp_path / "m.git", f"{address}/source", token="secret").head("HEAD"))

    assert caught.value.reason == "remote_redirected"


def test_a_remote_that_is_away_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        asyncio.run(Mirror(tmp_path / "m.git", "http://127.0.0.1:1/x").head("HEAD"))


@contextlib.contextmanager
def git_over_http(root: Path, *, token: str = "", redirect: str = "") -> Iterator[str]:
    """Git's own http-backend for reading, with a token to ask for or a redirect to send."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, body: bytes) -> None:
            if redirect:
                self.send_response(302)
                self.send_header("Location", redirect + self.path)
                self.end_headers()
                return
            if token and self.headers.get("Authorization") != "Basic " + basic(token):
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environment = {
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH": os.environ["PATH"],
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            done = subprocess.run(("git", "http-backend"), input=body, env=environment, capture_output=True, check=True)
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + done.stdout)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def basic(token: str) -> str:
    return base64.b64encode(f"x-access-token:{token}".encode()).decode()


def test_a_branchs_head_comes_with_its_commit(source: pygit2.Repository) -> None:
    first = commit(source, {"a.txt": (FILE, b"1")})
    mirror = mirror_of(source)

    before = asyncio.run(mirror.fetch_head("refs/heads/main"))
    second = commit(source, {"a.txt": (FILE, b"2")}, first)
    after = asyncio.run(mirror.fetch_head("refs/heads/main"))

    assert (before, after) == (first, second)
    assert mirror.read(second, "a.txt") == b"2"
    assert mirror.has(first)
    assert mirror.has(second)


def test_a_branch_that_is_gone_has_no_head(source: pygit2.Repository) -> None:
    commit(source, {"a.txt": (FILE, b"1")})

    assert asyncio.run(mirror_of(source).fetch_head("refs/heads/gone")) is None


def test_a_ref_that_is_a_tree_is_refused(source: pygit2.Repository) -> None:
    sha = commit(source, {"a.txt": (FILE, b"1")})
    source.references.create("refs/tags/tree", source[sha].tree.id)

    with pytest.raises(Invalid, match="not a commit"):
        asyncio.run(mirror_of(source).fetch_head("refs/tags/tree"))
