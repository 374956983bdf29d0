"""The program that git runs as pre-receive and post-receive: it asks the git host and repeats the answer.

Run as ``python -IS hook_program.py <hook>`` for each push, so it imports little. It decides nothing itself: without
an answer nothing is accepted, and after the fact it says that the push will be picked up later.
"""

from __future__ import annotations

import json
import os
import socket
import sys

LIMIT = 120.0
ANSWER_LIMIT = 1 << 20
QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH")
NO_ANSWER = {
    "pre-receive": "enclii: the git host did not answer; nothing was accepted; push again in a moment",
    "post-receive": "enclii: the push is accepted; its run starts within a minute",
}


def ask(hook: str, lines: list[str]) -> tuple[int, list[str]]:
    """Send one question over the git host's socket and read the one answer."""
    folder, name = os.path.split(os.environ["ENCLII_HOOK_SOCKET"])
    os.chdir(folder)  # a socket's path may have 107 bytes only; its name alone always fits
    git = {key: os.environ[key] for key in QUARANTINE if key in os.environ}
    question = {"push": os.environ["ENCLII_PUSH"], "hook": hook, "lines": lines, "git": git}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(name)
        connection.sendall(json.dumps(question).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline(ANSWER_LIMIT))
    return int(answer["code"]), [str(line) for line in answer["lines"]]


def main(hook: str) -> int:
    """Print what the git host says and return its verdict."""
    try:
        code, said = ask(hook, sys.stdin.read().splitlines())
    except (OSError, ValueError, KeyError):
        code, said = (1 if hook == "pre-receive" else 0), [NO_ANSWER[hook]]
    sys.stderr.write("".join(f"{line}\n" for line in said))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
