"""A name of one's own over TLS: a real Caddy, by the file that Enclii prints, before the front door of a whole line."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.components import needs
from tests.support.line import API, Line, commit, eventually, free_port, git, run_enclii, running_line, sample

NAME = "shop.example.test"
DOMAINS = f"    branch: main\n    domains: {{web: [{NAME}]}}\n    tls: {{cluster-issuer: own}}\n"


@contextlib.contextmanager
def caddy(home: Path, sites: str) -> Iterator[tuple[int, Path]]:
    """Caddy with a certificate authority of its own in place of a public one; its port, and where its root will be."""
    program, port = needs("caddy"), free_port()
    home.mkdir()
    only_here = (
        "{\n\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\tauto_https disable_redirects\n"
        f"\tstorage file_system {home}\n\thttps_port {port}\n\thttp_port {free_port()}\n}}\n"
    )
    (home / "Caddyfile").write_text(only_here + sites)
    argv = (program, "run", "--config", str(home / "Caddyfile"), "--adapter", "caddyfile")
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    with (home / "log").open("wb") as out, subprocess.Popen(argv, env=env, stdout=out, stderr=out) as child:
        try:
            yield port, home / "pki/authorities/local/root.crt"
        finally:
            child.terminate()
            child.wait(30)


def page(port: int, root: Path) -> str:
    """What the name answers over TLS, its certificate verified; "" while nobody does."""
    if not root.is_file():
        return ""
    context = ssl.create_default_context(cafile=str(root))
    request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as secure,
        ):
            secure.sendall(request.encode())
            with contextlib.closing(http.client.HTTPResponse(secure)) as answer:
                answer.begin()
                return answer.read().decode() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""


def name_it(line: Line, folder: Path) -> None:
    """What a platform engineer writes into project.yaml."""
    git("clone", "-q", line.url("enclii/config"), "config", cwd=folder)
    file = folder / "config/shop/project.yaml"
    file.write_text(file.read_text().replace("    branch: main\n", DOMAINS))
    commit(folder / "config", "Give the shop a name")
    git("push", "-q", "origin", "HEAD:main", cwd=folder / "config")


def test_a_name_answers_over_tls_and_a_deployment_needs_no_reload(tmp_path: Path) -> None:
    needs("caddy")
    with running_line(tmp_path / "home") as line:
        shop = tmp_path / "shop"
        sample(shop, "one\n")
        git("push", line.url("shop/shop"), "main", cwd=shop)
        eventually(lambda: line.page("web.shop.localhost") == "one\n", what="v1 answers at the door")
        name_it(line, tmp_path)
        eventually(lambda: NAME in run_enclii(line, API, "caddyfile").stdout, what="the name is known")

        with caddy(tmp_path / "caddy", run_enclii(line, API, "caddyfile").stdout) as (port, root):
            eventually(lambda: page(port, root) == "one\n", what="v1 answers over TLS")
            (shop / "index.html").write_text("two\n")
            commit(shop, "The second page")
            git("push", line.url("shop/shop"), "main", cwd=shop)
            eventually(lambda: page(port, root) == "two\n", what="v2 answers over TLS")
