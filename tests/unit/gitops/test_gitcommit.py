"""Commits of any hand, read as values."""

from __future__ import annotations

from gitops.committing.edits import Draft, Edit
from gitops.git import gitcommit

TREE = "a" * 40
MINE = Draft(Edit("shop"), "Deploy\n\nEnclii-Intent: one\n", "Évil <x@y>\n", "2026-01-01T00:00:00Z")


def test_a_draft_is_read_back() -> None:
    read = gitcommit.decode("b" * 40, gitcommit.encode(MINE, tree=TREE, parent="c" * 40))
    assert (read.parents, read.author, read.subject) == (("c" * 40,), "Évil x@y", "Deploy")
    assert (read.at, read.trailers) == ("2026-01-01T00:00:00.000Z", {"Intent": "one"})


def test_a_signed_merge_in_latin_1_is_read() -> None:
    head = f"tree {TREE}\nparent {'b' * 40}\nparent {'c' * 40}\nauthor J\xfcrgen <j@x> 1 +0100\n"
    head += "committer GitHub <noreply@x> 2 -0130\nencoding ISO-8859-1\ngpgsig -----BEGIN\n parent x\n -----END\n"
    read = gitcommit.decode("d" * 40, (head + "\nMerge \xe4\n").encode("latin-1"))
    assert (read.author, read.subject, len(read.parents), read.ours) == ("Jürgen", "Merge ä", 2, False)


def test_what_git_would_never_write_is_no_error() -> None:
    for head in (b"", b"tree", b"author x\ncommitter y", b"encoding nonsense\nauthor \xff <> 99999999999999999 +0000"):
        read = gitcommit.decode("d" * 40, head + b"\n\n\xff")
        assert not read.ours
        assert read.at.startswith("1970-01-01")
